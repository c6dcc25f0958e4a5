"""What the annotators of a session say together."""

from __future__ import annotations

import polars as pl

SESSION_KEY = ["surface", "session_id"]
ANY = "any"


def majority(labels: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Let the annotators of each session vote on every failure mode of its surface.

    An annotator's later label of a session replaces the earlier one. "unsure" says nothing.

    Parameters
    ----------
    labels : polars.DataFrame
        ``label.set`` events as ``ledger.bodies`` gives them: seq, actor and the fields of
        :class:`evalbench.schema.Label`.
    modes : polars.DataFrame
        The codebook, from :func:`evalbench.label.codebook.modes`: ``surface`` and ``mode``.

    Returns
    -------
    polars.DataFrame
        One row a labelled session and mode: surface, session_id, mode, fails (null in a tie and
        where all are unsure), n_annotators (those who are sure), n_fail. Sorted by these names.
    """
    return _vote(labels, modes.select("surface", "mode"))


def any_failure(labels: pl.DataFrame) -> pl.DataFrame:
    """Let the annotators of each session vote on whether it fails, in whatever mode.

    Parameters and columns as for :func:`majority`, with ``mode`` "any". The vote is on the verdict:
    a session that three annotators fail for three reasons fails, though no mode has a majority.
    """
    failed = pl.when(pl.col("verdict") == "fail").then(pl.lit([ANY])).otherwise(pl.lit([]))
    surfaces = labels.select("surface", mode=pl.lit(ANY)).unique()
    return _vote(labels.with_columns(modes=failed), surfaces)


def _vote(labels: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    latest = labels.sort("seq").unique([*SESSION_KEY, "actor"], keep="last")
    sure = pl.col("verdict") != "unsure"
    sessions = latest.group_by(SESSION_KEY).agg(n_annotators=sure.sum().cast(pl.Int64))
    named = latest.filter(sure).select(*SESSION_KEY, "actor", mode="modes").explode("mode")
    votes = named.unique().group_by(*SESSION_KEY, "mode").agg(n_fail=pl.len().cast(pl.Int64))
    decided = pl.col("n_fail") * 2 != pl.col("n_annotators")
    return (
        sessions.join(modes, on="surface")
        .join(votes, on=[*SESSION_KEY, "mode"], how="left")
        .with_columns(pl.col("n_fail").fill_null(0))
        .select(
            *SESSION_KEY,
            "mode",
            pl.when(decided).then(pl.col("n_fail") * 2 > pl.col("n_annotators")).alias("fails"),
            "n_annotators",
            "n_fail",
        )
        .sort(*SESSION_KEY, "mode")
    )
