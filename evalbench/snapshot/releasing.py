"""The stages composed for a release: runs of candidates on the cases of a suite."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl

from evalbench.evaluate import status
from evalbench.evaluate.score import score
from evalbench.label.codebook import restate
from evalbench.operate import impact
from evalbench.release import (
    compare,
    forecast,
    gate,
    golden,
    leakage,
    overrides,
    replay,
    runs,
    wear,
)
from evalbench.schema import TABLES
from evalbench.snapshot.stages import Stages


class Releasing(Stages):
    """Runs and what evaluators said of them, as of what is pinned."""

    @cached_property
    def runs(self) -> pl.DataFrame:
        """The runs on record, each as it was recorded last; the oldest first."""
        return self._own(runs.read_runs(self.ws.ledger, until=self.ledger_seq))

    @cached_property
    def baselines(self) -> pl.DataFrame:
        """The run that candidates of each surface and suite are compared with."""
        return self._own(runs.read_baselines(self.ws.ledger, until=self.ledger_seq))

    @cached_property
    def cases(self) -> pl.DataFrame:
        """All golden cases that ever were, in the modes of now."""
        cases = self._own(golden.read_cases(self.ws.ledger, until=self.ledger_seq))
        given = cases.select("surface", "mode", "session_id").iter_rows()
        modes = [
            mode and (self.codebook.follow(place, mode, name) or mode)
            for place, mode, name in given
        ]
        return cases.with_columns(mode=pl.Series(modes, dtype=pl.String))

    @cached_property
    def places(self) -> pl.DataFrame:
        """Where golden cases must not stand: what evaluators and the product have seen."""
        unseen = self.sessions.with_columns(labelled=pl.lit(False), split=pl.lit(""))
        seen = unseen if unseen.is_empty() else self.frame
        return leakage.gather_places(self.specifications, seen, self.spans)

    @property
    def leaks(self) -> pl.DataFrame:
        """Where live golden cases stand otherwise."""
        return leakage.find_leaks(self.cases, self.places)

    @cached_property
    def freshness(self) -> pl.DataFrame:
        """When each critical failure mode got its first case, since it counts."""
        events = [
            self._events(kind).group_by("surface", "mode").agg(pl.min("at").alias(kind))
            for kind in ("mode.defined", "mode.promoted")
        ]
        began = events[0].join(events[1], on=["surface", "mode"], how="left")
        since = pl.max_horizontal("mode.defined", "mode.promoted")
        modes = self.modes.join(began.with_columns(since=since), on=["surface", "mode"])
        return wear.list_freshness(modes, self.cases, now=self.now)

    def read_wear(self, candidate: str = "", baseline: str = "") -> pl.DataFrame:
        """Read what decisions and candidates have done to each suite of the surface with runs."""
        counting = self.judge_runs(self.runs["run"].to_list())
        gates, how = self._events("gate.decided"), {"margin": self.margin, **self.measured}
        how |= {"candidate": candidate, "baseline": baseline}
        return wear.measure_wear(self.cases, self.runs, gates, counting, **how)

    def read_outputs(self, names: list[str]) -> pl.DataFrame:
        """Read the sessions of runs by ``run, case, repeat``; none where only verdicts are here."""
        return self._read_runs("session", names)

    def read_run_verdicts(self, names: list[str]) -> pl.DataFrame:
        """Read what evaluators said of runs, in the modes of now, by ``run, case, repeat``."""
        given = self._read_runs("verdict", names)
        return restate.restate_verdicts(given, self.codebook)

    def judge_runs(self, names: list[str]) -> pl.DataFrame:
        """Read what evaluators that count, or were made elsewhere, said of runs."""
        return status.counting_verdicts(self.read_run_verdicts(names).lazy(), self.statuses)

    def read_candidates(self, names: str, baseline: str) -> tuple[Self, compare.Candidates]:
        """Read runs to compare, as ``choose_runs`` takes them, and the snapshot that has them."""
        known = self.runs, self.baselines, str(self.surface)
        chosen = runs.choose_runs(*known, names=names, baseline=baseline)
        wanted, first = chosen["run"].to_list(), chosen["run"][0]
        view = self.score_missing(wanted)
        tried = runs.choose_runs(*known, baseline=first)["run"].to_list()
        read = view.judge_runs(wanted), view.judge_runs(tried), view.read_outputs(tried)
        suite = chosen["suite"][0]
        verdicts, judged, outputs = (golden.drop_retired(rows, self.cases, suite) for rows in read)
        runs.check_comparable(chosen, verdicts)
        every = compare.find_outcomes(judged)
        text = pl.col("messages").list.last().str.json_path_match("$.content")
        asked = outputs.select("case", asked="first_input"), self.cases.select("case", asked=text)
        each = pl.concat(asked).unique("case", keep="first")
        return view, compare.Candidates(first, wanted, verdicts, every, outputs, each)

    def forecast(self, outcomes: pl.DataFrame, *, by: str = "", **runs: str) -> pl.DataFrame:
        """Forecast what the ``candidate`` does to production beside the ``baseline``.

        The baseline's release speaks for production as it is, else the latest; the last four weeks
        of it for the traffic. ``by`` names a segment.
        """
        if self.whole.sessions.is_empty():
            return forecast.FORECAST.to_frame()
        live = self.whole.frame.sort("since")["release"].drop_nulls().unique(maintain_order=True)
        of_run = dict(self.runs.select("run", "release").iter_rows()).get(runs["baseline"])
        release = of_run if of_run in live else live.last()
        rates = self.whole.rates.filter(status="ok", release=release).select(
            "mode", "level", estimate="process", low="process_low", high="process_high"
        )
        own = self.whole.sessions.filter(pl.col("release").eq_missing(pl.lit(release)))
        recent = own.filter(pl.col("started_at") > pl.col("started_at").max() - forecast.SPAN)
        judged = self.verdicts.filter(surface=self.surface)
        traffic = forecast.count_traffic(recent, judged, by=by)
        cases = self.cases.select("case", picked="mode", segment=forecast.read_segment(by))
        return forecast.forecast_release(
            outcomes,
            cases.unique("case"),
            rates,
            traffic,
            forecast.count_errors(self.whole.pair_tested(self.whole.frame)),
            sessions_a_week=recent.height / forecast.WEEKS,
            rng=np.random.default_rng(self.seed),
            **runs,
        )

    def read_gate(self, name: str, candidate: str, baseline: str = "") -> tuple[Self, gate.Case]:
        """Read what a decision is made on, and the snapshot of its surface that it is made at.

        Gating evaluators first judge what they have not: the pin of the verdicts then moves to
        these.
        """
        decision = gate.find_decision(self.ws.settings.decisions, name)
        view = replace(self, surface=decision.surface)
        found = gate.find_runs(view.runs, view.baselines, decision, candidate, baseline)
        both = [found, candidate]
        view = view.score_missing(both)
        case = gate.Case(
            name,
            decision,
            baseline=found,
            candidate=candidate,
            runs=view.runs,
            verdicts=view.read_run_verdicts(both),
            outputs=view.read_outputs(both),
            statuses=view.statuses,
            modes=view.modes,
            golden=view.cases,
            pins=view.pins,
        )
        return view, case

    def replay(self, decision: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Ask today's gate of each past release; without a decision, by the surface's first one."""
        settings, own = self.ws.settings.decisions, self.whole
        decision = (
            decision
            or [*(name for name, each in settings.items() if each.surface == self.surface), ""][0]
        )
        if not decision or own.sessions.is_empty():
            return replay.replay(replay.PAIRS.to_frame(), [], impact.CHANGES.to_frame())
        order = own.frame.unique("release", maintain_order=True)["release"].to_list()
        pairs = replay.pair_releases(own.runs, order)
        cases = [
            own.read_gate(decision, candidate, baseline)[1]
            for candidate, baseline in pairs.select("candidate", "baseline").iter_rows()
        ]
        answers = [gate.answer(case, **self.measured) for case in cases]
        return replay.replay(pairs, answers, own.changes)

    @cached_property
    def scored_forecasts(self) -> pl.DataFrame:
        """What production showed of each release, beside what was forecast."""
        made, level = self._events("forecast.made"), self.ws.settings.level
        changes = self.whole.changes if made.height else impact.CHANGES.to_frame()
        return forecast.score_forecasts(made, changes, level=level)

    @cached_property
    def overrides(self) -> pl.DataFrame:
        """Every override of a gate of the surface, and how it stands."""
        return overrides.read_overrides(self.ws.ledger, until=self.ledger_seq, surface=self.surface)

    def score_missing(self, names: list[str]) -> Self:
        """Let gating evaluators judge what they have not of runs; return a snapshot that has it."""
        gating = self.statuses.filter(status=gate.GATING)["evaluator_id"].to_list()
        wanted = [each for name, each in self.specifications.items() if name in gating]
        versions = [(each.evaluator_id, each.version) for each in wanted]
        given = self._scan_runs("verdict", names).filter(pl.col("error").is_null(), repeat=0)
        by = given.select("evaluator_id", "evaluator_version").rows()
        outputs = self._scan_runs("session", names)
        if sum(each in versions for each in by) >= len(wanted) * len(outputs):
            return self
        for name in names:
            own = outputs.filter(surface=runs.name_run(str(self.surface), name))
            score(self.ws, wanted, own.select("session_id"), run=name)
        return self.with_verdicts()

    def with_verdicts(self) -> Self:
        """Return the same with the verdicts that are there now."""
        now = self.ws.lake.versions()["verdict"]
        return replace(self, lake_versions={**self.lake_versions, "verdict": now})

    def _read_runs(self, table: str, names: list[str]) -> pl.DataFrame:
        return runs.with_cases(self._scan_runs(table, names))

    def _scan_runs(self, table: str, names: list[str]) -> pl.DataFrame:
        surfaces = [runs.name_run(str(self.surface), name) for name in names]
        version = self.lake_versions[table]
        parts = [
            self.ws.lake.scan(table, surface=surface, version=version).collect()
            for surface in surfaces
        ]
        return pl.concat(parts) if parts else TABLES[table].to_frame()
