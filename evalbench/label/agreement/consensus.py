"""What the annotators of a session say together."""

from __future__ import annotations

from typing import Literal

import polars as pl

SESSION_KEY = ["surface", "session_id"]
ITEM_KEY = [*SESSION_KEY, "mode"]
ANY = "any"
Method = Literal["majority", "adjudicator", "dawid-skene"]


def consensus(
    labels: pl.DataFrame,
    modes: pl.DataFrame,
    *,
    by: Method = "majority",
    adjudicated: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Decide for every labelled session and failure mode what holds; gives what majority gives.

    Parameters
    ----------
    labels, modes : polars.DataFrame
        As for :func:`majority`.
    by : {"majority", "adjudicator", "dawid-skene"}
        "majority": one annotator, one vote. "adjudicator": whoever decided a disagreement wins, the
        majority holds elsewhere. "dawid-skene": votes count by how seldom each annotator errs, see
        :func:`evalbench.label.agreement.dawid_skene.fit`; a tie can then be decided.
    adjudicated : polars.DataFrame, optional
        ``label.adjudicated`` events as ``ledger.bodies`` gives them; "adjudicator" needs them.

    Raises
    ------
    ValueError
        ``by`` is unknown or lacks ``adjudicated``, or the labels do not carry Dawid-Skene.
    """
    votes = majority(labels, modes)
    if by == "majority":
        return votes
    if by == "adjudicator":
        if adjudicated is None:
            raise ValueError("by='adjudicator' needs adjudicated, the label.adjudicated events")
        decided = (
            adjudicated.sort("seq")
            .unique(SESSION_KEY, keep="last")
            .select(*SESSION_KEY, ruling="verdict", ruled="modes")
        )
        sees = pl.col("ruled").list.contains(pl.col("mode"))
        ruled = pl.when(pl.col("ruling") != "unsure").then(sees)
        fails = pl.when(pl.col("ruling").is_null()).then("fails").otherwise(ruled)
        joined = votes.join(decided, on=SESSION_KEY, how="left", maintain_order="left")
        return joined.with_columns(fails=fails).drop("ruling", "ruled")
    if by == "dawid-skene":
        from evalbench.label.agreement.dawid_skene import fit

        likely = fit(judgements(labels, modes)).items.select(*ITEM_KEY, fails=pl.col("p") > 0.5)
        joined = votes.drop("fails").join(likely, on=ITEM_KEY, how="left", maintain_order="left")
        return joined.select(votes.columns)
    raise ValueError(f"by must be majority, adjudicator or dawid-skene, got {by!r}")


def majority(labels: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Let the annotators of each session vote on every failure mode of its surface.

    An annotator's later label of a session replaces the earlier one. "unsure" says nothing.

    Parameters
    ----------
    labels : polars.DataFrame
        ``label.set`` events as ``ledger.bodies`` gives them: seq, actor and the fields of
        :class:`evalbench.schema.Label`.
    modes : polars.DataFrame
        The codebook as it stands (``live``): ``surface, mode``.

    Returns
    -------
    polars.DataFrame
        One row a labelled session and mode: surface, session_id, mode, fails (null in a tie and
        where all are unsure), n_annotators (those who are sure), n_fail. Sorted by these names.
    """
    latest = latest_labels(labels)
    sure = pl.col("verdict") != "unsure"
    sessions = latest.group_by(SESSION_KEY).agg(n_annotators=sure.sum().cast(pl.Int64))
    named = latest.filter(sure).select(*SESSION_KEY, "actor", mode="modes").explode("mode")
    votes = named.unique().group_by(ITEM_KEY).agg(n_fail=pl.len().cast(pl.Int64))
    decided = pl.col("n_fail") * 2 != pl.col("n_annotators")
    return (
        sessions.join(modes.select("surface", "mode"), on="surface")
        .join(votes, on=ITEM_KEY, how="left")
        .with_columns(pl.col("n_fail").fill_null(0))
        .select(
            *ITEM_KEY,
            pl.when(decided).then(pl.col("n_fail") * 2 > pl.col("n_annotators")).alias("fails"),
            "n_annotators",
            "n_fail",
        )
        .sort(ITEM_KEY)
    )


def latest_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """Keep the last label of each session by each annotator, in the order they were written."""
    return labels.sort("seq").unique([*SESSION_KEY, "actor"], keep="last", maintain_order=True)


def judgements(
    labels: pl.DataFrame, modes: pl.DataFrame, *, with_any: bool = False
) -> pl.DataFrame:
    """Spread labels over the codebook: what each annotator who is sure says of each mode.

    Takes labels and modes as :func:`majority` does, the labels with ``at``; ``with_any`` adds the
    verdict itself, as the mode "any". Gives ``surface, session_id, mode, annotator, value`` (true:
    fails) and ``at``, when it was said.
    """
    codebook = modes.select("surface", "mode")
    if with_any:
        return pl.concat([judgements(*_as_one_mode(labels)), judgements(labels, codebook)])
    sure = latest_labels(labels).filter(pl.col("verdict") != "unsure")
    return sure.join(codebook, on="surface").select(
        *ITEM_KEY,
        annotator="actor",
        value=pl.col("modes").list.contains(pl.col("mode")),
        at=pl.coalesce("labelled_at", "at"),
    )


def _as_one_mode(labels: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put the verdict in place of the modes; also the codebook of this one mode."""
    failed = pl.when(pl.col("verdict") == "fail").then(pl.lit([ANY])).otherwise(pl.lit([]))
    return labels.with_columns(modes=failed), labels.select("surface", mode=pl.lit(ANY)).unique()
