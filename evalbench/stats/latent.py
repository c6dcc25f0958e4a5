"""What sessions really are, where several people read them and none of them is always right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, Integers, binary_values, check_lengths, whole_numbers

ENOUGH_TWICE, ENOUGH_FAILING = 30, 10
"""Sessions read by two people or more, and those of them that somebody fails, under which the
errors of people cannot be told."""
CHAINS, ROUNDS = 200, 60
RATE, SENSITIVITY, SPECIFICITY = (0.5, 0.5), (4.0, 1.0), (50.0, 1.0)
"""Beta priors: of the share that fails, and of a reader's TPR and TNR."""
JUDGE = ((2.0, 1.0), (10.0, 1.0))
RULING = ((19.0, 1.0), (19.0, 1.0))


@dataclass(frozen=True, slots=True)
class LatentTruth:
    """The chance that each session fails, given what everybody said of it.

    ``chances`` are (draws, n), nan where nobody was sure, and ``chance`` (n,) is their mean;
    ``inflation`` says by how much such labels count
    for less than ones that are surely right: 1 + B / W, with B the variance over imputations of the
    share that fails and W its variance as a share of n. ``tpr`` and ``tnr`` (draws,) are those of a
    single reader. With a ``reason`` the data cannot tell: chances are the votes, nan in a tie.
    """

    chances: Floats
    inflation: float
    tpr: Floats
    tnr: Floats
    reason: str = ""

    @property
    def chance(self) -> Floats:
        """The chance that each session fails, (n,)."""
        mean: Floats = self.chances.mean(0)
        return mean


def latent_truth(
    n_readers: ArrayLike,
    n_fail: ArrayLike,
    *,
    ruling: ArrayLike,
    verdict: ArrayLike,
    window: ArrayLike | None = None,
    rng: np.random.Generator,
) -> LatentTruth:
    """Estimate what each session is from its readers, an adjudicator and an evaluator.

    Estimand: whether people who read it without end would mostly say that it fails. A latent class
    model with two classes: readers share a TPR and TNR, the adjudicator and the evaluator have
    their own, and all err independently given what the session is. Draws are of a Gibbs sampler
    over patterns of what was said, each of 200 chains giving one after 60 rounds.

    Misleads where errors are shared: readers who saw the evaluator's draft, or a session that is
    hard for all. Refuses, with a reason, where fewer than 30 sessions were read twice, or fewer
    than 10 of them have anybody who fails them.

    Parameters
    ----------
    n_readers, n_fail : (n,) arrays
        People who were sure, and those of them who say that it fails.
    ruling, verdict : (n,) arrays of 0, 1, null
        What an adjudicator and an evaluator say; null where they say nothing.
    window : (n,) array, optional
        Sessions that share one share a rate of failing; else all do.

    Source: Dawid & Skene (1979) Appl. Statist. 28; Rubin (1987), Multiple imputation, ch. 3.

    Examples
    --------
    >>> n_fail = [2] * 16 + [1] * 8 + [0] * 176
    >>> nobody = [np.nan] * 200
    >>> rng = np.random.default_rng(1)
    >>> found = latent_truth([2] * 200, n_fail, ruling=nobody, verdict=nobody, rng=rng)
    >>> bool(found.chance[0] > 0.9), bool(0.1 < found.chance[16] < 0.9)
    (True, True)
    """
    readers, failing = whole_numbers("n_readers", n_readers), whole_numbers("n_fail", n_fail)
    rulings, verdicts = binary_values("ruling", ruling), binary_values("verdict", verdict)
    windows = np.zeros(len(readers)) if window is None else np.asarray(window, np.float64)
    check_lengths(
        n_readers=readers, n_fail=failing, ruling=rulings, verdict=verdicts, window=windows
    )
    if (over := failing > readers).any():
        raise ValueError(f"n_fail must not exceed n_readers, got {int(over.sum())} that do")
    known = (readers > 0) | ~np.isnan(rulings)
    votes = np.where(2 * failing == readers, np.nan, 1.0 * (2 * failing > readers))
    votes = np.where(np.isnan(rulings), votes, rulings)
    twice = readers > 1
    n_twice, n_failing = int(twice.sum()), int((twice & (failing > 0)).sum())
    if n_twice < ENOUGH_TWICE or n_failing < ENOUGH_FAILING:
        why = f"{n_twice} sessions were read twice, {n_failing} of them failed by anybody;"
        why += f" {ENOUGH_TWICE} and {ENOUGH_FAILING} are needed"
        none = np.empty(0)
        return LatentTruth(votes[None, :], 1.0, none, none, why)
    said = np.stack([windows, readers, failing, rulings, verdicts])[:, known]
    patterns, place, times = np.unique(
        np.nan_to_num(said, nan=-1), axis=1, return_inverse=True, return_counts=True
    )
    by_pattern, tpr, tnr = _sample(patterns, times.astype(np.int64), rng)
    chances = np.full((CHAINS, len(readers)), np.nan)
    chances[:, known] = by_pattern[:, place.ravel()]
    n, share = times.sum(), float(by_pattern.mean(0) @ times / times.sum())
    failed = rng.binomial(times, by_pattern).sum(1) / n
    return LatentTruth(chances, 1 + float(failed.var() / (share * (1 - share) / n)), tpr, tnr)


def _sample(
    patterns: Floats, times: Integers, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return chances (chains, patterns) that each pattern fails, and readers' TPR and TNR."""
    windows, readers, failing, *others = patterns
    own = np.eye(len(np.unique(windows)))[np.unique(windows, return_inverse=True)[1]]
    # What each of the three kinds of rater said: times that they fail and that they pass it.
    fail = np.stack([failing, *(1.0 * (each == 1) for each in others)])
    passed = np.stack([readers - failing, *(1.0 * (each == 0) for each in others)])
    priors = np.array([(SENSITIVITY, SPECIFICITY), RULING, JUDGE])  # rater, class, Beta
    t, s = (rng.beta(priors[:, side, 0], priors[:, side, 1], size=(CHAINS, 3)) for side in (0, 1))
    rate = rng.beta(1, 9, size=(CHAINS, own.shape[1]))
    for _ in range(ROUNDS):
        odds = np.log(rate / (1 - rate)) @ own.T + np.log(t / (1 - s)) @ fail
        chances = 1 / (1 + np.exp(-odds - np.log((1 - t) / s) @ passed))
        bad = rng.binomial(times, chances)
        good = times - bad
        t, s = (
            np.clip(rng.beta(a + right @ hit.T, b + right @ miss.T), 1e-9, 1 - 1e-9)
            for right, hit, miss, (a, b) in (
                (bad, fail, passed, priors[:, 0].T),
                (good, passed, fail, priors[:, 1].T),
            )
        )
        rate = np.clip(rng.beta(RATE[0] + bad @ own, RATE[1] + good @ own), 1e-9, 1 - 1e-9)
    return chances, t[:, 0], s[:, 0]
