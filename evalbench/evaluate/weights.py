"""What labelled sessions stand for where they were drawn with unlike chances."""

from typing import Any

import polars as pl

from evalbench.evaluate.split import with_split

SESSION_KEY = ["surface", "session_id"]
KEY = ["surface", "evaluator_id", "evaluator_version", "mode"]


def weigh_pairs(pairs: pl.DataFrame, judged: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Keep the pairs that were drawn at random, and say how many sessions each stands for.

    Labels of a stratum on one side of the split stand for all its sessions there; where the
    evaluator has ``judged`` all, for those on which it said the same (``by_verdict``). Without a
    draw each stands for itself. ``sample`` tells what was left out, ``unread`` the share of kinds
    that nobody labelled.
    """
    placed = with_split(
        sessions.select(*SESSION_KEY, "group_key", "stratum", "drawn").drop_nulls("stratum")
    )
    if placed.is_empty():
        said = pl.lit("labels that were not drawn at random")
        alone = {"stands_for": pl.lit(1.0), "by_verdict": pl.lit(False), "unread": pl.lit(0.0)}
        return pairs.with_columns(**alone, sample=said)
    side, place = [*KEY, "split"], ["surface", "split", "stratum"]
    both = pl.concat([placed, placed.with_columns(split=pl.lit("elsewhere"))])
    sizes = both.group_by(place).agg(stratum_n=pl.len())
    totals = both.group_by(place[:2]).agg(total=pl.len())
    where = both.select(*SESSION_KEY, "split", "stratum")
    cell = [*side, "stratum", "fails"]
    alike = judged.join(where, on=SESSION_KEY).group_by(cell).agg(cell_n=pl.len())
    decided = pl.col("truth").is_not_null()
    outside = (decided & ~pl.col("drawn").fill_null(False)).sum()
    of_stratum = pl.col("stratum_n") / decided.sum().over(*side, "stratum")
    of_cell = pl.col("cell_n") / decided.sum().over(cell)
    read = pl.col("of_stratum").filter(decided).sum().over(side)
    known = pl.col("of_cell").filter(decided).sum().over(side)
    unread = 1 - read / pl.col("total")
    left_out = pl.format("; {} in no draw left out", "outside")
    return (
        pairs.with_columns(outside=outside.over(side))
        .filter("drawn")
        .join(sizes, on=place, how="left", maintain_order="left")
        .join(totals, on=place[:2], how="left", maintain_order="left")
        .join(alike, on=cell, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(of_stratum=of_stratum, of_cell=of_cell)
        .with_columns(by_verdict=(known - read).abs() < 0.5, unread=unread)
        .with_columns(
            stands_for=pl.when("by_verdict").then("of_cell").otherwise("of_stratum"),
            sample=pl.lit("labels drawn at random")
            + pl.when(pl.col("outside") > 0).then(left_out).otherwise(pl.lit("")),
        )
        .drop("outside", "stratum_n", "total", "cell_n", "of_stratum", "of_cell")
    )


def describe_sample(known: pl.DataFrame) -> dict[str, Any]:
    """Return verdicts, groups, strata and their population, as ``stats.alignment`` takes them."""
    groups = known["group"].to_numpy() if 1 < known["group"].n_unique() < known.height else None
    about = {"verdict": known["fails"].cast(pl.Float64).to_numpy(), "groups": groups}
    if "stratum" not in known.columns or known["stratum"].has_nulls():
        return about
    by = ["stratum", "fails"] if known["by_verdict"][0] else ["stratum"]
    sizes = known.group_by(by, maintain_order=True).agg(n=pl.col("stands_for").sum().round())
    cells = sizes.with_columns(pl.col(by[1:]).cast(pl.Float64)).rename(
        {"fails": "verdict"}, strict=False
    )
    population = {name: cells[name].to_numpy() for name in cells.columns}
    return about | {"strata": known["stratum"].to_numpy(), "population": population}
