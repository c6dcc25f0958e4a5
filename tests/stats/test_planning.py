"""Planning: what is asked for is what the estimators then deliver."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from evalbench.stats import (
    alignment,
    cases_for_change,
    labels_for_mcc,
    labels_for_rate,
    labels_next,
    paired_change,
    paired_power,
    proportion,
    smallest_change,
)
from evalbench.stats._cells import posterior


@pytest.mark.parametrize(("rate", "half_width"), [(0.02, 0.01), (0.1, 0.03), (0.5, 0.05)])
def test_labels_for_rate_give_the_width(rate, half_width, rng):
    n = labels_for_rate(rate, half_width)
    fails = round(rate * n)
    estimate = proportion([1] * fails + [0] * (n - fails), rng=rng)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half_width, rel=0.05)


def test_a_design_effect_multiplies_the_labels():
    alone = labels_for_rate(0.1, 0.03)
    assert labels_for_rate(0.1, 0.03, design_effect=2) == 2 * alone


@pytest.mark.parametrize("prevalence", [0.05, 0.3])
def test_labels_for_mcc_give_the_width(prevalence, rng):
    n = labels_for_mcc(prevalence, 0.8, 0.95, 0.08)
    cells = prevalence * 0.8, prevalence * 0.2, (1 - prevalence) * 0.05, (1 - prevalence) * 0.95
    counts = np.round(n * np.array(cells)).astype(int)
    truth = np.repeat([1, 1, 0, 0], counts)
    verdict = np.repeat([1, 0, 1, 0], counts)
    estimate = alignment(truth, verdict, rng=rng).mcc
    assert (estimate.high - estimate.low) / 2 == pytest.approx(0.08, rel=0.06)


def test_power_is_that_of_simulated_tests(rng):
    n, change, churn = 120, 0.08, 0.03
    shares = [churn, churn + change, 1 - 2 * churn - change]
    shown = 0
    for fixed, new, _ in rng.multinomial(n, shares, size=400):
        before = [1] * fixed + [0] * (n - fixed)
        after = [0] * fixed + [1] * new + [0] * (n - fixed - new)
        shown += paired_change(before, after, rng=rng).reading == "regression"
    assert shown / 400 == pytest.approx(paired_power(n, change, churn=churn), abs=0.075)


@given(st.floats(0.01, 0.3), st.floats(0, 0.3))
def test_cases_and_smallest_change_are_each_others_inverse(change, churn):
    n = cases_for_change(change, churn=churn)
    assert paired_power(n, change, churn=churn) >= 0.8
    assert smallest_change(n, churn=churn) <= change + 1e-5


def test_five_cases_can_show_nothing():
    assert np.isnan(smallest_change(5, churn=0))
    assert paired_power(5, 1.0, churn=0) == 0


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
