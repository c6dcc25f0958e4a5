"""The calibration report in words."""

from __future__ import annotations

from collections import Counter

import polars as pl

from evalbench.evaluate.proposals.propose import Proposals
from evalbench.evaluate.spec import write_specification

STATUSES = ("gating", "aligned", "not aligned", "insufficient")


def headline(found: pl.DataFrame, current: pl.DataFrame) -> str:
    """Say in one sentence how many evaluators agree with people, and how many verdicts say nothing.

    ``current`` is from :func:`evalbench.evaluate.calibrate.current_verdicts`.
    """
    if found.is_empty():
        why = "nothing was judged on sessions that people labelled and that are kept for the test."
        return f"**No evaluator can be measured yet**: {why}"
    counts = Counter(found["status"])
    said = ", ".join(f"{counts[name]} {name}" for name in STATUSES if name in counts)
    silent = current["fails"].null_count()
    quiet = f" {silent:,} of {current.height:,} verdicts say nothing." if silent else ""
    return f"**{found.height} measured against people: {said}.**{quiet}"


def say_who(frame: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Add ``who``: the failure mode and kind of each evaluator, or its id where it has none.

    Of numbers in words the spaces hold together.
    """
    parts, key = pl.col("evaluator_id").str.split("/"), ["surface", "mode"]
    made_here = parts.list.contains(pl.col("mode"))
    own = (
        pl.when(parts.list.last() == pl.col("mode"))
        .then("name")
        .when(made_here)
        .then(pl.format("{} ({})", "name", parts.list.last()))
    )
    named = frame.join(modes.select(*key, "name"), on=key, how="left", maintain_order="left")
    said = pl.col("^.*_said$").str.replace_all(" ", "\u00a0")
    return named.with_columns(said, who=pl.coalesce(own, "evaluator_id")).drop("name")


def say_silence(current: pl.DataFrame) -> pl.DataFrame:
    """Count what silent verdicts said instead: ``evaluator_id, said, n``, the most frequent first.

    ``current`` is from :func:`evalbench.evaluate.calibrate.current_verdicts`.
    """
    said = pl.coalesce("error", pl.lit("nothing to judge")).str.slice(0, 80)
    silent = current.filter(pl.col("fails").is_null())
    counted = silent.group_by("surface", "evaluator_id", said=said).agg(n=pl.len().cast(pl.Int64))
    return counted.sort("surface", "evaluator_id", -pl.col("n"), "said")


def say_coverage(coverage: pl.DataFrame, uncovered: pl.DataFrame) -> str:
    """Say in one sentence how much is covered, and what weighs most of the rest."""
    if coverage.is_empty():
        return "**No failure mode counts yet**, so there is nothing an evaluator could cover."
    counted = coverage.filter(weight="modes").row(0, named=True)
    said = f"**{counted['covered']:.0f} of {counted['of']:.0f} failure modes are covered**"
    shares = [
        f"{100 * row['share']:.0f}% by {row['weight']}"
        for row in coverage.filter(pl.col("weight") != "modes").iter_rows(named=True)
        if row["share"] is not None
    ]
    said += f" ({', '.join(shares)})." if shares else "."
    heaviest = uncovered["name"].head(3).to_list()
    return f"{said} Not covered, the heaviest first: {', '.join(heaviest)}." if heaviest else said


def say_standing(statuses: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Add ``name`` of the failure mode and ``mcc_said``; what counts comes first."""
    order = "gating", "aligned", "needs recalibration", "draft", "insufficient", "not aligned"
    rank = pl.col("status").cast(pl.Enum([*order, "archived"]))
    ends, key = statuses.select("mcc", "mcc_low", "mcc_high").iter_rows(), ["surface", "mode"]
    said = [None if row[0] is None else "{:.2f} ({:.2f} to {:.2f})".format(*row) for row in ends]
    return (
        statuses.with_columns(mcc_said=pl.Series(said, dtype=pl.String))
        .join(modes.select(*key, "name"), on=key, how="left")
        .with_columns(pl.coalesce("name", "mode").alias("name"))
        .sort(rank, "name", "kind")
    )


def say_proposals(proposals: Proposals) -> str:
    """Say in one sentence for how many failure modes an evaluator is proposed."""
    modes = proposals.modes
    if modes.is_empty():
        return "**Nothing to propose**: every failure mode has an evaluator, or none was asked for."
    kinds = Counter(modes["kind"].drop_nulls())
    said = ", ".join(f"{n} by a {kind}" for kind, n in kinds.items()) or "none"
    without = Counter(modes.filter(pl.col("kind").is_null())["status"])
    rest = ", ".join(f"{n} {status}" for status, n in without.items())
    return f"**Proposed for {modes.height} failure modes: {said}.** " + (
        f"Without a proposal: {rest}." if rest else ""
    )


def say_cost(candidates: pl.DataFrame) -> pl.DataFrame:
    """Add ``cost_said``: what 1,000 sessions cost, where anything was measured."""
    dollars = pl.format("${} per 1,000", pl.col("dollars_per_1000").round(2))
    said = pl.when(pl.col("dollars_per_1000") == 0).then(pl.lit("free")).otherwise(dollars)
    measured = pl.col("dollars_per_1000").is_not_null()
    unknown = pl.when(pl.col("n").is_not_null()).then(pl.lit("unknown"))
    return candidates.with_columns(cost_said=pl.when(measured).then(said).otherwise(unknown))


def show_proposals(proposals: Proposals) -> str:
    """Write what is proposed in Markdown: specifications, and what was changed in a rubric."""
    parts = []
    for name in proposals.modes["evaluator_id"].drop_nulls():
        made = proposals.made[name]
        parts.append(f"```yaml\n{write_specification(made.specification)}```")
        parts += [f"```diff\n{made.diff}\n```"] if made.diff else []
    return "\n\n".join(parts)
