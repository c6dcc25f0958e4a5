"""How much of what fails in production some evaluator flags, for the right failure."""

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.windows import SESSION_KEY
from evalbench.stats import Estimate

FEWEST = 10
"""Failing sessions under which no catch rate is given."""


def catch_rate(
    frame: pl.DataFrame,
    verdicts: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> Estimate:
    """Estimate which share of failing sessions an evaluator of a failure seen in them fails too.

    Labels count by their strata; where any evaluator may have learnt from labels, the train split
    is left out. With fewer than 10 failing sessions the estimate is nan.
    """
    placed = frame.drop_nulls("stratum")
    if verdicts["learnt"].any():
        placed = placed.filter(pl.col("split") != "train")
    drawn = placed.filter("drawn").select(*SESSION_KEY, "group_key", "stratum")
    seen = truth.join(drawn, on=SESSION_KEY, how="semi")
    key = [*SESSION_KEY, "mode"]
    given = verdicts.drop_nulls("fails").join(drawn, on=SESSION_KEY, how="semi")
    last = given.sort("judged_at", "repeat").unique([*key, "evaluator_id"], keep="last")
    flagged = last.group_by(key).agg(flagged=pl.col("fails").any())
    judged = seen.join(flagged, on=key, how="left")
    fails, caught = pl.col("fails"), pl.col("fails") & pl.col("flagged").fill_null(False)
    unclear = fails.is_null().any() & ~fails.any()
    sessions = judged.group_by(SESSION_KEY).agg(
        fails=pl.when(~unclear).then(fails.any()), caught=caught.any()
    )
    read = drawn.join(sessions.drop_nulls("fails"), on=SESSION_KEY).sort(SESSION_KEY)
    failing = int(read["fails"].sum())
    if failing < FEWEST:
        why = f"people found {failing} failing sessions; at least {FEWEST} are needed"
        return Estimate(np.nan, np.nan, np.nan, level, "", failing, why)
    groups = read["group_key"].fill_null("alone " + read["session_id"])
    stratum = pl.format("{}: {}", "surface", "stratum")
    sizes = placed.group_by(stratum=stratum, maintain_order=True).agg(n=pl.len().cast(pl.Int64))
    return stats.alignment(
        read["fails"].cast(pl.Float64).to_numpy(),
        read["caught"].cast(pl.Float64).to_numpy(),
        groups=groups.to_numpy() if groups.is_duplicated().any() else None,
        strata=read.select(stratum).to_series().to_numpy(),
        population={name: sizes[name].to_numpy() for name in sizes.columns},
        level=level,
        rng=rng,
    ).tpr
