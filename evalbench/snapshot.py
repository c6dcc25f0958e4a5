"""The workspace as of pinned versions: the one composition of the stages, asked by notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from evalbench.evaluate import calibrate, spec, status
from evalbench.evaluate.importing import read_rule
from evalbench.evaluate.split import with_split
from evalbench.label.agreement import consensus, measures
from evalbench.label.annotation import queue, retraction
from evalbench.label.codebook import acts, restate
from evalbench.label.codebook.modes import Codebook
from evalbench.label.discovery import drafts, saturation, texts
from evalbench.observe.sampling.draw import stratify
from evalbench.operate import evidence, impact
from evalbench.schema import QueueDrawn
from evalbench.session import Session, read_sessions
from evalbench.store.workspace import Workspace, open_workspace


@dataclass(frozen=True)
class Snapshot:
    """What a workspace holds and means at one version of each table and one event of the ledger.

    ``surface`` is None for all; ``quarter`` limits the sessions; ``margin`` is the smallest change
    worth knowing of, as a share of sessions. No number depends on what was asked before it.
    """

    ws: Workspace
    surface: str | None
    quarter: str
    lake_versions: Mapping[str, int]
    ledger_seq: int
    seed: int
    margin: float

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
    def sessions(self) -> pl.DataFrame:
        """The sessions of the quarter."""
        return self.ws.lake.sessions(**self._window, **self._table("session")).collect()

    @cached_property
    def spans(self) -> pl.LazyFrame:
        """The spans of the surface, of any time."""
        return self.ws.lake.spans(**self._table("span"))

    def read_some(self, n: int) -> Iterator[Session]:
        """Read up to ``n`` sessions of each surface whole, chosen at random."""
        for (surface,), own in self.sessions.group_by("surface", maintain_order=True):
            ids = own["session_id"].sample(min(n, own.height), seed=self.seed).to_list()
            yield from read_sessions(self.ws.lake, str(surface), ids, versions=self.lake_versions)

    @property
    def every_verdict(self) -> pl.LazyFrame:
        """All verdicts as they were given, of any version and standing."""
        return self.ws.lake.verdicts(**self._table("verdict"))

    @cached_property
    def codebook(self) -> Codebook:
        """All failure modes that ever were, and what became of them."""
        return acts.read_codebook(self.ws.ledger, until=self.ledger_seq)

    @cached_property
    def modes(self) -> pl.DataFrame:
        """The failure modes that count."""
        return self._own(self.codebook.live)

    @cached_property
    def labels(self) -> pl.DataFrame:
        """What each annotator said of a session, in the modes of now."""
        return restate.restate(self._events("label.set"), self.codebook)

    @cached_property
    def rulings(self) -> pl.DataFrame:
        """What adjudicators decided, in the modes of now."""
        return restate.restate(self._events("label.adjudicated"), self.codebook)

    @cached_property
    def truth(self) -> pl.DataFrame:
        """What people decided of each session and mode: the adjudicator's ruling, else the vote."""
        return consensus.decide(self.labels, self.rulings, self.modes)

    @cached_property
    def judgements(self) -> pl.DataFrame:
        """What each annotator who is sure says of each mode and of the session as a whole."""
        return measures.with_week(consensus.judgements(self.labels, self.modes, with_any=True))

    @cached_property
    def ratings(self) -> pl.DataFrame:
        """The last rating of each session by each annotator on each scale, as judgements."""
        return measures.latest_ratings(self._events("rating.set"))

    @cached_property
    def queues(self) -> pl.DataFrame:
        """The queues that are not done."""
        return queue.find_queues(self.ws.ledger, self.surface, until=self.ledger_seq)

    def queue_state(self, number: int) -> pl.DataFrame:
        """Tell how every item of a queue stands; 0 is no queue."""
        return queue.read_state(self.ws.ledger, number, until=self.ledger_seq)

    @property
    def comments(self) -> pl.DataFrame:
        """What annotators wrote to whoever leads the labelling."""
        return self._events("comment.added")

    @cached_property
    def shipped(self) -> pl.DataFrame:
        """The releases that were announced."""
        return self._events("release.shipped")

    @cached_property
    def draws(self) -> dict[int, QueueDrawn]:
        """The draws that may cover sessions of the quarter, by the number of their event."""
        events = self.ws.ledger.events("queue.drawn", until=self.ledger_seq)
        return evidence.read_draws(events, surface=self.surface, **self._window)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Sessions in the order of releases: ``since`` (the release), ``drawn, labelled, split``.

        And ``stratum, inclusion_probability``, null in no draw, beside the columns of a session.
        """
        placed = evidence.combine_draws(self._place(*draw) for draw in self.draws.items())
        frame = evidence.report_frame(self.sessions, placed, self.shipped)
        known = self.labels.select(*impact.SESSION_KEY, labelled=True).unique()
        joined = frame.join(known, on=impact.SESSION_KEY, how="left", maintain_order="left")
        return with_split(joined.with_columns(pl.col("labelled").fill_null(False)))

    @cached_property
    def specifications(self) -> dict[str, spec.Specification]:
        """The evaluators defined here, by id, at their latest version."""
        return spec.read_specifications(self.ws.ledger, until=self.ledger_seq)

    @cached_property
    def statuses(self) -> pl.DataFrame:
        """What the latest version of every evaluator may be used for, by the last event's time."""
        ledger, seq = self.ws.ledger, self.ledger_seq
        now = max(ledger.events(since=seq - 1, until=seq)["at"], default=ledger.clock())
        aged: dict[str, Any] = {"settings": self.ws.settings.evaluators, "now": now, "until": seq}
        return self._own(status.read_statuses(ledger, self.every_verdict, **aged))

    @property
    def tried(self) -> pl.DataFrame:
        """What each calibration on record found."""
        return calibrate.read_looks(self.ws.ledger, until=self.ledger_seq)

    @cached_property
    def verdicts(self) -> pl.DataFrame:
        """Verdicts of evaluators that count, or that were made elsewhere, in the modes of now."""
        return restate.restate_verdicts(self._counting_verdicts, self.codebook)

    @cached_property
    def estimated(self) -> list[impact.SurfaceRates]:
        """Rates of all failure modes in all releases, each over its whole life."""
        return self._estimate(self._whole.frame, self.truth, self.modes)

    @cached_property
    def rates(self) -> pl.DataFrame:
        """How often each failure mode occurs in each release that has sessions in the quarter."""
        rates = impact.rates_table(self.estimated, quarter=self.quarter)
        return rates.join(self.frame, on=impact.RELEASE_KEY, how="semi", maintain_order="left")

    @cached_property
    def changes(self) -> pl.DataFrame:
        """What each release that has sessions in the quarter changed."""
        asked = {"margin": self.margin, "level": self.ws.settings.level}
        return impact.release_changes(self.estimated, self.frame, self.shipped, **asked)

    @cached_property
    def overall_rates(self) -> pl.DataFrame:
        """How often each failure mode occurs, releases taken together."""
        return self._rate_overall(self.truth, self.modes)

    @cached_property
    def restated(self) -> pl.DataFrame:
        """How many labels and verdicts count under another mode than they were given."""
        given = self._events("label.set").join(self.frame, on=impact.SESSION_KEY, how="semi")
        return restate.count_restated(given, self._counting_verdicts, self.codebook)

    def compare(
        self, criterion: str, *, fails_when: str, tie: str = ""
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return judgements and truth; of ratings on a ``criterion``, a ``tie`` is undecided."""
        if not criterion:
            return self.judgements, self.truth.rename({"fails": "truth"})
        rated = self.ratings.filter(mode=criterion)
        return calibrate.compare_ratings(rated, fails=read_rule(fails_when), tie=tie)

    def review(self, book: Codebook) -> pl.DataFrame:
        """List the sessions that people read, with the kinds of failure that each showed."""
        seen = drafts.list_seen(book, self._notes, self.truth)
        return saturation.review(self.labels, seen, self.frame)

    def draft_rates(self, book: Codebook) -> pl.DataFrame:
        """Estimate how often each draft happens at least, by the notes that are in it."""
        noted = drafts.label_drafts(book, self._notes, self.labels)
        return self._rate_overall(noted, book.to_frame().filter(status="draft"))

    @cached_property
    def _notes(self) -> pl.DataFrame:
        return texts.read_notes(self.ws.ledger, str(self.surface), until=self.ledger_seq)

    @cached_property
    def _counting_verdicts(self) -> pl.DataFrame:
        return status.counting_verdicts(self.every_verdict, self.statuses)

    @property
    def _whole(self) -> Snapshot:
        return self if self.quarter == evidence.WHOLE else replace(self, quarter=evidence.WHOLE)

    def _estimate(self, frame: pl.DataFrame, *labels_and_modes: Any) -> list[impact.SurfaceRates]:
        """Estimate rates; what is defined here may have learnt from labels of the train split."""
        learnt = pl.col("evaluator_id").is_in(list(self.specifications))
        verdicts = self.verdicts.with_columns(learnt=learnt)
        return impact.estimate_surfaces(frame, verdicts, *labels_and_modes, **self.measured)

    def _rate_overall(self, labels: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
        whole = self.frame.with_columns(release=pl.lit(evidence.WHOLE))
        return impact.rates_table(self._estimate(whole, labels, modes), quarter=self.quarter)

    def _place(self, seq: int, draw: QueueDrawn) -> pl.DataFrame:
        """Put the sessions of a draw into their strata again, by what the lake held then."""
        then, lake = draw.lake_versions, self.ws.lake
        frame: dict[str, Any] = {"surface": draw.surface, "start": draw.start, "end": draw.end}
        sessions = lake.sessions(**frame, version=then.get("session")).collect()
        verdicts = lake.verdicts(surface=draw.surface, version=then.get("verdict"))
        judged = verdicts.collect() if draw.design.evaluators else None
        return evidence.place_draw(seq, draw, stratify(sessions, draw.design, judged))

    @property
    def _window(self) -> dict[str, Any]:
        return dict(zip(("start", "end"), evidence.quarter_window(self.quarter), strict=True))

    def _table(self, name: str) -> dict[str, Any]:
        return {"surface": self.surface, "version": self.lake_versions[name]}

    def _own(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self.surface is None else rows.filter(surface=self.surface)

    def _events(self, kind: str) -> pl.DataFrame:
        return self._own(retraction.read_bodies(self.ws.ledger, kind, until=self.ledger_seq))


def take_snapshot(
    ws: Workspace | str | Path,
    surface: str | None = None,
    quarter: str | None = None,
    lake_versions: Mapping[str, int] | None = None,
    ledger_seq: int | None = None,
    seed: int = 7,
    margin: float = 0.02,
) -> Snapshot:
    """Pin a workspace, given or at a path: what is not pinned is taken as it is now.

    ``surface`` and ``quarter`` "all", or None, are every one; a quarter looks like 2026Q3, else
    EvalbenchError is raised. A ``ledger_seq`` of 0 is the empty ledger, a version of -1 no table.
    """
    opened = ws if isinstance(ws, Workspace) else open_workspace(ws)
    scope = None if surface == "all" else surface, quarter or evidence.WHOLE
    evidence.quarter_window(scope[1])
    seq = opened.ledger.head() if ledger_seq is None else ledger_seq
    return Snapshot(opened, *scope, opened.lake.pin(lake_versions), seq, seed, margin)


class _Callable(ModuleType):
    """Lets ``eb.snapshot(...)`` take one, though ``evalbench.snapshot`` is this module."""

    __call__ = staticmethod(take_snapshot)


sys.modules[__name__].__class__ = _Callable
