"""Names for clusters of notes: proposed by a model that must quote them, or a note's own words."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Literal

import numpy as np

from evalbench import llm
from evalbench.errors import ModelError
from evalbench.label.discovery.clustering import Clusters
from evalbench.label.discovery.induction import Complete, Concept, Induced
from evalbench.schema import FailureClass, Severity

QUOTES = 3  # different notes that a proposal must quote; all where there are fewer
FEWEST_WORDS = 3  # words of a quote at the least, unless it is a whole note
LONGEST = 60  # characters of a name that a note gives
READ_NOTES, READ_CHARACTERS = 60, 600  # how much of a cluster a model is given


@dataclass(frozen=True)
class Proposal:
    """A name for a cluster, which a person takes, changes or leaves.

    ``quotes`` are notes, or words of them, that show the failure. ``source`` says whether a model's
    proposal held; offline severity and class are None, and ``why`` is what came of asking a model.
    """

    name: str
    definition: str
    severity: Severity | None
    failure_class: FailureClass | None
    quotes: tuple[str, ...]
    source: Literal["model", "offline"]
    why: str = ""


def propose_all(
    texts: Sequence[str],
    clusters: Clusters,
    *,
    model: str,
    induced: Induced | None = None,
    complete: Complete = llm.complete,
) -> list[Proposal]:
    """Propose a name for every cluster of these notes, in their order.

    By what a model ``induced`` from them, else by asking a ``model`` of each cluster; none is asked
    where it is empty or "offline/...". ``complete`` is such as a partial of
    :func:`evalbench.llm.complete` with other limits.
    """
    proposals = []
    for one, offline in enumerate(name_offline(texts, clusters)):
        members = np.flatnonzero(clusters.assignment == one).tolist()
        if induced:
            concept = induced.name(members)
            proposals.append(
                Proposal(**concept.model_dump(), source="model") if concept else offline
            )
            continue
        telling = dict.fromkeys([*clusters.representatives[one].tolist(), *members])
        notes = [texts[index] for index in telling]
        proposals.append(propose(notes, offline=offline, model=model, complete=complete))
    return proposals


def propose(
    notes: Sequence[str], *, offline: Proposal, model: str, complete: Complete = llm.complete
) -> Proposal:
    """Ask a model to name one cluster by its notes, the most telling first: it reads the first 60.

    Returns its proposal where that is of the asked form and quotes three different notes word for
    word (white space aside) and nothing else; else ``offline``, with the reason in ``why``.
    """
    if not model or model.startswith("offline/"):
        return replace(offline, why="no model was asked")
    given = [note[:READ_CHARACTERS] for note in notes[:READ_NOTES]]
    prompt = files(__package__).joinpath("prompts/naming.md").read_text("utf-8")
    said = {"system": prompt, "user": json.dumps(given, ensure_ascii=False, indent=0)}
    messages = [{"role": role, "content": text} for role, text in said.items()]
    try:
        reply = complete(messages, model=model, schema=Concept)
    except ModelError as error:
        return replace(offline, why=str(error))
    named = None if reply.error else Concept.model_validate(reply.parsed)
    why = find_fault(named.quotes, notes) if named else reply.error
    if named is None or why:
        return replace(offline, why=f"{model}: {why}")
    return Proposal(**named.model_dump(), source="model")


def find_fault(quotes: Sequence[str], notes: Sequence[str]) -> str:
    """Say what is wrong with quotes: not in the notes, too short, or of too few; empty: nothing."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    written = list(dict.fromkeys(_flatten(note) for note in notes))
    shows = np.zeros((len(quotes), len(written)), dtype=bool)
    for row, quote in enumerate(map(_flatten, quotes)):
        if not quote or not any(quote in note for note in written):
            return f"quotes what no note says: {quotes[row]!r}"
        long = len(quote.split()) >= FEWEST_WORDS
        shows[row] = [quote == note or (long and quote in note) for note in written]
    needed = min(QUOTES, len(written))
    shown = (maximum_bipartite_matching(csr_matrix(shows)) >= 0).sum() if quotes else 0
    return "" if shown >= needed else f"quotes {shown} different notes; {needed} are needed"


def name_offline(texts: Sequence[str], clusters: Clusters) -> list[Proposal]:
    """Name clusters by what their most typical note says, with representatives as quotes."""
    proposals = []
    for each in clusters.representatives:
        quoted = tuple(texts[index] for index in each[:QUOTES])
        proposals.append(Proposal(name_by(quoted[0]), "", None, None, quoted, "offline"))
    return proposals


def name_by(note: str) -> str:
    """Name a group by a note's own words."""
    return textwrap.shorten(note, LONGEST, placeholder=" …")


def _flatten(text: str) -> str:
    return " ".join(text.split())
