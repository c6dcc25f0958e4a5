"""Intervals of statistics of a table of counts, from the counts alone: rows are never resampled.

An independent sample of n rows is one multinomial draw of its cells. Where rows share a group, each
group is one draw of a row of cell counts, and groups with the same counts are one pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from ._arguments import Floats, Integers
from ._intervals import RESAMPLES, dirichlet_weights, from_draws, join_reasons, normal_quantile
from .estimate import Estimate

Statistic = Callable[[Floats], Floats]
"""Cell counts or weights (..., cells) to values (...)."""

METHODS = {
    "smoothed": "smoothed bootstrap of the cells",
    "percentile": "percentile bootstrap",
    "bca": "BCa bootstrap",
}
PRIOR = 0.5
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Units:
    """What was sampled: ``times[i]`` units that each brought the cell counts ``patterns[i]``."""

    patterns: Floats
    times: Integers
    grouped: bool

    @classmethod
    def of(cls, cell: Integers, cells: int, group: Integers | None) -> Units:
        """Count the ``cell`` of every row, by ``group`` where rows share one."""
        if group is None:
            total = np.bincount(cell, minlength=cells)
            present = total > 0
            return cls(np.eye(cells)[present], total[present], grouped=False)
        table = np.bincount(group * cells + cell, minlength=(group.max() + 1) * cells)
        patterns, times = np.unique(table.reshape(-1, cells), axis=0, return_counts=True)
        kept = patterns.any(axis=1)
        return cls(patterns[kept].astype(np.float64), times[kept], grouped=True)

    @property
    def total(self) -> Floats:
        """Counts of every cell over all units."""
        total: Floats = self.times @ self.patterns
        return total

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.times.sum())


def jackknife_variance(statistic: Statistic, units: Units) -> float:
    """Delete-one jackknife variance of ``statistic`` over units, on counts smoothed by the prior.

    Smoothing keeps a value where one unit holds all of a class.
    """
    left_out = statistic(units.total + PRIOR - units.patterns)
    k = units.size
    mean = units.times @ left_out / k
    return float((k - 1) / k * (units.times @ (left_out - mean) ** 2))


def inflation(statistic: Statistic, units: Units, level: float) -> float:
    """By how much rows that share groups count for less, at least 1; 1 for independent rows.

    The delete-one-group jackknife variance over the delete-one-row variance (never taken to be
    under 1), times (t / z)^2 with K - 1 degrees of freedom, since K groups know their own variance
    no better. Infinite with one group.
    """
    if not units.grouped:
        return 1.0
    k = units.size
    if k < 2:
        return np.inf
    total = units.total
    rows = Units(np.eye(len(total))[total > 0], total[total > 0].astype(np.int64), grouped=False)
    independent = jackknife_variance(statistic, rows)
    effect = jackknife_variance(statistic, units) / independent if independent > 0 else 1.0
    t = float(special.stdtrit(k - 1, (1 + level) / 2))
    return max(effect, 1.0) * (t / normal_quantile(level)) ** 2


def group_reason(units: Units) -> str:
    """Say so where groups are too few."""
    if not units.grouped or units.size >= 20:
        return ""
    return f"only {units.size} groups: the interval rests on how few of them differ"


def resampled_counts(units: Units, rng: np.random.Generator, resamples: int) -> Floats:
    """Cell counts (resamples, cells) of resamples of the units with replacement."""
    share = units.times / units.size
    block = max(1, _BLOCK // len(share))
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate(
        [rng.multinomial(units.size, share, size=size) @ units.patterns for size in sizes]
    )


def bca_interval(
    draws: Floats, estimate: float, left_out: Floats, times: Integers, level: float
) -> tuple[float, float]:
    """Bias-corrected and accelerated percentiles of bootstrap draws (Efron 1987)."""
    draws = draws[np.isfinite(draws)]
    below = ((draws < estimate).sum() + (draws == estimate).sum() / 2) / max(len(draws), 1)
    gap = times @ left_out / times.sum() - left_out
    spread = float(times @ gap**2) ** 1.5
    if not (0 < below < 1 and spread > 0):  # also where a measure is 0/0 without one of the units
        return np.nan, np.nan
    bias = special.ndtri(below)
    acceleration = float(times @ gap**3) / (6 * spread)
    z = bias + special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(draws, special.ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def estimate_all(
    statistics: Mapping[str, Statistic],
    units: Units,
    *,
    method: str,
    level: float,
    rng: np.random.Generator,
    reason: str = "",
    prior: float = PRIOR,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Plug-in value and interval of every statistic of one table."""
    total = units.total
    reason = join_reasons(reason, group_reason(units))
    if method != "smoothed":
        shared = resampled_counts(units, rng, resamples)
    elif not units.grouped:
        shared = dirichlet_weights(total, rng, prior=prior, resamples=resamples)
    else:
        shared = None  # every statistic has its own design effect
    answer, named = {}, METHODS[method]
    if units.grouped:
        named += ", design effect of groups" if method == "smoothed" else " of groups"
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, statistic in statistics.items():
            value = float(statistic(total))
            weights = shared
            if weights is None:
                scaled = total / inflation(statistic, units, level)
                weights = dirichlet_weights(scaled, rng, prior=prior, resamples=resamples)
            draws = statistic(weights)
            undefined = f"{name} is 0/0 in these counts" if np.isnan(value) else ""
            why = join_reasons(undefined, reason)
            found = from_draws(value, draws, level, method=named, n=int(total.sum()), reason=why)
            if method == "bca":
                left_out = statistic(total - units.patterns)
                low, high = bca_interval(draws, value, left_out, units.times, level)
                found = replace(found, low=low, high=high)
            answer[name] = found
    return answer
