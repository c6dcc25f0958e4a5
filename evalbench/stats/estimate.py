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

    ``estimate`` is the plug-in value, never rounded; ``nan`` where it is undefined. ``low`` and
    ``high`` are the ends of the interval, ``nan`` where there is none; ``level`` is its nominal
    coverage and ``method`` says how it was made. ``n`` are the observations behind it. ``reason``
    says why the estimate is undefined or should be read with care, and is empty where neither
    holds; ``discarded`` counts resamples that gave no value and were left out.
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

    def cells(self, name: str) -> dict[str, float]:
        """Return the value and the ends of its interval, by the names of columns."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}

    def to_frame(self) -> pl.DataFrame:
        """One row, a column a field."""
        import polars as pl  # the only frame in the mathematics, and only for who asks for one

        return pl.DataFrame([asdict(self)])
