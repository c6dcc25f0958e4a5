"""What a release will do to production, from what it did to cases and what production does now."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats, Integers
from ._resampling import PRIOR, normal_quantile, ratio
from .estimate import Estimate

RISE, TRANSFER = 0.5, 0.25
"""Shape of what newly fails over modes, and the error of taking cases for traffic, as a factor."""

BURNT, KEPT = 24, 16
"""Steps of the sampler that are thrown away, and kept, of each chain."""
_PAIR = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
_FLAGS = np.einsum("oas,lat->olts", *np.eye(2)[np.stack([_PAIR, _PAIR])])
"""By what is said of two answers and what is true of them: how many fail or pass, by flag."""


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
    rates: Floats, *, verdicts: ArrayLike, errors: ArrayLike, rng: np.random.Generator
) -> Floats:
    r"""Draw (modes, draws) changes of the share of failing sessions.

    Estimand: what is added to the rate p of each mode once the candidate is in production. By what
    the baseline does, :math:`q = p\,k + (1 - p)\,r`: k is the chance that what fails now fails
    still, r that what passes now fails. Cases tell both, but only as an evaluator reads them: it
    errs anew on each answer, which looks like failures fixed and new ones. So the draws are those
    of a Gibbs sampler, which in turn draws what is true of the cases, and then k, r, the share of
    the cases that fail and the evaluator's TPR and TNR, known from its calibration.

    k has a prior worth one case, at the mean of all modes. r is rare and shared by modes in size: a
    gamma of shape 1/2 about the mean of all modes, which keeps a mode without any from promising
    one, and all of them from adding up to many. Of cases picked for the mode r is another.

    Assumes that the evaluator errs on the two answers independently, given which of them fail. It
    misleads where cases that fail are not like sessions that fail, or cases that pass not like the
    rest of the traffic.

    ``verdicts`` (modes, 2, 4) count cases picked for the mode, then all others, whose answers the
    evaluator fails in both runs, before, after, in neither. ``errors`` (modes, 4) are its tp, fn,
    fp, tn beside people. Draws are a multiple of 16.

    Source: Tanner & Wong (1987) Journal of the American Statistical Association 82:528.
    """
    said = np.rint(np.asarray(verdicts, dtype=np.float64)).astype(np.int64).transpose(1, 0, 2)
    counts = np.asarray(errors, dtype=np.float64).reshape(-1, 1, 2, 2)
    whole = counts.sum(axis=0) + PRIOR  # here too a prior worth one case, at the mean of all modes
    known = counts + whole / whole.sum(axis=-1, keepdims=True)
    chains = (len(rates), rates.shape[1] // KEPT)
    flags, failing = np.zeros((*chains, 2, 2)), np.full((2, *chains), 0.5)
    keep, rise = np.full(chains, 0.8), np.full((2, *chains), 0.01)
    kept = list[tuple[Floats, Floats]]()
    for _ in range(BURNT + KEPT):
        # What is true of the cases (fail in both, before, after, neither), by what is said of them.
        flagged = rng.beta(*np.moveaxis(known + flags, -1, 0))
        reads = np.stack([flagged, 1 - flagged], axis=-1).clip(1e-9)
        seen = np.einsum("mcij,mckl->mcjlik", reads, reads).reshape(*chains, 4, 4)
        passing = 1 - failing
        true = [failing * keep, failing * (1 - keep), passing * rise, passing * (1 - rise)]
        joint = np.stack(true, axis=-1)[..., None, :] * seen
        drawn = rng.multinomial(said[:, :, None, :], joint / joint.sum(axis=-1, keepdims=True))
        # Then, of what is true, how much it is, and how well the evaluator reads it.
        both, gone, new, never = np.moveaxis(drawn.sum(axis=3), -1, 0)
        failing = rng.beta(both + gone + PRIOR, new + never + PRIOR)
        stay, left = both.sum(axis=0), gone.sum(axis=0)
        usual = rng.beta(stay.sum(axis=0) + PRIOR, left.sum(axis=0) + PRIOR)
        keep = rng.beta(stay + usual, left + 1 - usual)
        of_picked = rng.beta(new[0] + PRIOR, never[0] + PRIOR)
        rise = np.stack([of_picked, _draw_rise(new[1], never[1], rng)])
        flags = np.einsum("gmcol,olts->mcts", drawn, _FLAGS)
        kept.append((keep, rise[1]))
    stays, rises = (np.concatenate(each[BURNT:], axis=1) for each in zip(*kept, strict=True))
    change: Floats = (1 - rates) * rises - rates * (1 - stays)
    change *= np.exp(TRANSFER * rng.standard_normal(rates.shape))
    return np.clip(change, -rates, 1 - rates)


def _draw_rise(new: Integers, never: Integers, rng: np.random.Generator) -> Floats:
    """Draw (modes, draws) chances that what passes newly fails, from counts of both."""
    passing = new + never
    seen = new.sum(axis=0) + 1
    known = 1 / (1 / seen + 1 / (RISE * len(new)))  # modes differ, so their mean is known less well
    mean = seen / np.maximum(passing.sum(axis=0), 1) * rng.gamma(known, 1 / known)
    rise: Floats = np.minimum(rng.gamma(new + RISE) / (passing + RISE / mean), 0.999)
    return rise


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
