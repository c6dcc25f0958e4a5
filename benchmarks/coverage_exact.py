"""Coverage of intervals that need no draws: a sum over every count that can come up, no simulation.

A judge's cells are a binomial of failing sessions and one of right answers in each class.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import polars as pl
from coverage_cases import CASES, LEVEL, TAILS, Tally, joint
from scipy import special
from scipy import stats as scipy_stats

from evalbench.stats._resampling import modified_wilson, mover_wilson, wilson
from evalbench.stats.binary import MEASURES

OFF_GRID = list(itertools.product((0.05, 0.2, 0.5), (0.8, 0.95), (0.95, 0.98), (150, 500)))


@functools.cache  # classes of the same size come up in many cases
def likely(n, rate):
    """Counts of a binomial that come up, and how often; the rest is under 1e-9 together."""
    counts = np.arange(n + 1)
    probability = scipy_stats.binom.pmf(counts, n, rate)
    kept = probability > 1e-12
    return counts[kept], probability[kept]


def jeffreys(hits, n, level):
    """Jeffreys' interval, closed at 0 and n hits."""
    low, high = special.betaincinv(hits + 0.5, n - hits + 0.5, TAILS[:, None])
    return np.where(hits == 0, 0, low), np.where(hits == n, 1, high)


def clopper_pearson(hits, n, level):
    """The interval that never covers less than it says."""
    low, high = TAILS
    return (
        np.where(hits == 0, 0, special.betaincinv(np.maximum(hits, 1), n - hits + 1, low)),
        np.where(hits == n, 1, special.betaincinv(hits + 1, np.maximum(n - hits, 1), high)),
    )


PROPORTION = {
    "modified Wilson": modified_wilson,
    "Wilson": wilson,
    "Jeffreys": jeffreys,
    "Clopper-Pearson": clopper_pearson,
}


def exact_rows(family, prevalence, tpr, tnr, n):
    """TPR, TNR, precision and balanced accuracy of one case."""
    cells = tp, fn, fp, tn = joint(prevalence, tpr, tnr)
    truth = {name: float(measure(np.array(cells))) for name, measure in MEASURES.items()}
    tally = Tally(
        family, exact=True, prevalence=prevalence, tpr=tpr, tnr=tnr, n=n, expected=n * prevalence
    )
    parts = {"tpr": (tp, fn), "tnr": (tn, fp), "precision": (tp, fp)}
    for name, (hit, miss) in parts.items():
        ours = "Wilson" if name == "precision" else "modified Wilson"
        sizes, weights = likely(n, hit + miss)
        counts, chances = zip(*(likely(size, truth[name]) for size in sizes), strict=True)
        lengths = [len(each) for each in counts]
        hits, size = np.concatenate(counts), np.repeat(sizes, lengths)
        chance = np.concatenate(chances) * np.repeat(weights, lengths)
        for method, interval in PROPORTION.items():
            ends = np.stack(interval(hits, size, LEVEL), -1)
            tally.add(name, method, ends, truth[name], chance, ours=method == ours)
    for failing, weight in zip(*likely(n, tp + fn), strict=True):
        hits, chance = likely(failing, truth["tpr"])
        passed, odds = likely(n - failing, truth["tnr"])
        right = np.stack(np.broadcast_arrays(hits[:, None], passed), -1)
        sizes = np.broadcast_to([failing, n - failing], right.shape)
        ends = np.stack(mover_wilson(np.array([0.5, 0.5]), right, sizes, LEVEL), -1)
        times = weight * chance[:, None] * odds
        name = "balanced_accuracy"
        tally.add(name, "MOVER of Wilson", ends, truth[name], times, ours=True)
    return tally.rows()


def enumerate_cases():
    """One row a case, estimator and method: the grid, and cases that no choice was made on."""
    rows = []
    for family, cases in (("alignment", CASES), ("alignment off the grid", OFF_GRID)):
        for case in cases:
            rows += exact_rows(family, *case)
    return pl.DataFrame(rows)


def attainable(n, prevalence, tnr):
    """Coverages next to .95, below and above, of TNR by any run of false alarm counts.

    An interval that holds the truth for the same run of counts, whatever the number of passing
    sessions, covers one of these; one whose run changes there covers something between by luck.
    """
    likelihood = scipy_stats.binom.pmf(np.arange(n + 1), n, (1 - prevalence) * (1 - tnr))
    below = np.concatenate([[0], likelihood.cumsum()])
    runs = (below[None] - below[:, None])[np.triu_indices(n + 2, 1)]
    return float(runs[runs < LEVEL].max()), float(runs[runs >= LEVEL].min())
