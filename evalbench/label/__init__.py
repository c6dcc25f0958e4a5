"""From what annotators say of single sessions to labels that people agree on."""

from .agreement.adjudication import adjudicate as adjudicate
from .agreement.adjudication import disagreements as disagreements
from .codebook.table import export_codebook as export_codebook
from .codebook.table import import_codebook as import_codebook
from .discovery.clustering import Clusters as Clusters
from .discovery.clustering import cluster as cluster
from .entries import export_labels as export_labels
from .importing import import_labels as import_labels
