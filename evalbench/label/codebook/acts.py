"""The codebook: what people do to the failure modes that annotators label by.

Each function writes one event for the ledger's actor and gives its number. It does so in the
transaction that held it against the codebook as it then stood: what cannot be raises LabelError
with the next step to take, a value that does not fit LedgerError. Pressed twice, it acts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection

from evalbench.errors import LabelError
from evalbench.label.codebook.modes import (
    KINDS,
    SAMPLED,
    Act,
    Codebook,
    find_undone,
    fold,
    read_acts,
)
from evalbench.schema import BODIES, DraftedMode, ModeDefined
from evalbench.store.ledger import Draft, Ledger

Fields = Mapping[str, object]
Fill = Callable[[Codebook, Connection], Fields]


def read_codebook(
    ledger: Ledger, *, until: int | None = None, connection: Connection | None = None
) -> Codebook:
    """Fold the codebook as it stands, or stood right after event ``until``.

    ``connection`` is that of a transaction of the ledger.
    """
    return fold(read_acts(ledger.events(KINDS, until=until, connection=connection)))


def define(ledger: Ledger, surface: str, mode: str, **fields: object) -> int:
    """Write a new mode by hand; it counts as soon as it has all that a mode needs.

    ``mode`` is the key that labels name it by; it never changes. ``fields`` are its name and, now
    or later, definition, example, severity, failure_class and owner.
    """

    def fill(book: Codebook, _: Connection) -> Fields:
        if (surface, mode) in book.modes:
            raise LabelError(f"there is a mode {mode!r} already: edit it, or take another key")
        return {}

    asked = {"surface": surface, "mode": mode, "version": 1, **fields}
    return _write(ledger, "mode.defined", mode, asked, fill)


def edit(ledger: Ledger, surface: str, mode: str, **fields: object) -> int:
    """Write the next version of a mode, with some fields changed."""

    def fill(book: Codebook, _: Connection) -> Fields:
        old = book.find(surface, mode)
        kept = {name: getattr(old, name) for name in ModeDefined.model_fields}
        return {**kept, "version": old.version + 1}

    return _write(ledger, "mode.defined", mode, {"surface": surface, "mode": mode, **fields}, fill)


def merge(
    ledger: Ledger, surface: str, sources: Sequence[str], into: str, *, reason: str = ""
) -> int:
    """Make modes one with another: their labels and members follow, but not into a draft.

    Verdicts on members stay behind: whether a note shows the merged mode is another question.
    """
    asked = {"surface": surface, "sources": sources, "into": into, "reason": reason}
    return _write(ledger, "mode.merged", into, asked)


def split(
    ledger: Ledger,
    surface: str,
    source: str,
    parts: Mapping[str, Sequence[str]],
    *,
    otherwise: str,
    notes: Mapping[str, Sequence[int]] | None = None,
    reason: str = "",
) -> int:
    """Take a mode apart; its labels must not go into a draft.

    Parameters
    ----------
    parts : mapping of str to sequence of str
        The sessions whose labels go to each part. A part that is no mode yet becomes a draft.
    otherwise : str
        The part that takes all the rest.
    notes : mapping of str to sequence of int, optional
        The members that go to each part; the others go where their session goes.
    """

    def fill(book: Codebook, connection: Connection) -> Fields:
        homes = {name: list(listed) for name, listed in (notes or {}).items()}
        listed = {note for each in homes.values() for note in each}
        sessions = {session: part for part, each in parts.items() for session in each}
        members = set(book.find(surface, source).notes) - listed if sessions else ()
        written = ledger.events("note.added", connection=connection)
        for note, session in written.select("seq", "subject").iter_rows():
            if note in members and session in sessions:
                homes.setdefault(sessions[session], []).append(note)
        return {"notes": homes}

    asked = {"surface": surface, "source": source, "parts": parts, "otherwise": otherwise}
    return _write(ledger, "mode.split", source, {**asked, "reason": reason}, fill)


def retire(ledger: Ledger, surface: str, mode: str, *, reason: str = "") -> int:
    """Let a mode count no longer; what was labelled by it stays in the ledger."""
    asked = {"surface": surface, "mode": mode, "reason": reason}
    return _write(ledger, "mode.retired", mode, asked)


def propose(
    ledger: Ledger, surface: str, drafts: Sequence[DraftedMode], *, seed: int, ledger_seq: int
) -> int:
    """Turn clusters of notes into drafts, all in one event.

    ``seed`` and ``ledger_seq`` are what the clusters can be made from again.
    """

    def check(_: Codebook, connection: Connection) -> Fields:
        written = set(ledger.events("note.added", connection=connection)["seq"])
        named = {note for draft in drafts for note in draft.notes}
        if named - written:
            raise LabelError(f"event {min(named - written)} is no note: cluster the notes again")
        return {}

    asked = {"surface": surface, "seed": seed, "ledger_seq": ledger_seq, "drafts": drafts}
    return _write(ledger, "codebook.proposed", surface, asked, check)


def confirm(ledger: Ledger, surface: str, mode: str, note: int, belongs: bool) -> int:
    """Say, after reading it, whether a member belongs to its mode; a later word replaces it."""
    asked = {"surface": surface, "mode": mode, "note": note, "belongs": belongs}
    return _write(ledger, "member.confirmed", mode, asked)


def promote(ledger: Ledger, surface: str, mode: str, *, members: int = SAMPLED) -> int:
    """Let a draft count that lacks nothing.

    A person must have looked at ``members`` of its sampled notes (all where it has fewer), and one
    of them must belong.
    """

    def fill(book: Codebook, _: Connection) -> Fields:
        found = book.find(surface, mode)
        sample = found.sample(members)
        if waiting := found.waiting(members):
            raise LabelError(
                f"{mode!r}: {len(waiting)} of {len(sample)} sampled members wait for a person; "
                f"confirm note {waiting[0]} next"
            )
        belonging = sum(found.verdicts[note] for note in sample)
        if sample and not belonging:
            raise LabelError(f"{mode!r}: none of its sampled members belongs: split or retire it")
        return {"members": len(sample), "belonging": belonging}

    return _write(ledger, "mode.promoted", mode, {"surface": surface, "mode": mode}, fill)


def undo(ledger: Ledger, seq: int) -> int:
    """Make the codebook what it would be without event ``seq``; undoing an undo is a redo."""
    return _write(ledger, "mode.undone", str(seq), {"undoes": seq})


def _write(
    ledger: Ledger, kind: str, subject: str, asked: Fields, fill: Fill = lambda book, _: {}
) -> int:
    """Write what is asked for, with what the codebook adds to it, unless it was just written."""
    repeated: list[int] = []

    def choose(connection: Connection) -> list[Draft]:
        acts = read_acts(ledger.events(KINDS, connection=connection))
        repeated[:] = _find_repeat(acts, ledger.actor, kind, asked)
        if repeated:
            return []
        book = fold(acts)
        body = {**fill(book, connection), **asked}
        try:
            fitted = BODIES[kind].model_validate(body)
        except ValidationError:
            return [(kind, subject, body)]  # the ledger refuses it, and says why
        seq = acts[-1].seq + 1 if acts else 1
        _check(acts, book, Act(seq, ledger.clock(), ledger.actor, kind, fitted))
        return [(kind, subject, fitted)]

    seq = ledger.extend(choose)
    return repeated[0] if repeated else seq


def _find_repeat(acts: list[Act], actor: str, kind: str, asked: Fields) -> list[int]:
    """Give the number of the actor's last act where it is what is asked for, and stands."""
    wanted = to_jsonable_python(asked)
    return [
        act.seq
        for act in [act for act in acts if act.actor == actor][-1:]
        if act.kind == kind
        and act.seq not in find_undone(acts)
        and wanted.items() <= act.body.model_dump(mode="json").items()
    ]


def _check(acts: list[Act], book: Codebook, act: Act) -> None:
    """Refuse an act that would not hold, or by which a later one would hold no longer."""
    after = fold([*acts, act])
    if act.seq in after.void:
        raise LabelError(after.void[act.seq])
    if broken := sorted(after.void.keys() - book.void.keys()):
        kinds = {each.seq: each.kind for each in acts}
        raise LabelError(f"event {broken[0]} ({kinds[broken[0]]}) rests on it: undo that first")
