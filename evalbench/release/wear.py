"""Fresh and worn: whether new failures become cases in time, and what use does to a suite."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.release.golden import CASE_KEY, SUITE_KEY, live
from evalbench.schema import columns
from evalbench.stats.mix import difference
from evalbench.stats.selection import best_of

IN_DAYS = 10
"""Working days after which a new critical failure mode should have a case."""
CRITICAL = ("safety", "user impact")
FRESHNESS = columns(
    (pl.String, "surface mode severity"),
    (pl.Date, "since first_case"),
    (pl.Int64, "working_days"),
    (pl.String, "timely"),
)
WEAR = columns(
    (pl.String, "surface suite"),
    (pl.Int64, "cases decisions candidates"),
    (pl.Float64, "optimism"),
    (pl.Date, "retire_on"),
    (pl.Int64, "n_old n_fresh"),
    (pl.Float64, "fresh_gap fresh_gap_low fresh_gap_high level"),
    (pl.Float64, "old old_low old_high fresh fresh_low fresh_high"),
)
"""Rates are shares of cases that the candidate fails; ``optimism`` is one too."""


def list_freshness(modes: pl.DataFrame, cases: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Say of each critical failure mode when its first case came, as :data:`FRESHNESS`.

    ``working_days`` run from when it counts (``since``) to that, else to ``now``.
    """
    first = cases.group_by("surface", "mode").agg(first_case=pl.min("added_at").dt.date())
    known = modes.filter(pl.col("severity").is_in(CRITICAL)).cast({"since": pl.Date})
    joined = known.join(first, on=["surface", "mode"], how="left").sort("since", "mode")
    ends = joined["first_case"].fill_null(now.date())
    days = np.busday_count(joined["since"].to_numpy(), ends.to_numpy())
    counted = joined.with_columns(working_days=pl.Series(np.maximum(days, 0), dtype=pl.Int64))
    waits = (
        pl.when(pl.col("first_case").is_null()).then(pl.lit("open")).otherwise(pl.lit("in time"))
    )
    late = pl.when(pl.col("working_days") > IN_DAYS).then(pl.lit("late")).otherwise(waits)
    return counted.with_columns(timely=late).select(*FRESHNESS)


def measure_wear(
    cases: pl.DataFrame,
    runs: pl.DataFrame,
    gates: pl.DataFrame,
    verdicts: pl.DataFrame,
    *,
    candidate: str = "",
    baseline: str = "",
    margin: float,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Measure what use has done to each suite that has runs, as :data:`WEAR`.

    ``optimism`` is by how much the best of its candidates seems better than it is, were all equally
    good. The ``candidate``, by default the last run, has a rate on ``old`` cases, which others were
    run on too, and on ``fresh`` ones, which nobody could choose it by. New cases may be harder:
    then the gap is no wear. ``retire_on`` is when, at the pace of runs so far, the optimism reaches
    ``margin``.
    """
    outcomes = judge_cases(cases, verdicts)
    rows = []
    tried = runs.filter(pl.col("run") != baseline).sort("seq")
    for (surface, suite), own in tried.group_by(SUITE_KEY, maintain_order=True):
        key = {"surface": surface, "suite": suite}
        told = outcomes.filter(**key).join(own.select("run"), on="run", how="semi")
        wide = told.pivot("case", index="run", values="fails", aggregate_function="first")
        luck = best_of(wide.drop("run").cast(pl.Float64).to_numpy())
        chosen = candidate or own["run"][-1]
        latest, seen = told.filter(run=chosen), told.filter(pl.col("run") != chosen)
        old = latest.join(seen, on="case", how="semi")["fails"]
        fresh = latest.join(seen, on="case", how="anti")["fails"]
        row = key | {
            "cases": live(cases).filter(**key).height,
            "decisions": gates.filter(**key).height,
            "candidates": own["run"].n_unique(),
            "optimism": luck.optimism,
            "retire_on": _propose(own["at"], luck.last(margin)),
            "n_old": len(old),
            "n_fresh": len(fresh),
            "level": level,
        }
        found = {
            name: stats.proportion(sample, level=level, rng=rng)
            for name, sample in (("old", old), ("fresh", fresh))
            if len(sample)
        }
        if len(found) == 2:
            found["fresh_gap"] = difference(found["old"], found["fresh"])
        rows.append(row)
        for name, each in found.items():
            rows[-1] |= each.cells(name)
    return pl.DataFrame(rows, WEAR)


def judge_cases(cases: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Say of each case and run whether it fails its own mode, or any where it has none."""
    asked = cases.select(*CASE_KEY, own="mode").unique(CASE_KEY)
    known = verdicts.drop_nulls("fails").join(asked, on=["surface", "case"])
    own = known.filter(pl.col("own").is_null() | (pl.col("own") == pl.col("mode")))
    by_mode = own.group_by(*SUITE_KEY, "run", "case", "mode").agg(pl.col("fails").mean() >= 0.5)
    return by_mode.group_by(*SUITE_KEY, "run", "case").agg(pl.any("fails")).sort("run", "case")


def _propose(at: pl.Series, last: float) -> date | None:
    """Return the day of the candidate with the number ``last``, at the pace of those before."""
    begun, seen = at[0], at[-1]
    days = (seen - begun) / timedelta(days=1) / max(len(at) - 1, 1) * (last - 1)
    return (begun + timedelta(days=days)).date() if 0 < days < 3652 else None
