"""A judge against people, on verdicts that are true (fails) or false, and any plain proportion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Columns, Floats, binary_values, check_lengths, check_level
from ._resampling import Statistic, Units, estimate_all, modified_wilson, mover_wilson, wilson
from ._sample import Sample, take_sample
from .estimate import Estimate

ENOUGH = 10
"""Sessions of either class below which an alignment is insufficient."""


class Counts(NamedTuple):
    """The judge against people; positive is "fails"."""

    tp: int
    fn: int
    fp: int
    tn: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """How well a judge's verdicts follow people's.

    ``counts`` are the four cells of the labels, an abstention being a wrong answer. The judge gave
    no verdict on ``abstained`` sessions; those ``unlabelled`` have no human one and are left out.
    """

    mcc: Estimate
    kappa: Estimate
    tpr: Estimate
    tnr: Estimate
    precision: Estimate
    f1: Estimate
    balanced_accuracy: Estimate
    counts: Counts
    abstained: int
    unlabelled: int


def _of_cells(formula: Callable[[Floats, Floats, Floats, Floats], Floats]) -> Statistic:
    return lambda cells: formula(*np.moveaxis(cells, -1, 0))


MEASURES: dict[str, Statistic] = {
    "mcc": _of_cells(
        lambda tp, fn, fp, tn: (
            (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        )
    ),
    "kappa": _of_cells(
        lambda tp, fn, fp, tn: (
            2 * (tp * tn - fp * fn) / ((tp + fp) * (fp + tn) + (tp + fn) * (fn + tn))
        )
    ),
    "tpr": _of_cells(lambda tp, fn, fp, tn: tp / (tp + fn)),
    "tnr": _of_cells(lambda tp, fn, fp, tn: tn / (fp + tn)),
    "precision": _of_cells(lambda tp, fn, fp, tn: tp / (tp + fp)),
    "f1": _of_cells(lambda tp, fn, fp, tn: 2 * tp / (2 * tp + fn + fp)),
    "balanced_accuracy": _of_cells(lambda tp, fn, fp, tn: (tp / (tp + fn) + tn / (fp + tn)) / 2),
}
"""Every measure of (..., 4) cells tp, fn, fp, tn, counts or weights."""


SPOKEN = ("precision", "f1")
"""Measures of what the judge flags, to which an abstention adds nothing."""


def _of_five(name: str) -> Statistic:
    """Return a measure of cells tp, fn, fp, tn and quiet: passing sessions that got no verdict."""
    quiet = np.zeros((5, 4)) if name in SPOKEN else np.eye(4)[[0, 1, 2, 3, 2]]
    quiet[:4] = np.eye(4)
    return lambda five: MEASURES[name](five @ quiet)


def alignment(
    truth: ArrayLike,
    verdict: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    population: Columns | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Alignment:
    r"""Compare a judge's verdicts with people's on the same sessions.

    Estimand: each measure in the population that the sessions were drawn from. The estimate is the
    plug-in value of the four cells. The interval of MCC, kappa and F1 is a smoothed (Bayesian)
    bootstrap: 10,000 draws of :math:`\mathrm{Dirichlet}(\mathrm{counts} + 1/2)`. TPR and TNR have
    Wilson's interval with exact limits near 0 and 1, precision Wilson's among the sessions that the
    judge flags, and balanced accuracy joins the Wilson intervals of its two halves,

    .. math:: \tfrac12 (\hat a + \hat b)
       - \tfrac12 \sqrt{(\hat a - l_a)^2 + (\hat b - l_b)^2} \quad \text{and likewise above.}

    With ``groups`` every measure is bootstrapped, its counts first divided by a design effect from
    a delete-one-group jackknife, with Student's t on K - 1 degrees of freedom.

    Where labels were drawn with unlike chances, by signals or by verdicts, ``strata`` and their
    ``population`` make up for it: a label of stratum h stands for :math:`N_h / n_h` sessions, and
    every measure is bootstrapped within strata, joined by their shares. Sparse strata join.

    Assumes the sessions (or groups) are a random draw, of each stratum where there are any. On
    labels that were chosen for their signals and given without strata no measure is production's.

    The interval of TPR and TNR covers .927 to .99 where the class has over 50 sessions, .916 where
    it has fewer; precision and balanced accuracy cover .93 or more where TPR is at most .95 and TNR
    .99, as little as .86 beyond.

    Parameters
    ----------
    truth, verdict : (n,) arrays of 0, 1, null
        Whether people and the judge say that the session fails. A null truth is left out and
        counted, a null verdict is an abstention, scored as wrong, but in precision and F1 where it
        is no flag. One truth must be known.
    groups : (n,) array, optional
        Where sessions share one, intervals for independent rows cover .71 to .91.
    strata : (n,) array, optional
        What each session was drawn by; needed wherever the chance to be drawn depended on anything.
    population : columns, optional
        ``stratum`` and ``n`` sessions, drawn or not; with ``verdict`` where the judge judged them
        all, as in :func:`~evalbench.stats.rates.failure_rate`, which narrows every interval.

    A measure that is 0/0 is ``nan`` with a reason. Fewer than 10 sessions of either class leave the
    estimates, with ``reason`` "insufficient". Strata that nobody labelled are left out and said.

    Source: Rubin (1981), The Bayesian bootstrap. Wilson (1927), Probable inference. Brown, Cai &
    DasGupta (2001), Interval estimation for a binomial proportion. Newcombe (1998), Interval
    estimation for the difference between independent proportions.

    Examples
    --------
    >>> truth = [1] * 20 + [0] * 80
    >>> verdict = [1] * 16 + [0] * 4 + [1] * 8 + [0] * 72
    >>> judge = alignment(truth, verdict, rng=np.random.default_rng(1))
    >>> judge.counts, round(judge.mcc.estimate, 4)
    (Counts(tp=16, fn=4, fp=8, tn=72), 0.6556)
    """
    human, judge, sample, counts = _read(truth, verdict, groups, strata, population, level)
    formulas = {name: _of_five(name) for name in MEASURES}
    measures = sample.estimate(formulas, level=level, rng=rng, why=_caution(counts))
    if groups is None and len(sample.size) == 1:
        measures |= _closed_forms(measures, sample.fold(sample.counts), level)
    silent, unlabelled = np.isnan(judge), np.isnan(human)
    return Alignment(
        **measures,
        counts=counts,
        abstained=int((silent & ~unlabelled).sum()),
        unlabelled=int(unlabelled.sum()),
    )


def mcc(
    truth: ArrayLike,
    verdict: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    population: Columns | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    """Estimate the MCC of :func:`alignment` alone, which takes what that takes: a seventh as long.

    Examples
    --------
    >>> truth, verdict = [1] * 20 + [0] * 80, [1] * 16 + [0] * 4 + [1] * 8 + [0] * 72
    >>> round(mcc(truth, verdict, rng=np.random.default_rng(1)).estimate, 4)
    0.6556
    """
    *_, sample, counts = _read(truth, verdict, groups, strata, population, level)
    formula = {"mcc": _of_five("mcc")}
    return sample.estimate(formula, level=level, rng=rng, why=_caution(counts))["mcc"]


def _read(
    truth: ArrayLike,
    verdict: ArrayLike,
    groups: ArrayLike | None,
    strata: ArrayLike | None,
    population: Columns | None,
    level: float,
) -> tuple[Floats, Floats, Sample, Counts]:
    """Check what was given; return truth and verdicts, the sample, and its four cells."""
    check_level(level)
    human, judge = binary_values("truth", truth), binary_values("verdict", verdict)
    check_lengths(truth=human, verdict=judge, groups=groups, strata=strata)
    if np.isnan(human).all():
        raise ValueError(f"truth must hold at least one 0 or 1, got {len(human)} null")
    sample = take_sample(human, judge, groups, strata, population)
    tp, fn, fp, tn, quiet = np.bincount(sample.cells, sample.units.total, minlength=5).astype(int)
    return human, judge, sample, Counts(*map(int, (tp, fn, fp + quiet, tn)))


def proportion(
    fails: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    """Estimate the share of failing sessions in the population that they were drawn from at random.

    Wilson's interval for independent sessions. With ``groups``, the counts are divided by the
    design effect of a delete-one-group jackknife with Student's t, as in :func:`alignment`.

    Misleads where sessions were chosen for their signals: use ``failure_rate`` on those. Covers as
    little as .84 where about a fifth of a failure is expected, and .92 at one.

    ``fails`` is an (n,) array of 0, 1 and null, which is left out and said so in ``reason``; at
    least one must be known. ``n`` counts sessions, not groups.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.

    Examples
    --------
    >>> proportion([1, 0, 0, 0], rng=np.random.default_rng(1)).estimate
    0.25
    """
    check_level(level)
    failing = binary_values("fails", fails)
    check_lengths(fails=failing, groups=groups)
    known = ~np.isnan(failing)
    if not known.any():
        raise ValueError(f"fails must hold at least one 0 or 1, got {len(failing)} null")
    missing = int((~known).sum())
    units = Units.of((failing == 0).astype(np.int64), 2, groups, known)
    estimate = estimate_all(
        {"proportion": lambda cells: cells[..., 0] / cells.sum(axis=-1)},
        units,
        level=level,
        rng=rng,
        reason=f"{missing} without a value were left out" if missing else "",
    )["proportion"]
    if groups is not None:
        return estimate
    return _closed_form(estimate, "Wilson", estimate.n, wilson(units.total[0], estimate.n, level))


def _closed_forms(measures: dict[str, Estimate], five: Floats, level: float) -> dict[str, Estimate]:
    """Return the measures that are proportions or made of them, with intervals without draws."""
    tp, fn, fp, tn, quiet = five
    failing, passing, flagged = tp + fn, fp + tn + quiet, tp + fp
    both = failing + passing
    half, right, n = np.array([[0.5, 0.5], [tp, tn], [failing, passing]])
    forms = {
        "tpr": ("modified Wilson", failing, modified_wilson(tp, failing, level)),
        "tnr": ("modified Wilson", passing, modified_wilson(tn, passing, level)),
        "precision": ("Wilson", flagged, wilson(tp, flagged, level)),
        "balanced_accuracy": (
            "MOVER of Wilson",
            both,
            mover_wilson(half, right, n, level),
        ),
    }
    return {name: _closed_form(measures[name], *form) for name, form in forms.items()}


def _closed_form(
    estimate: Estimate, method: str, n: float, ends: tuple[Floats, Floats]
) -> Estimate:
    low, high = map(float, ends)
    return replace(estimate, low=low, high=high, method=method, n=round(n), discarded=0)


def _caution(counts: Counts) -> str:
    """Say so where a class has too few sessions to say anything of the judge."""
    failing, passing = counts.tp + counts.fn, counts.fp + counts.tn
    few = f"{failing} failing and {passing} passing sessions, {ENOUGH} of each needed"
    return "" if min(failing, passing) >= ENOUGH else f"insufficient: {few}"
