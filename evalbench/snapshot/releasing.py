"""The stages composed for a release: runs of candidates on the cases of a suite."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from evalbench.evaluate import status
from evalbench.label.codebook import restate
from evalbench.release import forecast, golden, leakage, runs, wear
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
        """All golden cases that ever were."""
        return self._own(golden.read_cases(self.ws.ledger, until=self.ledger_seq))

    @cached_property
    def places(self) -> pl.DataFrame:
        """Where golden cases must not stand: what evaluators and the product have seen."""
        return leakage.gather_places(self.specifications, self.frame, self.spans)

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

    @cached_property
    def wear(self) -> pl.DataFrame:
        """What decisions and candidates have done to each suite of the surface that has runs."""
        counting = self.judge_runs(self.runs["run"].to_list())
        gates, how = self._events("gate.decided"), {"margin": self.margin, **self.measured}
        return wear.measure_wear(self.cases, self.runs, gates, counting, **how)

    def read_outputs(self, names: list[str]) -> pl.DataFrame:
        """Read the sessions of runs: ``surface, run, case, repeat`` and the columns of a session.

        Empty where a run's verdicts were made elsewhere, and its outputs are not in the lake.
        """
        return self._read_runs("session", names)

    def read_run_verdicts(self, names: list[str]) -> pl.DataFrame:
        """Read what evaluators said of runs, in the modes of now, by ``run, case, repeat``."""
        given = self._read_runs("verdict", names)
        return restate.restate_verdicts(given, self.codebook)

    def judge_runs(self, names: list[str]) -> pl.DataFrame:
        """Read what evaluators that count, or were made elsewhere, said of runs."""
        return status.counting_verdicts(self.read_run_verdicts(names).lazy(), self.statuses)

    def forecast(self, outcomes: pl.DataFrame, *, by: str = "", **runs: str) -> pl.DataFrame:
        """Forecast what the ``candidate`` does to production beside the ``baseline``.

        The latest release that has rates speaks for production as it is, the last four weeks for
        its traffic; ``by`` names a segment.
        """
        newest = self.whole.frame.sort("since")["release"].last()
        rates = self.whole.rates.filter(status="ok", release=newest).select(
            "mode", "level", estimate="process", low="process_low", high="process_high"
        )
        start = pl.col("started_at").max() - forecast.SPAN
        recent = self.whole.sessions.filter(pl.col("started_at") > start)
        judged = self.verdicts.filter(surface=self.surface)
        traffic = forecast.count_traffic(recent, judged, by=by)
        cases = self.cases.select("case", picked="mode", segment=forecast.read_segment(by))
        return forecast.forecast_release(
            outcomes,
            cases.unique("case"),
            rates,
            traffic,
            sessions_a_week=recent.height / forecast.WEEKS,
            rng=np.random.default_rng(self.seed),
            **runs,
        )

    def _read_runs(self, table: str, names: list[str]) -> pl.DataFrame:
        surfaces = [runs.name_run(str(self.surface), name) for name in names]
        version = self.lake_versions[table]
        parts = [
            self.ws.lake.scan(table, surface=surface, version=version).collect()
            for surface in surfaces
        ]
        return runs.with_cases(pl.concat(parts) if parts else TABLES[table].to_frame())
