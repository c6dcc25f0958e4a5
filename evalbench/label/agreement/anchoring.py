"""Whether annotators who see a judge's verdict before their own label follow it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from evalbench.label.agreement.consensus import SESSION_KEY
from evalbench.schema import QueueDrawn, columns

ANCHORING = columns(
    (pl.String, "surface mode evaluator_id"),
    (pl.Int64, "n_shown n_alone"),
    (pl.Float64, "agree_shown agree_alone drawn drawn_low drawn_high"),
)
KEY = ["surface", "mode", "evaluator_id"]


def measure_anchoring(
    labels: pl.DataFrame, draws: Mapping[int, QueueDrawn], verdicts: pl.DataFrame, *, level: float
) -> pl.DataFrame:
    """Compare agreement with a judge where it was shown first with that on the random fifth.

    A queue that ``suggests`` shows the judge's verdict before the label, but on a fifth of its
    sessions, chosen by a hash. ``drawn`` is the agreement that the showing adds, 0 where people
    keep to their own reading; its interval is Newcombe's for independent shares.

    Returns the columns :data:`ANCHORING`, a row for each failure mode whose judge is suggested.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    firsts = labels.sort("seq").unique([*SESSION_KEY, "actor"], keep="first")
    asked = {"queue": pl.Int64, "evaluator_id": pl.String}
    suggested = [(number, draw.suggests) for number, draw in draws.items() if draw.suggests]
    failing, named = pl.col("verdict") == "fail", pl.col("modes").list.contains(pl.col("mode"))
    said = pl.when(pl.col("mode") == "").then(failing).otherwise(named)
    shown, agrees = pl.col("after_suggestion"), pl.col("agrees")
    counts = (
        firsts.filter(pl.col("verdict") != "unsure")
        .join(pl.DataFrame(suggested, schema=asked, orient="row"), on="queue")
        .join(verdicts.drop_nulls("fails"), on=[*SESSION_KEY, "evaluator_id"])
        .with_columns(agrees=said == pl.col("fails"))
        .group_by(KEY)
        .agg(
            n_shown=shown.sum().cast(pl.Int64),
            n_alone=(~shown).sum().cast(pl.Int64),
            agree_shown=agrees.filter(shown).mean(),
            agree_alone=agrees.filter(~shown).mean(),
        )
        .filter(pl.min_horizontal("n_shown", "n_alone") > 0)
        .with_columns(drawn=pl.col("agree_shown") - pl.col("agree_alone"))
        .sort(KEY)
    )
    limits = [
        confint_proportions_2indep(
            round(row["agree_shown"] * row["n_shown"]),
            row["n_shown"],
            round(row["agree_alone"] * row["n_alone"]),
            row["n_alone"],
            method="newcomb",
            compare="diff",
            alpha=1 - level,
        )
        for row in counts.to_dicts()
    ]
    ends = pl.DataFrame(limits, schema=["drawn_low", "drawn_high"], orient="row")
    return counts.hstack(ends).select(*ANCHORING).cast(ANCHORING)
