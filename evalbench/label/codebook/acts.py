"""The codebook: what people do to the failure modes that annotators label by.

Each function writes one event for the ledger's actor, if the codebook as it stands in that
transaction allows it, and returns its number; else LabelError says what to do.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from evalbench.errors import LabelError
from evalbench.label.codebook.fold import KINDS, Act, fold, read_acts
from evalbench.label.codebook.modes import Codebook
from evalbench.schema import BODIES, MODE_KEYS, DraftedMode, ModeDefined
from evalbench.store.ledger import Draft, Ledger

# Number of an act that is not written yet: after every other, and none that can be undone.
NEXT = sys.maxsize
Fields = Mapping[str, object]
Fill = Callable[[Codebook, Connection], Fields]


def read_codebook(ledger: Ledger, *, until: int | None = None) -> Codebook:
    """Return the codebook as it stands, or stood right after event ``until``."""
    return fold(read_acts(ledger.events(KINDS, until=until)))


def define(ledger: Ledger, surface: str, mode: str, **fields: object) -> int:
    """Write a new mode by hand, under a key that never changes; it counts once it lacks nothing."""

    def check(book: Codebook, _: Connection) -> Fields:
        if (surface, mode) in book.modes:
            raise LabelError(f"there is a mode {mode!r} already: edit it, or take another key")
        return {"key": _choose_key(book, surface, mode, fields)}

    asked = {"surface": surface, "mode": mode, "version": 1, **fields}
    return _write(ledger, "mode.defined", mode, asked, check)


def edit(ledger: Ledger, surface: str, mode: str, **fields: object) -> int:
    """Write the next version of a mode, with some fields changed."""

    def fill(book: Codebook, _: Connection) -> Fields:
        old = book.find(surface, mode)
        kept = {name: getattr(old, name) for name in ModeDefined.model_fields}
        key = _choose_key(book, surface, mode, fields)
        return {**kept, "key": key, "version": old.version + 1}

    return _write(ledger, "mode.defined", mode, {"surface": surface, "mode": mode, **fields}, fill)


def merge(ledger: Ledger, surface: str, sources: Sequence[str], into: str) -> int:
    """Merge modes into another that counts: labels and members follow, verdicts do not."""
    asked = {"surface": surface, "sources": sources, "into": into}
    return _write(ledger, "mode.merged", into, asked)


def split(
    ledger: Ledger,
    surface: str,
    source: str,
    parts: Mapping[str, Sequence[str]],
    *,
    otherwise: str,
    notes: Mapping[str, Sequence[int]] | None = None,
    names: Mapping[str, str] | None = None,
) -> int:
    """Split a mode; its labels must not go into a draft.

    ``parts`` gives the sessions whose labels go to each part, ``notes`` the members; those not
    named go with their session, all the rest to ``otherwise``. A part that is no mode yet becomes a
    draft, named by ``names``.
    """

    def fill(book: Codebook, connection: Connection) -> Fields:
        homes = {part: list(listed) for part, listed in (notes or {}).items()}
        placed = {note for listed in homes.values() for note in listed}
        part_of = {session: part for part, listed in parts.items() for session in listed}
        loose = set(book.find(surface, source).notes) - placed
        written = ledger.events("note.added", connection=connection).select("seq", "subject")
        for note, session in written.iter_rows():
            if note in loose and session in part_of:
                homes.setdefault(part_of[session], []).append(note)
        return {"notes": homes}

    asked = {"surface": surface, "source": source, "parts": parts, "otherwise": otherwise}
    asked |= {"names": names or {}}
    return _write(ledger, "mode.split", source, asked, fill)


def retire(ledger: Ledger, surface: str, mode: str, *, reason: str = "") -> int:
    """Retire a mode: it counts no longer; what was labelled by it stays in the ledger."""
    asked = {"surface": surface, "mode": mode, "reason": reason}
    return _write(ledger, "mode.retired", mode, asked)


def propose(
    ledger: Ledger, surface: str, drafts: Sequence[DraftedMode], *, seed: int, ledger_seq: int
) -> int:
    """Write clusters of notes, as made of ``seed`` and ``ledger_seq``, as drafts in one event."""
    check = _expect_notes(ledger, [note for draft in drafts for note in draft.notes])
    asked = {"surface": surface, "seed": seed, "ledger_seq": ledger_seq, "drafts": drafts}
    return _write(ledger, "codebook.proposed", surface, asked, check)


def sort_notes(
    ledger: Ledger, surface: str, mode: str, notes: Sequence[int], **more: object
) -> int:
    """Put notes that a person read into a mode; a ``name`` makes it a new draft.

    ``struck`` were shown with them and do not belong, ``offered`` are the modes that were offered.
    """
    asked = {"surface": surface, "mode": mode, "notes": notes, **more}
    return _write(ledger, "notes.sorted", mode, asked, _expect_notes(ledger, notes))


def confirm(ledger: Ledger, surface: str, mode: str, note: int, belongs: bool) -> int:
    """Record, after reading it, whether a member belongs to its mode; the last word counts."""
    asked = {"surface": surface, "mode": mode, "note": note, "belongs": belongs}
    return _write(ledger, "member.confirmed", mode, asked)


def promote(ledger: Ledger, surface: str, mode: str) -> int:
    """Promote a draft whose sampled notes a person looked at, and that lacks nothing."""

    def fill(book: Codebook, _: Connection) -> Fields:
        draft = book.find(surface, mode)
        sample = draft.sample()
        if waiting := draft.waiting():
            raise LabelError(
                f"{mode!r}: {len(waiting)} of {len(sample)} sampled members wait for a person; "
                f"confirm note {waiting[0]} next"
            )
        belonging = sum(draft.verdicts[note] for note in sample)
        if sample and not belonging:
            raise LabelError(f"{mode!r}: none of its sampled members belongs: split or retire it")
        return {"members": len(sample), "belonging": belonging}

    return _write(ledger, "mode.promoted", mode, {"surface": surface, "mode": mode}, fill)


def undo(ledger: Ledger, seq: int) -> int:
    """Make the codebook what it would be without event ``seq``; undoing an undo is a redo."""
    return _write(ledger, "mode.undone", str(seq), {"undoes": seq})


def _expect_notes(ledger: Ledger, notes: Sequence[int]) -> Fill:
    def check(_: Codebook, connection: Connection) -> Fields:
        written = set(ledger.events("note.added", connection=connection)["seq"])
        if lost := set(notes) - written:
            raise LabelError(f"event {min(lost)} is no note: cluster the notes again")
        return {}

    return check


def _choose_key(book: Codebook, surface: str, mode: str, fields: Fields) -> str:
    """Choose the key that annotators press for a mode; LabelError where another has it."""
    keys = book.keys(surface)
    asked = fields.get("key")
    if other := [each for each, key in keys.items() if key == asked and each != mode]:
        name = book.find(surface, other[0]).name
        raise LabelError(f"the key {asked} is that of {name}: give that one another")
    free = (key for key in MODE_KEYS if key not in keys.values())
    return keys.get(mode) or next(free, "")


def _write(
    ledger: Ledger, kind: str, subject: str, asked: Fields, fill: Fill = lambda *_: {}
) -> int:
    """Write what is asked for, with what the codebook adds to it."""

    def choose(connection: Connection) -> list[Draft]:
        acts = read_acts(ledger.events(KINDS, connection=connection))
        book = fold(acts)
        body: Any = {**fill(book, connection), **asked}
        try:
            body = BODIES[kind].model_validate(body)
        except ValidationError:
            return [(kind, subject, body)]  # the ledger refuses it, and says why
        _check(acts, book, Act(NEXT, ledger.clock(), ledger.actor, kind, body))
        return [(kind, subject, body)]

    return ledger.extend(choose)


def _check(acts: list[Act], book: Codebook, act: Act) -> None:
    """Refuse an act that would not hold, or by which a later one would hold no longer."""
    after = fold([*acts, act])
    if act.seq in after.void:
        raise LabelError(after.void[act.seq])
    if broken := sorted(after.void.keys() - book.void.keys()):
        kinds = {each.seq: each.kind for each in acts}
        raise LabelError(f"event {broken[0]} ({kinds[broken[0]]}) rests on it: undo that first")
