"""What the modes of a surface have in common: empirical Bayes on a coarse grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evalbench.stats._arguments import Floats, Integers

from .counts import NO_EVALUATOR, Windows
from .grids import TINY, normal_mass, normalise, quantiles
from .likelihood import judged_likelihood, labelled_likelihood

ROUNDS = 3
RATES = np.arange(-9.5, 4.0, 0.25)
SENSITIVITIES, FALSE_ALARMS = np.arange(-1.8, 5.3, 0.3), np.arange(-8.5, 0.3, 0.35)
FINE = {"rate": 96, "sensitivity": 24, "false alarm": 22}
"""Points of a mode's own grids."""
WIDER = {"rate": (0.3, 0.5), "sensitivity": (0.75, 0.75), "false alarm": (0.63, 0.63)}
"""Logits that they reach beyond the coarse ends; TPR and FPR drift."""
ENDS = (0.0005, 0.9995)


class Normal(NamedTuple):
    """A prior of logits."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Priors:
    """Priors that all modes of the surface share."""

    rate: Normal
    sensitivity: Normal
    false_alarm: Normal


START = Priors(rate=Normal(-4.0, 1.2), sensitivity=Normal(1.5, 0.8), false_alarm=Normal(-4.6, 1.3))


@dataclass(frozen=True)
class History:
    """The windows of one mode that one version of its evaluator judged, on grids of its own.

    ``counts`` (3, 3, windows) are sessions, labels and failures by verdict, ``doubt`` (windows,)
    the variance of the last. ``likelihood`` is (windows, T, F, P); without an evaluator T and F are
    one point.
    """

    mode: int
    windows: Integers
    counts: Floats
    doubt: Floats
    judged: bool
    rate: Floats
    sensitivity: Floats
    false_alarm: Floats
    likelihood: Floats


def fit_priors(counts: Windows) -> tuple[Priors, list[History]]:
    """Learn the priors from all modes, then give each version's windows grids of their own."""
    wide = [
        at_grids(counts, mode, windows, RATES, SENSITIVITIES, FALSE_ALARMS)
        for mode in range(len(counts.version))
        for windows in counts.histories(mode)
    ]
    priors = START
    for _ in range(ROUNDS):
        found = [_posterior(history, priors) for history in wide]
        priors = _update(wide, found, len(counts.version))
    ends = _rate_ends(wide, found)
    fine = [
        _refine(counts, history, calibration, ends[history.mode])
        for history, (calibration, _) in zip(wide, found, strict=True)
    ]
    return priors, fine


def at_grids(
    counts: Windows, mode: int, windows: Integers, rate: Floats, t: Floats, f: Floats
) -> History:
    """Return the history of a mode on these grids."""
    judged = bool(counts.version[mode, windows[0]] != NO_EVALUATOR)
    tables = (counts.sessions, counts.labels, counts.failures)
    own = np.stack([table[:, mode, windows] for table in tables])
    if judged:
        likelihood = judged_likelihood(own, rate, t, f)
    else:
        t = f = np.zeros(1)
        likelihood = labelled_likelihood(own, rate)
    likelihood -= likelihood.max((1, 2, 3), keepdims=True)
    doubt = np.zeros(len(windows)) if counts.doubt is None else counts.doubt[mode, windows]
    return History(
        mode, windows, own, doubt, judged, rate, t, f, np.exp(likelihood, out=likelihood)
    )


def _posterior(history: History, priors: Priors) -> tuple[Floats, Floats]:
    """Return the mass of (TPR, FPR) and, window by window, of the rate."""
    rate = normal_mass(history.rate, *priors.rate)
    calibration = prior_of(history, priors)
    given = history.likelihood @ rate + TINY
    both = normalise(np.log(given).sum(0) + np.log(calibration))
    pairs = (both / given).reshape(len(given), 1, -1)
    mass = (pairs @ history.likelihood.reshape(len(given), -1, len(rate)))[:, 0] * rate
    return both, mass / mass.sum(1, keepdims=True)


def prior_of(history: History, priors: Priors) -> Floats:
    """Return the prior mass (T, F) of an evaluator's TPR and FPR."""
    if not history.judged:
        return np.ones((1, 1))
    return np.outer(
        normal_mass(history.sensitivity, *priors.sensitivity),
        normal_mass(history.false_alarm, *priors.false_alarm),
    )


def _moments(grid: Floats, mass: Floats) -> tuple[Floats, Floats]:
    mean = mass @ grid
    return mean, mass @ grid**2 - mean**2


def _update(histories: list[History], found: list[tuple[Floats, Floats]], modes: int) -> Priors:
    rates = [[] for _ in range(modes)]  # type: list[list[Floats]]
    for history, (_, mass) in zip(histories, found, strict=True):
        rates[history.mode].append(np.array(_moments(history.rate, mass)))
    each = [np.concatenate(own, axis=1) for own in rates]
    mean = float(np.mean([own[0].mean() for own in each]))
    spread = np.mean([((own[0] - mean) ** 2 + own[1]).mean() for own in each])
    pull, weight = START.rate
    deviation = np.sqrt((modes * spread + 4 * weight**2) / (modes + 4))
    rate = Normal((modes * mean + 2 * pull) / (modes + 2), 1.5 * max(1.0, float(deviation)))
    tpr = [
        _moments(history.sensitivity, both.sum(1))
        for history, (both, _) in zip(histories, found, strict=True)
        if history.judged
    ]
    values, variances = np.array(tpr).reshape(-1, 2).T
    middle = float((values.sum() + 3 * START.sensitivity.mean) / (len(tpr) + 3))
    squares = ((values - middle) ** 2 + variances).sum() + 6 * 0.7**2
    sensitivity = Normal(middle, float(np.sqrt(squares / (len(tpr) + 6))))
    return Priors(rate, sensitivity, START.false_alarm)


def _rate_ends(
    histories: list[History], found: list[tuple[Floats, Floats]]
) -> dict[int, tuple[float, float]]:
    """Return how far the grid of each mode's rate must reach."""
    ends: dict[int, tuple[float, float]] = {}
    for history, (_, mass) in zip(histories, found, strict=True):
        tails = quantiles(history.rate, mass, ENDS)
        low, high = ends.get(history.mode, (np.inf, -np.inf))
        ends[history.mode] = min(low, tails[:, 0].min()), max(high, tails[:, 1].max())
    return ends


def _refine(
    counts: Windows, history: History, calibration: Floats, ends: tuple[float, float]
) -> History:
    def grid(name: str, ends: Sequence[float], least: float, most: float) -> Floats:
        below, above = WIDER[name]
        return np.linspace(max(ends[0] - below, least), min(ends[1] + above, most), FINE[name])

    rate = grid("rate", ends, -np.inf, 5.0)
    t, f = history.sensitivity, history.false_alarm
    if history.judged:
        t = grid("sensitivity", quantiles(t, calibration.sum(1), ENDS).tolist(), -2.5, 6.0)
        f = grid("false alarm", quantiles(f, calibration.sum(0), ENDS).tolist(), -np.inf, np.inf)
    return at_grids(counts, history.mode, history.windows, rate, t, f)
