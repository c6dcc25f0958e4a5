"""Which sessions to read first: the signals that point at trouble, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

LEAST_OF_EACH_CLASS = 10


@dataclass(frozen=True)
class Signal:
    """A sign of trouble: when it is raised, what it is worth, and what to call it to a reader."""

    raised: pl.Expr
    weight: float
    words: str


SIGNALS = {
    "reported": Signal(pl.col("reported"), 5.0, "reported by the user"),
    "thumbs": Signal(pl.col("thumbs") < 0, 4.0, "thumbs down"),
    "outcome": Signal(~pl.col("outcome"), 3.0, "task not achieved"),
    "escalated": Signal(pl.col("escalated"), 3.0, "handed to a person"),
    "stars": Signal(pl.col("stars") <= 2, 2.0, "two stars or fewer"),
    "abandoned": Signal(pl.col("abandoned"), 2.0, "given up by the user"),
    "refused": Signal(pl.col("refused"), 2.0, "refused"),
    "schema_valid": Signal(~pl.col("schema_valid"), 2.0, "output of the wrong form"),
    "n_tool_errors": Signal(pl.col("n_tool_errors") > 0, 1.5, "a tool failed"),
    "regenerated": Signal(pl.col("regenerated"), 1.0, "answer asked for again"),
    "n_retries": Signal(pl.col("n_retries") > 0, 1.0, "a tool call repeated"),
    "edited_chars": Signal(pl.col("edited_chars") >= 200, 1.0, "answer edited at length"),
    "confidence": Signal(pl.col("confidence") < 0.5, 1.0, "product unsure of itself"),
}
"""By the session column that each is read from."""

WEIGHTS = {name: signal.weight for name, signal in SIGNALS.items()}


def raised(name: str) -> pl.Expr:
    """Whether the signal is raised: false where nobody recorded it.

    Raises
    ------
    ValueError
        ``name`` is no key of :data:`SIGNALS`.
    """
    if name not in SIGNALS:
        raise ValueError(f"a signal must be one of {', '.join(SIGNALS)}; got {name!r}")
    return SIGNALS[name].raised.fill_null(False)


def priority(sessions: pl.DataFrame, weights: Mapping[str, float] = WEIGHTS) -> pl.DataFrame:
    """Add ``priority``: the summed weights of the signals that a session raises.

    Parameters
    ----------
    sessions : polars.DataFrame
        Columns of :data:`evalbench.schema.SESSION`.
    weights : mapping of str to float
        Signal to weight; by default those of :data:`SIGNALS`.

    Raises
    ------
    ValueError
        A name in ``weights`` is no signal.
    """
    worth = [raised(name).cast(pl.Float64) * weight for name, weight in weights.items()]
    return sessions.with_columns(priority=pl.sum_horizontal(pl.lit(0.0), *worth))


def learn_weights(sessions: pl.DataFrame, labels: pl.DataFrame) -> dict[str, float]:
    """Weights by how much each signal raises the odds that people call a session a failure.

    Log odds ratios of a logistic regression (L2 penalty, C = 1) of the labels on the raised
    signals; a signal that goes with passing gets 0. They order sessions for reading and estimate
    nothing: labels drawn where signals are would bias them as a model of production.

    Parameters
    ----------
    sessions : polars.DataFrame
        Columns of :data:`evalbench.schema.SESSION`.
    labels : polars.DataFrame
        ``surface``, ``session_id`` and Boolean ``fails``; rows where it is null are left out.

    Returns
    -------
    dict of str to float
        A weight for each of :data:`SIGNALS`; the default weights where fewer than ten sessions
        of either class are labelled.
    """
    from sklearn.linear_model import LogisticRegression

    judged = sessions.join(labels.drop_nulls("fails"), on=["surface", "session_id"]).sort(
        "surface", "session_id"
    )
    fails = judged["fails"].to_numpy()
    if min(fails.sum(), (~fails).sum()) < LEAST_OF_EACH_CLASS:
        return dict(WEIGHTS)
    signs = judged.select(raised(name).cast(pl.Float64).alias(name) for name in SIGNALS).to_numpy()
    log_odds = LogisticRegression(C=1.0).fit(signs, fails).coef_[0]
    return {name: max(0.0, float(weight)) for name, weight in zip(SIGNALS, log_odds, strict=True)}
