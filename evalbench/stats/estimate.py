"""The one result type of every statistic: an estimate with its interval and where it came from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the interval that holds the truth at the stated level.

    Attributes
    ----------
    estimate : float
        The plug-in value, never rounded; ``nan`` where it is undefined, with ``reason`` saying why.
    low, high : float
        Ends of the interval; ``nan`` where there is none.
    level : float
        Nominal coverage, e.g. .95.
    method : str
        How the interval was made.
    n : int
        Observations behind it.
    reason : str
        Why the estimate is undefined or should be read with care; empty where neither holds.
    discarded : int
        Resamples that gave no value and were left out.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str
    n: int
    reason: str = ""
    discarded: int = 0

    @property
    def is_defined(self) -> bool:
        """Whether the estimate is a number."""
        return not math.isnan(self.estimate)

    def to_frame(self) -> pl.DataFrame:
        """One row, a column a field."""
        import polars as pl  # the only frame in the mathematics, and only for who asks for one

        return pl.DataFrame([asdict(self)])
