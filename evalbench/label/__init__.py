"""From what annotators say of single sessions to labels that people agree on.

:func:`cluster` brings notes together that say alike, from which people make the failure modes of
``acts``. ``consensus`` decides what holds where several
people labelled, :func:`disagreements` lists what an adjudicator has to decide
(:func:`adjudicate`), :func:`export_labels` and :func:`import_labels` exchange labels with other
tools, and :func:`export_taxonomy` and :func:`import_taxonomy` the codebook with a file.
"""

from .agreement.adjudication import adjudicate, disagreements
from .codebook.taxonomy import export_taxonomy, import_taxonomy
from .discovery.clustering import Clusters, cluster
from .exchange import ImportReport, export_labels, import_labels

__all__ = [
    "Clusters",
    "ImportReport",
    "adjudicate",
    "cluster",
    "disagreements",
    "export_labels",
    "export_taxonomy",
    "import_labels",
    "import_taxonomy",
]
