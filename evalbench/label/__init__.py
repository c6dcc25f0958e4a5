"""From what annotators say of single sessions to labels that people agree on.

:func:`cluster` brings notes together that say alike, from which people make the failure modes of
:mod:`~evalbench.label.codebook`. :mod:`~evalbench.label.consensus` decides what holds where several
people labelled, :func:`disagreements` lists what an adjudicator has to decide
(:func:`adjudicate`), and :func:`export_labels` and :func:`import_labels` exchange labels with other
tools.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalbench.label.adjudication import adjudicate, disagreements
    from evalbench.label.discover import Clusters, cluster
    from evalbench.label.exchange import ImportReport, export_labels, import_labels

_HOMES = {
    "Clusters": "discover",
    "ImportReport": "exchange",
    "adjudicate": "adjudication",
    "cluster": "discover",
    "disagreements": "adjudication",
    "export_labels": "exchange",
    "import_labels": "exchange",
}

__all__ = [
    "Clusters",
    "ImportReport",
    "adjudicate",
    "cluster",
    "disagreements",
    "export_labels",
    "import_labels",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: importing a stage stays light (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f"evalbench.label.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evalbench.label' has no attribute {name!r}")
