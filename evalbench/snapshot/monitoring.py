"""The stages composed for production: whether it is well, and if not, what moved."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

import polars as pl

from evalbench.errors import EvalbenchError
from evalbench.evaluate import calibrate, score, status
from evalbench.label.annotation import retraction
from evalbench.label.discovery import kinds
from evalbench.llm import Limits, Spent
from evalbench.observe.sampling.draw import SIGNALS
from evalbench.operate import alerts, canaries, drift, evidence, impact, monitor
from evalbench.operate.quarter import name_quarter
from evalbench.release.runs import name_run
from evalbench.snapshot.operating import Operating

PERIODS = {"day": "1d", "week": "1w"}
AGAIN = 300  # sessions that judges look at again


class Monitoring(Operating):
    """Production of one surface in one quarter, beside all that went before it."""

    @cached_property
    def targets(self) -> pl.DataFrame:
        """What the owners of failure modes hold them to, of all surfaces."""
        events = retraction.read_bodies(self.ws.ledger, "target.set", until=self.ledger_seq)
        return alerts.read_targets(events)

    @cached_property
    def watched(self) -> dict[str, Any]:
        """The ``start`` of the quarter, its ``end``, and ``now``: the last session in it.

        Without a session that has a time the quarter is that of the last event, and it is its end.
        """
        if self.surface is None:
            raise EvalbenchError("monitoring needs one surface: name one with `-p surface`")
        now: Any = self.sessions["started_at"].max()
        own = name_quarter(now or self.now) if self.quarter == evidence.WHOLE else self.quarter
        start, end = map(datetime.fromisoformat, map(str, evidence.quarter_window(own)))
        return {"start": start, "end": end, "now": now or end}

    @cached_property
    def judges(self) -> pl.DataFrame:
        """The evaluator that speaks for each failure mode, and how it errs."""
        tested = self.pair_tested(self._known)
        about = {"by": calibrate.KEY, "settings": self.ws.settings.evaluators, **self.measured}
        return alerts.choose_judges(calibrate.measure_alignment(tested, **about))

    def judge_new(self, share: float, *, calls: int) -> Self:
        """Let the evaluators that count judge what is new; return a snapshot that has it.

        A share of the quarter's sessions, chosen by a hash, and the outputs of canary runs. To show
        whether they moved, judges look again at some sessions, the same each day, and at the older
        canaries. Where nothing was new the pins stay as they are.
        """
        able = set(self.statuses.filter(pl.col("status").is_in(status.COUNTING))["evaluator_id"])
        counting = [each for name, each in self.specifications.items() if name in able]
        judges = [each for each in counting if each.kind == "judge"]
        about: dict[str, Any] = {"limits": Limits(calls=calls), "spent": Spent()}
        about["engine"] = self.engine
        sample = monitor.choose_sample(self._current, share)
        done = [score.score(self.ws, counting, sample, **about)]
        fixed = monitor.choose_sample(self._known, min(AGAIN / max(self._known.height, 1), 1.0))
        day = self.watched["now"].toordinal()
        done.append(score.score(self.ws, judges, fixed, repeat=day, **about))
        older, newer = canaries.split_runs(self.runs)
        for run in older + newer:
            outputs = self.ws.lake.sessions(surface=name_run(str(self.surface), run)).collect()
            asked = {"sessions": outputs["session_id"].to_list(), "run": run, **about}
            done.append(score.score(self.ws, counting, **asked))
            if run in older:
                done.append(score.score(self.ws, judges, repeat=day, **asked))
        return self.with_verdicts() if any(each.verdicts for each in done) else self

    def watch_rates(self, every: str, *, share: float) -> pl.DataFrame:
        """Estimate the rate of each failure mode by "day" or "week" of the quarter."""
        if every not in PERIODS:
            raise EvalbenchError(f"every must be {' or '.join(PERIODS)}, got {every!r}")
        found = self._estimate_periods(PERIODS[every], self.truth, share)
        return monitor.period_rates(found, self.modes, self.targets, start=self.watched["start"])

    def spend_budgets(self, *, share: float) -> pl.DataFrame:
        """Set what failed in the quarter against what the targets allow."""
        found = self._estimate_periods("1q", self.truth, share)
        return monitor.spend_budgets(found, self.modes, self.targets, **self.watched)

    def score_nowcasts(self, *, share: float) -> pl.DataFrame:
        """Set what the judges alone said of the quarter beside what its labels say."""
        start = self.watched["start"]
        labels = self.truth.join(self._current, on=impact.SESSION_KEY, how="anti")
        guessed = self._estimate_periods("1q", labels, share)
        frame = monitor.put_in_periods(self._current, start=start, every="1q")
        silent = self.verdicts.clear().with_columns(learnt=pl.lit(False))
        read = impact.estimate_surfaces(frame, silent, self.truth, self.modes, **self.measured)
        return monitor.score_nowcasts(guessed, read, start=start)

    @cached_property
    def alerts(self) -> pl.DataFrame:
        """The evidence against each target that an evaluator speaks for."""
        stream = alerts.judge_stream(self.verdicts, self.judges)
        when = {name: self.watched[name] for name in ("start", "end")}
        company = (self.targets, self.codebook.live, self.judges, stream, self._known)
        return alerts.watch_targets(*company, weights=status.SEVERITIES, **when)

    def compare_traffic(self, days: int, *, tolerance: float) -> pl.DataFrame:
        """Compare the traffic of the last ``days`` with that of the ``days`` before."""
        parts = self._split_recent(days)
        asked = {"rng": self.measured["rng"], "seed": self.seed}
        sorted_ = kinds.sort_sessions(pl.concat(parts), "first_input", **asked)
        request = sorted_.select(impact.SESSION_KEY, request="kind")
        placed = (part.join(request, on=impact.SESSION_KEY, how="left") for part in parts)
        sides = (drift.list_traits(part, self.spans, SIGNALS) for part in placed)
        return drift.compare_mix(*sides, tolerance=tolerance, level=self.ws.settings.level)

    def find_causes(self, days: int, *, segment: str) -> pl.DataFrame:
        """Say of each failure mode what moved it in the last ``days``, against those before."""
        stream = alerts.judge_stream(self.verdicts, self.judges)
        before, after = (
            canaries.with_segment(stream, part, segment) for part in self._split_recent(days)
        )
        every = self.every_verdict.filter(surface=self.surface).collect()
        runs = self.runs.filter(suite=canaries.CANARY)
        replayed = self._judge_runs(runs)
        steady = [name for name, each in self.specifications.items() if each.kind != "judge"]
        return canaries.find_causes(
            before,
            after,
            canaries.judged_again(every, self.judges),
            canaries.pair_replays(runs, replayed),
            self.modes,
            steady=steady,
            **self.measured,
        )

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """How far failures on suites were from those in production, release by release."""
        released = self.runs.drop_nulls("release")
        judged = self._judge_runs(released)
        rates = self.rates if released.height else pl.DataFrame(schema=impact.RATES)
        return monitor.compare_offline(released, judged, rates, **self.measured)

    @cached_property
    def _known(self) -> pl.DataFrame:
        """The sessions of the quarter and all before it, with their strata."""
        frame: pl.DataFrame = self.whole.frame
        return frame.filter(pl.col("started_at") < self.watched["end"])

    def _judge_runs(self, runs: pl.DataFrame) -> pl.DataFrame:
        """Read what the evaluator that speaks for each failure mode said of runs."""
        said, key = self.read_run_verdicts(runs["run"].to_list()), alerts.JUDGE_KEY[:3]
        return said.join(self.judges.select(key), on=key, how="semi")

    @property
    def _current(self) -> pl.DataFrame:
        return self._known.filter(pl.col("started_at") >= self.watched["start"])

    def _estimate_periods(
        self, every: str, truth: pl.DataFrame, share: float
    ) -> list[impact.SurfaceRates]:
        if not 0 < share <= 1:
            raise EvalbenchError(f"share must be above 0 and at most 1, got {share}")
        frame = monitor.put_in_periods(self._known, start=self.watched["start"], every=every)
        return self.estimate(frame, truth, self.modes, judged=share)

    def _split_recent(self, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the sessions of the ``days`` before the last ``days``, and of the latter."""
        at, back = pl.col("started_at"), self.watched["now"] - timedelta(days=days)
        before = self._known.filter(at > back - timedelta(days=days), at <= back)
        return before, self._known.filter(at > back)
