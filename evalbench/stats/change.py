"""Did it change? The same cases before and after, or different sessions before and after.

Readings are "regression", "improvement", "no change shown" and "insufficient"; all outcomes are
failures, so a higher rate is worse. A change is read where both the test and the interval show it,
and where the test does not the interval reaches to 0: one never contradicts the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, Integers, binary_values, check_lengths, check_level, check_margin
from ._resampling import Statistic, Units, inflation, ratio, wilson
from .estimate import Estimate
from .planning import smallest_change


@dataclass(frozen=True, slots=True)
class Change:
    """A failure rate before and after, and what may be said of the difference, ``delta``.

    ``p_value`` is two-sided, against no change; cases that are the same are read by ``mid_p``,
    which counts half the chance of what was seen, and which is ``nan`` for different ones. ``mde``
    is the smallest change that this many cases show with 80% power, ``nan`` where none could;
    ``margin`` the one that the caller must be able to see. ``newly_failing`` and ``fixed`` are None
    where the sessions are not the same.
    ``missing`` pairs were left out because one side is null.
    """

    before: Estimate
    after: Estimate
    delta: Estimate
    p_value: float
    reading: str
    mde: float
    margin: float | None
    mid_p: float = math.nan
    newly_failing: int | None = None
    fixed: int | None = None
    missing: int = 0


def paired_change(
    before: ArrayLike,
    after: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
    margin: float | None = None,
) -> Change:
    """Compare the failure rate on the same cases before and after.

    Estimand: P(fails after) - P(fails before) over the population the cases stand for. The p-value
    is the exact McNemar test: given the cases that changed, either direction is a fair coin. It
    shows too little (power .605 where the mid-p has .676 at the same 5%), so the reading is the
    mid-p's. With ``groups`` whole groups flip, which is the same test where every case is its own
    group. The interval is Newcombe's paired score interval (method 10); with groups the counts are
    divided by the design effect of a delete-one-group jackknife, times (t / z)^2 with K - 1 degrees
    of freedom. It misleads where the cases are no sample of anything: a golden set picked for its
    failures says nothing of the rate in production.

    Parameters
    ----------
    before, after : array_like, shape (n,)
        1 fails, 0 passes, null not known; a pair with a null is left out and counted.
    level : float
        The test is made at ``1 - level``.
    margin : float, optional
        The change worth seeing. A change not shown reads "insufficient" where the smallest change
        that the cases could show is larger.

    Source: McNemar (1947) Psychometrika 12; Fagerland, Lydersen and Laake (2013) BMC Medical
    Research Methodology 13:91 (mid-p); Newcombe (1998) Statistics in Medicine 17:2635; Winkler
    et al. (2014) NeuroImage 92 (flips of whole blocks).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> change = paired_change([0] * 30, [1] * 8 + [0] * 22, rng=rng)
    >>> change.newly_failing, change.reading, round(change.p_value, 4)
    (8, 'regression', 0.0078)
    """
    check_level(level)
    if margin is not None:
        check_margin(margin)
    old, new = binary_values("before", before), binary_values("after", after)
    check_lengths(before=old, after=new, groups=groups)
    complete = ~(np.isnan(old) | np.isnan(new))
    if not complete.any():
        raise ValueError(f"before and after must share a complete pair, got {len(old)} without")
    n = int(complete.sum())
    units = Units.of(2 * (old == 0) + (new == 0), 4, groups, complete)
    cells, few = units.total, units.caution
    fixed, newly_failing = int(cells[1]), int(cells[2])
    effect = inflation(_DIFFERENCE, units, level)
    low, high = map(float, newcombe_paired(cells / effect, level))
    p_value, mid_p = _flip_p_values(units.patterns[:, 2] - units.patterns[:, 1], units.times)
    if mid_p >= 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    delta = Estimate((newly_failing - fixed) / n, low, high, level, "newcombe", n, few)
    mde = smallest_change(int(n / effect), churn=(newly_failing + fixed) / 2 / n, level=level)
    return Change(
        before=_score_estimate(_RATE_BEFORE, units, level),
        after=_score_estimate(_RATE_AFTER, units, level),
        delta=delta,
        p_value=p_value,
        reading=_read(delta, mid_p, mde, margin),
        mde=mde,
        margin=margin,
        mid_p=mid_p,
        newly_failing=newly_failing,
        fixed=fixed,
        missing=int((~complete).sum()),
    )


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Adjust p-values so that those under a level hold a share of false findings under it.

    Benjamini and Hochberg (1995); nan stays nan and is not counted. Assumes p-values that are
    independent or positively dependent.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.02, 0.9]).round(2).tolist()
    [0.03, 0.03, 0.9]
    """
    values = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if known.any():
        from statsmodels.stats.multitest import multipletests  # takes a second

        values[known] = multipletests(values[known], method="fdr_bh")[1]
    return values


def _read(delta: Estimate, p_value: float, mde: float, margin: float | None) -> str:
    if p_value < 1 - delta.level and not delta.low <= 0 <= delta.high:
        return "regression" if delta.estimate > 0 else "improvement"
    if math.isnan(mde) or (margin is not None and mde > margin):
        return "insufficient"
    return "no change shown"


def _rate_of(*weights: int) -> Statistic:
    return lambda cells: cells @ np.array(weights, dtype=np.float64) / cells.sum(axis=-1)


# Of the cells: fails in both, fixed, newly failing, fails in neither.
_RATE_BEFORE, _RATE_AFTER = _rate_of(1, 1, 0, 0), _rate_of(1, 0, 1, 0)
_DIFFERENCE = _rate_of(0, -1, 1, 0)


def _score_estimate(rate: Statistic, units: Units, level: float) -> Estimate:
    n = units.total.sum()
    estimate = float(rate(units.total))
    effective = n / inflation(rate, units, level)
    low, high = wilson(estimate * effective, effective, level)
    return Estimate(estimate, float(low), float(high), level, "Wilson", int(n), units.caution)


def newcombe_paired(cells: Floats, level: float) -> tuple[Floats, Floats]:
    """Return Newcombe's interval, method 10, of the difference of two paired rates.

    The cells (..., 4) are both fail, fixed, newly failing, neither fails.
    """
    both, fixed, new, neither = np.moveaxis(cells, -1, 0)
    n = cells.sum(axis=-1)
    p1, p2 = ratio(both + new, n, 0.5), ratio(both + fixed, n, 0.5)
    (l1, u1), (l2, u2) = (wilson(count, n, level) for count in (both + new, both + fixed))
    association = both * neither - new * fixed
    scale = np.sqrt((both + new) * (fixed + neither) * (both + fixed) * (new + neither))
    # Newcombe's continuity correction of phi: positive association is understated, never flipped.
    corrected = np.where(association > 0, np.maximum(association - n / 2, 0.0), association)
    phi = ratio(corrected, scale, 0.0)
    low, high = (
        np.where(n > 0, np.sqrt(np.maximum(a * a - 2 * phi * a * b + b * b, 0.0)), 1.0)
        for a, b in ((p1 - l1, u2 - p2), (u1 - p1, p2 - l2))
    )
    return p1 - p2 - low, p1 - p2 + high


def flip_chances(steps: Floats, times: Integers) -> Floats:
    """Return the chance of each sum of ``steps`` when every sign is a fair coin, exactly.

    That of the sum k is at place k, from the end where it is negative. It is the inverse Fourier
    transform of the product of the cosines; for steps of one, the binomial of McNemar's test.
    """
    places = 2 * int(np.abs(steps) @ times) + 1
    angle = 2 * np.pi * np.arange(places) / places
    transform = np.ones(places)
    for step, count in zip(steps, times, strict=True):
        transform *= np.cos(angle * step) ** count
    chances: Floats = np.maximum(np.fft.fft(transform).real / places, 0.0)
    return chances


def _flip_p_values(net: Floats, times: Integers) -> tuple[float, float]:
    """Return the two-sided p-value and mid-p of the sum of ``net``, each sign being a coin."""
    observed, total = abs(int(net @ times)), int(np.abs(net) @ times)
    if observed == 0:
        return 1.0, 1.0
    chance = flip_chances(net, times)
    p_value = np.clip(2 * chance[observed : total + 1].sum(), 0.0, 1.0)
    return float(p_value), float(max(p_value - chance[observed], 0.0))
