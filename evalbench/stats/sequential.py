"""Looking every day without false alarms from looking: intervals that hold at all times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats, check_lengths, check_level, whole_numbers
from ._resampling import ratio
from .estimate import Estimate

ODDS_RATIOS = (1.25, 1.6, 2.0, 4.0)
"""Rises of the odds over the baseline's bound that the alarm bets on, a quarter each."""
BASELINE_SHARE = 0.5
"""Part of the false alarms allowed that is spent on not knowing the baseline exactly."""
SCALE = 365
"""Days within which half of the weight on the day of a change lies."""


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """A running mean with intervals that hold at all looks at once, each an array over looks."""

    estimate: Floats
    low: Floats
    high: Floats
    level: float
    n: int
    method: str

    @property
    def last(self) -> Estimate:
        """What is known by the last look."""
        rate, low, high = (float(column[-1]) for column in (self.estimate, self.low, self.high))
        reason = "" if self.n else "no sessions"
        return Estimate(rate, low, high, self.level, self.method, self.n, reason)


def confidence_sequence(
    fails: ArrayLike, n: ArrayLike, *, level: float = 0.95
) -> ConfidenceSequence:
    """Estimate a failure rate that may be looked at after every day, without correction.

    With S fails and F passes so far, the interval holds every p at which the mixture
    B(S + 1/2, F + 1/2) / B(1/2, 1/2) / (p^S (1 - p)^F) is under 1 / (1 - level). For outcomes that
    fail with chance p whatever came before, the mixture at the true p is a martingale, so the
    chance that any interval ever misses p is at most 1 - level (Ville 1939). It misleads where
    the rate moves, since it is about the mean since the first day, and where sessions of one user
    go together. It is wider than the interval of a sample of fixed size: the price of looking.

    ``fails`` and ``n`` are failing sessions and all sessions of each day, shape (days,). Until the
    first session the interval is [0, 1] and the estimate nan.

    Source: Robbins (1970) Annals of Mathematical Statistics 41; Howard et al. (2021) Annals of
    Statistics 49.

    Examples
    --------
    >>> sequence = confidence_sequence([2, 3, 1], [100, 100, 100])
    >>> sequence.last.estimate, round(sequence.last.low, 4), round(sequence.last.high, 4)
    (0.02, 0.0031, 0.062)
    """
    check_level(level)
    failed, sessions = _daily_counts(fails, n)
    s, total = failed.cumsum(), sessions.cumsum()
    f = total - s
    mixture = special.betaln(s + 0.5, f + 0.5) - special.betaln(0.5, 0.5)
    rate, middle = ratio(s, total), ratio(s, total, 0.5)

    def inside(p: Floats) -> NDArray[np.bool_]:
        likelihood = special.xlogy(s, p) + special.xlog1py(f, -p)
        return np.asarray(mixture - likelihood < -math.log1p(-level))

    low, high = (_edge(inside, np.full(len(s), end), middle) for end in (0.0, 1.0))
    return ConfidenceSequence(rate, low, high, level, int(total[-1]), "beta-binomial mixture")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Evidence after each day that a failure rate rose, and the first day that it was enough.

    ``evidence``, an array over days, is an e-process against rates up to ``bound``, what the
    baseline may have had at most. ``day`` is the position of the first day on which it reached
    ``threshold``, or None.
    """

    evidence: Floats
    threshold: float
    day: int | None
    bound: float


def alarm(
    fails: ArrayLike, n: ArrayLike, *, baseline: tuple[int, int] | float, level: float = 0.95
) -> Alarm:
    """Raise an alarm when a failure rate rose above its baseline, at whatever day it did.

    For each day j on which the rate may have risen, the likelihood ratio of rises (odds times 1.25,
    1.6, 2 and 4) against the baseline's bound over the days since j is an e-process; the evidence
    is their average with the weight s / ((j + s - 1)(j + s)) on day j, s = 365. Under rates up to
    the bound its mean never exceeds 1, so the chance that it ever reaches the threshold is at most
    one over it, in a year or in ten. Half of ``1 - level`` pays for the baseline: its bound is
    the exact upper limit (Clopper and Pearson 1934) of the rate that was counted. It misleads where
    days differ by more than chance (a weekly rhythm of traffic, users with many sessions): those
    look like rises.

    Parameters
    ----------
    fails, n : array_like, shape (days,)
        Failing sessions and sessions of each day after the baseline.
    baseline : (fails, n) or float
        Counts of a period before, measured in the same way; or a rate agreed on, taken as known.
    level : float
        At least this share of streams that never rise never raises an alarm.

    Source: Ville (1939); Shin, Ramdas and Rinaldo (2024) E-detectors, New England Journal of
    Statistics in Data Science 2.

    Examples
    --------
    >>> answer = alarm([4] * 30 + [9] * 30, [200] * 60, baseline=(120, 6000))
    >>> answer.day
    36
    """
    check_level(level)
    failed, sessions = _daily_counts(fails, n)
    allowed = 1 - level
    if isinstance(baseline, tuple):
        allowed -= BASELINE_SHARE * (1 - level)
        bound = _upper_limit(*baseline, BASELINE_SHARE * (1 - level))
    else:
        bound = float(baseline)
    if not 0 < bound < 1:
        raise ValueError(f"baseline must have a rate inside (0, 1), got {baseline!r}")
    odds = np.array(ODDS_RATIOS) * bound / (1 - bound)
    raised = odds / (1 + odds)
    daily = np.outer(failed, np.log(raised / bound))
    daily += np.outer(sessions - failed, np.log((1 - raised) / (1 - bound)))
    since_start = daily.cumsum(axis=0)
    day = np.arange(1, len(failed) + 1)
    weight = SCALE / ((day + SCALE - 1) * (day + SCALE))
    # log of the sum over starts j of weight_j exp(days j to t), all t at once.
    starts = np.log(weight)[:, None] - (since_start - daily)
    growth = since_start + np.logaddexp.accumulate(starts, axis=0)
    evidence = np.exp(np.minimum(growth, 700)).mean(axis=1) + SCALE / (day + SCALE)
    threshold = 1 / allowed
    reached = np.flatnonzero(evidence >= threshold)
    return Alarm(evidence, threshold, int(reached[0]) if len(reached) else None, bound)


def _daily_counts(fails: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    failed, sessions = whole_numbers("fails", fails), whole_numbers("n", n)
    check_lengths(fails=failed, n=sessions)
    if (failed > sessions).any():
        day = int((failed > sessions).argmax())
        raise ValueError(f"fails must be at most n, got {failed[day]:g} of {sessions[day]:g}")
    return failed, sessions


def _upper_limit(fails: int, n: int, error: float) -> float:
    if not 0 <= fails <= n or n < 1:
        raise ValueError(f"baseline must be (fails, n) with 0 <= fails <= n > 0, got {(fails, n)}")
    return 1.0 if fails == n else float(special.betaincinv(fails + 1, n - fails, 1 - error))


def _edge(inside: Callable[[Floats], NDArray[np.bool_]], outer: Floats, inner: Floats) -> Floats:
    """Bisect between an end of the range and a point inside to where the interval ends."""
    start = outer
    with np.errstate(divide="ignore"):
        whole = inside(outer)
        for _ in range(60):
            middle = (outer + inner) / 2
            holds = inside(middle)
            outer, inner = np.where(holds, outer, middle), np.where(holds, middle, inner)
    return np.where(whole, start, outer)
