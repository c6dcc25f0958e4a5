r"""Looking every day: evidence that a failure rate is above its target, whenever one looks.

An alert that is tested anew each day is wrong on some day almost surely. An e-process is not: where
the rate keeps to its target, it ever reaches :math:`1 / \alpha` with a chance of
:math:`\alpha` at most (Ville 1939), so that one may look, stop and go on as one likes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, Integers, check_lengths, codes, whole_numbers
from ._resampling import ratio

BETS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)  # by how much a user who fails multiplies the evidence
ALPHA = 0.05  # chance of a false alert in a quarter, of all failure modes of a company together
MOST = 1e300  # evidence beyond which it is not counted
KNOWN = 30  # failures at which what history says of overdispersion counts half


def evidence(
    day: ArrayLike,
    user: ArrayLike,
    value: ArrayLike,
    *,
    target: float,
    days: int,
    dispersion: float = 1.0,
) -> Floats:
    r"""Return the e-value by the end of each day against "the rate is at most the target".

    The unit is a user's day, with the mean :math:`x` of its sessions. A bet :math:`b` multiplies
    the evidence by :math:`1 + \lambda (x - p_0)`, :math:`\lambda = (b - 1) / (1 - p_0)`, whose mean
    is at most 1 where the rate is at most :math:`p_0`. The e-value is the mean over :data:`BETS`
    (those with :math:`b p_0 < 1`) and over all days as a start; what has not started yet is held as
    cash, at 1. Alert where it reaches :math:`1 / \alpha`.

    From each start on, a user counts on the first day alone: one who comes back and fails again is
    no new evidence (else an intraclass correlation of .3 over the quarter takes a quiet mode to
    1,000 to 1 in 3% of quarters). A day's evidence is raised to the power of one in ``dispersion``,
    for days that differ by more than chance (:func:`overdispersion`). It misleads where users share
    a cause that lies outside the product.

    ``day``, whole numbers in [0, days), ``user`` and ``value`` in [0, 1] are of one length.

    Source: Ville (1939); Waudby-Smith & Ramdas (2024), JRSS B 86:1; Shin, Ramdas & Rinaldo (2023)
    for the mixture over starts.

    Examples
    --------
    >>> day = np.repeat(np.arange(30), 10)
    >>> found = evidence(day, np.arange(300), day >= 20, target=0.02, days=30)
    >>> bool(found[19] < 1), bool(found[21] > 1000)
    (True, True)
    """
    days_seen = whole_numbers("day", day).astype(np.int64)
    means = np.asarray(value, dtype=np.float64)
    check_lengths(day=days_seen, user=user, value=means)
    for name, given, holds, bounds in (
        ("target", target, 0 <= target < 1, "a share"),
        ("dispersion", dispersion, dispersion >= 1, "at least 1"),
        ("value", means, ((means >= 0) & (means <= 1)).all(), "a share"),
        ("days", days, days > days_seen.max(), "above every day"),
    ):
        if not holds:
            raise ValueError(f"{name} must be {bounds}, got {given}")
    bets = np.array([bet for bet in BETS if bet * target < 1])
    if not len(bets):
        return np.ones(days)
    before = _day_before(days_seen, codes("user", user)[1])
    place = days_seen * (days + 1) + before + 1
    logs = np.empty((len(bets), days, days))
    for at, stake in enumerate((bets - 1) / (1 - target)):
        gain = np.log1p(stake * (means - target)) / dispersion
        sums = np.bincount(place, gain, days * (days + 1)).reshape(days, days + 1)
        # A day counts for the starts after the user's day before, up to the day itself.
        logs[at] = np.tril(sums.cumsum(axis=1)[:, :days]).cumsum(axis=0)
    top = logs.max(axis=(0, 2), keepdims=True)
    with np.errstate(over="ignore"):
        mixed: Floats = np.exp(logs - top).mean(axis=(0, 2)) * np.exp(top[0, :, 0])
    return np.fmin(mixed, MOST)


def _day_before(day: Integers, user: Integers) -> Integers:
    """Return the last day before on which the same user came; -1 where there is none."""
    order = np.lexsort((day, user))
    same = user[order][1:] == user[order][:-1]
    before = np.full(len(day), -1)
    before[order[1:]] = np.where(same, day[order][:-1], -1)
    return before


def overdispersion(users: ArrayLike, sums: ArrayLike, squares: ArrayLike) -> Floats:
    """Return by how much the days of a history vary more than users do, at least 1.

    The squared sums of days about their week's mean, over what the variance of user-days leads one
    to expect; weekdays that differ count as well. With few failures, where days can hardly differ
    by much, it is drawn to 1 (half at :data:`KNOWN`). ``users`` who came on each day, the ``sums``
    of their means and of these ``squares`` are arrays (..., days), the result (...).

    Source: McCullagh & Nelder (1989), Generalized Linear Models, 4.5; evidence to a power of less
    than one: Grünwald & van Ommen (2017), Bayesian Analysis 12:1069.

    Examples
    --------
    >>> float(overdispersion([10] * 28, [0, 4] * 14, [0, 4] * 14)) > 2
    True
    """
    parts = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (users, sums, squares)))
    rest = (0, -parts[0].shape[-1] % 7)
    widths = [*[(0, 0)] * (parts[0].ndim - 1), rest]
    n, x, xx = (np.pad(each, widths).reshape(*each.shape[:-1], -1, 7) for each in parts)
    n_week, x_week = n.sum(-1), x.sum(-1)
    mean = ratio(x_week, n_week, 0.0)
    spread = ratio(xx.sum(-1) - mean * x_week, n_week - 1, 0.0)
    expected = (spread[..., None] * n * (1 - ratio(n, n_week[..., None], 0.0))).sum((-1, -2))
    between = ((x - n * mean[..., None]) ** 2).sum((-1, -2))
    total = x_week.sum(-1)
    excess: Floats = np.maximum(ratio(between, expected, 1.0) - 1, 0.0)
    found: Floats = 1 + excess * total / (total + KNOWN)
    return found


def judged_target(target: float, *, tpr_high: float, fpr_high: float) -> float:
    """Return the share that an evaluator flags at worst where the rate keeps to its target."""
    return target * tpr_high + (1 - target) * fpr_high


def spend_alpha(weights: ArrayLike) -> Floats:
    """Divide :data:`ALPHA` over failure modes by the weights of their severity."""
    shares = np.asarray(weights, dtype=np.float64)
    return ALPHA * ratio(shares, shares.sum(), 0.0)
