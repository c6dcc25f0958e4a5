"""How much of the experts' hours labelling takes, and what they give."""

from __future__ import annotations

import polars as pl

from evalbench.label.pace import add_minutes


def measure_cadence(labels: pl.DataFrame, *, slot_minutes: float) -> pl.DataFrame:
    """Count labels and minutes by surface and week against the slot that experts have.

    Parameters
    ----------
    labels : polars.DataFrame
        ``label.set`` events as ``ledger.bodies`` gives them; corrected labels took time too.
    slot_minutes : float
        Minutes a week that each expert has for it.

    Returns
    -------
    polars.DataFrame
        ``surface, week`` (its Monday), ``annotators, labels, minutes`` (null where no time is
        known), ``sessions_an_hour`` of one expert, and ``slot_percent``, what
        share of their slot an expert spent.
    """
    at = pl.coalesce("labelled_at", "at")
    return (
        add_minutes(labels.with_columns(at=at))
        .group_by("surface", week=pl.col("at").dt.truncate("1w").dt.date())
        .agg(
            annotators=pl.col("actor").n_unique().cast(pl.Int64),
            labels=pl.len().cast(pl.Int64),
            minutes=pl.when(pl.col("minutes").count() > 0).then(pl.col("minutes").sum()),
            sessions_an_hour=60 / pl.col("minutes").mean(),
        )
        .with_columns(slot_percent=100 * pl.col("minutes") / pl.col("annotators") / slot_minutes)
        .sort("surface", "week")
    )
