"""Trace in, sessions with signals, sample out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalbench.observe.ingestion import IngestReport, ingest
    from evalbench.observe.sampling.draw import Draw, draw, stratify
    from evalbench.observe.sessions import session_signals

_HOMES = {
    "IngestReport": "ingestion",
    "ingest": "ingestion",
    "session_signals": "sessions",
    "Draw": "sampling.draw",
    "draw": "sampling.draw",
    "stratify": "sampling.draw",
}

__all__ = [
    "Draw",
    "IngestReport",
    "draw",
    "ingest",
    "session_signals",
    "stratify",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: importing a stage stays light (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f"evalbench.observe.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evalbench.observe' has no attribute {name!r}")
