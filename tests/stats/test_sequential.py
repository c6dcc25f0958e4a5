"""Evidence by day: its slow definition, how rarely it errs, and how soon it finds a burn."""

import numpy as np
import pytest

from evalbench.stats.sequential import (
    ALPHA,
    BETS,
    evidence,
    judged_target,
    overdispersion,
    spend_alpha,
)


def slow_evidence(day, user, value, target, days, dispersion):
    """Multiply bet by bet: from each start on a user counts once."""
    found = []
    for last in range(days):
        wealth = []
        for bet in BETS:
            for start in range(days):
                held, seen = 1.0, set()
                for at, who, x in sorted(zip(day, user, value, strict=True)):
                    if start <= at <= last and who not in seen:
                        seen.add(who)
                        stake = (bet - 1) / (1 - target)
                        held *= (1 + stake * (x - target)) ** (1 / dispersion)
                wealth.append(held)
        found.append(np.mean(wealth))
    return found


@pytest.mark.parametrize("dispersion", [1.0, 1.7])
def test_it_is_the_mixture_of_bets_and_starts_in_which_a_user_counts_once(dispersion):
    rng = np.random.default_rng(1)
    rows = {(int(d), int(u)) for d, u in rng.integers(0, (9, 6), (30, 2))}
    day, user = np.array(sorted(rows)).T
    value = rng.choice([0, 0, 0.5, 1], len(day))
    found = evidence(day, user, value, target=0.03, days=10, dispersion=dispersion)
    assert found == pytest.approx(slow_evidence(day, user, value, 0.03, 10, dispersion))


def test_at_its_target_a_rate_hardly_ever_alerts_though_bad_users_come_back():
    rng = np.random.default_rng(2)
    highest = []
    for _ in range(300):
        own = rng.beta(0.02 / 0.43, 0.98 / 0.43, 120)  # an intraclass correlation of .3
        day, user = np.nonzero(rng.random((60, 120)) < 0.3)
        value = rng.random(len(day)) < own[user]
        highest.append(evidence(day, user, value, target=0.02, days=60).max())
    assert np.mean(np.array(highest) >= 1 / ALPHA) <= ALPHA
    assert np.mean(np.array(highest) >= 2) > 0.01  # and yet it is not deaf


def test_a_burn_is_found_within_days_however_late_it_starts():
    rng = np.random.default_rng(3)
    late = []
    for start in (5, 40, 80):
        day = np.repeat(np.arange(91), 200)
        value = rng.random(len(day)) < np.where(day >= start, 0.06, 0.02)
        over = evidence(day, np.arange(len(day)), value, target=0.02, days=91) >= 1_000
        late.append(np.flatnonzero(over)[0] - start)
    assert 0 <= min(late)
    assert max(late) <= 4


def test_a_target_that_no_bet_can_be_made_on_shows_nothing():
    assert evidence([0, 1], [1, 2], [1, 1], target=0.8, days=3).tolist() == [1, 1, 1]
    assert evidence([0], [1], [1], target=0.0, days=1)[0] == pytest.approx(np.mean(BETS))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"target": 1.0}, "target must be a share, got 1.0"),
        ({"value": [2]}, "value must be a share"),
        ({"days": 3}, "days must be above every day, got 3"),
        ({"dispersion": 0.5}, "dispersion must be at least 1, got 0.5"),
        ({"day": [0.5]}, "day must be whole"),
        ({"user": [1, 2]}, "user must be as long as day"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, named):
    given = {"day": [3], "user": [1], "value": [0], "target": 0.1, "days": 4} | wrong
    positional = [given.pop(name) for name in ("day", "user", "value")]
    with pytest.raises(ValueError, match=named):
        evidence(*positional, **given)


def test_days_that_differ_more_than_users_do_are_overdispersed():
    rng = np.random.default_rng(4)
    users = np.full(91, 2_000)
    even = rng.binomial(users, 0.02)
    weekdays = rng.binomial(users, 0.02 * np.resize([1.6, 1.2, 1, 0.8, 0.8, 0.8, 0.8], 91))
    trend = rng.binomial(users, 0.02 * np.linspace(0.8, 1.2, 91))
    assert overdispersion(users, even, even) < 1.5
    assert overdispersion(users, weekdays, weekdays) > 3
    assert overdispersion(users, trend, trend) < 1.6  # a rate that wanders is no weekday
    both = overdispersion(users, np.stack([even, weekdays]), np.stack([even, weekdays]))
    assert both == pytest.approx([overdispersion(users, x, x) for x in (even, weekdays)])
    assert overdispersion([0, 0], [0, 0], [0, 0]) == 1


def test_alphas_add_up_and_an_evaluator_is_allowed_its_worst_errors():
    assert spend_alpha([9, 3, 3, 1]).sum() == pytest.approx(ALPHA)
    assert spend_alpha([]).size == 0
    assert judged_target(0.02, tpr_high=1.0, fpr_high=0.0) == 0.02
