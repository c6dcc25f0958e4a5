"""The calibration report in words."""

from __future__ import annotations

from collections import Counter

import polars as pl

STATUSES = ("gating", "aligned", "not aligned", "insufficient")


def headline(found: pl.DataFrame, current: pl.DataFrame) -> str:
    """Say in one sentence how many evaluators agree with people, and how many verdicts say nothing.

    ``current`` is from :func:`evalbench.evaluate.calibrate.current_verdicts`.
    """
    if found.is_empty():
        return (
            "**No evaluator can be measured yet**: nothing was judged on sessions that people"
            " labelled and that are kept for the test."
        )
    counts = Counter(found["status"])
    said = ", ".join(f"{counts[name]} {name}" for name in STATUSES if name in counts)
    silent = current["fails"].null_count()
    quiet = f" {silent:,} of {current.height:,} verdicts say nothing." if silent else ""
    return f"**{found.height} measured against people: {said}.**{quiet}"


def say_who(frame: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Add ``who``: the failure mode and kind of each evaluator, or its id where it has none.

    Of numbers in words the spaces hold together.
    """
    names = modes.select("surface", "mode", "name")
    parts = pl.col("evaluator_id").str.split("/")
    own = (
        pl.when(parts.list.last() == pl.col("mode"))
        .then(pl.col("name"))
        .when(parts.list.contains(pl.col("mode")))
        .then(pl.format("{} ({})", "name", parts.list.last()))
    )
    return (
        frame.join(names, on=["surface", "mode"], how="left", maintain_order="left")
        .with_columns(
            pl.col("^.*_said$").str.replace_all(" ", "\u00a0"),
            who=pl.coalesce(own, "evaluator_id"),
        )
        .drop("name")
    )


def say_silence(current: pl.DataFrame) -> pl.DataFrame:
    """Count what silent verdicts said instead: ``evaluator_id, said, n``, the most frequent first.

    ``current`` is from :func:`evalbench.evaluate.calibrate.current_verdicts`.
    """
    silent = current.filter(pl.col("fails").is_null())
    said = pl.coalesce("error", pl.lit("nothing to judge")).str.slice(0, 80)
    return (
        silent.group_by("surface", "evaluator_id", said=said)
        .agg(n=pl.len().cast(pl.Int64))
        .sort("surface", "evaluator_id", "n", "said", descending=[False, False, True, False])
    )


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
    order = ("gating", "aligned", "needs recalibration", "draft", "insufficient", "not aligned")
    ends = statuses.select("mcc", "mcc_low", "mcc_high").iter_rows()
    said = [None if row[0] is None else "{:.2f} ({:.2f} to {:.2f})".format(*row) for row in ends]
    rank = pl.col("status").replace_strict(
        {name: at for at, name in enumerate(order)}, default=len(order), return_dtype=pl.Int64
    )
    return (
        statuses.with_columns(mcc_said=pl.Series(said, dtype=pl.String))
        .join(modes.select("surface", "mode", "name"), on=["surface", "mode"], how="left")
        .with_columns(pl.coalesce("name", "mode").alias("name"))
        .sort(rank, "name", "kind")
    )
