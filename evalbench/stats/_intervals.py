"""Draws and the intervals read from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ._arguments import Floats

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


def join_reasons(*reasons: str) -> str:
    """One text of those that say something."""
    return "; ".join(reason for reason in reasons if reason)
