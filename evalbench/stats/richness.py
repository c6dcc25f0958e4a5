"""Have we seen them all? Failure modes are species, reviewed sessions the sampling effort."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, check_lengths, check_level, whole_numbers
from ._resampling import RESAMPLES, central_interval, from_draws
from .estimate import Estimate

METHOD = "Chao1, Poisson draws"


def unseen_modes(
    counts: ArrayLike,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
    n_sessions: int | None = None,
) -> Estimate:
    """Estimate how many failure modes nobody has seen yet, at least.

    Estimand: the modes that occur but not among the sessions reviewed. With f1 modes seen once and
    f2 seen twice the estimate is f1^2 / (2 f2), or f1 (f1 - 1) / 2 where f2 is 0 (Chao 1984), times
    (T - 1) / T for T sessions. The interval is that of a Poisson number with this mean, f1 and f2
    drawn from Gamma(f1 + 1/2) and Gamma(f2 + 1). Where all modes are equally frequent a nominal 95%
    covers .94 or more in simulations (10 to 50 modes, 100 to 1,000 sessions); where many are far
    rarer than those seen the estimate is a lower bound and the interval misses above; so it is
    where sessions were drawn by signals that some modes do not raise. It misleads while the
    codebook still changes: a mode that is split counts twice.

    Parameters
    ----------
    counts : array_like, shape (modes,)
        Sessions that showed each mode; a mode of the codebook that none showed, 0, is left out.
    n_sessions : int, optional
        Sessions reviewed, at least every count; the sum of ``counts`` where not given.

    In modes; ``n`` is the number of sessions.

    Source: Chao (1984) Scandinavian Journal of Statistics 11; Chao (1987) Biometrics 43; Chao and
    Jost (2012) Ecology 93.

    Examples
    --------
    >>> unseen_modes([30, 9, 4, 2, 2, 1, 1, 1, 1], rng=np.random.default_rng(0)).estimate
    3.9215686274509802
    """
    check_level(level)
    seen = _seen(counts, n_sessions, rng)
    draws = rng.poisson(seen.drawn_unseen)
    return from_draws(seen.unseen, draws, level, method=METHOD, n=seen.n, reason=seen.reason)


def expected_new(
    counts: ArrayLike,
    n_sessions: int,
    more: int = 100,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    """Estimate how many modes not seen before ``more`` sessions drawn the same way would show.

    With U modes unseen after T sessions: U (1 - (1 - f1 / (T U + f1))^more), which takes the unseen
    as equally frequent (Chao et al. 2009); the interval is predictive, as for
    :func:`unseen_modes`. Reliable up to as many further sessions as were reviewed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(expected_new([30, 9, 4, 2, 2, 1, 1, 1, 1], 200, rng=rng).estimate, 2)
    1.57
    """
    check_level(level)
    if more < 1:
        raise ValueError(f"more must be at least 1, got {more!r}")
    seen = _seen(counts, n_sessions, rng)

    def new(singles: Floats, unseen: Floats) -> Floats:
        rare = np.divide(
            singles, seen.n * unseen + singles, out=np.zeros_like(singles), where=unseen > 0
        )
        return np.asarray(unseen * (1 - (1 - rare) ** more))

    draws = rng.poisson(new(seen.drawn_once, seen.drawn_unseen))
    estimate = float(new(np.array([seen.once]), np.array([seen.unseen]))[0])
    return from_draws(estimate, draws, level, method=METHOD, n=seen.n, reason=seen.reason)


def sample_coverage(
    counts: ArrayLike,
    *,
    unread: ArrayLike | None = None,
    heaviest: float = 1.0,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    r"""Estimate the share of the failures nobody has read that are of a mode already seen.

    A session drawn with probability :math:`\pi` stands for :math:`1 / \pi - 1` that were not. With
    :math:`u_k` the sum of these over the sessions that showed mode k, the estimate is

    .. math:: 1 - \sum_{k \text{ seen once}} u_k / \sum_k u_k,

    unbiased but for the ratio however unequal the probabilities; where they are equal it is Good's
    (1953) 1 - f1 / n over n failures seen. The interval is that of Fay and Feuer (1997) for a
    weighted sum of Poisson counts, with the variance of Esty (1983). A nominal 95% covers .945 or
    more in simulations (10 to 50 modes, 100 to 300 sessions, at random or by signals, where Good's
    covers as little as .80).

    Parameters
    ----------
    counts : array_like, shape (modes,)
        Sessions that showed each mode.
    unread : array_like, shape (modes,), optional
        The sums :math:`u_k`; ``counts`` where not given: sessions read at random.
    heaviest : float
        The largest :math:`1 / \pi - 1` of any session that was read, whatever it showed.

    Source: Good (1953) Biometrika 40; Esty (1983) Annals of Statistics 11; Fay and Feuer (1997)
    Statistics in Medicine 16.

    Examples
    --------
    >>> sample_coverage([30, 9, 4, 2, 2, 1, 1, 1, 1], rng=np.random.default_rng(0)).estimate
    0.9215686274509804
    """
    check_level(level)
    seen = whole_numbers("counts", counts)
    weights = seen if unread is None else np.asarray(unread, dtype=np.float64)
    check_lengths(counts=seen, unread=weights)
    n, total = int(seen.sum()), weights.sum()
    method = "Good-Turing by inclusion probability, gamma draws"
    if total <= 0:
        reason = "no failure is left to read" if n else "no mode was seen"
        return Estimate(math.nan, 0.0, 1.0, level, method, n, reason)
    once, twice = weights[seen == 1], weights[seen == 2]
    missing = once.sum()
    variance = (once**2).sum() + (twice**2).sum() / 2

    def draw(mean: float, variance: float) -> Floats:
        shares: Floats = rng.gamma(mean**2 / variance, variance / mean / total, RESAMPLES)
        return shares

    fewest = central_interval(draw(missing, variance), level)[0] if missing > 0 else 0.0
    most = central_interval(draw(missing + heaviest, variance + heaviest**2), level)[1]
    ends = max(1 - most, 0.0), min(1 - fewest, 1.0)
    value = float(1 - missing / total)
    return Estimate(value, min(value, ends[0]), max(value, ends[1]), level, method, n)


class _Seen(NamedTuple):
    n: int
    once: float
    unseen: float
    drawn_once: Floats
    drawn_twice: Floats
    drawn_unseen: Floats
    reason: str


def _seen(counts: ArrayLike, n_sessions: int | None, rng: np.random.Generator) -> _Seen:
    """Count the modes seen once and twice, and estimate those unseen, as counted and as drawn."""
    column = whole_numbers("counts", counts)
    check_lengths(counts=column)
    if n_sessions is not None and n_sessions < max(1, column.max()):
        raise ValueError(f"n_sessions must be at least every count, got {n_sessions!r}")
    n = int(column.sum() if n_sessions is None else n_sessions)
    once, twice = float((column == 1).sum()), float((column == 2).sum())
    pairs = once**2 / (2 * twice) if twice else once * max(once - 1, 0.0) / 2
    drawn_once = rng.standard_gamma(once + 0.5, RESAMPLES)
    drawn_twice = rng.standard_gamma(twice + 1.0, RESAMPLES)
    repeated = 1 - 1 / max(n, 1)
    drawn_unseen = repeated * drawn_once**2 / (2 * drawn_twice)
    reason = "" if column.any() else "no mode was seen"
    return _Seen(n, once, repeated * pairs, drawn_once, drawn_twice, drawn_unseen, reason)
