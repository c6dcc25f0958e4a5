"""What a number of cases can show, and which labels narrow the answer most."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy import special

from ._arguments import Columns, Floats, Integers, check_level, whole_numbers
from ._cells import posterior, tabulate
from ._resampling import PRIOR, wilson
from .binary import MEASURES

POWER = 0.8
PLANS, DRAWS = 200, 400
MOST = 10_000_000


def paired_power(
    n: int, change: float, *, churn: float, level: float = 0.95, exact: bool = False
) -> float:
    """Return the chance that McNemar's test, by its mid-p or exact, shows a change on ``n`` cases.

    Cases turn from pass to fail at the rate ``churn + change`` and back at ``churn``; both the
    number of cases that turn and their split are binomial, and the power is summed exactly. The
    change is positive, and ``change + 2 * churn`` at most 1.
    """
    check_level(level)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n!r}")
    if not 0 < change <= 1:
        raise ValueError(f"change must lie above 0 and at most 1, got {change!r}")
    turning = change + 2 * churn
    if churn < 0 or turning > 1 + 1e-9:
        raise ValueError(f"churn must lie between 0 and (1 - change) / 2, got {churn!r}")
    turning = min(turning, 1.0)
    spread = 8 * math.sqrt(n * turning * (1 - turning)) + 12  # beyond it lies less than 1e-12
    turned = np.arange(
        max(int(n * turning - spread), 0), min(math.ceil(n * turning + spread), n) + 1
    )
    needed = _needed((1 - level) / 2, 1 << int(turned[-1]).bit_length(), exact)[turned]
    shown = _beyond(needed - 1, turned, (churn + change) / turning)
    below = np.where(turned > 0, special.bdtr(np.maximum(turned - 1, 0), n, turning), 0.0)
    return float((special.bdtr(turned, n, turning) - below) @ shown)


@lru_cache(maxsize=64)
def _needed(tail: float, most: int, exact: bool) -> Floats:
    """Return how many of 0, 1, ... cases that turned must fail anew for the test to show it."""
    turned = np.arange(most, dtype=np.float64)
    needed = np.ceil(special.bdtrik(1 - tail, np.maximum(turned, 1), 0.5) - 1e-9)
    more, as_many = _beyond(needed, turned, 0.5), _beyond(needed - 1, turned, 0.5)
    shown = as_many <= tail if exact else (more + as_many) / 2 < tail
    lacking: Floats = np.where(shown, needed, needed + 1)
    return lacking


def _beyond(count: ArrayLike, n: ArrayLike, chance: float) -> Floats:
    """Return the chance that more than ``count`` of ``n`` come up; a fraction of scipy.stats."""
    count, n = np.asarray(count, np.float64), np.asarray(n, np.float64)
    inside = np.clip(count, 0, np.maximum(n - 1, 0))
    some: Floats = special.betainc(inside + 1, np.maximum(n - inside, 1), chance)
    return np.where(count < 0, 1.0, np.where(count >= n, 0.0, some))


def smallest_change(n: int, *, churn: float, level: float = 0.95) -> float:
    """Return the smallest change that ``n`` cases show with 80% power; nan where none could.

    Examples
    --------
    >>> round(smallest_change(200, churn=0.02), 3)
    0.066
    """

    def excess(change: float) -> float:
        return paired_power(n, change, churn=churn, level=level) - POWER

    most = 1 - 2 * churn
    if n < 1 or most <= 0 or excess(most) < 0:
        return math.nan
    return float(scipy.optimize.brentq(excess, 1e-9, most, xtol=1e-6))


def labels_for_rate(
    half_width: float, *, rate: float, level: float = 0.95, assurance: float = 0.8
) -> int:
    """Return how many labels make a rate's interval this narrow, with the given assurance.

    As many failures as come up by bad luck still leave Wilson's interval no wider than twice
    ``half_width``: planned on the expected number it would be wider in every second sample. A
    difference of two rates shows with 80% power where each is known to within half of it, since
    sqrt(2) (1.96 + 0.84) / 1.96 is 2.

    ``rate`` is the share expected to fail in sessions drawn at random; where they are drawn by
    verdicts or signals, fewer labels do.

    Examples
    --------
    >>> labels_for_rate(0.01, rate=0.05)
    1978
    """
    check_level(level)
    for name, share in (("half_width", half_width), ("rate", rate), ("assurance", assurance)):
        if not 0 < share < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {share!r}")

    def reaches(n: int) -> bool:
        unlucky = scipy.stats.binom.ppf(assurance, n, min(rate, 1 - rate))
        low, high = wilson(min(unlucky, n / 2), n, level)
        return bool(high - low <= 2 * half_width)

    return bisect_left(range(MOST), True, lo=1, key=reaches)


def mcc_assurance(
    bar: float,
    *,
    sessions: ArrayLike,
    labels: ArrayLike,
    fails: ArrayLike,
    extra: ArrayLike,
    level: float = 0.95,
    rng: np.random.Generator,
) -> float:
    """Return the chance that further labels show a judge's MCC to be above ``bar``.

    All arrays are (2,), of what the judge fails and of what it passes: its ``sessions``, their
    random ``labels`` so far, how many of these ``fails``, and the ``extra`` labels. What the latter
    would say is drawn from the posterior of the former, by Jeffreys' prior; each time the lower end
    of the interval at ``level`` is compared with the bar.

    Source: Spiegelhalter, Abrams & Myles (2004), Bayesian Approaches to Clinical Trials, ch. 6.

    Examples
    --------
    >>> known = {"sessions": [200, 1800], "labels": [30, 30], "fails": [26, 1]}
    >>> rng = np.random.default_rng(1)
    >>> chances = [mcc_assurance(0.6, **known, extra=[n, n], rng=rng) for n in (0, 200)]
    >>> chances[0] < chances[1]
    True
    """
    check_level(level)
    share = whole_numbers("sessions", sessions)
    given, failing = whole_numbers("labels", labels), whole_numbers("fails", fails)
    more = whole_numbers("extra", extra).astype(np.int64)
    a, b = failing + PRIOR, given - failing + PRIOR
    found = rng.binomial(more, rng.beta(a, b, size=(PLANS, 2)))
    after = (a + found)[:, None], (b + more - found)[:, None]
    rates = rng.beta(*after, size=(PLANS, DRAWS, 2))
    bad, good = rates * share, (1 - rates) * share
    low = np.quantile(
        MEASURES["mcc"](np.stack([*bad.T, *good.T], axis=-1)), (1 - level) / 2, axis=0
    )
    return float((low > bar).mean())


@dataclass(frozen=True, slots=True)
class NextLabels:
    """Where the next labels go: a row a cell of stratum and verdict, as the population has them."""

    stratum: tuple[str, ...]
    verdict: tuple[bool | None, ...]
    n: Integers


def labels_next(labels: Columns, population: Columns, *, n: int) -> NextLabels:
    """Divide the next ``n`` labels over the strata so that the failure rate is known best.

    Each cell of stratum and verdict has the posterior Beta(a, b) of ``failure_rate``, whose
    variance m more labels shrink on average by (a + b) / (a + b + m). Labels go one by one where
    that lowers the variance of the population's rate most: Neyman's (1934) allocation on what is
    known so far. Sparse strata are not merged. It serves the width of the rate alone: who looks
    for examples of a failure reads where signals are.

    ``labels`` and ``population`` are as for ``failure_rate``; ``n`` is at most the sessions that
    are not labelled.

    Examples
    --------
    >>> labels = {"stratum": ["calm"] * 30 + ["flagged"] * 20, "fails": [0] * 30 + [0, 1] * 10}
    >>> plan = labels_next(labels, {"stratum": ["calm", "flagged"], "n": [900, 100]}, n=40)
    >>> plan.stratum, plan.n.tolist()
    (('calm', 'flagged'), [33, 7])
    """
    table = tabulate(labels, population)
    size, labelled = table.population, table.labels
    room = size - labelled
    if not 1 <= n <= room.sum():
        raise ValueError(f"n must lie between 1 and the {room.sum():g} unlabelled, got {n!r}")

    share = size / size.sum()
    failing, passing = posterior(share, table.fails, labelled)
    strength = failing + passing
    scale = share**2 * failing * passing / (strength * (strength + 1))
    more = np.zeros(len(size), dtype=np.int64)
    gain = scale / (strength * (strength + 1))
    for _ in range(n):
        best = int(np.where(more < room, gain, -1.0).argmax())
        more[best] += 1
        reached = strength[best] + more[best]
        gain[best] = scale[best] / (reached * (reached + 1))
    return NextLabels(
        tuple(stratum for stratum, _ in table.keys),
        tuple(None if verdict is None else bool(verdict) for _, verdict in table.keys),
        more,
    )
