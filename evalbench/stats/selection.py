"""What choosing among many candidates on the same cases does to their results."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


class Optimism(NamedTuple):
    """By how much the best of ``candidates`` seems better than it is, as a share of cases.

    ``spread`` is the standard deviation of one candidate's result that is its luck alone.
    """

    optimism: float
    spread: float
    candidates: int

    def last(self, margin: float) -> float:
        """Return after how many candidates the optimism reaches ``margin``; inf where never."""
        if not self.spread > 0:
            return math.inf
        chance = float(special.ndtr(margin / self.spread))
        return (0.375 + 0.25 * chance) / (1 - chance) if chance < 1 else math.inf


def best_of(fails: ArrayLike) -> Optimism:
    """Estimate how much better the best of several candidates seems on the cases than it is.

    Of candidates that are equally good the best has been lucky: by the expected maximum of as many
    standard normals (Blom's approximation), times the standard deviation of one result. This is
    estimated within cases, over the candidates, so cases that all pass or all fail add nothing.
    Where candidates truly differ, their differences count as luck, and the optimism is an upper
    bound. Undefined (nan) where no case has two candidates.

    ``fails`` is (candidates, cases) of numbers from 0 to 1, nan where one was not run on a case.

    Source: Blom (1958), Statistical estimates and transformed beta-variables.

    Examples
    --------
    >>> best_of([[0, 0, 1, 0], [0, 1, 0, 0]]).optimism.round(3)
    np.float64(0.147)
    """
    table = np.asarray(fails, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"fails must have two dimensions, got {table.ndim}")
    runs = (~np.isnan(table)).sum(axis=0)
    shared = table[:, runs > 1]
    n, k = shared.shape[1], int((~np.isnan(table)).any(axis=1).sum())
    spread = math.sqrt(np.nanvar(shared, axis=0, ddof=1).mean() / n) if n else math.nan
    expected = float(special.ndtri((max(k, 1) - 0.375) / (max(k, 1) + 0.25)))
    return Optimism(expected * spread, spread, k)
