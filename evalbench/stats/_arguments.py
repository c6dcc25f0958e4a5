"""Checks at the public edge of the mathematics; each error names the argument and the value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = Mapping[str, ArrayLike]
"""A column a name: a dict of arrays or a frame."""


def check_level(level: float) -> None:
    """Raise unless ``level`` lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")


def check_margin(margin: float) -> None:
    """Raise unless ``margin``, a change as a share of sessions, is above 0 and at most 1."""
    if not 0 < margin <= 1:
        raise ValueError(f"margin must lie above 0 and at most 1, got {margin!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_lengths(**columns: ArrayLike | None) -> None:
    """Raise unless every column given is one-dimensional, not empty, and as long as the first."""
    given = {name: np.asarray(each) for name, each in columns.items() if each is not None}
    first, length = next((name, len(column)) for name, column in given.items())
    for name, column in given.items():
        if column.ndim != 1 or len(column) == 0:
            raise ValueError(f"{name} must be one non-empty column, got shape {column.shape}")
        if len(column) != length:
            raise ValueError(
                f"{name} must be as long as {first} ({length} values), got {len(column)} values"
            )


def binary_values(name: str, values: ArrayLike) -> Floats:
    """Read 0, 1, true, false and null (None or nan) as 0., 1. and nan; raise on anything else."""
    column = np.asarray(values)
    try:
        if column.dtype.kind in "USMm":
            raise ValueError
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        wrong = next(value for value in column.ravel() if value not in (0, 1, None))
        raise ValueError(f"{name} must hold 0, 1 or null, got {wrong!r}") from None
    odd = (numbers != 0) & (numbers != 1) & ~np.isnan(numbers)
    if odd.any():
        raise ValueError(f"{name} must hold 0, 1 or null, got {numbers[odd][0]:g}")
    return numbers


def nulls(column: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a column holds None or nan."""
    null = np.asarray(column != column)
    if column.dtype.kind == "O":
        null = null | np.array([value is None for value in column], dtype=bool)
    return null


def codes(name: str, values: ArrayLike) -> tuple[NDArray[Any], Integers]:
    """Return the sorted distinct values and the position of each among them; raise on null."""
    column = np.asarray(values)
    null = nulls(column)
    if null.any():
        raise ValueError(f"{name} must not hold null, got one at position {int(null.argmax())}")
    return np.unique(
        column.astype(str) if column.dtype.kind == "O" else column, return_inverse=True
    )


def whole_numbers(name: str, values: ArrayLike) -> Floats:
    """Read counts; raise on one that is negative, null or not whole."""
    counts = np.asarray(values, dtype=np.float64)
    wrong = ~(counts >= 0) | (counts != np.floor(counts))
    if wrong.any():
        raise ValueError(f"{name} must be whole and at least 0, got {counts[wrong][0]:g}")
    return counts
