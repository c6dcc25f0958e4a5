"""What a release will do to production, from what it did to cases and what production does now."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats
from ._resampling import PRIOR, normal_quantile, ratio
from .estimate import Estimate

RISE, TRANSFER = 0.5, 0.25
"""Shape of what newly fails over modes, and the error of taking cases for traffic, as a factor."""


def effective_counts(value: ArrayLike, weight: ArrayLike) -> tuple[float, float]:
    """Return the sum and the number that equal weights would need to know as much (Kish 1965)."""
    x, w = np.asarray(value, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    n = float(ratio(w.sum() ** 2, (w**2).sum(), 0.0))
    return n * float(ratio(w @ x, w.sum(), 0.0)), n


def draw_rates(
    estimate: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    level: float,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Draw (modes, draws) rates that have these estimates and intervals, normal on logits."""
    ends = np.clip(
        np.stack([np.asarray(each, dtype=np.float64) for each in (estimate, low, high)]),
        1e-6,
        1 - 1e-6,
    )
    logits = np.log(ends / (1 - ends))
    spread = (logits[2] - logits[1]) / 2 / normal_quantile(level)
    drawn = logits[0][:, None] + spread[:, None] * rng.standard_normal((len(spread), draws))
    rates: Floats = 1 / (1 + np.exp(-drawn))
    return rates


def project_changes(
    rates: Floats,
    *,
    kept: ArrayLike,
    failing: ArrayLike,
    newly: ArrayLike,
    passing: ArrayLike,
    rng: np.random.Generator,
) -> Floats:
    r"""Draw (modes, draws) changes of the share of failing sessions.

    Estimand: what is added to the rate p of each mode once the candidate is in production. By what
    the baseline does, :math:`q = p\,k + (1 - p)\,r`: k is the chance that what fails now fails
    still, r that what passes now fails. Cases tell both: ``kept`` of ``failing`` cases that the
    baseline fails, ``newly`` of ``passing`` ones. k has a prior worth one case, at the mean of all
    modes. r is rare and shared by modes in size: a gamma of shape 1/2 about the mean of all modes,
    which keeps a mode without any from promising one, and all of them from adding up to many. It
    misleads where cases that fail are not like sessions that fail, or cases that pass not like the
    rest of the traffic, and it takes verdicts for the truth: an evaluator that misses failures
    misses as much of their change. Weights of segments go into the counts.
    """
    stay, fails, new, passes = (
        np.asarray(each, dtype=np.float64) for each in (kept, failing, newly, passing)
    )
    shape = rates.shape
    usual = rng.beta(stay.sum() + PRIOR, (fails - stay).sum() + PRIOR, size=shape[1])
    gone = (fails - stay)[:, None] + 1 - usual
    keep = rng.beta(stay[:, None] + usual, gone)
    seen = new.sum() + 1
    known = 1 / (1 / seen + 1 / (RISE * len(new)))  # modes differ, so their mean is known less well
    mean = seen / max(passes.sum(), 1.0) * rng.gamma(known, 1 / known, size=shape[1])
    rise = rng.gamma((new + RISE)[:, None], size=shape) / (passes[:, None] + RISE / mean)
    change: Floats = (1 - rates) * np.minimum(rise, 1) - rates * (1 - keep)
    change *= np.exp(TRANSFER * rng.standard_normal(shape))
    return np.clip(change, -rates, 1 - rates)


def forecasts_hold(forecast: ArrayLike, observed: ArrayLike) -> NDArray[np.bool_]:
    """Tell which forecasts hold: their interval, widened by the error of what was observed.

    Both are (3, n): estimate, low and high, of one level.
    """
    (estimate, low, high), (seen, seen_low, seen_high) = np.asarray(forecast), np.asarray(observed)
    side = np.where(seen > estimate, high - estimate, estimate - low)
    holds: NDArray[np.bool_] = (seen - estimate) ** 2 <= side**2 + ((seen_high - seen_low) / 2) ** 2
    return holds


def at_level(interval: ArrayLike, *, level: float, to: float) -> Floats:
    """Return (3, n) estimates with ends of another level, as if they were normal on either side."""
    ends = np.asarray(interval, dtype=np.float64)
    moved: Floats = ends[0] + (ends - ends[0]) * normal_quantile(to) / normal_quantile(level)
    return moved


def mean_error(forecast: Floats, observed: Floats, *, level: float) -> Estimate:
    """Estimate by how much forecasts are too high on average, with Student's t."""
    miss = forecast - observed
    n, mean = len(miss), float(miss.mean())
    if n < 2:
        return Estimate(mean, -np.inf, np.inf, level, "Student's t", n, "one forecast alone")
    half = float(special.stdtrit(n - 1, (1 + level) / 2) * miss.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, level, "Student's t", n)
