"""What a workspace's own data give of the scorecard's metrics, in one window of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.durations import median_time
from evalbench.operate.resolution import measure_resolution
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import TIME
from evalbench.stats import Estimate, amounts
from evalbench.stats.amounts import FEWEST, undefined

COUNTED = "counted, not sampled"
STAGES = {
    "time_to_detect": "detected",
    "time_to_mitigate": "mitigated",
    "time_to_verified_fix": "resolved",
    "recovery_time": "recovered",
    "lead_time": "fixed once confirmed",
}


@dataclass(frozen=True)
class Facts:
    """The frames that figures are taken from, of any time.

    ``coverage`` (``severity, covered, of``: weights of failure modes) and ``calibrations`` are of
    the evaluators that count at the end of the window; ``weeks`` of labelling on all surfaces
    together.
    """

    sessions: pl.DataFrame
    truth: pl.DataFrame
    judgements: pl.DataFrame
    coverage: pl.DataFrame
    calibrations: pl.DataFrame
    weeks: pl.DataFrame
    moves: pl.DataFrame
    changes: pl.DataFrame
    shipped: pl.DataFrame
    runs: pl.DataFrame
    gates: pl.DataFrame
    overrides: pl.DataFrame
    fresh: pl.DataFrame
    outputs: pl.DataFrame
    forecasts: pl.DataFrame


def measure(
    facts: Facts,
    *,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    level: float,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """Measure what can be measured from ``start`` to ``end``, by the name of the metric.

    Sessions count by when they started, issues by when they were observed, events by when they
    came.
    """

    def within(frame: pl.DataFrame, column: str) -> pl.DataFrame:
        return keep_within(frame, column, start, end)

    asked: dict[str, Any] = {"level": level, "rng": rng}
    sessions, shipped = within(facts.sessions, "started_at"), within(facts.shipped, "shipped_at")
    weeks, gates = within(facts.weeks, "week"), within(facts.gates, "at")
    window: dict[str, Any] = {"start": start, "end": end, "now": now, "level": level}
    times = measure_resolution(facts.moves, **window).filter(severity="all")
    forecasts = facts.forecasts.join(shipped, on=["surface", "release"], how="semi")
    foreseen = forecasts["change"], forecasts["seen_change"]
    outputs = within(facts.outputs, "at")
    newest = outputs.filter(pl.col("at") == pl.col("at").max().over("surface"))
    fresh = within(facts.fresh, "since").filter(pl.col("timely") != "open")
    burden = weeks["minutes"] / weeks["annotators"]
    known = weeks.sort("week")["week"].to_list()
    without = (known[-1] - known[0]).days // 7 + 1 - len(known) if known else 0
    judged = facts.judgements.join(sessions, on=SESSION_KEY, how="semi")
    found = {
        f"coverage_{severity}".replace(" ", "_"): share(own, of, "failure modes", level)
        for severity, own, of in facts.coverage.iter_rows()
    }
    for metric, stage in STAGES.items():
        row = times.row(by_predicate=pl.col("stage") == stage, named=True)
        days, low, high = row["days"], row["days_low"], row["days_high"]
        found[metric] = Estimate(days, low, high, level, row["method"], row["n"], row["reason"])
    return found | {
        **_releases(shipped, facts, **asked),
        **_issues(within(facts.moves.filter(state="observed"), "at"), facts.moves, **asked),
        **_sessions(sessions, facts.truth, level),
        "agreement": _agreement(judged, **asked),
        "calibration_error": _calibration_error(facts.calibrations, **asked),
        "offline_success": _proportion(newest["outcome"], groups=newest["case"], **asked),
        "offline_online_correlation": amounts.rank_correlation(*foreseen, level=level),
        "overrides": count(within(facts.overrides, "at"), facts.gates, "gate was decided", level),
        "memo_time": _memo_time(gates, facts.runs, level),
        "annotation_cadence": amounts.mean([*weeks["labels"], *[0] * without], level=level),
        "reviewer_burden": amounts.mean(burden.drop_nulls(), level=level),
        "golden_freshness": _proportion(fresh["timely"] == "in time", **asked),
    }


def _releases(shipped: pl.DataFrame, facts: Facts, **asked: Any) -> dict[str, Estimate]:
    """Tell how many releases a gate decided on, and how many made a failure more frequent."""
    key = ["surface", "release"]
    released = shipped.select(key).unique(maintain_order=True)
    gated = name_gated(facts.gates, facts.runs)
    caught = find_caught(facts.changes.join(released, on=key, how="semi"), gated)
    blocked = _proportion(caught["gate"] == "block", groups=caught["release"], **asked)
    compared = facts.changes.group_by(key)
    worse = compared.agg(worse=(pl.col("reading") == "confirmed regression").any())
    again = facts.moves.filter(state="regressed").select(*key, again=True).unique()
    known = released.join(worse, on=key, how="left").join(again, on=key, how="left")
    failed = known.select(pl.col("again").fill_null(False) | pl.col("worse")).to_series()
    n = released.height, released.join(gated, on=key, how="semi").height
    adopted = share(n[1], n[0], "releases", asked["level"])
    return {
        "gating_adoption": adopted,
        "gate_catch_rate": blocked,
        "change_failure_rate": _proportion(failed, **asked),
    }


def name_gated(gates: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Name the ``surface, release`` that each gate decided on, and what it said: ``gate``.

    A candidate is a run of a release, or is called as the release is; the last gate counts.
    """
    decided = gates.select("surface", run="candidate", gate="verdict")
    known = runs.select("surface", "run", of="release").unique(["surface", "run"], keep="last")
    release = pl.coalesce("of", "run")
    named = decided.join(known, on=["surface", "run"], how="left", maintain_order="left")
    return named.select("surface", "gate", release=release).unique(
        ["surface", "release"], keep="last", maintain_order=True
    )


def find_caught(changes: pl.DataFrame, gated: pl.DataFrame) -> pl.DataFrame:
    """Put beside each regression of production, confirmed or likely, what its gate had said."""
    worse = changes.filter(pl.col("reading").str.ends_with("regression"))
    return worse.join(gated, on=["surface", "release"], maintain_order="left")


def _issues(observed: pl.DataFrame, moves: pl.DataFrame, **asked: Any) -> dict[str, Estimate]:
    """Tell of the issues that were observed in the window where they came from and what became."""
    live = observed["source"] != "red team"
    state = pl.col("state")
    fate = (
        moves.join(observed, on="issue", how="semi")
        .group_by("issue", maintain_order=True)
        .agg(
            pl.col("source").first(),
            last=state.last(),
            shipped=(state == "fix shipped").sum(),
            back=(state == "regressed").any(),
        )
    )
    fixed = fate.filter(pl.col("shipped") > 0)
    red = fate.filter(source="red team")["last"].is_in(["fix shipped", "verified"])
    safety, level = observed.filter(live, severity="safety"), asked["level"]
    return {
        "safety_incidents": count(safety, moves, "issue was ever recorded", level),
        "defect_escape": _proportion(live, **asked),
        "red_team_remediation": _proportion(red, **asked),
        "rework": _proportion((fixed["shipped"] > 1) | fixed["back"], **asked),
    }


def _sessions(sessions: pl.DataFrame, truth: pl.DataFrame, level: float) -> dict[str, Estimate]:
    """Return costs per success, and the 95th percentile of latency."""
    user = pl.coalesce("group_key", "session_id").rank("dense")
    known = sessions.with_columns(user=user, success=pl.col("outcome").cast(pl.Float64))
    priced = known.drop_nulls(["cost_usd", "success"])
    decided = ~pl.col("fails").any(ignore_nulls=False)  # null where one is, and none fails
    passed = truth.group_by(SESSION_KEY).agg(passes=decided).drop_nulls()
    read = priced.filter("drawn").join(passed, on=SESSION_KEY, maintain_order="left")
    weight = 1 / read["inclusion_probability"]
    approved = read["success"] * read["passes"].cast(pl.Float64) * weight
    timed = known.drop_nulls("latency_p95_ms")
    seconds, of = timed["latency_p95_ms"] / 1000, {"level": level}
    paid, spent = priced["cost_usd"], read["cost_usd"] * weight
    return {
        "cost_per_success": amounts.ratio(paid, priced["success"], groups=priced["user"], **of),
        "cost_per_approved": amounts.ratio(spent, approved, groups=read["user"], **of),
        "latency_p95": amounts.quantile(seconds, 0.95, groups=timed["user"], **of),
    }


def _agreement(judged: pl.DataFrame, *, level: float, rng: np.random.Generator) -> Estimate:
    shared = judged.filter(pl.len().over(SESSION_KEY) > 1).sort(*SESSION_KEY, "annotator")
    items = pl.struct(SESSION_KEY).rank("dense")
    numbered = shared.with_columns(item=items)
    if (n := numbered["item"].n_unique()) < FEWEST:
        return undefined(f"{n} sessions with two labels; {FEWEST} are needed", level, n)
    item, annotator, value = (numbered[name].to_numpy() for name in ("item", "annotator", "value"))
    return stats.agreement(item, annotator, value, level=level, rng=rng).alpha


def _calibration_error(
    calibrations: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> Estimate:
    """Estimate how far the share that evaluators fail is from the share that fails, on average."""
    cells = calibrations.select("tp", "fn", "fp", "tn").to_numpy()
    if not len(cells):
        return undefined("no evaluator counts", level, 0)
    draws = np.stack([rng.dirichlet(own + 0.5, 4_000) for own in cells])
    middle = float(np.abs((cells[:, 2] - cells[:, 1]) / cells.sum(1)).mean())
    tail = (1 - level) / 2 / len(cells)  # a distance is never below 0: each has to hold its own
    low, high = np.quantile(draws[..., 2] - draws[..., 1], [tail, 1 - tail], axis=1)
    least = float(np.maximum(np.maximum(low, -high), 0).mean())
    most = float(np.maximum(high, -low).mean())
    ends, n = (min(least, middle), max(most, middle)), int(cells.sum())
    return Estimate(middle, *ends, level, "Dirichlet draws, all evaluators at once", n)


def _memo_time(gates: pl.DataFrame, runs: pl.DataFrame, level: float) -> Estimate:
    known = gates.select("surface", "at", run="candidate").join(
        runs.select("surface", "run", recorded="at"), on=["surface", "run"]
    )
    hours = (known["at"] - known["recorded"]).dt.total_seconds() / 3600
    return median_time(hours.filter(hours >= 0), np.ones((hours >= 0).sum()), level=level)


def keep_within(
    frame: pl.DataFrame, column: str, start: datetime | None, end: datetime | None
) -> pl.DataFrame:
    """Keep the rows of a window: from its start, up to its end."""
    at = pl.col(column).cast(TIME)
    frame = frame.filter(at >= start) if start else frame
    return frame.filter(at < end) if end else frame


def count(events: pl.DataFrame, kept: pl.DataFrame, what: str, level: float) -> Estimate:
    """Count events; it is undefined where nothing is ``kept`` of what they would be events of."""
    return (
        undefined(f"no {what}", level, 0)
        if kept.is_empty()
        else amounts.count(events.height, level=level)
    )


def share(part: float, whole: float, what: str, level: float) -> Estimate:
    """Return a share of what was counted in full, which has no interval."""
    if not whole:
        return undefined(f"no {what}", level, 0)
    return Estimate(part / whole, np.nan, np.nan, level, COUNTED, round(whole))


def _proportion(
    values: pl.Series, *, groups: pl.Series | None = None, level: float, rng: np.random.Generator
) -> Estimate:
    known = values.is_not_null()
    if not known.any():
        return undefined("none in this time", level, 0)
    shared = None if groups is None or groups.is_unique().all() else groups.filter(known).to_numpy()
    found = values.filter(known).cast(pl.Float64).to_numpy()
    return stats.proportion(found, groups=shared, level=level, rng=rng)
