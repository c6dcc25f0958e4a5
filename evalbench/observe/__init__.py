"""Trace in, sessions with signals, sample out."""

from importlib import import_module
from typing import Any

_HOMES = {"IngestReport": "ingestion", "ingest": "ingestion", "session_signals": "sessions"}
_HOMES |= dict.fromkeys(("Draw", "draw", "stratify"), "sampling.draw")


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: importing a stage stays light (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f"evalbench.observe.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evalbench.observe' has no attribute {name!r}")
