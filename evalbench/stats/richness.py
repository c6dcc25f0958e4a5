"""Have we seen them all? Failure modes are species, reviewed sessions the sampling effort."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, check_level
from ._intervals import RESAMPLES, central_interval
from .estimate import Estimate

METHOD = "Chao1, Poisson draws"


def unseen_modes(
    counts: ArrayLike,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
    n_sessions: int | None = None,
) -> Estimate:
    """How many failure modes nobody has seen yet, at least.

    Estimand: the modes that occur but not among the sessions reviewed. With f1 modes seen once and
    f2 seen twice the estimate is f1^2 / (2 f2), or f1 (f1 - 1) / 2 where f2 is 0 (Chao 1984), times
    (T - 1) / T for T sessions. The interval is that of a Poisson number with this mean, f1 and f2
    drawn from Gamma(f1 + 1/2) and Gamma(f2 + 1). Where all modes are equally frequent a nominal 95%
    covers .94 or more in simulations (10 to 50 modes, 100 to 1,000 sessions); where many are far
    rarer than those seen the estimate is a lower bound and the interval misses above. It assumes
    that sessions were drawn at random, and it misleads while the codebook still changes: a mode
    that is split counts twice.

    Parameters
    ----------
    counts : array_like, shape (modes,)
        Sessions that showed each mode; a mode of the codebook that none showed, 0, is left out.
    level : float
        Coverage of the interval.
    rng : numpy.random.Generator
        For the draws.
    n_sessions : int, optional
        Sessions reviewed; taken as the sum of ``counts`` where not given.

    Returns
    -------
    Estimate
        In modes; ``n`` is the number of sessions.

    Raises
    ------
    ValueError
        Counts that are empty, negative or no whole numbers, or more than ``n_sessions``; ``level``
        out of range.

    References
    ----------
    Chao (1984) Scandinavian Journal of Statistics 11; Chao (1987) Biometrics 43; Chao and Jost
    (2012) Ecology 93.

    Examples
    --------
    >>> import numpy as np
    >>> unseen_modes([30, 9, 4, 2, 2, 1, 1, 1, 1], rng=np.random.default_rng(0)).estimate
    3.9215686274509802
    """
    check_level(level)
    seen, n = _counts(counts, n_sessions)
    once, twice = _once_twice(seen)
    drawn_once, drawn_twice = _draw(once, twice, rng)
    draws = rng.poisson(_unseen(drawn_once, drawn_twice, n))
    low, high = central_interval(draws.astype(np.float64), level)
    estimate = _plug_in(once, twice, n)
    reason = "" if len(seen) else "no mode was seen"
    return _estimate(estimate, low, high, level, METHOD, n, reason)


def expected_new(
    counts: ArrayLike,
    n_sessions: int,
    more: int = 100,
    *,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    """How many modes not seen before another ``more`` reviewed sessions would show.

    With U modes unseen after T sessions: U (1 - (1 - f1 / (T U + f1))^more), which takes the unseen
    as equally frequent (Chao et al. 2009); the interval is predictive, as for
    :func:`unseen_modes`. Reliable up to as many further sessions as were reviewed.

    Raises
    ------
    ValueError
        As :func:`unseen_modes`, or ``more`` under 1.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> round(expected_new([30, 9, 4, 2, 2, 1, 1, 1, 1], 200, rng=rng).estimate, 2)
    1.57
    """
    check_level(level)
    if more < 1:
        raise ValueError(f"more must be at least 1, got {more!r}")
    seen, n = _counts(counts, n_sessions)
    once, twice = _once_twice(seen)

    def new(singles: Floats, unseen: Floats) -> Floats:
        rare = np.divide(
            singles, n * unseen + singles, out=np.zeros_like(singles), where=unseen > 0
        )
        return np.asarray(unseen * (1 - (1 - rare) ** more))

    drawn_once, drawn_twice = _draw(once, twice, rng)
    draws = rng.poisson(new(drawn_once, _unseen(drawn_once, drawn_twice, n)))
    low, high = central_interval(draws.astype(np.float64), level)
    estimate = float(new(np.array([once]), np.array([_plug_in(once, twice, n)]))[0])
    reason = "" if len(seen) else "no mode was seen"
    return _estimate(estimate, low, high, level, METHOD, n, reason)


def sample_coverage(
    counts: ArrayLike, *, level: float = 0.95, rng: np.random.Generator
) -> Estimate:
    """Chance that the next failure is of a mode already seen.

    Good's (1953) 1 - f1 / n over n failures seen. The interval draws the modes unseen as
    :func:`unseen_modes` does, each with the share 2 f2 / (f1 n) of the failures; a nominal 95%
    covers .96 or more in simulations (10 to 50 modes, 100 to 300 sessions).

    Raises
    ------
    ValueError
        Counts that are empty, negative or no whole numbers, or ``level`` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> sample_coverage([30, 9, 4, 2, 2, 1, 1, 1, 1], rng=np.random.default_rng(0)).estimate
    0.9215686274509804
    """
    check_level(level)
    seen, n = _counts(counts, None)
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, level, "Good-Turing", 0, "no mode was seen")
    once, twice = _once_twice(seen)
    drawn_once, drawn_twice = _draw(once, twice, rng)
    unseen = rng.poisson(_unseen(drawn_once, drawn_twice, n))
    missing = np.minimum(unseen * 2 * drawn_twice / (drawn_once * n), 1.0)
    low, high = central_interval(1 - missing, level)
    return _estimate(1 - once / n, low, high, level, "Good-Turing, Poisson draws", n, "")


def _counts(counts: ArrayLike, n_sessions: int | None) -> tuple[Floats, int]:
    """Check the counts; those of the modes that were seen, and the sessions."""
    column = np.asarray(counts, dtype=np.float64)
    if column.ndim != 1 or len(column) == 0:
        raise ValueError(f"counts must be one non-empty column, got shape {column.shape}")
    wrong = ~(column >= 0) | (column != np.floor(column))
    if wrong.any():
        raise ValueError(f"counts must hold whole numbers from 0, got {column[wrong][0]}")
    if n_sessions is None:
        return column[column > 0], int(column.sum())
    if n_sessions < max(1, column.max()):
        raise ValueError(f"n_sessions must be at least every count, got {n_sessions!r}")
    return column[column > 0], int(n_sessions)


def _once_twice(seen: Floats) -> tuple[float, float]:
    return float((seen == 1).sum()), float((seen == 2).sum())


def _draw(once: float, twice: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.standard_gamma(once + 0.5, RESAMPLES), rng.standard_gamma(twice + 1.0, RESAMPLES)


def _unseen(once: Floats, twice: Floats, n: int) -> Floats:
    unseen: Floats = (1 - 1 / max(n, 1)) * once**2 / (2 * twice)
    return unseen


def _plug_in(once: float, twice: float, n: int) -> float:
    pairs = once**2 / (2 * twice) if twice else once * max(once - 1, 0.0) / 2
    return (1 - 1 / max(n, 1)) * pairs


def _estimate(
    estimate: float, low: float, high: float, level: float, method: str, n: int, reason: str
) -> Estimate:
    """Build an Estimate whose interval reaches the plug-in, which may lie on the border."""
    return Estimate(estimate, min(low, estimate), max(high, estimate), level, method, n, reason)
