"""From what annotators say of single sessions to labels that people agree on.

:func:`cluster` brings notes together that say alike, from which people make the failure modes of
``acts``. ``consensus`` decides what holds where several
people labelled, :func:`disagreements` lists what an adjudicator has to decide
(:func:`adjudicate`). Labels, ratings and notes go to a file and come from one by
:func:`export_labels` and :func:`import_labels`, the codebook by :func:`export_codebook` and
:func:`import_codebook`.
"""

from .agreement.adjudication import adjudicate as adjudicate
from .agreement.adjudication import disagreements as disagreements
from .codebook.table import export_codebook as export_codebook
from .codebook.table import import_codebook as import_codebook
from .discovery.clustering import Clusters as Clusters
from .discovery.clustering import cluster as cluster
from .entries import export_labels as export_labels
from .importing import import_labels as import_labels
