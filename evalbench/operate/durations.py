"""How long it takes until half are done, where some are dropped and some not yet done."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from evalbench.stats import Estimate
from evalbench.stats.amounts import undefined

FEWEST = 5
"""Those done, or followed at a time, below which nothing is said of it."""
METHOD = "Aalen-Johansen with late entry, log(-log) interval"


def median_time(
    time: ArrayLike, ended: ArrayLike, *, entry: ArrayLike | None = None, level: float
) -> Estimate:
    r"""Estimate the time by which half of all are done.

    ``time`` is until each was done, dropped or last seen; ``ended`` says which: 1, 2 or 0.
    ``entry`` is the time after which each was followed: 0, or later where it would not be known had
    it ended before.

    Estimand: the first time t at which the cumulative incidence of what is done,
    :math:`F_1(t) = P(T \le t, 1)`, reaches one half. What is dropped is never done, so where half
    or more are dropped there is no such time. The estimate is Aalen and Johansen's,

    .. math:: \hat F_1(t) = \sum_{s \le t} \hat S(s-) \, d_1(s) / n(s),

    with Kaplan and Meier's S of done or dropped and the n(s) followed then. Times before five were
    followed are passed over (as Lai & Ying 1991): of one that enters alone and ends, S would be
    zero for ever. The interval holds the times at which a half is not refused, by the
    variance of Marubini & Valsecchi (1995, 10.14) on the scale of log(-log). Its high end is
    infinite where those followed longest do not show a half.

    Assumes that who enters late, or is last seen early, is no faster and no slower than the others.
    """
    from statsmodels.duration.survfunc import SurvfuncRight  # takes a second

    times, end = np.asarray(time, dtype=float), np.asarray(ended)
    entries = np.full_like(times, -1) if entry is None else np.asarray(entry, dtype=float)
    entries = np.where(entries > 0, entries, -1)  # followed from the start, what took no time too
    followed = times > entries
    times, end, entries = times[followed], end[followed], entries[followed]
    done = int((end == 1).sum())
    if done < FEWEST:
        return undefined(
            f"{done} of {len(times)} done; at least {FEWEST} are needed", level, len(times)
        )
    found = SurvfuncRight(times, 1.0 * (end > 0), entry=entries)
    own = np.searchsorted(found.surv_times, times[end == 1])
    n, d = found.n_risk, found.n_events
    d1 = np.bincount(own, minlength=len(n)).astype(float)
    kept = np.maximum.accumulate(n) >= FEWEST
    if not kept.any():
        return undefined(f"never {FEWEST} were followed at a time", level, len(times))
    share, se = incidence(n[kept], d[kept], d1[kept])
    at = found.surv_times[kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.log(-np.log1p(-share))
        off = (scale - np.log(np.log(2))) * -np.log1p(-share) * (1 - share) / se
    off[share >= 1] = np.inf  # all are done by then
    reached = np.flatnonzero(share >= 0.5)
    z = ndtri((1 + level) / 2)
    low, high = np.flatnonzero(off > -z), np.flatnonzero(off > z)
    if not len(low):
        return undefined("far fewer than half were done in the time seen", level, len(times))
    lower, upper = float(at[low[0]]), float(at[high[0]]) if len(high) else np.inf
    reason = "" if len(reached) else "fewer than half were done"
    middle = float(at[reached[0]]) if len(reached) else np.nan
    return Estimate(middle, lower, upper, level, METHOD, len(times), reason)


def incidence(
    n: NDArray[np.float64], d: NDArray[np.float64], d1: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share done by each time and its standard error.

    ``n`` were followed just before it, ``d`` of them ended then and ``d1`` were done. It is what
    statsmodels' CumIncidenceRight gives, which knows no late entry.
    """
    before = np.append(1.0, np.cumprod(1 - d / n)[:-1])
    share = np.cumsum(before * d1 / n)
    with np.errstate(divide="ignore"):
        any_end = np.where(d < n, d / (n * np.maximum(n - d, 1)), 0.0)
    variance = share**2 * np.cumsum(any_end) - 2 * share * np.cumsum(share * any_end)
    variance += np.cumsum(share**2 * any_end) + np.cumsum(before**2 * (n - d1) * d1 / n**3)
    own = before * d1 / n**2
    variance += 2 * (np.cumsum(share * own) - share * np.cumsum(own))
    return share, np.sqrt(np.maximum(variance, 0))
