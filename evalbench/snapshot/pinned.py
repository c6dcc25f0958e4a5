"""What a snapshot pins, and what it reads of the two stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl

from evalbench.label.annotation import retraction
from evalbench.operate import evidence
from evalbench.schema import KEYS
from evalbench.session import Session, read_sessions
from evalbench.store.engines import collect, scan_with_spark
from evalbench.store.workspace import Workspace

Kept = TypeVar("Kept")


class shared(cached_property[Kept]):
    """A cached property that is the same in every quarter: all snapshots of one state share it."""

    def __get__(self, view: Any, owner: Any = None) -> Any:
        """Return what was kept of it, else compute it."""
        asked = view.engine, view.surface, view.seed, view.margin
        state = *asked, view.ledger_seq, *view.lake_versions.items()
        place = self.attrname, *state
        if place not in view.kept:
            view.kept[place] = self.func(view)
        return view.kept[place]


@dataclass(frozen=True)
class Pinned:
    """What a workspace holds and means at one version of each table and one event of the ledger.

    ``margin`` is the smallest change worth knowing of, ``engine`` reads the lake. No number depends
    on what was asked before.
    """

    ws: Workspace
    surface: str | None
    quarter: str
    lake_versions: Mapping[str, int]
    ledger_seq: int
    seed: int
    margin: float
    engine: str = "polars"
    kept: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def pins(self) -> dict[str, Any]:
        """What was pinned, as functions of the stages take it."""
        return {"lake_versions": dict(self.lake_versions), "ledger_seq": self.ledger_seq}

    @property
    def measured(self) -> dict[str, Any]:
        """What every function that measures takes: the level of intervals, and a generator."""
        return {"level": self.ws.settings.level, "rng": np.random.default_rng(self.seed)}

    @property
    def drawn_from(self) -> dict[str, Any]:
        """What a draw of these sessions has to note, so that its strata can be found again."""
        about = {"surface": self.surface, "quarter": self.quarter, "seed": self.seed}
        return about | self._window | {"lake_versions": dict(self.lake_versions)}

    @cached_property
    def now(self) -> datetime:
        """When the last event was written: the present of what is pinned."""
        ledger, seq = self.ws.ledger, self.ledger_seq
        return max(ledger.events(since=seq - 1, until=seq)["at"], default=ledger.clock())

    @cached_property
    def sessions(self) -> pl.DataFrame:
        """The sessions of the quarter."""
        rows = self.scan("session")
        return collect(rows).sort(KEYS["session"]) if self.engine == "spark" else rows.collect()

    def scan(self, table: str) -> Any:
        """Scan rows with the engine asked for; of sessions those of the quarter."""
        part = self._table(table) | (self._window if table == "session" else {})
        if self.engine == "spark":
            return scan_with_spark(self.ws.lake, table, **part)
        return self.ws.lake.scan(table, **part)

    @cached_property
    def spans(self) -> pl.LazyFrame:
        """The spans of the surface, of any time."""
        return self.ws.lake.spans(**self._table("span"))

    def read_some(self, n: int) -> Iterator[Session]:
        """Read up to ``n`` sessions of each surface whole, chosen at random."""
        rows = self.ws.lake.sessions(**self._window, **self._table("session"))
        named = rows.select("surface", "session_id").collect()
        for (surface,), own in named.group_by("surface", maintain_order=True):
            ids = own["session_id"].sample(min(n, own.height), seed=self.seed).to_list()
            yield from read_sessions(self.ws.lake, str(surface), ids, versions=self.lake_versions)

    @property
    def every_verdict(self) -> pl.LazyFrame:
        """All verdicts as they were given, of any version and standing."""
        rows = self.scan("verdict")
        return collect(rows).lazy() if self.engine == "spark" else rows

    @property
    def _window(self) -> dict[str, Any]:
        return dict(zip(("start", "end"), evidence.quarter_window(self.quarter), strict=True))

    def _table(self, name: str) -> dict[str, Any]:
        return {"surface": self.surface, "version": self.lake_versions[name]}

    def _own(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self.surface is None else rows.filter(surface=self.surface)

    def _events(self, kind: str) -> pl.DataFrame:
        if (place := (kind, self.ledger_seq)) not in self.kept:
            self.kept[place] = retraction.read_bodies(self.ws.ledger, kind, until=self.ledger_seq)
        return self._own(self.kept[place])
