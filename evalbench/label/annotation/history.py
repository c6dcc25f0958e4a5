"""What an annotator did at a queue, in its order: what undo undoes, and redo does again."""

from dataclasses import dataclass, replace

import polars as pl

from evalbench.label.annotation.retraction import NOTE_KINDS
from evalbench.schema import (
    BODIES,
    ItemReturned,
    ItemSkipped,
    Label,
    LabelRetracted,
    Note,
    NoteChanged,
)
from evalbench.store.ledger import GIVEN_BY, Ledger

KINDS = ("label.set", "label.retracted", "item.skipped", "item.returned")


@dataclass(frozen=True)
class Deed:
    """A label given, or with a ``reason`` a skip; the note read ``before``, and ``after``."""

    seq: int
    session_id: str
    label: Label | None = None
    before: str | None = None
    after: str | None = None
    reason: str = ""

    def describe(self) -> str:
        """Name it in words."""
        if self.label is None:
            return "the skip"
        return f"the label {self.label.verdict!r}" + (" and its note" if self.after else "")

    def repeats(self, other: "Deed") -> bool:
        """Whether it says what another one said."""
        return replace(self, seq=0, before=None) == replace(other, seq=0, before=None)


def read_deeds(ledger: Ledger, queue: int) -> tuple[list[Deed], list[Deed]]:
    """Read what the ledger's actor did at the queue of event ``queue``, and what they undid last.

    What was undone can be done again until something else is done.
    """
    events = [ledger.events(KINDS, since=queue), ledger.events(NOTE_KINDS)]
    own = pl.concat(events).filter(GIVEN_BY == ledger.actor).sort("seq")
    deeds: list[Deed] = []
    undone: list[Deed] = []
    wording: dict[str, str] = {}
    noted = (0, "", "")
    for seq, kind, session, text in own.select("seq", "kind", "subject", "body").iter_rows():
        match BODIES[kind].model_validate_json(text):
            case Note() | NoteChanged() as note:
                noted = (seq, wording.get(session, ""), note.text)
                wording[session] = note.text
                continue
            case Label() as label if label.queue == queue:
                # A note that came with a label is the event before it: they are one transaction.
                words = noted[1:] if noted[0] == seq - 1 else (None, None)
                deeds.append(Deed(seq, session, label, *words))
            case ItemSkipped() as skip if skip.queue == queue:
                deeds.append(Deed(seq, session, reason=skip.reason))
            case LabelRetracted() as taken:
                undone += [deed for deed in deeds if deed.seq == taken.label]
                deeds = [deed for deed in deeds if deed.seq != taken.label]
                continue
            case ItemReturned() as back if back.queue == queue:
                undone += [d for d in deeds if not d.label and d.session_id == session][-1:]
                deeds = [deed for deed in deeds if deed.label or deed.session_id != session]
                continue
            case _:
                continue
        undone = undone[:-1] if undone and deeds[-1].repeats(undone[-1]) else []
    return deeds, undone
