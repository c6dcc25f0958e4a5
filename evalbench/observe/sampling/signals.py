"""The signals that point at trouble: by them sessions are put into strata."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Signal:
    """A sign of trouble: when it is raised, and what to call it to a reader."""

    raised: pl.Expr
    words: str


# By the session column that each is read from.
SIGNALS = {
    "reported": Signal(pl.col("reported"), "reported by the user"),
    "thumbs": Signal(pl.col("thumbs") < 0, "thumbs down"),
    "outcome": Signal(~pl.col("outcome"), "task not achieved"),
    "escalated": Signal(pl.col("escalated"), "handed to a person"),
    "stars": Signal(pl.col("stars") <= 2, "two stars or fewer"),
    "abandoned": Signal(pl.col("abandoned"), "given up by the user"),
    "refused": Signal(pl.col("refused"), "refused"),
    "schema_valid": Signal(~pl.col("schema_valid"), "output of the wrong form"),
    "n_tool_errors": Signal(pl.col("n_tool_errors") > 0, "a tool failed"),
    "regenerated": Signal(pl.col("regenerated"), "answer asked for again"),
    "n_retries": Signal(pl.col("n_retries") > 0, "a tool call repeated"),
    "edited_chars": Signal(pl.col("edited_chars") >= 200, "answer edited at length"),
    "confidence": Signal(pl.col("confidence") < 0.5, "product unsure of itself"),
}


def raised(name: str) -> pl.Expr:
    """Whether a signal is raised: false where nobody recorded it; ValueError if there is none."""
    if name not in SIGNALS:
        raise ValueError(f"a signal must be one of {', '.join(SIGNALS)}; got {name!r}")
    return SIGNALS[name].raised.fill_null(False)
