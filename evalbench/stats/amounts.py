"""Amounts rather than shares: cost per success, a quantile of latency, counts, means of weeks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, ndtri, stdtrit

from ._arguments import Floats, check_level
from .estimate import Estimate

FEWEST = 30
"""Groups below which no ratio and no quantile is estimated."""


def undefined(reason: str, level: float, n: int) -> Estimate:
    """Return no estimate, and why."""
    return Estimate(math.nan, math.nan, math.nan, level, "", n, reason)


def ratio(top: ArrayLike, bottom: ArrayLike, *, groups: ArrayLike, level: float) -> Estimate:
    """Estimate a ratio of sums, such as dollars per success; ``groups`` are what was sampled.

    The interval is that of the ratio linearised (Cochran 1977, 6.4), on the scale of its logarithm,
    with Student's t. It covers about .94 with 60 groups of skewed amounts.
    """
    check_level(level)
    above, below = _sum_groups(top, groups), _sum_groups(bottom, groups)
    n = len(above)
    if n < FEWEST or not above.any() or not below.any():
        return undefined(f"{n} users or sessions, {below.sum():g} of them successful", level, n)
    middle = float(above.sum() / below.sum())
    spread = (above - middle * below) / above.sum()
    half = stdtrit(n - 1, (1 + level) / 2) * math.sqrt(n / (n - 1) * (spread**2).sum())
    low, high = middle * math.exp(-half), middle * math.exp(half)
    return Estimate(middle, low, high, level, "linearised ratio", n)


def quantile(values: ArrayLike, p: float, *, groups: ArrayLike, level: float) -> Estimate:
    """Estimate a quantile; ``groups`` are what was sampled.

    Woodruff's interval (1952, J. Am. Stat. Assoc. 47): that of the share at most the quantile,
    turned back. It covers about .94 with 60 groups.
    """
    check_level(level)
    numbers = np.asarray(values, dtype=float)
    n = len(np.unique(np.asarray(groups)))
    if n < FEWEST:
        return undefined(f"{n} users or sessions; {FEWEST} are needed", level, n)
    middle = float(np.quantile(numbers, p))
    spread = _sum_groups((numbers <= middle) - p, groups) / len(numbers)
    half = ndtri((1 + level) / 2) * math.sqrt(n / (n - 1) * (spread**2).sum())
    low, high = np.quantile(numbers, np.clip([p - half, p + half], 0, 1)).tolist()
    return Estimate(middle, low, high, level, "Woodruff", n)


def count(n: int, *, level: float) -> Estimate:
    """Return a count of events with Garwood's interval (1936) of how many there are to expect."""
    check_level(level)
    tail = (1 - level) / 2
    low = float(chdtri(2 * n, 1 - tail)) / 2 if n else 0.0
    return Estimate(n, low, float(chdtri(2 * n + 2, tail)) / 2, level, "Garwood", n)


def mean(values: ArrayLike, *, level: float) -> Estimate:
    """Return the mean of amounts that are not negative, with Student's interval."""
    check_level(level)
    numbers = np.asarray(values, dtype=float)
    n = len(numbers)
    if n < 2:
        return undefined(f"{n} known; 2 are needed", level, n)
    half = float(stdtrit(n - 1, (1 + level) / 2) * numbers.std(ddof=1)) / math.sqrt(n)
    middle = float(numbers.mean())
    return Estimate(middle, max(middle - half, 0.0), middle + half, level, "Student's t", n)


def rank_correlation(first: ArrayLike, second: ArrayLike, *, level: float) -> Estimate:
    """Estimate Spearman's correlation of pairs, with Bonett & Wright's interval (2000)."""
    check_level(level)
    pairs = [_rank(np.asarray(each, dtype=float)) for each in (first, second)]
    n = len(pairs[0])
    if n < 10 or any(ranks.min() == ranks.max() for ranks in pairs):
        return undefined(f"{n} pairs; 10 that differ are needed", level, n)
    middle = float(np.corrcoef(pairs[0], pairs[1])[0, 1])
    half = float(ndtri((1 + level) / 2)) * math.sqrt((1 + middle**2 / 2) / (n - 3))
    centre = math.atanh(max(min(middle, 1 - 1e-9), 1e-9 - 1))
    ends = math.tanh(centre - half), math.tanh(centre + half)
    return Estimate(middle, *ends, level=level, method="Spearman, Bonett & Wright", n=n)


def _sum_groups(values: ArrayLike, groups: ArrayLike) -> Floats:
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(place, np.asarray(values, dtype=float)).astype(np.float64)


def _rank(values: Floats) -> Floats:
    """Return mean ranks: those of equal values are the same."""
    ordered = np.sort(values)
    ends = [np.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return (ends[0] + ends[1] + 1) / 2
