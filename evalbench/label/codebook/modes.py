"""Failure modes as they stand: the fold of everything people decided about the codebook."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl

from evalbench import schema, stats
from evalbench.errors import LabelError
from evalbench.schema import columns

KINDS = ("codebook.proposed", "member.confirmed", *(k for k in schema.BODIES if k[:5] == "mode."))
REQUIRED = ("definition", "example", "severity", "failure_class", "owner")
"""What a mode needs to count."""
SAMPLED = 10
"""Members that a person looks at before a cluster counts."""
Status = Literal["draft", "live", "merged", "split", "retired"]
Each = TypeVar("Each", int, str)

MODES = columns(
    (pl.String, " ".join(("status surface mode name", *REQUIRED))),
    (pl.Int64, "version"),
    (pl.List(pl.String), "origins heirs"),
    (pl.Int64, "n_notes n_confirmed"),
)
MEMBERS = columns(
    (pl.String, "surface mode name status"),
    (pl.Int64, "n_notes sampled waiting"),
    (pl.Float64, "precision low high"),
    (pl.String, "missing"),
)


@dataclass(frozen=True)
class Mode:
    """One failure mode at its latest version, and what became of it.

    Attributes
    ----------
    promoted : bool
        False for a cluster of notes that no person has let count yet.
    ended : {"", "merged", "split", "retired"}
    origins, heirs : tuple of str
        The modes it came from, and those it went into.
    sessions : mapping of str to str
        Of a split mode: the heir of each session listed; ``otherwise`` is that of the rest.
    notes : tuple of int
        Its members, as numbers of ``note.added`` events.
    verdicts : mapping of int to bool
        Whether a person found that a member belongs.
    """

    surface: str
    mode: str
    name: str
    definition: str = ""
    example: str = ""
    severity: str | None = None
    failure_class: str | None = None
    owner: str = ""
    version: int = 0
    promoted: bool = False
    ended: Literal["", "merged", "split", "retired"] = ""
    origins: tuple[str, ...] = ()
    heirs: tuple[str, ...] = ()
    sessions: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""
    notes: tuple[int, ...] = ()
    verdicts: Mapping[int, bool] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Which of the required fields are empty."""
        return tuple(name for name in REQUIRED if not getattr(self, name))

    @property
    def status(self) -> Status:
        """A draft counts nowhere."""
        return self.ended or ("live" if self.promoted and not self.missing else "draft")

    def sample(self, members: int = SAMPLED) -> tuple[int, ...]:
        """Draw members to look at; the same ones every time, also as other notes join."""
        ordered = sorted(self.notes, key=lambda note: hashlib.sha256(str(note).encode()).digest())
        return tuple(ordered[:members])

    def waiting(self, members: int = SAMPLED) -> tuple[int, ...]:
        """Give the sampled members that nobody has looked at."""
        return tuple(note for note in self.sample(members) if note not in self.verdicts)

    def precision(
        self, members: int = SAMPLED, *, level: float = 0.95, rng: np.random.Generator
    ) -> stats.Estimate:
        """Estimate the share of its notes that belong, by the sampled ones; ValueError if none was.

        Of the sample only those count that somebody has looked at.
        """
        looked = [self.verdicts[note] for note in self.sample(members) if note in self.verdicts]
        return stats.proportion(looked, level=level, rng=rng)


Modes = Mapping[tuple[str, str], Mode]


@dataclass(frozen=True)
class Codebook:
    """All modes that ever were, and the events that could not hold.

    Attributes
    ----------
    modes : mapping of (str, str) to Mode
        By surface and mode, in their order.
    void : mapping of int to str
        Events without effect, by number, with the reason; the functions of
        :mod:`evalbench.label.codebook.acts` write none.
    """

    modes: Modes
    void: Mapping[int, str]

    def find(self, surface: str, mode: str) -> Mode:
        """Give one mode; LabelError where there is none."""
        return _find(self.modes, surface, mode)

    def follow(self, surface: str, mode: str, session_id: str | None) -> str | None:
        """Say which live mode a label of this session means today; None where it means none.

        Without a session only merges are followed: no part of a split mode is what the whole was.
        """
        found = self.modes.get((surface, mode))
        while found and found.heirs:
            if found.ended == "split" and session_id is None:
                return None
            found = self.modes[surface, found.sessions.get(session_id or "", found.otherwise)]
        return found.mode if found and found.status == "live" else None

    @cached_property
    def live(self) -> pl.DataFrame:
        """The modes that count, with the fields of their definition; sorted by surface and mode."""
        return self.to_frame().filter(status="live").select(list(schema.ModeDefined.model_fields))

    @cached_property
    def named(self) -> pl.DataFrame:
        """``surface, mode`` of all that a label may name: an old name lives on in its heirs."""
        return self.to_frame().filter(pl.col("status") != "draft").select("surface", "mode")

    def to_frame(self) -> pl.DataFrame:
        """One row a mode: its definition, status, origins, heirs, n_notes and n_confirmed."""
        rows = [
            (
                *(getattr(mode, name) for name in list(MODES)[:-2]),
                len(mode.notes),
                len(mode.verdicts),
            )
            for mode in self.modes.values()
        ]
        return pl.DataFrame(rows, schema=MODES, orient="row")

    def to_members(
        self, members: int = SAMPLED, *, level: float = 0.95, rng: np.random.Generator
    ) -> pl.DataFrame:
        """Tell how far the members of each standing mode that has some were looked at.

        Columns :data:`MEMBERS`: ``waiting`` were sampled and not looked at, ``precision, low,
        high`` are null where nobody looked, ``missing`` are fields as text.
        """
        rows = []
        for mode in self.modes.values():
            if mode.notes and not mode.ended:
                sampled, waiting = len(mode.sample(members)), len(mode.waiting(members))
                looked = waiting < sampled
                found = mode.precision(members, level=level, rng=rng) if looked else None
                share = (found.estimate, found.low, found.high) if found else (None, None, None)
                about = (mode.surface, mode.mode, mode.name, mode.status, len(mode.notes))
                rows.append((*about, sampled, waiting, *share, ", ".join(mode.missing)))
        return pl.DataFrame(rows, schema=MEMBERS, orient="row")


class Act(NamedTuple):
    """One event of the codebook."""

    seq: int
    at: datetime
    actor: str
    kind: str
    body: Any


def read_acts(events: pl.DataFrame) -> list[Act]:
    """Take the codebook's acts out of events as ``ledger.events`` gives them."""
    found = events.filter(pl.col("kind").is_in(KINDS)).sort("seq").select(Act._fields)
    return [
        Act(seq, at, actor, kind, schema.BODIES[kind].model_validate_json(text))
        for seq, at, actor, kind, text in found.iter_rows()
    ]


def find_undone(acts: Iterable[Act]) -> dict[int, int]:
    """Give the events that are undone, each with the undo that stands; an undone undo is a redo."""
    undone: dict[int, int] = {}
    for act in sorted(acts, reverse=True):
        if isinstance(act.body, schema.ModeUndone) and act.seq not in undone:
            undone[act.body.undoes] = act.seq
    return undone


def fold(acts: Iterable[Act]) -> Codebook:
    """Fold acts, in their order, into the codebook they leave."""
    acts = list(acts)
    undone, seqs = find_undone(acts), {act.seq for act in acts}
    state: State = {}
    void = {}
    for act in acts:
        try:
            if isinstance(act.body, schema.ModeUndone):
                _check_undo(act, undone, seqs)
            elif act.seq not in undone:
                _apply(state, act.body)
        except LabelError as error:
            void[act.seq] = str(error)
    return Codebook(dict(sorted(state.items())), void)


def _check_undo(act: Act, undone: Mapping[int, int], seqs: set[int]) -> None:
    target = act.body.undoes
    if target not in seqs:
        raise LabelError(f"event {target} is no act of the codebook: there is nothing to undo")
    if (by := undone.get(target, act.seq)) != act.seq:
        raise LabelError(f"event {target} is undone: undo event {by} to do it again")


State = dict[tuple[str, str], Mode]


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
            retired = _find_standing(state, body.surface, body.mode)
            state[body.surface, body.mode] = replace(retired, ended="retired")
        case schema.ModePromoted():
            _promote(state, body)
        case schema.CodebookProposed():
            _propose(state, body)
        case schema.MemberConfirmed():
            mode = _find_standing(state, body.surface, body.mode)
            if body.note not in mode.notes:
                raise LabelError(f"note {body.note} is no member of {body.mode!r}")
            verdicts = {**mode.verdicts, body.note: body.belongs}
            state[body.surface, body.mode] = replace(mode, verdicts=verdicts)


def _define(state: State, body: schema.ModeDefined) -> None:
    old = Mode(body.surface, body.mode, body.name, promoted=True)
    if (body.surface, body.mode) in state or body.version > 1:
        old = _find_standing(state, body.surface, body.mode)
    if body.version >= old.version:
        state[body.surface, body.mode] = replace(old, **body.model_dump())


def _merge(state: State, body: schema.ModeMerged) -> None:
    into = _find_standing(state, body.surface, body.into)
    sources = [_find_standing(state, body.surface, source) for source in body.sources]
    names = [*body.sources, body.into]
    if len(set(names)) < len(names):
        raise LabelError(f"a mode cannot be merged into itself: {', '.join(names)}")
    for source in sources:
        _keep_counting(source, into)
    for source in sources:
        state[body.surface, source.mode] = replace(
            source, ended="merged", heirs=(into.mode,), otherwise=into.mode
        )
    notes = _join(sorted(note for mode in (into, *sources) for note in mode.notes))
    origins = _join(into.origins, body.sources)
    state[body.surface, into.mode] = replace(into, origins=origins, notes=notes)


def _split(state: State, body: schema.ModeSplit) -> None:
    source = _find_standing(state, body.surface, body.source)
    if body.source in body.parts:
        raise LabelError(f"{body.source!r} ends with the split: name its parts anew")
    if odd := ({body.otherwise} | body.notes.keys()) - body.parts.keys():
        raise LabelError(f"{min(odd)!r} is none of the parts {', '.join(body.parts)}")
    new = {(body.surface, name): Mode(body.surface, name, name) for name in body.parts}
    parts = {name: _find_standing({**new, **state}, body.surface, name) for name in body.parts}
    for part in parts.values():
        _keep_counting(source, part)
    notes = dict.fromkeys(source.notes, body.otherwise)
    notes |= _invert("note", body.notes)
    if strange := notes.keys() - set(source.notes):
        raise LabelError(f"note {min(strange)} is no member of {body.source!r}")
    for name, part in parts.items():
        own = (note for note, home in notes.items() if home == name)
        origins, members = _join(part.origins, [body.source]), _join(sorted((*part.notes, *own)))
        state[body.surface, name] = replace(part, origins=origins, notes=members)
    state[body.surface, body.source] = replace(
        source,
        ended="split",
        heirs=tuple(body.parts),
        otherwise=body.otherwise,
        sessions=_invert("session", body.parts),
    )


def _promote(state: State, body: schema.ModePromoted) -> None:
    mode = _find_standing(state, body.surface, body.mode)
    if mode.status == "live":
        raise LabelError(f"{body.mode!r} counts already")
    if mode.missing:
        raise LabelError(f"{body.mode!r} lacks {', '.join(mode.missing)}: fill in and promote then")
    state[body.surface, body.mode] = replace(mode, promoted=True)


def _propose(state: State, body: schema.CodebookProposed) -> None:
    names = [draft.mode for draft in body.drafts]
    taken = [name for name in names if (body.surface, name) in state or names.count(name) > 1]
    if taken:
        raise LabelError(f"there is a mode {taken[0]!r} already: propose it under another key")
    _invert("note", {draft.mode: draft.notes for draft in body.drafts})
    for draft in body.drafts:
        new = Mode(body.surface, draft.mode, draft.name, notes=_join(sorted(draft.notes)))
        state[body.surface, draft.mode] = new


def _keep_counting(source: Mode, heir: Mode) -> None:
    if source.status == "live" and heir.status != "live":
        lacks = ", ".join(heir.missing) or "promotion"
        raise LabelError(
            f"{source.mode!r} counts and {heir.mode!r} does not (it lacks {lacks}): its labels "
            f"would be lost, so define {heir.mode!r} in full first"
        )


def _find_standing(state: Modes, surface: str, mode: str) -> Mode:
    found = _find(state, surface, mode)
    if found.ended:
        into = f" into {', '.join(found.heirs)}" if found.heirs else ""
        instead = "act on what it became" if found.heirs else "define another"
        raise LabelError(f"{mode!r} was {found.ended}{into}: {instead}, or undo that event")
    return found


def _find(state: Modes, surface: str, mode: str) -> Mode:
    if (surface, mode) not in state:
        there = ", ".join(name for where, name in sorted(state) if where == surface) or "none yet"
        raise LabelError(f"no mode {mode!r} of {surface}; there are {there}; define it first")
    return state[surface, mode]


def _invert(what: str, homes: Mapping[str, Iterable[Each]]) -> dict[Each, str]:
    """Give each listed item its home."""
    inverted: dict[Each, str] = {}
    for home, listed in homes.items():
        for each in listed:
            if inverted.setdefault(each, home) != home:
                raise LabelError(f"{what} {each} is listed under {inverted[each]!r} and {home!r}")
    return inverted


def _join(*parts: Iterable[Each]) -> tuple[Each, ...]:
    """Join without repeats."""
    return tuple(dict.fromkeys(each for part in parts for each in part))
