"""Intervals of proportions in closed form, and of statistics of a table from draws of its cells.

Rows are never resampled. An independent sample of n rows is one multinomial draw of its cells;
where rows share a group, groups with the same cell counts are one pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats, Integers, codes
from .estimate import Estimate

Statistic = Callable[[Floats], Floats]
"""Cell counts or weights (..., cells) to values (...)."""

RESAMPLES = 10_000
PRIOR = 0.5


def normal_quantile(level: float) -> float:
    """Return the half width of a central normal interval in standard deviations: 1.96 at .95."""
    return float(special.ndtri((1 + level) / 2))


def ratio(part: ArrayLike, whole: ArrayLike, otherwise: float = np.nan) -> Floats:
    """Divide, with ``otherwise`` where ``whole`` is 0; broadcasts."""
    part, whole = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (part, whole)))
    out: Floats = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return out


def wilson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Return the score interval of a proportion (Wilson 1927), [0, 1] where ``n`` is 0."""
    successes, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = normal_quantile(level) ** 2
    rate = ratio(successes, n, 0.5)
    middle = (successes + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (n * rate * (1 - rate) + z2 / 4)) / (n + z2)
    # At 0 and n successes the ends are exactly 0 and 1; rounding would miss them by 1e-17.
    low = np.where(successes == 0, 0.0, middle - half)
    return low, np.where(successes == n, 1.0, middle + half)


def modified_wilson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Return Wilson's interval, exact at its end next to 0 or 1 (Brown, Cai & DasGupta 2001).

    With 1 to 3 successes (1 or 2 where n <= 50) Wilson's lower end lies too high; the one-sided
    Clopper-Pearson limit, of which theirs is the Poisson form, takes its place. With as few
    failures, likewise the upper end.
    """
    successes, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    low, high = wilson(successes, n, level)

    def near_border(few: Floats) -> tuple[NDArray[np.bool_], Floats]:
        near = (few >= 1) & (few <= np.where(n <= 50, 2, 3)) & (few < n)
        passes = np.where(near, n - few, 0)
        return near, special.betaincinv(np.where(near, few, 1), passes + 1, 1 - level)

    (near_0, lowest), (near_1, rest) = near_border(successes), near_border(n - successes)
    return np.where(near_0, lowest, low), np.where(near_1, 1 - rest, high)


def mover_wilson(
    shares: Floats, successes: Floats, n: Floats, level: float
) -> tuple[Floats, Floats]:
    """Join the Wilson intervals of (..., parts) to that of their weighted sum (Zou & Donner 2008).

    A part of which nothing is known counts as 1/2 within [0, 1].
    """
    rates = ratio(successes, n, 0.5)
    low, high = wilson(successes, n, level)
    value = rates @ shares
    below = np.sqrt(((shares * (rates - low)) ** 2).sum(axis=-1))
    above = np.sqrt(((shares * (high - rates)) ** 2).sum(axis=-1))
    return value - below, value + above


def dirichlet_weights(
    counts: Floats, rng: np.random.Generator, *, prior: float | Floats, resamples: int = RESAMPLES
) -> Floats:
    """Draw Dirichlet(counts + prior): from (..., cells) to (..., resamples, cells)."""
    shape = np.asarray(counts)[..., None, :] + prior
    gammas = rng.standard_gamma(shape, size=(*shape.shape[:-2], resamples, shape.shape[-1]))
    gammas /= gammas.sum(axis=-1, keepdims=True)
    return gammas


def central_interval(draws: Floats, level: float) -> tuple[float, float]:
    """Return the equal-tailed interval of draws along the only axis; nan where there are none."""
    if draws.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def from_draws(
    value: float, draws: NDArray[Any], level: float, *, method: str, n: int, reason: str = ""
) -> Estimate:
    """Return an estimate with the equal-tailed interval of the draws that are numbers.

    It reaches to the plug-in: a perfect judge's lies outside the smoothed draws.
    """
    kept = draws[np.isfinite(draws)]
    low, high = central_interval(kept, level)
    low, high = float(np.fmin(low, value)), float(np.fmax(high, value))
    return Estimate(value, low, high, level, method, n, reason, len(draws) - len(kept))


def join_reasons(*reasons: str) -> str:
    """Join those that say something."""
    return "; ".join(reason for reason in reasons if reason)


@dataclass(frozen=True, slots=True)
class Units:
    """What was sampled: ``times[i]`` units that each brought the cell counts ``patterns[i]``."""

    patterns: Floats
    times: Integers
    grouped: bool

    @classmethod
    def of(
        cls,
        cell: Integers,
        cells: int,
        groups: ArrayLike | None,
        used: NDArray[np.bool_] | slice = slice(None),
    ) -> Units:
        """Count the ``cell`` of every row that is ``used``, by ``groups`` where rows share one."""
        if groups is None:
            return cls.of_rows(np.bincount(cell[used], minlength=cells))
        names, group = codes("groups", np.asarray(groups)[used])
        table = np.bincount(group * cells + cell[used], minlength=len(names) * cells)
        patterns, times = np.unique(table.reshape(-1, cells), axis=0, return_counts=True)
        return cls(patterns.astype(np.float64), times, grouped=True)

    @classmethod
    def of_rows(cls, total: NDArray[Any]) -> Units:
        """Take every row that was counted as a unit of its own."""
        present = total > 0
        return cls(np.eye(len(total))[present], total[present].astype(np.int64), grouped=False)

    @property
    def total(self) -> Floats:
        """Counts of every cell over all units."""
        total: Floats = self.times @ self.patterns
        return total

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.times.sum())

    @property
    def caution(self) -> str:
        """What is to be said where groups are too few."""
        if not self.grouped or self.size >= 20:
            return ""
        return f"only {self.size} groups: the interval rests on how few of them differ"


def jackknife_variance(left_out: Floats, units: Units) -> float:
    """Return the delete-one jackknife variance of values by the pattern that is left out."""
    k = units.size
    mean = units.times @ left_out / k
    return float((k - 1) / k * (units.times @ (left_out - mean) ** 2))


def inflation(statistic: Statistic, units: Units, level: float) -> float:
    """Return what :func:`inflations` does, of one statistic."""
    return inflations({"": statistic}, units, level)[""]


def inflations(
    statistics: Mapping[str, Statistic],
    units: Units,
    level: float,
    *,
    fold: Statistic = np.asarray,
) -> dict[str, float]:
    """Return by how much rows that share groups count for less; 1 for independent rows.

    The delete-one-group jackknife variance over the delete-one-row variance (never taken to be
    under 1), on counts smoothed by the prior, which keeps a value where one unit holds all of a
    class; times (t / z)^2 with K - 1 degrees of freedom, since K groups know their own variance no
    better. K is Kish's effective number of groups, each weighing what its rows move the statistic:
    where a few are far larger, or few have a failure, K groups know less. Infinite with one group.
    ``fold`` takes counts to those that the statistics are of.
    """
    if not units.grouped or units.size < 2:
        return dict.fromkeys(statistics, np.inf if units.grouped else 1.0)
    rows, whole = Units.of_rows(units.total), units.total + PRIOR
    by_group, by_row = (fold(whole - each.patterns) for each in (units, rows))
    now, nudged = fold(whole), fold(whole + np.eye(len(whole)))
    found = {}
    for name, statistic in statistics.items():
        independent = jackknife_variance(statistic(by_row), rows)
        shared = jackknife_variance(statistic(by_group), units)
        effect = shared / independent if independent > 0 else 1.0
        weight = units.patterns @ np.abs(statistic(nudged) - statistic(now))
        k = (units.times @ weight) ** 2 / (units.times @ weight**2) if weight.any() else units.size
        t = float(special.stdtrit(max(k - 1, 1), (1 + level) / 2))
        found[name] = max(effect, 1.0) * (t / normal_quantile(level)) ** 2
    return found


def estimate_all(
    statistics: Mapping[str, Statistic],
    units: Units,
    *,
    level: float,
    rng: np.random.Generator,
    reason: str = "",
    prior: float = PRIOR,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Estimate every statistic of one table: the plug-in, and a smoothed bootstrap's interval."""
    total, n = units.total, int(units.total.sum())
    reason = join_reasons(reason, units.caution)
    method = "smoothed bootstrap of the cells" + ", design effect of groups" * units.grouped

    def draw(counts: Floats) -> Floats:
        return dirichlet_weights(counts, rng, prior=prior, resamples=resamples)

    shared = None if units.grouped else draw(total)
    estimates = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = inflations(statistics, units, level)
        for name, statistic in statistics.items():
            value = float(statistic(total))
            # Of groups every statistic has its own design effect.
            weights = draw(total / scales[name]) if shared is None else shared
            why = join_reasons(f"{name} is 0/0 in these counts" * (value != value), reason)
            draws = statistic(weights)
            estimates[name] = from_draws(value, draws, level, method=method, n=n, reason=why)
    return estimates
