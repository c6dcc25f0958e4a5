"""What traffic is made of, before and after: shares of sessions, which share users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import check_level
from ._resampling import ratio, wilson
from .estimate import Estimate


class ShareChange(NamedTuple):
    """The share of sessions with one value before and after, and the difference."""

    before: Estimate
    after: Estimate
    shift: Estimate


def difference(before: Estimate, after: Estimate) -> Estimate:
    """Return after less before, of independent estimates (MOVER, Zou & Donner 2008)."""
    shift = after.estimate - before.estimate
    under = np.hypot(after.estimate - after.low, before.high - before.estimate)
    over = np.hypot(after.high - after.estimate, before.estimate - before.low)
    ends = float(shift - under), float(shift + over)
    return Estimate(shift, *ends, before.level, "MOVER", before.n + after.n)


def share_changes(
    before: tuple[ArrayLike, ArrayLike], after: tuple[ArrayLike, ArrayLike], *, level: float = 0.95
) -> list[ShareChange]:
    r"""Return how the share of each value changed, all intervals holding at once.

    Either side is the sessions of each user, (users,), and those of them with each value,
    (users, values). A share's interval is Wilson's on the number of sessions divided by the design
    effect of users, that of a difference Newcombe's hybrid of the two (method 10); each is at the
    level :math:`1 - (1 - \mathrm{level}) / V`. It misleads under 20 users, whose design effect is
    hardly known.

    Source: Newcombe (1998) Statistics in Medicine 17:873; Rao & Scott (1992) Biometrics 48:577.

    Examples
    --------
    >>> ones = np.ones(400)
    >>> german = [np.r_[np.ones(n), np.zeros(400 - n)][:, None] for n in (40, 120)]
    >>> [change] = share_changes((ones, german[0]), (ones, german[1]))
    >>> round(change.shift.estimate, 2), change.shift.low > 0.1
    (0.2, True)
    """
    check_level(level)
    pairs = zip(*(_shares(side, level) for side in (before, after)), strict=True)
    return [ShareChange(old, new, difference(old, new)) for old, new in pairs]


def _shares(side: tuple[ArrayLike, ArrayLike], level: float) -> list[Estimate]:
    sessions, holding = (np.asarray(part, dtype=np.float64) for part in side)
    total, users = float(sessions.sum()), len(sessions)
    share = ratio(holding.sum(0), total, 0.0)
    residual = ((holding - sessions[:, None] * share) ** 2).sum(0)
    few = (users / max(users - 1, 1)) * (max(total - 1, 1) / max(total, 1))
    effect = np.maximum(few * ratio(residual, total * share * (1 - share), 1.0), 1.0)
    each = 1 - (1 - level) / max(len(share), 1)
    ends = wilson(share * total / effect, total / effect, each)
    rows = np.transpose([share, *ends]).tolist()
    return [Estimate(value, low, high, level, "Wilson", int(total)) for value, low, high in rows]
