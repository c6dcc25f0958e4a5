"""From the events of the codebook to the modes that they leave."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import polars as pl

from evalbench import schema
from evalbench.errors import LabelError
from evalbench.label.codebook.modes import Codebook, Mode

KINDS = (
    *("codebook.proposed", "member.confirmed", "note.changed", "notes.sorted"),
    *(kind for kind in schema.BODIES if kind.startswith("mode.")),
)
Each = TypeVar("Each", int, str)
State = dict[tuple[str, str], Mode]


class Act(NamedTuple):
    """One event of the codebook."""

    seq: int
    at: datetime
    actor: str
    kind: str
    body: Any


def read_acts(events: pl.DataFrame) -> list[Act]:
    """Parse the codebook's acts out of events as ``ledger.events`` gives them."""
    acts = events.filter(pl.col("kind").is_in(KINDS)).sort("seq").select(Act._fields)
    return [
        Act(seq, at, actor, kind, schema.BODIES[kind].model_validate_json(text))
        for seq, at, actor, kind, text in acts.iter_rows()
    ]


def find_undone(acts: Iterable[Act]) -> dict[int, int]:
    """Return the events that are undone, each with the undo that stands (undone, it is a redo)."""
    undone: dict[int, int] = {}
    for act in sorted(acts, reverse=True):
        if act.kind == "mode.undone" and act.seq not in undone:
            undone[act.body.undoes] = act.seq
    return undone


def fold(acts: Iterable[Act]) -> Codebook:
    """Fold acts, in their order, into the codebook they leave; a note taken back is in no mode."""
    every = list(acts)
    worded = {act.body.note: act.body.text for act in every if act.kind == "note.changed"}
    taken = {note for note, text in worded.items() if not text}
    acts = [act for act in every if act.kind != "note.changed"]
    undone, seqs = find_undone(acts), {act.seq for act in acts}
    state: State = {}
    void = {}
    for act in acts:
        try:
            if act.kind == "mode.undone":
                _check_undo(act, undone, seqs)
            elif act.seq not in undone:
                _apply(state, act.body)
        except LabelError as error:
            void[act.seq] = str(error)
    for mode in list(state.values()):
        if taken & set(mode.notes):
            kept = tuple(note for note in mode.notes if note not in taken)
            _change(state, mode, notes=kept)
    return Codebook(dict(sorted(state.items())), void)


def _check_undo(act: Act, undone: Mapping[int, int], seqs: set[int]) -> None:
    target = act.body.undoes
    if target not in seqs:
        raise LabelError(f"event {target} is no act of the codebook: there is nothing to undo")
    if (by := undone.get(target, act.seq)) != act.seq:
        raise LabelError(f"event {target} is undone: undo event {by} to do it again")


def _apply(state: State, body: schema.Body) -> None:
    """Change the state as an act says; one that raises LabelError leaves it as it was."""
    match body:
        case schema.ModeDefined():
            _define(state, body)
        case schema.ModeMerged():
            _merge(state, body)
        case schema.ModeSplit():
            _split(state, body)
        case schema.ModeRetired():
            _change(state, _find_standing(state, body.surface, body.mode), ended="retired")
        case schema.ModePromoted():
            _promote(state, body)
        case schema.CodebookProposed():
            _propose(state, body)
        case schema.MemberConfirmed():
            mode = _find_standing(state, body.surface, body.mode)
            if body.note not in mode.notes:
                raise LabelError(f"note {body.note} is no member of {body.mode!r}")
            _change(state, mode, verdicts={**mode.verdicts, body.note: body.belongs})
        case schema.NotesSorted():
            _sort(state, body)


def _sort(state: State, body: schema.NotesSorted) -> None:
    """Put notes into a mode, and out of whichever held them: a note tells of one."""
    key = (body.surface, body.mode)
    if body.name and key in state:
        raise LabelError(f"there is a mode {body.mode!r} already: sort into it by its key")
    fresh = Mode(body.surface, body.mode, body.name)
    into = fresh if body.name else _find_standing(state, body.surface, body.mode)
    if both := set(body.notes) & set(body.struck):
        raise LabelError(f"note {min(both)} is sorted into {body.mode!r} and struck from it")
    gone = set(body.notes)
    for mode in [mode for mode in state.values() if mode.surface == body.surface]:
        if not mode.ended and mode.mode != into.mode and gone & set(mode.notes):
            _change(state, mode, notes=tuple(note for note in mode.notes if note not in gone))
    kept = set(into.notes) - set(body.struck)
    verdicts = {note: belongs for note, belongs in into.verdicts.items() if note in kept}
    verdicts |= dict.fromkeys(body.notes, True)
    struck = _join(set(into.struck) - gone, body.struck)
    _change(state, into, notes=_join(kept, body.notes), verdicts=verdicts, struck=struck)


def _define(state: State, body: schema.ModeDefined) -> None:
    old = Mode(body.surface, body.mode, body.name, promoted=True)
    if (body.surface, body.mode) in state or body.version > 1:
        old = _find_standing(state, body.surface, body.mode)
    if body.version >= old.version:
        _change(state, old, **body.model_dump())


def _merge(state: State, body: schema.ModeMerged) -> None:
    into = _find_standing(state, body.surface, body.into)
    sources = [_find_standing(state, body.surface, source) for source in body.sources]
    names = [*body.sources, body.into]
    if len(set(names)) < len(names):
        raise LabelError(f"a mode cannot be merged into itself: {', '.join(names)}")
    for source in sources:
        _keep_counting(source, into)
    for source in sources:
        _change(state, source, ended="merged", heirs=(into.mode,), otherwise=into.mode)
    _change(state, into, notes=_join(*(mode.notes for mode in (into, *sources))))


def _split(state: State, body: schema.ModeSplit) -> None:
    source = _find_standing(state, body.surface, body.source)
    if body.source in body.parts:
        raise LabelError(f"{body.source!r} ends with the split: name its parts anew")
    if odd := ({body.otherwise} | body.notes.keys()) - body.parts.keys():
        raise LabelError(f"{min(odd)!r} is none of the parts {', '.join(body.parts)}")
    new = {
        (body.surface, name): Mode(body.surface, name, body.names.get(name, name))
        for name in body.parts
    }
    parts = [_find_standing({**new, **state}, body.surface, name) for name in body.parts]
    for part in parts:
        _keep_counting(source, part)
    sessions = _invert("session", body.parts)
    homes = dict.fromkeys(source.notes, body.otherwise) | _invert("note", body.notes)
    if strange := homes.keys() - set(source.notes):
        raise LabelError(f"note {min(strange)} is no member of {body.source!r}")
    for part in parts:
        own = [note for note, home in homes.items() if home == part.mode]
        _change(state, part, notes=_join(part.notes, own))
    heirs = {"heirs": tuple(body.parts), "otherwise": body.otherwise, "sessions": sessions}
    _change(state, source, ended="split", **heirs)


def _promote(state: State, body: schema.ModePromoted) -> None:
    mode = _find_standing(state, body.surface, body.mode)
    if mode.status == "live":
        raise LabelError(f"{body.mode!r} counts already")
    if mode.missing:
        raise LabelError(f"{body.mode!r} lacks {', '.join(mode.missing)}: fill in and promote then")
    _change(state, mode, promoted=True)


def _propose(state: State, body: schema.CodebookProposed) -> None:
    names = [draft.mode for draft in body.drafts]
    taken = [name for name in names if (body.surface, name) in state or names.count(name) > 1]
    if taken:
        raise LabelError(f"there is a mode {taken[0]!r} already: propose it under another key")
    _invert("note", {draft.mode: draft.notes for draft in body.drafts})
    for draft in body.drafts:
        _change(state, Mode(body.surface, draft.mode, draft.name), notes=_join(draft.notes))


def _change(state: State, old: Mode, /, **fields: Any) -> None:
    state[old.surface, old.mode] = replace(old, **fields)


def _keep_counting(source: Mode, heir: Mode) -> None:
    if source.status == "live" and heir.status != "live":
        lacks = ", ".join(heir.missing) or "promotion"
        raise LabelError(
            f"{source.mode!r} counts and {heir.mode!r} does not (it lacks {lacks}): its labels "
            f"would be lost, so define {heir.mode!r} in full first"
        )


def _find_standing(state: State, surface: str, mode: str) -> Mode:
    found = Codebook(state, {}).find(surface, mode)
    if found.ended:
        into = f" into {', '.join(found.heirs)}" if found.heirs else ""
        instead = "act on what it became" if found.heirs else "define another"
        raise LabelError(f"{mode!r} was {found.ended}{into}: {instead}, or undo that event")
    return found


def _invert(what: str, homes: Mapping[str, Iterable[Each]]) -> dict[Each, str]:
    """Map each listed item to its home."""
    inverted: dict[Each, str] = {}
    for home, listed in homes.items():
        for each in listed:
            if inverted.setdefault(each, home) != home:
                raise LabelError(f"{what} {each} is listed under {inverted[each]!r} and {home!r}")
    return inverted


def _join(*notes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({each for listed in notes for each in listed}))
