"""The stages composed for operation: issues, their fixes, and how long all of it takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import polars as pl

from evalbench.evaluate import status
from evalbench.label.agreement import consensus
from evalbench.label.annotation import workload
from evalbench.label.codebook import fold
from evalbench.operate import catches, evidence, figures, fixes, impact, resolution, scorecard
from evalbench.operate.issues import (
    Issue,
    describe_failure,
    issue_table,
    move_issue,
    move_table,
    open_issue,
    read_issues,
)
from evalbench.operate.quarter import list_quarters
from evalbench.release import forecast
from evalbench.schema import TIME, columns
from evalbench.snapshot.pinned import shared
from evalbench.snapshot.releasing import Releasing
from evalbench.stats import Estimate


class Operating(Releasing):
    """Issues and what speaks for their fixes, as of what is pinned."""

    @cached_property
    def issues(self) -> pl.DataFrame:
        """The issues that were open in the quarter, as they stand, in the modes of now."""
        start, end = evidence.quarter_window(self.quarter)
        table = issue_table(self._issues, start=start, end=end)
        keys = table.select("surface", "mode", pl.col("session_ids").list.first()).iter_rows()
        follow = self.codebook.follow
        modes = [mode and (follow(surface, mode, own) or mode) for surface, mode, own in keys]
        return table.with_columns(mode=pl.Series(modes, dtype=pl.String))

    def open_issue(self, mode: str, *session_ids: str, **fields: Any) -> str:
        """Follow a failure mode, as seen in some sessions, from now on; give the issue's name."""
        told = self.modes, self.whole.sessions, self.truth
        return open_issue(self.ws.ledger, **describe_failure(*told, mode, session_ids) | fields)

    def move_issue(self, issue: str, state: str, **fields: Any) -> int:
        """Move an issue into another state, by what these rates show; give the event's number."""
        fixes = None
        if state in ("verified", "regressed") and issue in self._issues:
            own = self._issues[issue].opened.surface
            fixes = (self if self.surface else replace(self, surface=own)).fixes
        return move_issue(self.ws.ledger, issue, state, fixes=fixes, **fields)

    @cached_property
    def resolution(self) -> pl.DataFrame:
        """How long issues took in the quarter, from each state to another."""
        start, end = evidence.quarter_window(self.quarter)
        asked: dict[str, Any] = {"now": self.now, "level": self.ws.settings.level}
        moves = move_table(self._issues)
        return resolution.measure_resolution(moves, start=start, end=end, **asked)

    @cached_property
    def fixes(self) -> pl.DataFrame:
        """The rates before and after each fix, over whole lives of releases."""
        told = self.every_change, self._any_frame, self.truth, self.shipped
        return fixes.check_fixes(self.issues, *told)

    @cached_property
    def stale(self) -> pl.DataFrame:
        """The evaluators, and whether what they watch for is still seen."""
        verdicts = self.every_verdict.select(fixes.JUDGED).collect()
        return fixes.find_stale(self.statuses, verdicts, self.truth, self._any_frame)

    @cached_property
    def scorecard(self) -> pl.DataFrame:
        """Every metric with its owner and target, and what is known of it in this quarter."""
        asked = dict.fromkeys([*list_quarters(self.quarter, self.now), self.quarter])
        found = {quarter: self._measure(quarter) for quarter in asked}
        events = (
            self.ws.ledger.bodies(kind, until=self.ledger_seq)
            for kind in ("metric.observed", "target.set")
        )
        end = evidence.quarter_window(self.quarter)[1]
        scope: dict[str, Any] = {"quarter": self.quarter, "surface": self.surface}
        scope["over"] = end is not None and end <= self.now
        return scorecard.make_scorecard(found, *events, **scope, level=self.ws.settings.level)

    def _measure(self, quarter: str) -> dict[str, Estimate]:
        """Measure what can be measured in a quarter; who counts is of its end, if that is over."""
        start, end = evidence.quarter_window(quarter)
        then = self
        if quarter != self.quarter and end:
            kinds = [*status.KINDS, *fold.KINDS]
            written = self.ws.ledger.events(kinds, until=self.ledger_seq)
            before = written.filter(pl.col("at") < end)["seq"].to_list()
            then = replace(self, ledger_seq=max(before, default=0))
        counting = then.statuses.filter(pl.col("status").is_in(status.COUNTING))["calibration"]
        calibrated = self.ws.ledger.bodies("evaluator.calibrated", until=self.ledger_seq)
        standing = {"coverage": status.severity_coverage(then.statuses, then.modes)}
        standing["calibrations"] = calibrated.filter(pl.col("seq").is_in(counting.to_list()))
        window: dict[str, Any] = {"start": start, "end": end, "now": self.now}
        found = figures.measure(replace(self._facts, **standing), **window, **self.measured)
        placed = figures.keep_within(self._any_frame, "started_at", start, end)
        caught = catches.catch_rate(placed, self.judging, self.truth, **self.measured)
        return found | {"catch_rate": caught}

    @shared
    def _facts(self) -> figures.Facts:
        together = self._events("label.set").with_columns(surface=pl.lit("all"))
        cadence = workload.measure_cadence(together, slot_minutes=1)
        overridden = self.ws.ledger.bodies("gate.overridden", until=self.ledger_seq)
        gates, none = self._events("gate.decided"), pl.DataFrame()
        made, level = self._events("forecast.made"), self.ws.settings.level
        given = columns((pl.String, "surface case"), (pl.Boolean, "outcome"), (TIME, "at"))
        outputs = [given.to_frame()]
        for (surface,), own in self.runs.group_by("surface", maintain_order=True):
            read = replace(self, surface=str(surface)).read_outputs(own["run"].to_list())
            outputs.append(read.join(own.select("run", "at"), on="run").select(*outputs[0].columns))
        return figures.Facts(
            sessions=self._any_frame,
            truth=self.truth,
            judgements=self.judgements.filter(mode=consensus.ANY),
            coverage=none,
            calibrations=none,
            weeks=cadence,
            moves=move_table(self._issues),
            changes=self.every_change,
            shipped=self.shipped,
            runs=self.runs,
            gates=gates,
            overrides=overridden.filter(pl.col("gate").is_in(gates["seq"].to_list())),
            fresh=self.freshness,
            outputs=pl.concat(outputs),
            forecasts=forecast.score_forecasts(made, self.every_change, level=level),
        )

    @property
    def every_change(self) -> pl.DataFrame:
        """What each release of any quarter changed."""
        return self.whole.changes if self.whole.sessions.height else impact.CHANGES.to_frame()

    @cached_property
    def _issues(self) -> dict[str, Issue]:
        known = read_issues(self.ws.ledger, until=self.ledger_seq)
        named = {name: issue.opened.surface for name, issue in known.items()}
        return {name: known[name] for name in known if self.surface in (None, named[name])}

    @property
    def _any_frame(self) -> pl.DataFrame:
        """Sessions of any quarter in the order of their releases; none where there are none."""
        sessions = self.whole.sessions
        none = {"since": pl.col("started_at"), "inclusion_probability": pl.lit(None, pl.Float64)}
        none |= {"stratum": pl.lit(""), "drawn": pl.lit(False), "split": pl.lit("")}
        return self.whole.frame if sessions.height else sessions.with_columns(**none)
