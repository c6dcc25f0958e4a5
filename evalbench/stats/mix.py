"""What traffic is made of, before and after: shares of sessions, which share users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, check_level
from ._resampling import ratio, wilson
from .estimate import Estimate


@dataclass(frozen=True, slots=True)
class ShareChange:
    """The share of sessions with one value before and after, and the difference."""

    before: Estimate
    after: Estimate
    delta: Estimate


def share_changes(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    *,
    level: float = 0.95,
) -> list[ShareChange]:
    r"""Return how the share of each value changed, all intervals holding at once.

    Either side is the sessions of each user, (users,), and those of them with each value,
    (users, values). A share's interval is Wilson's on the number of sessions divided by the design
    effect of users, and that of a difference Newcombe's hybrid of the two (method 10). All values
    of a trait are looked at, so each is at the level :math:`1 - (1 - \mathrm{level}) / V`.

    It misleads under 20 users: then the design effect is hardly known.

    Source: Newcombe (1998) Statistics in Medicine 17:873; Rao & Scott (1992) Biometrics 48:577 for
    counts divided by a design effect.

    Examples
    --------
    >>> ones = np.ones(400)
    >>> german = [np.r_[np.ones(n), np.zeros(400 - n)][:, None] for n in (40, 120)]
    >>> [change] = share_changes((ones, german[0]), (ones, german[1]))
    >>> round(change.delta.estimate, 2), change.delta.low > 0.1
    (0.2, True)
    """
    check_level(level)
    each = 1 - (1 - level) / max(np.asarray(before[1]).shape[1], 1)
    p, p_low, p_high = old = _shares(before, each)
    q, q_low, q_high = new = _shares(after, each)
    under, over = np.hypot(q - q_low, p_high - p), np.hypot(q_high - q, p - p_low)
    gap = q - p, q - p - under, q - p + over
    n, m = (int(np.sum(side[0])) for side in (before, after))

    def estimate(ends: tuple[Floats, ...], at: int, n: int) -> Estimate:
        share, low, high = (float(end[at]) for end in ends)
        return Estimate(share, low, high, level, "Newcombe", n)

    return [
        ShareChange(estimate(old, at, n), estimate(new, at, m), estimate(gap, at, n + m))
        for at in range(len(p))
    ]


def _shares(side: tuple[ArrayLike, ArrayLike], level: float) -> tuple[Floats, Floats, Floats]:
    """Return the share of sessions with each value, and its ends."""
    sessions, holding = (np.asarray(part, dtype=np.float64) for part in side)
    total, users = float(sessions.sum()), len(sessions)
    share = ratio(holding.sum(0), total, 0.0)
    residual = holding - sessions[:, None] * share
    several = (users / max(users - 1, 1)) * (max(total - 1, 1) / max(total, 1))
    binomial = total * share * (1 - share)
    effect = np.maximum(several * ratio((residual**2).sum(0), binomial, 1.0), 1.0)
    return (share, *wilson(share * total / effect, total / effect, level))
