"""Shares before and after: intervals that allow for users and for all values at once."""

import numpy as np
import pytest

from evalbench.stats import Estimate
from evalbench.stats.mix import share_changes
from evalbench.stats.shift import find_cause


def single(*shares, n=500):
    """Make one session a user, so many of them with each value."""
    values = [np.arange(n) < round(share * n) for share in shares]
    return np.ones(n), np.array(values, float).T


def test_the_interval_is_newcombes_and_wider_for_more_values():
    # Newcombe (1998), table II, case a: 56/70 and 48/80 give a difference of .2 (.0524 to .3339).
    both = (single(48 / 80, n=80), single(56 / 70, n=70))
    [change] = share_changes(*both)
    found = change.shift
    assert [found.estimate, found.low, found.high] == pytest.approx([0.2, 0.0524, 0.3339], abs=5e-5)
    assert (change.before.n, change.after.n, found.n) == (80, 70, 150)
    several, _ = share_changes(single(0.6, 0.4, n=80), single(0.8, 0.2, n=70))
    assert several.shift.low < found.low


def test_sessions_of_one_user_count_for_less():
    n, alike = np.full(50, 10), np.zeros((50, 1))
    alike[:5] = 10
    spread = np.ones((50, 1))
    [of_few], [of_all] = (share_changes((n, each), (n, spread)) for each in (alike, spread))
    assert of_few.before.estimate == of_all.before.estimate == 0.1
    assert of_few.before.high - of_few.before.low > 2 * (of_all.before.high - of_all.before.low)


@pytest.mark.slow
def test_it_covers_where_users_differ():
    rng, held = np.random.default_rng(5), []
    for _ in range(600):
        sides = []
        for share in (0.2, 0.3):
            n = rng.integers(1, 6, 200)
            own = rng.beta(share * 4, (1 - share) * 4, 200)
            sides.append((n, rng.binomial(n, own)[:, None]))
        [change] = share_changes(*sides)
        held.append(change.shift.low <= 0.1 <= change.shift.high)
    assert np.mean(held) >= 0.93


def near(value, half=0.01):
    return Estimate(value, value - half, value + half, 0.95, "", 100)


@pytest.mark.parametrize(
    ("whole", "judge", "canary", "cause"),
    [
        (near(0.08), near(0.08), near(0), "judge"),
        (near(0.08), near(0), near(0.07), "product"),
        (near(0.08), near(0), near(0), "traffic"),
        (near(-0.08), near(0), near(-0.08), "product"),
        (near(0.08), near(0.015), near(0), "traffic"),  # moved, and too little
        (near(0.08), near(0.05), near(0.05), "several"),
        (near(0.08), near(0, 0.05), near(0), "cannot tell"),
        (near(0.08), None, near(0), "cannot tell"),
        (near(0.08), near(0.08), None, "cannot tell"),
        (near(0.08), near(-0.08), near(0), "traffic"),
        (near(0), near(0.05), near(0), "judge"),
        (near(0), near(0), None, "no move shown"),
    ],
)
def test_a_cause_is_named_where_the_others_are_ruled_out(whole, judge, canary, cause):
    assert find_cause(whole, judge, canary) == cause
