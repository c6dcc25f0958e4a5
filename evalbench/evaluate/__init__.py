"""One evaluator a failure mode, the lightest that detects it.

:mod:`~evalbench.evaluate.spec` writes an evaluator down, frozen at a version;
:mod:`~evalbench.evaluate.checks` are declared and need no model, and
:mod:`~evalbench.evaluate.classifier` learns from labelled sessions. Each says of a
:class:`~evalbench.session.Session` what it found, as a
:class:`~evalbench.evaluate.finding.Finding`. :func:`propose` makes candidates of each kind from
people's labels and proposes the lightest that agrees with them; :func:`adopt` defines it.
:mod:`~evalbench.evaluate.calibrate` compares verdicts with what people say on the test split of
:mod:`~evalbench.evaluate.split`; :func:`read_statuses` tells which evaluators count, once a person
has :func:`promote`-d them, and :func:`import_verdicts` reads the verdicts of evaluators elsewhere.
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
