"""Candidates side by side on the same cases: how often each fails, what it costs, who to prefer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.schema import columns

ANY = "any"
"""The mode of an output as a whole: it fails where it shows any failure."""
WORSE = "worse than "
"""Begins the mode of a verdict that an output is worse than that of the run it names."""
ITEM = ["case", "repeat"]
ASKED = 120
"""Characters of an input that a list of cases shows."""
OUTCOMES = columns(
    (pl.String, "surface run case"),
    (pl.Int64, "repeat"),
    (pl.String, "mode"),
    (pl.Boolean, "fails"),
)
COMPARED = columns(
    (pl.String, "surface run baseline mode reading"),
    (pl.Int64, "n newly_failing fixed unknown"),
    (pl.Float64, "before before_low before_high after after_low after_high"),
    (pl.Float64, "delta low high level p_value mde"),
)
"""``delta`` has the interval of ``level``, which pays for all comparisons made at once; ``mde`` is
the smallest change that so many cases show with 80% power, ``unknown`` counts pairs left out."""
TURNED = columns(
    (pl.String, "surface run turned mode case"),
    (pl.Int64, "repeat"),
    (pl.String, "asked"),
    (pl.Boolean, "listed"),
)
"""``listed`` are the rows that say all: those of modes, or of whole outputs where none is named."""
NEWLY, FIXED = "newly failing", "fixed"
SUMMARY = columns(
    (pl.String, "surface run"),
    (pl.Int64, "n"),
    (pl.Float64, "seen seen_low seen_high failing failing_low failing_high"),
    (pl.Float64, "cost cost_low cost_high cost_ratio cost_ratio_low cost_ratio_high"),
    (pl.Float64, "seconds seconds_low seconds_high seconds_ratio"),
    (pl.Float64, "seconds_ratio_low seconds_ratio_high on_front"),
)
"""``seen`` is the share of outputs that fail, ``failing`` the same with the choice among all runs
paid for; ``on_front`` is the chance that no other run is both better and cheaper."""


@dataclass(frozen=True)
class Candidates:
    """Runs that answered the same cases, ``names``, the ``baseline`` among them.

    ``every`` has the outcomes of all runs tried on the cases, ``asked`` says what each case asks.
    """

    baseline: str
    names: list[str]
    verdicts: pl.DataFrame
    every: pl.DataFrame
    outputs: pl.DataFrame
    asked: pl.DataFrame

    @property
    def outcomes(self) -> pl.DataFrame:
        """The outcomes of the runs that are compared."""
        return self.every.filter(pl.col("run").is_in(self.names))


def find_outcomes(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Say of every output and mode whether it fails, as :data:`OUTCOMES`; null where nobody tells.

    Of several evaluators of a mode the one counts that judged most outputs, by its first answer.
    All modes, and that of whole sessions, make up :data:`ANY`: one failure fails it, all have to
    pass.
    """
    key, by = ["surface", "mode"], ["evaluator_id", "evaluator_version"]
    failures = verdicts.filter(~pl.col("mode").str.starts_with(WORSE))
    judged = failures.group_by(*key, *by).agg(n=pl.col("fails").count()).sort(*by)
    lead = judged.sort("n", descending=True, maintain_order=True).unique(key, keep="first")
    chosen = failures.join(lead, on=[*key, *by]).sort("again")
    single = chosen.unique(["surface", "run", *ITEM, "mode"], keep="first")
    fails = pl.col("fails").any(ignore_nulls=False)  # null where one is and none is true
    whole = single.group_by("surface", "run", *ITEM).agg(fails, mode=pl.lit(ANY))
    both = [each.select(list(OUTCOMES)) for each in (whole, single.filter(pl.col("mode") != ""))]
    return pl.concat(both).sort("surface", "run", "mode", *ITEM)


def compare_runs(
    outcomes: pl.DataFrame, baseline: str, *, margin: float, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Compare every run with the baseline, mode by mode, as :data:`COMPARED`; whole outputs first.

    Intervals pay for the number of candidates, those of modes for the number of modes too.
    """
    candidates = [run for run in outcomes["run"].unique(maintain_order=True) if run != baseline]
    modes = outcomes["mode"].unique().sort().to_list()
    modes.sort(key=lambda mode: mode != ANY)
    rows = []
    for mode, run in product(modes, candidates):
        table = spread_runs(outcomes.filter(mode=mode), "fails")
        if not {baseline, run} <= set(table.columns):
            continue
        pairs = table.select("case", baseline, run).drop_nulls()
        made = len(candidates) * (1 if mode == ANY else len(modes) - 1)
        how: dict[str, Any] = {"level": 1 - (1 - level) / made, "margin": margin, "rng": rng}
        how["groups"] = pairs["case"].to_list() if pairs["case"].is_duplicated().any() else None
        if pairs.is_empty():
            continue
        change = stats.paired_change(pairs[baseline].to_list(), pairs[run].to_list(), **how)
        named = {"surface": outcomes["surface"][0], "run": run, "baseline": baseline, "mode": mode}
        counts = {name: getattr(change, name) for name in ("reading", "newly_failing", "fixed")}
        counts |= {"n": change.delta.n, "unknown": table.height - pairs.height, "mde": change.mde}
        ends = change.before.cells("before") | change.after.cells("after")
        ends |= {name: getattr(change.delta, name) for name in ("low", "high", "level")}
        ends |= {"delta": change.delta.estimate, "p_value": change.p_value}
        rows.append(named | counts | ends)
    return pl.DataFrame(rows, schema=COMPARED).fill_nan(None)


def list_turned(outcomes: pl.DataFrame, asked: pl.DataFrame, baseline: str) -> pl.DataFrame:
    """List each output that fails now and did not at the baseline, and each that is fixed.

    Gives columns :data:`TURNED`, what newly fails and whole outputs first, with the beginning of
    what was ``asked``, by ``case``.
    """
    asked = asked.with_columns(pl.col("asked").str.slice(0, ASKED))
    changed = find_turned(outcomes, baseline)
    single = pl.col("mode") != ANY
    listed = single | ~single.any().over("run", *ITEM, "turned")
    told = changed.join(asked, on="case", how="left").with_columns(listed=listed)
    named = told.select(list(TURNED))
    return named.sort("run", pl.col("turned") == FIXED, pl.col("mode") != ANY, "mode", *ITEM)


def find_turned(judged: pl.DataFrame, baseline: str) -> pl.DataFrame:
    """Keep outputs that ``turned``: newly failing or fixed, beside the baseline (``_before``)."""
    old = judged.filter(run=baseline)
    pairs = judged.filter(pl.col("run") != baseline).join(old, on=[*ITEM, "mode"], suffix="_before")
    turned = pl.when("fails").then(pl.lit(NEWLY)).otherwise(pl.lit(FIXED))
    return pairs.filter(pl.col("fails") != pl.col("fails_before")).with_columns(turned=turned)


def summarize_runs(
    outcomes: pl.DataFrame,
    outputs: pl.DataFrame,
    baseline: str,
    *,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Say of each run how often it fails, what a case costs and how long it takes: :data:`SUMMARY`.

    With repeats a case counts by its mean; what nobody recorded is null.
    """
    whole = outcomes.filter(mode=ANY).drop_nulls("fails")
    fails = spread_runs(whole, "fails", by=["case"])
    names = [run for run in fails.columns if run != "case"]
    bad = fails.select(names).to_numpy()
    rows: list[dict[str, Any]] = [{"surface": whole["surface"][0], "run": run} for run in names]
    how: dict[str, Any] = {"level": level, "rng": rng}
    for row, shrunken in zip(rows, stats.shrunken_rates(bad, **how), strict=True):
        own = whole.filter(run=row["run"])
        shared = own["case"].to_list() if own["case"].is_duplicated().any() else None
        seen = stats.proportion(own["fails"].to_list(), groups=shared, **how)
        row |= {"n": seen.n} | seen.cells("seen") | shrunken.cells("failing")
    for name, value in (("cost", pl.col("cost_usd")), ("seconds", _seconds())):
        table = spread_runs(outputs.with_columns(value.alias(name)), name, by=["case"])
        same = pl.concat(
            [table, pl.DataFrame(schema=dict.fromkeys(names, pl.Float64))], how="diagonal"
        )
        spent = fails.select("case").join(same, on="case", how="left").select(names).to_numpy()
        made = stats.paired_means(spent, baseline=names.index(baseline), **how)
        for row, mean, ratio in zip(rows, *made, strict=True):
            row |= mean.cells(name) | ratio.cells(f"{name}_ratio")
        if name == "cost" and np.isfinite(bad + spent).all(axis=1).any():
            for row, chance in zip(rows, stats.front_chances(bad, spent, rng=rng), strict=True):
                row["on_front"] = float(chance)
    return pl.DataFrame(rows, schema=SUMMARY).fill_nan(None).sort("failing", "run")


def spread_runs(rows: pl.DataFrame, value: str, *, by: list[str] = ITEM) -> pl.DataFrame:
    """Return a row a case and a column a run; the mean where several rows are of one."""
    order = rows["run"].unique(maintain_order=True).to_list()
    return rows.pivot(
        "run", on_columns=order, index=by, values=value, aggregate_function="mean"
    ).sort(by)


def recommend(compared: pl.DataFrame, summary: pl.DataFrame, *, margin: float) -> dict[str, Any]:
    """Recommend a run: ``kind, run``, and the rows of the two tables that it rests on.

    "better" is shown to fail less; "cheaper" not to fail more by the margin, and to cost less;
    "worse": all are shown to fail more; "cannot tell": a change of the margin could not have been
    shown.
    """
    whole = compared.filter(mode=ANY).join(summary.drop("n"), on=["surface", "run"])
    better = whole.filter(reading="improvement").sort("failing")
    cheaper = whole.filter(pl.col("high") < margin, pl.col("cost_ratio_high") < 1).sort("cost")
    for kind, rows in (("better", better), ("cheaper", cheaper)):
        if rows.height:
            return {"kind": kind, **rows.row(0, named=True)}
    kind = "cannot tell" if whole["reading"].eq("insufficient").any() else "keep"
    kind = "worse" if whole["reading"].eq("regression").all() else kind
    return {"kind": kind, **whole.sort("delta").row(0, named=True)}


def list_limits(
    verdicts: pl.DataFrame, compared: pl.DataFrame, summary: pl.DataFrame, known: list[str]
) -> pl.DataFrame:
    """Count what these cases cannot tell; ``known`` are the evaluators defined here."""
    free = summary.filter(pl.col("cost").is_null())["run"].sort()
    foreign = verdicts.filter(~pl.col("evaluator_id").is_in(known))["evaluator_id"].unique()
    small, silent = compared.filter(reading="insufficient"), verdicts["fails"].null_count()
    counts = {
        "cases": (1, 1, ""),
        "runs tried": (summary.height, summary.height, ""),
        "runs insufficient": (small.height, compared.height, ""),
        "outputs not judged": (silent, verdicts.height, ""),
        "no cost": (len(free), summary.height, ", ".join(free)),
        "judged elsewhere": (len(foreign), 1, ""),
    }
    rows = [(summary["surface"][0], name, *each) for name, each in counts.items() if each[0]]
    return pl.DataFrame(rows, schema=["surface", "limit", "n", "of", "names"], orient="row")


def _seconds() -> pl.Expr:
    """How long an output took, from its first step to its last."""
    whole = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / 1e6
    return pl.when(whole > 0).then(whole).otherwise(pl.col("latency_p95_ms") / 1e3)
