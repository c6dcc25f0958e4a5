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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalbench.evaluate.importing import import_verdicts
    from evalbench.evaluate.proposals.propose import adopt, propose
    from evalbench.evaluate.spec import define, read_specification, write_specification
    from evalbench.evaluate.split import require_train
    from evalbench.evaluate.status import promote, read_statuses

_HOMES = {
    "adopt": "proposals.propose",
    "define": "spec",
    "import_verdicts": "importing",
    "promote": "status",
    "propose": "proposals.propose",
    "read_specification": "spec",
    "read_statuses": "status",
    "require_train": "split",
    "write_specification": "spec",
}

__all__ = [
    "adopt",
    "define",
    "import_verdicts",
    "promote",
    "propose",
    "read_specification",
    "read_statuses",
    "require_train",
    "write_specification",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: importing a stage stays light (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f"evalbench.evaluate.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evalbench.evaluate' has no attribute {name!r}")
