"""Failure modes as they stand: what each is, whether it counts, and what became of it."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.errors import LabelError
from evalbench.schema import MODE_KEYS, ModeDefined, columns

# What a mode needs to count.
REQUIRED = ("definition", "example", "severity", "failure_class", "owner")
SAMPLED = 10  # members that a person looks at before a cluster counts
Status = Literal["draft", "live", "merged", "split", "retired"]

MODES = columns((pl.String, " ".join((*ModeDefined.model_fields, "status"))))
MODES["version"] = pl.Int64()
MEMBERS = columns((pl.String, "surface mode name status"), (pl.Int64, "n_notes waiting"))
MEMBERS["missing"] = pl.List(pl.String)


@dataclass(frozen=True)
class Mode:
    """One failure mode at its latest version, and what became of it.

    ``heirs`` are the modes it went into; of a split mode ``sessions`` gives the heir of each
    session listed, ``otherwise`` that of the rest. ``notes`` are its members (``note.added``
    events), ``verdicts`` say whether a person found that one belongs, ``struck`` were found to be
    none.
    """

    surface: str
    mode: str
    name: str
    definition: str = ""
    example: str = ""
    severity: str | None = None
    failure_class: str | None = None
    owner: str = ""
    key: str = ""
    version: int = 1
    promoted: bool = False
    ended: Literal["", "merged", "split", "retired"] = ""
    heirs: tuple[str, ...] = ()
    sessions: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""
    notes: tuple[int, ...] = ()
    verdicts: Mapping[int, bool] = field(default_factory=dict)
    struck: tuple[int, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the required fields that are empty."""
        return tuple(name for name in REQUIRED if not getattr(self, name))

    @property
    def status(self) -> Status:
        """Return how it stands; a draft counts nowhere."""
        return self.ended or ("live" if self.promoted and not self.missing else "draft")

    def sample(self) -> tuple[int, ...]:
        """Draw members to look at; the same ones every time, also as other notes join."""
        ordered = sorted(self.notes, key=lambda note: hashlib.sha256(str(note).encode()).digest())
        return tuple(ordered[:SAMPLED])

    def waiting(self) -> tuple[int, ...]:
        """Return the sampled members that nobody has looked at."""
        return tuple(note for note in self.sample() if note not in self.verdicts)

    def precision(self, *, level: float, rng: np.random.Generator) -> stats.Estimate | None:
        """Estimate the share of its notes that belong, by those sampled that a person looked at."""
        looked = [self.verdicts[note] for note in self.sample() if note in self.verdicts]
        return stats.proportion(looked, level=level, rng=rng) if looked else None


Modes = Mapping[tuple[str, str], Mode]


@dataclass(frozen=True)
class Codebook:
    """All modes that ever were, by surface and key; ``void`` says which events could not hold."""

    modes: Modes
    void: Mapping[int, str]

    def find(self, surface: str, mode: str) -> Mode:
        """Return one mode; LabelError where there is none."""
        if (surface, mode) not in self.modes:
            own = ", ".join(name for where, name in sorted(self.modes) if where == surface)
            known = f"there are {own}" if own else "there are none yet"
            raise LabelError(f"no mode {mode!r} of {surface}; {known}; define it first")
        return self.modes[surface, mode]

    def follow(self, surface: str, mode: str, session_id: str | None) -> str | None:
        """Return the live mode that a label means today, of splits by its session; None: none."""
        found = self.modes.get((surface, mode))
        while found and found.heirs:
            if found.ended == "split" and session_id is None:
                return None
            found = self.modes[surface, found.sessions.get(session_id or "", found.otherwise)]
        return found.mode if found and found.status == "live" else None

    def keys(self, surface: str) -> dict[str, str]:
        """Return the key of each standing mode: its own, else the next one that is free, if any."""
        modes = [each for each in self.modes.values() if each.surface == surface and not each.ended]
        own = {each.mode: each.key for each in modes if each.key}
        free = (key for key in MODE_KEYS if key not in own.values())
        counting = [each.mode for each in modes if not each.key and each.status == "live"]
        return own | {mode: next(free, "") for mode in counting}

    @cached_property
    def live(self) -> pl.DataFrame:
        """The modes that count, with the fields of their definition; sorted by surface and mode."""
        return self.to_frame().filter(status="live").drop("status")

    @cached_property
    def named(self) -> pl.DataFrame:
        """``surface, mode`` of all that a label may name: an old name lives on in its heirs."""
        return self.to_frame().filter(pl.col("status") != "draft").select("surface", "mode")

    def to_frame(self) -> pl.DataFrame:
        """Return one row a mode: its definition and its status."""
        rows = [[getattr(mode, name) for name in MODES] for mode in self.modes.values()]
        return pl.DataFrame(rows, schema=MODES, orient="row")

    def to_members(self) -> pl.DataFrame:
        """Count for each standing mode its notes, and those sampled that nobody looked at."""
        rows = [
            (*key, mode.name, mode.status, len(mode.notes), len(mode.waiting()), mode.missing)
            for key, mode in self.modes.items()
            if mode.notes and not mode.ended
        ]
        members = pl.DataFrame(rows, schema=MEMBERS, orient="row")
        return members.with_columns(pl.col("missing").list.join(", "))


def make_key(name: str, taken: Collection[str]) -> str:
    """Make the key of a mode of its name: lower case with underscores, and none that is taken."""
    key = "_".join(re.findall(r"\w+", name.lower()))[:60] or "mode"
    numbered = (f"{key}_{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (key, *numbered) if each not in taken)
