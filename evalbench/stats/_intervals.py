"""Draws and the intervals read from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats
from .estimate import Estimate

RESAMPLES = 10_000


def normal_quantile(level: float) -> float:
    """Half width of a central normal interval in standard deviations: 1.96 at .95."""
    return float(special.ndtri((1 + level) / 2))


def wilson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Score interval of a proportion (Wilson 1927), [0, 1] where ``n`` is 0; broadcasts."""
    successes, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    )
    z2 = normal_quantile(level) ** 2
    rate = np.divide(successes, n, out=np.full(n.shape, 0.5), where=n > 0)
    middle = (successes + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (n * rate * (1 - rate) + z2 / 4)) / (n + z2)
    # At 0 and n successes the ends are exactly 0 and 1; rounding would miss them by 1e-17.
    low = np.where(successes == 0, 0.0, middle - half)
    high = np.where(successes == n, 1.0, middle + half)
    return low, high


def modified_wilson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Wilson's interval, exact at its end next to 0 or 1 (Brown, Cai & DasGupta 2001); broadcasts.

    With 1 to 3 successes (1 or 2 where n <= 50) Wilson's lower end lies too high; the one-sided
    Clopper-Pearson limit, of which theirs is the Poisson form, takes its place. With as few
    failures, likewise the upper end.
    """
    successes, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    )
    low, high = wilson(successes, n, level)

    def near_border(few: Floats) -> tuple[NDArray[np.bool_], Floats]:
        near = (few >= 1) & (few <= np.where(n <= 50, 2, 3)) & (few < n)
        return near, special.betaincinv(
            np.where(near, few, 1), np.where(near, n - few, 0) + 1, 1 - level
        )

    (near_0, lowest), (near_1, rest) = near_border(successes), near_border(n - successes)
    return np.where(near_0, lowest, low), np.where(near_1, 1 - rest, high)


def mover_wilson(
    shares: Floats, successes: Floats, n: Floats, level: float
) -> tuple[Floats, Floats]:
    """Join the Wilson intervals of (..., parts) to that of their weighted sum (Zou & Donner 2008).

    A part of which nothing is known counts as 1/2 within [0, 1].
    """
    rates = np.divide(successes, n, out=np.full(np.shape(n), 0.5), where=n > 0)
    low, high = wilson(successes, n, level)
    value = rates @ shares
    below = np.sqrt(((shares * (rates - low)) ** 2).sum(axis=-1))
    above = np.sqrt(((shares * (high - rates)) ** 2).sum(axis=-1))
    return value - below, value + above


def dirichlet_weights(
    counts: Floats, rng: np.random.Generator, *, prior: float, resamples: int = RESAMPLES
) -> Floats:
    """Dirichlet(counts + prior) draws over the last axis; the new axis before it is the draw's.

    ``counts`` is (..., cells), the answer (..., resamples, cells).
    """
    shape = np.asarray(counts)[..., None, :] + prior
    gammas = rng.standard_gamma(shape, size=(*shape.shape[:-2], resamples, shape.shape[-1]))
    gammas /= gammas.sum(axis=-1, keepdims=True)
    return gammas


def central_interval(draws: Floats, level: float) -> tuple[float, float]:
    """Equal-tailed interval of draws along the only axis; nan where there are none."""
    if draws.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def from_draws(
    value: float, draws: NDArray[Any], level: float, *, method: str, n: int, reason: str = ""
) -> Estimate:
    """Estimate with the equal-tailed interval of the draws that are numbers.

    It reaches to the plug-in: a perfect judge's lies outside the smoothed draws.
    """
    kept = draws[np.isfinite(draws)]
    low, high = central_interval(kept, level)
    low, high = float(np.fmin(low, value)), float(np.fmax(high, value))
    return Estimate(value, low, high, level, method, n, reason, len(draws) - len(kept))


def join_reasons(*reasons: str) -> str:
    """One text of those that say something."""
    return "; ".join(reason for reason in reasons if reason)
