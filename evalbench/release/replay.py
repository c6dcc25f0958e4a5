"""Today's gate over past releases: which regressions of production it would have caught."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.schema import GateDecided, columns

PAIRS = columns((pl.String, "surface release candidate baseline"))
REPLAYED = columns(
    (pl.String, "surface release candidate baseline verdict blocking"), (pl.Int64, "regressed")
)
"""What the gate says of a release today, the rows that block, and in how many failure modes
production got worse with it."""
CAUGHT = columns(
    (pl.String, "surface release mode reading"), (pl.Float64, "delta low high"), (pl.String, "gate")
)
CATCH_RATE = columns((pl.String, "measure"), (pl.Float64, "estimate low high"), (pl.Int64, "n"))


def pair_releases(runs: pl.DataFrame, releases: list[str]) -> pl.DataFrame:
    """Pair the last run of each release with that of the one before on the same cases: PAIRS.

    ``releases`` are in the order in which they were shipped; those without such runs are left out.
    """
    place = pl.DataFrame({"release": releases, "place": range(len(releases))})
    known = runs.join(place, on="release").sort("seq")
    on = ["surface", "suite", "suite_version", "place"]
    last = known.unique(on, keep="last").select(*on, "run", "release", "seq")
    before = last.select(*on[:-1], place=pl.col("place") + 1, baseline="run")
    both = last.join(before, on=on).sort("place", "seq").unique("release", keep="last")
    return both.sort("place").rename({"run": "candidate"}).select(list(PAIRS))


def replay(
    pairs: pl.DataFrame, decided: Iterable[GateDecided], changes: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put beside each release, and each regression of production, what the gate says today.

    ``decided`` are the answers for the pairs; confirmed and likely regressions count.
    """
    said = [
        (each.verdict, "; ".join(row.row for row in each.rows if row.reading == "block"))
        for each in decided
    ]
    answers = pl.DataFrame(said, schema={"verdict": pl.String, "blocking": pl.String}, orient="row")
    asked = pairs.hstack(answers)
    worse = changes.filter(pl.col("reading").str.ends_with("regression"))
    counted = worse.group_by("surface", "release").agg(regressed=pl.len().cast(pl.Int64))
    replayed = asked.join(counted, on=["surface", "release"], how="left", maintain_order="left")
    caught = worse.join(asked, on=["surface", "release"]).rename({"verdict": "gate"})
    return (
        replayed.with_columns(pl.col("regressed").fill_null(0)).select(list(REPLAYED)),
        caught.select(list(CAUGHT)),
    )


def catch_rate(caught: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Estimate the share of regressions of production whose release the gate would have blocked.

    Regressions of one release are blocked together, so releases are what was sampled.
    """
    if caught.is_empty():
        return CATCH_RATE.to_frame()
    blocked = (caught["gate"] == "block").cast(pl.Int8).to_list()
    shared = caught["release"].to_list() if caught["release"].is_duplicated().any() else None
    rate = stats.proportion(blocked, groups=shared, level=level, rng=rng)
    row = ("catch rate", rate.estimate, rate.low, rate.high, rate.n)
    return pl.DataFrame([row], schema=CATCH_RATE, orient="row")
