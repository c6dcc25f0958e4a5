"""The likelihood of a window's counts, on grids of the logits of rate, TPR and FPR."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from evalbench.stats._arguments import Floats

from .counts import FAILED, PASSED, SILENT


def judged_likelihood(
    counts: Floats, rate: Floats, sensitivity: Floats, false_alarm: Floats
) -> Floats:
    r"""Return the log-likelihood (windows, T, F, P) of counts.

    With rate p, TPR t, FPR f and :math:`q = p t + (1 - p) f`, the labelled sessions bring
    :math:`(p t)^a ((1-p) f)^b (p (1-t))^c ((1-p)(1-f))^d`, the others of known verdict
    :math:`q^{U_1} (1-q)^{U_0}`, and labels of sessions without verdict :math:`p^x (1-p)^{n-x}`.

    ``counts`` are (3, 3, windows): sessions, labels, failures by verdict. The grids are logits.
    """
    sessions, labels, failures = counts
    passes = labels - failures
    unlabelled = np.maximum(sessions - labels, 0)
    p, t, f = expit(rate), expit(sensitivity)[:, None, None], expit(false_alarm)[:, None]
    q = p * t + (1 - p) * f
    logs = np.stack([np.log(q).ravel(), np.log1p(-q).ravel()])
    likelihood: Floats = (unlabelled[[FAILED, PASSED]].T @ logs).reshape(-1, *q.shape)
    of_t = _binomial(failures[FAILED], failures[PASSED], sensitivity)[:, :, None]
    of_f = _binomial(passes[FAILED], passes[PASSED], false_alarm)[:, None, :]
    likelihood += (of_t + of_f)[..., None]
    likelihood += _binomial(failures.sum(0), passes.sum(0), rate)[:, None, None, :]
    return likelihood


def labelled_likelihood(counts: Floats, rate: Floats) -> Floats:
    """Return the log-likelihood (windows, 1, 1, P) of labels alone, where no evaluator judged."""
    _, labels, failures = counts.sum(1)
    return _binomial(failures, labels - failures, rate)[:, None, None, :]


def _binomial(hits: Floats, misses: Floats, logits: Floats) -> Floats:
    """Return the binomial log-likelihood (windows, points)."""
    value: Floats = np.outer(hits, log_expit(logits)) + np.outer(misses, log_expit(-logits))
    return value


def draw_failures(
    counts: Floats, p: Floats, t: Floats, f: Floats, rng: np.random.Generator
) -> Floats:
    """Draw how many sessions of one window fail: those labelled, and binomially the others."""
    sessions, labels, failures = counts
    rest = np.maximum(np.rint(sessions - labels), 0).astype(np.int64)
    q = p * t + (1 - p) * f
    chances = {FAILED: p * t / q, PASSED: p * (1 - t) / (1 - q), SILENT: p}
    total: Floats = np.full(len(p), failures.sum())
    for cell, chance in chances.items():
        if rest[cell]:
            total = total + rng.binomial(rest[cell], np.clip(chance, 0, 1))
    return total
