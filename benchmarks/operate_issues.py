"""How often the interval of the median time to a fix holds the truth, of 500 simulated issues."""

from __future__ import annotations

import numpy as np
from claims import claim, sized

from evalbench.operate.durations import median_time

ISSUES, DROPPED, SCALE, SHAPE = 500, 0.2, 20.0, 0.9
TRUTH = SCALE * np.log((1 - DROPPED) / (0.5 - DROPPED)) ** (1 / SHAPE)
"""When half of all are fixed, of those 80% that ever will be; days are Weibull's."""


def simulate(rng, n=ISSUES):
    """Make issues: half are opened late, and known only if not over by then; many stay open."""
    made = 6 * n
    time, dropped = SCALE * rng.weibull(SHAPE, made), rng.random(made) < DROPPED
    entry = np.where(rng.random(made) < 0.5, rng.exponential(10, made), 0)
    last = entry + rng.uniform(5, 60, made)
    known = np.flatnonzero(time > entry)[:n]
    end = np.where(time > last, 0, np.where(dropped, 2, 1))
    return np.minimum(time, last)[known], end[known], entry[known]


def coverage(runs, rng):
    """Return the share of simulations whose interval holds the median."""
    held = []
    for _ in range(runs):
        time, end, entry = simulate(rng)
        found = median_time(time, end, entry=entry, level=0.95)
        held.append(found.low <= TRUTH <= found.high)
    return float(np.mean(held))


def check_medians(holds):
    """Claim that the interval holds the truth in at least 93% of the simulations."""
    text = "500 issues, late entry, censored, 20% won't fix: the median lies in its interval"
    value = coverage(sized(2_000, 400), np.random.default_rng(2026))
    holds.append(claim(text, value, 0.93, "planted truth", at_most=False))
