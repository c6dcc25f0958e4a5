"""How many sessions to draw from each stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

ALWAYS = "always: "
AIMED = "aimed at"
UNLIKELY = 0.005  # a guessed rate of 0 or 1 would leave a stratum at its floor for good
ROUNDING = 1e-9

# Failure rates to allocate by until there are labels. Wrong ones cost precision, not validity.
GUESSES = {
    ("signals", AIMED): 0.5,
    ("no signals", AIMED): 0.5,
    ("signals", "flagged"): 0.5,
    ("signals", "not flagged"): 0.05,
    ("signals", "not judged"): 0.2,
    ("no signals", "flagged"): 0.2,
    ("no signals", "not flagged"): 0.01,
    ("no signals", "not judged"): 0.03,
}


def allocate(
    strata: Sequence[str],
    sizes: NDArray[np.int64],
    n: int,
    *,
    floor: int,
    guess: Mapping[str, float],
) -> NDArray[np.int64]:
    """Share ``n`` sessions out over H strata: the always strata whole, others by floor and Neyman.

    Strata "aimed at" get half of what the always strata leave, or are taken whole. Where ``n``
    cannot pay for the always strata and one session of each other, they are sampled like the
    others; ``floor`` is lowered where it cannot pay for that. ``sizes`` (H,) are at least 1;
    ``guess`` is the expected failure rate of some strata, else :data:`GUESSES`. Gives (H,), from 1
    to ``sizes``, ``min(n, sizes.sum())`` in all; ValueError where ``n`` is less than H, as some
    sessions would have no chance.
    """
    if n < len(sizes):
        raise ValueError(
            f"n must be at least the number of strata, {len(sizes)}; got {n}: "
            "draw more, or divide by fewer columns in design.by"
        )
    always = np.array([name.startswith(ALWAYS) for name in strata])
    if sizes[always].sum() + (~always).sum() > n:
        always = np.zeros_like(always)
    aimed = np.array([name.endswith(AIMED) for name in strata]) & ~always
    left = min(n, int(sizes.sum())) - int(sizes[always].sum())
    others = ~always & ~aimed
    half = int(max(left // 2, aimed.sum(), left - sizes[others].sum()))
    half = int(min(half, sizes[aimed].sum(), left - others.sum()))
    rates = np.array([_rate(name, guess) for name in strata])
    taken = np.where(always, sizes, 0)
    for own, total in ((aimed, half), (others, left - half)):
        free = np.where(own, sizes, 0)
        if own.any():
            floors = (np.minimum(free, least) for least in range(floor, 0, -1))
            least = next(lowest for lowest in floors if lowest.sum() <= total)
            taken += _neyman(free, np.sqrt(rates * (1 - rates)), least, total)
    return taken


def _neyman(
    sizes: NDArray[np.int64], deviations: NDArray[np.float64], least: NDArray[np.int64], total: int
) -> NDArray[np.int64]:
    """Whole numbers near c x size x deviation, from ``least`` to ``sizes``, that sum to total."""
    shares = sizes * deviations

    def bounded(scale: float) -> NDArray[np.float64]:
        return np.clip(scale * shares, least, sizes)

    enough_for_all = 2 / deviations.min()
    ideal = bounded(
        scipy.optimize.brentq(lambda scale: bounded(scale).sum() - total, 0.0, enough_for_all)
    )
    whole = np.floor(ideal + ROUNDING).astype(np.int64)
    largest_remainders = np.argsort(whole - ideal, kind="stable")[: total - whole.sum()]
    whole[largest_remainders] += 1
    return whole


def _rate(stratum: str, guess: Mapping[str, float]) -> float:
    parts = stratum.split(" | ")
    if stratum.startswith(ALWAYS):
        prior = GUESSES["signals", "flagged"]
    elif parts[-1] in ("signals", "no signals"):
        prior = GUESSES[parts[-1], "not judged"]
    else:
        prior = GUESSES[parts[-2], parts[-1]]
    return min(max(guess.get(stratum, prior), UNLIKELY), 1 - UNLIKELY)
