"""Planning: what is promised is what the tests then show."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from evalbench.stats import (
    labels_for_rate,
    labels_next,
    paired_change,
    paired_power,
    smallest_change,
)
from evalbench.stats._cells import posterior
from evalbench.stats._resampling import wilson


def test_power_is_that_of_simulated_tests(rng):
    n, change, churn = 120, 0.08, 0.03
    shares = [churn, churn + change, 1 - 2 * churn - change]
    shown = 0
    for fixed, new, _ in rng.multinomial(n, shares, size=400):
        before = [1] * fixed + [0] * (n - fixed)
        after = [0] * fixed + [1] * new + [0] * (n - fixed - new)
        shown += paired_change(before, after, rng=rng).reading == "regression"
    assert shown / 400 == pytest.approx(paired_power(n, change, churn=churn), abs=0.075)


def test_the_mid_p_shows_more_than_the_exact_test_and_errs_no_more_than_it_may():
    turned = np.arange(201)
    needed = scipy_stats.binom.isf(0.025, turned, 0.5) + 1
    exact = scipy_stats.binom.pmf(turned, 200, 0.09) @ scipy_stats.binom.sf(
        needed - 1, turned, 7 / 9
    )
    assert paired_power(200, 0.05, churn=0.02) > exact + 0.05
    assert paired_power(200, 1e-9, churn=0.04) < 0.025


@given(st.integers(100, 3000), st.floats(0, 0.3))
def test_the_smallest_change_is_shown_with_80_percent_power(n, churn):
    change = smallest_change(n, churn=churn)
    assert paired_power(n, change, churn=churn) == pytest.approx(0.8, abs=1e-3)


def test_four_cases_can_show_nothing():
    assert np.isnan(smallest_change(4, churn=0))
    assert paired_power(4, 1.0, churn=0) == 0
    assert paired_power(5, 1.0, churn=0) == pytest.approx(1)


@pytest.mark.parametrize(("half_width", "rate"), [(0.02, 0.05), (0.05, 0.3), (0.03, 0.9)])
def test_a_planned_width_is_reached_with_the_assurance_that_was_asked_for(half_width, rate, rng):
    def share_reached(n):
        counts = rng.binomial(n, rate, size=4000)
        low, high = wilson(counts, n, 0.95)
        return (high - low <= 2 * half_width).mean()

    n = labels_for_rate(half_width, rate=rate)
    assert share_reached(n) >= 0.78
    assert share_reached(int(0.95 * n)) < 0.8
    assert labels_for_rate(half_width, rate=rate, assurance=0.5) < n


def test_a_change_of_twice_the_planned_width_is_shown_four_times_in_five(rng):
    n = labels_for_rate(0.03, rate=0.1)
    before, after = rng.binomial(n, 0.1, size=4000) / n, rng.binomial(n, 0.04, size=4000) / n
    spread = np.sqrt((before * (1 - before) + after * (1 - after)) / n)
    assert (before - after > 1.96 * spread).mean() > 0.8


LABELS = {
    "stratum": ["calm"] * 60 + ["flagged"] * 40,
    "verdict": [0] * 50 + [1] * 10 + [0] * 20 + [1] * 20,
    "fails": [0] * 49 + [1] + [0, 1] * 5 + [0] * 18 + [1] * 2 + [1] * 20,
}
POPULATION = {
    "stratum": ["calm", "calm", "flagged", "flagged"],
    "verdict": [0, 1, 0, 1],
    "n": [9000, 500, 300, 200],
}


def test_next_labels_go_where_the_rate_is_least_known():
    plan = labels_next(LABELS, POPULATION, n=200)
    share = dict(zip(zip(plan.stratum, plan.verdict, strict=True), plan.n, strict=True))
    assert plan.n.sum() == 200
    assert share["calm", False] > 150
    assert share["flagged", True] == 0


def test_no_other_division_is_expected_to_do_better():
    plan = labels_next(LABELS, POPULATION, n=6)
    for cell, other in permutations(range(4), 2):
        moved = plan.n.copy()
        moved[[cell, other]] += (-1, 1)
        if moved.min() >= 0:
            assert expected_error(moved) >= expected_error(plan.n) * (1 - 1e-9)


def expected_error(more):
    """Slow definition: average posterior variance over what the new labels may say."""
    weight = np.array(POPULATION["n"]) / 10_000
    failing, passing = posterior(weight, np.array([1, 5, 2, 20]), np.array([50, 10, 20, 20]))
    total = 0.0
    for w, a, b, m in zip(weight, failing, passing, more, strict=True):
        said = np.arange(m + 1)
        variance = scipy_stats.beta.var(a + said, b + m - said)
        total += w**2 * (scipy_stats.betabinom.pmf(said, m, a, b) @ variance)
    return np.sqrt(total)


def test_a_stratum_gives_no_more_than_it_has():
    labels = {"stratum": ["a", "a", "b", "b"], "fails": [0, 1, 0, None]}
    plan = labels_next(labels, {"stratum": ["a", "b"], "n": [1000, 4]}, n=1001)
    assert plan.n.tolist() == [998, 3]
