"""Which sessions to read first: the signals that point at trouble, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


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
