"""Choosing the best of equal candidates on one suite: what its result, and fresh cases, say of it.

Each suite has cases of their own difficulty; 40 candidates are equally good. The best on the suite
is chosen, and judged again on cases that nobody chose by.
"""

import numpy as np
from claims import claim, show, sized

from evalbench.stats import proportion
from evalbench.stats.selection import best_of

SUITES, CANDIDATES, CASES, FRESH = sized(2_000, 500), 40, 400, 200
PEER = "interval of the suite it was chosen on"


def run(seed):
    """Return whether old and fresh cases hold the truth, the optimism, and what is told of it."""
    rng = np.random.default_rng(seed)
    rates = rng.beta(0.5, 2.0, CASES + FRESH)
    fails = rng.random((CANDIDATES, CASES)) < rates[:CASES]
    best = fails.sum(axis=1).argmin()
    again = rng.random(FRESH) < rates[CASES:]
    held = [
        each.low <= 0.2 <= each.high
        for each in (proportion(sample, rng=rng) for sample in (fails[best], again))
    ]
    return *held, rates[:CASES].mean() - fails[best].mean(), best_of(fails).optimism


def wear(holds):
    old, fresh, true, told = np.array([run(seed) for seed in range(SUITES)]).T
    show("truth within the interval of the best of 40 on its own suite", old.mean(), PEER)
    claim_fresh = "truth within its interval on fresh cases"
    holds.append(claim(claim_fresh, fresh.mean(), 0.93, PEER, at_most=False))
    show("the best of 40 equals seems better than it is by", true.mean(), "0 if it were no choice")
    off = abs(told.mean() / true.mean() - 1)
    holds.append(claim("the optimism of the memo is off by a share of", off, 0.1, "the true one"))
