"""Names for clusters of notes: what a model read in them, or a note's own words."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalbench.label.discovery.clustering import Clusters
from evalbench.label.discovery.induction import Induced
from evalbench.schema import FailureClass, Severity

QUOTES = 3
LONGEST = 60  # characters of a name that a note gives


@dataclass(frozen=True)
class Proposal:
    """A name for a cluster, which a person takes, changes or leaves.

    ``quotes`` are notes, or words of them, that show the failure; ``source`` says whether a model
    gave it, and ``why`` none did.
    """

    name: str
    definition: str
    severity: Severity | None
    failure_class: FailureClass | None
    quotes: tuple[str, ...]
    source: Literal["model", "offline"]
    why: str = ""


def propose_all(
    texts: Sequence[str], clusters: Clusters, *, induced: Induced | None = None
) -> list[Proposal]:
    """Name each cluster by what most of it is ``induced`` as, else by its most typical note."""
    proposals = []
    why = "no model was asked" if induced is None else "no kind that the model found is in it"
    for one, representatives in enumerate(clusters.representatives):
        quoted = tuple(texts[index] for index in representatives[:QUOTES])
        offline = Proposal(name_by(quoted[0]), "", None, None, quoted, "offline", why)
        members = np.flatnonzero(clusters.assignment == one).tolist()
        concept = induced.name(members) if induced else None
        named = Proposal(**concept.model_dump(), source="model") if concept else offline
        proposals.append(named)
    return proposals


def name_by(note: str) -> str:
    """Name a group by a note's own words."""
    return textwrap.shorten(note, LONGEST, placeholder=" …")
