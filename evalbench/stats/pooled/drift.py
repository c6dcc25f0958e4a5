"""How far an evaluator's TPR and FPR move from window to window, all modes taken together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from evalbench.stats._arguments import Floats

from .grids import TINY, kernel, normal_mass, normalise
from .priors import History, Priors, prior_of

SENSITIVITY_STEPS, FALSE_ALARM_STEPS = (
    np.array([0.1, 0.25, 0.45, 0.7]),
    np.array([0.05, 0.15, 0.3, 0.5]),
)
LEAST = (0.2, 0.1)
OWN = 0.05
"""Prior chance that a window's evaluator is unlike that of the other windows."""
SHIFTS = np.linspace(-1.5, 1.5, 13)


@dataclass(frozen=True)
class Drift:
    """Standard deviations of a window's logits about the version's own.

    ``own`` (windows,) is the prior chance that a window's evaluators are not those of the others: 1
    where they are shown not to be.
    """

    sensitivity: float
    false_alarm: float
    own: Floats

    def kernels(self, history: History) -> tuple[Floats, Floats]:
        """Return the moves from a version's (TPR, FPR) to those of a window."""
        if not history.judged:
            return np.ones((1, 1)), np.ones((1, 1))
        return (
            kernel(history.sensitivity, self.sensitivity),
            kernel(history.false_alarm, self.false_alarm),
        )


def measure_drift(histories: list[History], priors: Priors, windows: int) -> Drift:
    """Estimate the drift, and test each window against what the others predict.

    The one that differs most is set apart and the rest are tested again: else a window that errs
    wildly would make all the others look unlike it.
    """
    judged = [history for history in histories if history.judged]
    given = [each.likelihood @ normal_mass(each.rate, *priors.rate) + TINY for each in judged]
    steps = _learn_steps(judged, given, priors)
    calm = Drift(*steps, np.full(windows, OWN))
    pooled = np.ones(windows, dtype=bool)
    while True:
        curves = np.zeros((windows, 2, len(SHIFTS)))
        for history, likelihood in zip(judged, given, strict=True):
            if len(history.windows) > 2:  # with two, who moved?
                own = pooled[history.windows]
                curves[history.windows] += _shift_curves(history, likelihood, own, calm, priors)
        statistic = 2 * (curves.max(-1) - curves[..., len(SHIFTS) // 2])
        unlike = np.where(pooled, statistic.max(1), 0.0)
        if pooled.sum() < 3 or unlike.max() <= ndtri(1 - 0.05 / (4 * windows)) ** 2:
            return Drift(*steps, np.where(pooled, OWN, 1.0))
        pooled[unlike.argmax()] = False


def _learn_steps(
    histories: list[History], given: list[Floats], priors: Priors
) -> tuple[float, float]:
    """Return the posterior means of the two deviations, half-normal a priori, and never under."""
    a, b = SENSITIVITY_STEPS, FALSE_ALARM_STEPS
    evidence = -0.5 * ((a / 0.35) ** 2)[:, None] - 0.5 * (b / 0.25) ** 2
    for history, likelihood in zip(histories, given, strict=True):
        prior = prior_of(history, priors)
        anywhere = np.einsum("wtf,tf->w", likelihood, prior)[:, None, None]
        moved_f = [likelihood @ kernel(history.false_alarm, step).T for step in b]
        for i, step in enumerate(a):
            moves = kernel(history.sensitivity, step)
            for j, moved in enumerate(moved_f):
                chance = (1 - OWN) * (moves @ moved) + OWN * anywhere
                logs = np.log(chance + TINY).sum(0)
                top = logs.max()
                evidence[i, j] += top + np.log((prior * np.exp(logs - top)).sum())
    weight = normalise(evidence)
    return (
        max(LEAST[0], float(weight.sum(1) @ a)),
        max(LEAST[1], float(weight.sum(0) @ b)),
    )


def _shift_curves(
    history: History, likelihood: Floats, pooled: NDArray[np.bool_], drift: Drift, priors: Priors
) -> Floats:
    """Return the log-likelihood (windows, 2, shifts) of each window as the others predict it.

    These are the other ``pooled`` ones.
    """
    t, f = history.sensitivity, history.false_alarm
    moves_t, moves_f = drift.kernels(history)
    logs = np.log(moves_t @ likelihood @ moves_f.T + TINY)
    told = logs * pooled[:, None, None]
    others = told.sum(0) - told + np.log(prior_of(history, priors))
    known = np.exp(others - others.max((1, 2), keepdims=True))
    known /= known.sum((1, 2), keepdims=True)
    expected = moves_t.T @ known @ moves_f
    curves = np.empty((len(history.windows), 2, len(SHIFTS)))
    for k, shift in enumerate(SHIFTS):
        to_t = normal_mass(t[None, :], t[:, None] + shift, 0.6 * (t[1] - t[0]))
        to_f = normal_mass(f[None, :], f[:, None] + shift, 0.6 * (f[1] - f[0]))
        for s, moved in enumerate((to_t @ likelihood, likelihood @ to_f.T)):
            curves[:, s, k] = np.log((expected * moved).sum((1, 2)) + TINY)
    return curves
