"""One evaluator a failure mode, the lightest that detects it, and how far it can be trusted.

A check is declared, a classifier learns, a judge asks a model; each says of a session what it
found. :func:`propose` makes candidates from people's labels, :func:`adopt` defines one,
``calibrate`` compares verdicts with people on the test split, and only what a person
:func:`promote`-d counts.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "importing": ("import_verdicts",),
    "proposals.propose": ("adopt", "propose"),
    "spec": ("define", "read_specification", "write_specification"),
    "split": ("require_train",),
    "status": ("promote", "read_statuses"),
}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: importing a stage stays light (PEP 562)."""
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for names in _NAMES.values() for name in names]
