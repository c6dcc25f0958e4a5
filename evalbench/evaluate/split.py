"""The train and test split of labelled sessions, fixed for life by a hash."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import polars as pl

from evalbench.errors import EvaluatorError

TEST_SHARE = 0.5  # of groups: both tuning and measuring need failures, and failures are rare


def assign_split(surface: str, session_id: str, group_key: str | None) -> Literal["train", "test"]:
    """Say on which side a session is, for life: those of one group on one, another alone."""
    unit = f"{surface}\n{'session' if group_key is None else 'group'}\n{group_key or session_id}"
    number = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8])
    return "test" if number < TEST_SHARE * 2**64 else "train"


def with_split(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add ``split`` to a frame with ``surface, session_id, group_key``."""
    rows = sessions.select("surface", "session_id", "group_key").iter_rows()
    return sessions.with_columns(
        split=pl.Series([assign_split(*row) for row in rows], dtype=pl.String)
    )


def require_train(sessions: Iterable[Mapping[str, Any]], *, use: str) -> None:
    """Refuse sessions of the test split where an evaluator would learn: EvaluatorError."""
    for row in sessions:
        if assign_split(row["surface"], row["session_id"], row["group_key"]) == "test":
            raise EvaluatorError(
                f"session {row['session_id']!r} of {row['surface']} is in the test split and cannot"
                f" be a {use}: what an evaluator has seen cannot measure it; take one of the train"
                " split"
            )
