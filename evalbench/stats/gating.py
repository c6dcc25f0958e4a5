"""May it ship? What each row of a decision shows, and how it reads once all rows are paid for.

Outcomes are failures, latency or cost, so higher is worse. The same cases were run before (the
baseline) and after (the candidate): arrays (cases, repeats), null where a run was not judged.

A release that changes nothing only swaps the two sides of a case. So the p-value of a row is the
share of such swaps that look as bad, and an unchanged release can be replayed as often as one
likes: :func:`read_rows` needs no other assumption to block one in at most ``1 - level``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats, check_level
from ._resampling import PRIOR, from_draws, modified_wilson, normal_quantile
from .change import Change, flip_chances, newcombe_paired, paired_change
from .estimate import Estimate
from .planning import POWER, paired_power

ROLES = ("primary", "guardrail", "watch")
REPLAYS = 5_000
LARGEST = 100_000
"""Cases beyond which none are asked for."""
ASSURANCE = 0.8
"""With which cases are planned: that many times, cases turn no more often than is reckoned with."""
_power = lru_cache(maxsize=4096)(paired_power)
Runs = NDArray[np.float64]
Statistic = Callable[[Runs, Runs], Floats]
"""Of the baseline and the candidate, each (..., cases, repeats)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one row shows.

    ``estimate`` is in the units of the row's limit. ``worse`` is a one-sided p-value, and
    ``replayed`` the same in each replay of an unchanged release. ``shows(n, size, alpha=, sign=,
    planned=)`` is the chance that n cases show a change of this size at ``alpha``, None where none
    is looked for; ``clears(n, size)`` the chance that n cases of an unchanged release exclude one.
    ``certain`` evidence needs no test: one failing case is enough.
    """

    cases: int
    estimate: Estimate
    worse: float
    replayed: Floats
    clears: Callable[[int, float], float]
    shows: Callable[..., float] | None = None
    change: Change | None = None
    certain: bool = False


@dataclass(frozen=True, slots=True)
class RowReading:
    """How a row reads; ``power`` is its chance to show a change of the size of its limit.

    ``more`` cases would settle it, None where it is settled or no number would.
    """

    reading: str
    reason: str
    power: float | None = None
    more: int | None = None


def draw_swaps(cases: int, *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which cases change sides, (replays, cases): one draw for all rows of a decision."""
    return rng.random((REPLAYS, cases), dtype=np.float32) < 0.5


def paired_rate(
    before: ArrayLike,
    after: ArrayLike,
    swaps: NDArray[np.bool_],
    *,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Evidence:
    """Compare the share of runs that fail; repeats of a case are swapped together.

    The test is McNemar's, exact and one-sided, or its like for steps of several repeats: by its
    mid-p a single row might block an unchanged release in more than 5%. The interval is that of
    :func:`~evalbench.stats.change.paired_change`.
    """
    old, new = _runs(before), _runs(after)
    known = ~(np.isnan(old) | np.isnan(new))
    if not known.any():
        return nothing("no case was judged on both sides", swaps, level)
    case = np.broadcast_to(np.arange(len(old))[:, None], old.shape)[known]
    shared: NDArray[np.int64] | None = case if old.shape[1] > 1 else None
    change = paired_change(old[known], new[known], groups=shared, level=level, rng=rng)
    steps = np.where(known, new - old, 0.0).sum(axis=1)
    moved = steps != 0
    turned, times = np.unique(np.abs(steps[moved]), return_counts=True)
    chances = flip_chances(turned, times)
    total = len(chances) // 2
    in_order = np.roll(chances, total)
    tail = in_order[::-1].cumsum()[::-1]

    def worse(net: ArrayLike) -> Floats:
        p: Floats = np.minimum(tail[np.asarray(net, dtype=np.int64) + total], 1.0)
        return p

    replayed = worse(np.rint(np.where(swaps[:, moved], -1.0, 1.0) @ steps[moved]))
    mean = (steps / np.maximum(known.sum(axis=1), 1))[known.any(axis=1)]
    cases, both = len(mean), float((old[known] * new[known]).mean())
    improved, worsened = (float((mean[side] ** 2).sum()) for side in (mean < 0, mean > 0))
    seed = int(rng.integers(2**32))

    def churn(turned: float, planned: bool) -> float:
        against = min(turned, float(cases))
        if planned:
            return float(special.betaincinv(against + 1, cases - against + PRIOR, ASSURANCE))
        return (against + 1 / 3) / (cases + 2 / 3)  # the median of what is known of it

    def shows(n: int, size: float, *, alpha: float, sign: int, planned: bool = False) -> float:
        back = churn(improved if sign > 0 else worsened, planned)
        if not (n and size < 1):
            return 0.0
        return _power(n, size, churn=min(back, (1 - size) / 2), level=1 - 2 * alpha, exact=True)

    def clears(n: int, size: float) -> float:
        back = min(churn((improved + worsened) / 2, True), 0.5)
        fails = min(both, 1 - 2 * back)
        shares = [fails, back, back, max(1 - fails - 2 * back, 0.0)]
        drawn = np.random.default_rng(seed).multinomial(n, shares, size=REPLAYS)
        return float((newcombe_paired(drawn.astype(np.float64), level)[1] < size).mean())

    p = float(worse(steps.sum()))
    return Evidence(cases, change.delta, p, replayed, clears, shows, change)


def resampled(
    before: ArrayLike,
    after: ArrayLike,
    swaps: NDArray[np.bool_],
    statistic: Statistic,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
    is_ratio: bool = False,
) -> Evidence:
    """Compare by any statistic of both sides: its swaps test it, a bootstrap of cases bounds it.

    It is a difference, or with ``is_ratio`` the logarithm of a ratio, whose estimate and limit are
    told as the relative change: 0.1 is a tenth more. Power is that of a normal statistic with the
    bootstrap's standard error.
    """
    old, new = _runs(before), _runs(after)
    value = float(statistic(old, new))
    if not math.isfinite(value):
        return nothing("nothing was recorded to compare", swaps, level)
    side = swaps[:, :, None]
    swapped = np.sort(statistic(np.where(side, new, old), np.where(side, old, new)))
    picked = rng.integers(len(old), size=(len(swaps), len(old)))
    draws = statistic(old[picked], new[picked])
    spread = max(float(np.std(draws[np.isfinite(draws)])), 1e-12)

    def as_bad(values: ArrayLike) -> Floats:
        p: Floats = (1 + len(swapped) - np.searchsorted(swapped, values)) / (1 + len(swapped))
        return p

    def measure(size: float) -> float:
        return math.log1p(size) if is_ratio else size

    def shows(n: int, size: float, *, alpha: float, **_: object) -> float:
        distance = measure(size) / spread * math.sqrt(n / len(old))
        return float(special.ndtr(distance - normal_quantile(1 - 2 * alpha)))

    def clears(n: int, size: float) -> float:
        return shows(n, size, alpha=(1 - level) / 2)

    method = "bootstrap of cases, relative change" if is_ratio else "bootstrap of cases"
    told = np.expm1 if is_ratio else np.asarray
    estimate = from_draws(float(told(value)), told(draws), level, method=method, n=len(old))
    return Evidence(len(old), estimate, float(as_bad(value)), as_bad(swapped), clears, shows)


def upper_bound(
    before: ArrayLike,
    after: ArrayLike,
    swaps: NDArray[np.bool_],
    limit: float,
    *,
    level: float = 0.95,
) -> Evidence:
    """Bound the share of cases that the candidate fails in any repeat, whatever the baseline does.

    The p-value is the binomial's, against a rate of the ``limit``.
    """
    estimate, fails, counts = _fail_in_any(before, after, swaps, level)
    if not (n := estimate.n):
        return nothing(estimate.reason, swaps, level)

    def worse(count: ArrayLike) -> Floats:
        x = np.asarray(count, dtype=np.float64)
        p: Floats = np.where(x > 0, special.betainc(np.maximum(x, 1), n - x + 1, limit), 1.0)
        return p

    def clears(cases: int, size: float) -> float:
        rate = (fails + PRIOR) / (n + 1) if fails else 0.0
        counts = np.arange(min(cases, int(cases * size) + 1) + 1)
        most = int((modified_wilson(counts, cases, level)[1] < size).sum()) - 1
        return float(special.bdtr(most, cases, rate)) if most >= 0 else 0.0

    return Evidence(n, estimate, float(worse(fails)), worse(counts), clears)


def existence(
    before: ArrayLike, after: ArrayLike, swaps: NDArray[np.bool_], *, level: float = 0.95
) -> Evidence:
    """Ask whether any run of the candidate fails: one is enough to block; all have to be judged.

    n cases that all hold would have shown a rate of p with chance 1 - (1 - p)^n.
    """
    estimate, fails, counts = _fail_in_any(before, after, swaps, level)
    if (unjudged := swaps.shape[1] - estimate.n) and not fails:
        return nothing(f"{unjudged:,} cases of the candidate were not judged", swaps, level)
    replayed: Floats = (counts == 0).astype(np.float64)

    def shows(n: int, size: float, **_: object) -> float:
        return 1 - (1 - size) ** n

    cases, holds = estimate.n, float(not fails)
    return Evidence(cases, estimate, holds, replayed, lambda *_: 1.0, shows, certain=True)


def read_rows(
    rows: Sequence[tuple[str, float, Evidence]], *, level: float = 0.95
) -> tuple[list[RowReading], Estimate]:
    """Read rows of role, limit and evidence; and tell how often an unchanged release is blocked.

    All tests that a row is worse are one family, to ``1 - level`` by Holm's method: a row that is
    shown to be worse blocks. For the rest, by its role:

    - a primary row passes where its interval shows it better. It blocks where the interval excludes
      an improvement of its limit: it does not do what the release is for.
    - a guardrail passes where its interval lies under its limit, even if it is shown to be worse.
      Cases are planned so that all guardrails of an unchanged release pass with 80% power.
    - a watched row passes where its interval lies under its limit, or its power to show a worsening
      of that size is at least 80%.

    Anything else is insufficient. The error of the gate is counted on the replays of all rows, by
    Holm's first step; it leaves primary rows' aims out, which an unchanged release never reaches.

    Source: Schultzberg, Ankargren & Franberg (2024) arXiv:2402.11609 (the roles); Holm (1979).
    """
    check_level(level)
    tested = [at for at, (_, _, each) in enumerate(rows) if not each.certain]
    paid = (1 - level) / max(len(tested), 1)
    order = sorted(tested, key=lambda at: rows[at][2].worse)
    blocked = {at for at, (_, _, each) in enumerate(rows) if each.certain and not each.worse}
    for place, at in enumerate(order):
        if not rows[at][2].worse <= (1 - level) / (len(tested) - place):
            break
        blocked.add(at)
    guardrails = sum(role == "guardrail" for role, _, _ in rows)
    readings = [
        _read(role, limit, each, at in blocked, paid, guardrails)
        for at, (role, limit, each) in enumerate(rows)
    ]
    would = [each.replayed <= (0 if each.certain else paid) for _, _, each in rows]
    alarms = np.any(would, axis=0)
    low, high = (float(end) for end in modified_wilson(alarms.sum(), len(alarms), level))
    name, n = "replays with sides swapped", len(alarms)
    return readings, Estimate(float(alarms.mean()), low, high, level, name, n)


def _read(
    role: str, limit: float, each: Evidence, blocked: bool, paid: float, guardrails: int
) -> RowReading:
    found, shows = each.estimate, each.shows
    if not found.is_defined:
        return RowReading("insufficient", found.reason)
    sign = -1 if role == "primary" else 1
    alpha = (1 - found.level) / 2 if role == "primary" else paid

    def settles(n: int) -> bool:
        if role == "guardrail" and each.clears(n, limit) < 1 - (1 - POWER) / guardrails:
            return False
        return shows is None or shows(n, limit, alpha=alpha, sign=sign, planned=True) >= POWER

    power = None if shows is None else shows(each.cases, limit, alpha=alpha, sign=sign)
    if role == "guardrail" and found.high < limit:
        why = "shown to be worse, by less than its limit" if blocked else _compare(found)
        return RowReading("pass", why if shows else "surely under its limit", power)
    if blocked:
        return RowReading(
            "block", "one failing case is enough" if each.certain else "shown to be worse", power
        )
    if role == "primary" and found.high < 0:
        return RowReading("pass", "shown to be better", power)
    if role == "primary" and found.low > -limit:
        return RowReading("block", "an improvement of its limit is excluded", power)
    if role == "watch" and (found.high < limit or (power or 0.0) >= POWER):
        return RowReading("pass", "no case fails" if each.certain else _compare(found), power)
    more = _plan(settles, each, sign * limit)
    return RowReading("insufficient", "too few cases to tell", power, more)


def _compare(found: Estimate) -> str:
    if found.low > 0:
        return "perhaps worse, by less than its limit"
    return "shown to be better" if found.high < 0 else "no change shown"


def _plan(settles: Callable[[int], bool], each: Evidence, limit: float) -> int | None:
    """Return how many cases are lacking; where enough were there, by what they showed so far."""
    if settles(each.cases):
        found = each.estimate
        gap = max(abs(found.estimate - end) for end in ([limit, 0.0] if each.shows else [limit]))
        half = normal_quantile(found.level)
        spread = (found.high - found.low) / 2 / half
        needed = each.cases * ((half + special.ndtri(POWER)) * spread / max(gap, 1e-9)) ** 2
        return max(math.ceil(needed) - each.cases, 1) if needed < LARGEST else None
    most = max(each.cases, 1)
    while not settles(most):
        most *= 2
        if most > LARGEST:
            return None
    return bisect_left(range(most), True, lo=each.cases, key=settles) - each.cases


def _runs(values: ArrayLike) -> Runs:
    runs = np.asarray(values, dtype=np.float64)
    return runs[:, None] if runs.ndim == 1 else runs


def _fail_in_any(
    before: ArrayLike, after: ArrayLike, swaps: NDArray[np.bool_], level: float
) -> tuple[Estimate, int, Floats]:
    """Count the cases that the candidate fails in any repeat, and those of each replay."""
    old, new = (np.fmax.reduce(_runs(side), axis=1) for side in (before, after))
    known = ~np.isnan(new)
    if not (n := int(known.sum())):
        why = "no case of the candidate was judged"
        return Estimate(math.nan, math.nan, math.nan, level, "none", 0, why), 0, np.zeros(0)
    fails = int(new[known].sum())
    low, high = (float(end) for end in modified_wilson(fails, n, level))
    replayed = np.where(swaps, np.where(np.isnan(old), new, old), new)[:, known].sum(axis=1)
    return Estimate(fails / n, low, high, level, "modified Wilson", n), fails, replayed


def nothing(reason: str, swaps: NDArray[np.bool_], level: float) -> Evidence:
    """Return what a row shows of which nothing is known."""
    missing = Estimate(math.nan, math.nan, math.nan, level, "none", 0, reason)
    return Evidence(0, missing, 1.0, np.ones(len(swaps)), lambda *_: 0.0)
