"""Rows of a gate: their tests beside slow definitions, and how they read."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as reference

from evalbench.stats import gating, paired_power

N = 60


@pytest.fixture
def swaps(rng):
    return gating.draw_swaps(N, rng=rng)


def sides(new, fixed, n=N, both=0):
    """Make columns in which so many cases turn."""
    before = [1] * (fixed + both) + [0] * (n - fixed - both)
    after = [0] * fixed + [1] * (both + new) + [0] * (n - fixed - both - new)
    return before, after


def read(role, limit, evidence):
    readings, error = gating.read_rows([(role, limit, evidence)])
    return readings[0], error


def test_a_rate_is_tested_as_mcnemar_does_exactly_and_one_sided(swaps, rng):
    for new, fixed in ((8, 1), (3, 3), (1, 9), (0, 0)):
        found = gating.paired_rate(*sides(new, fixed), swaps, rng=rng)
        expected = reference.binomtest(new, new + fixed, alternative="greater") if new else None
        assert found.worse == pytest.approx(expected.pvalue if expected else 1)
        assert found.change.newly_failing == new
        assert (found.replayed <= 0.05).mean() <= 0.07  # at most 5%, counted on 5,000 replays


def test_repeats_of_a_case_swap_together_as_in_a_full_enumeration(rng):
    steps = np.array([2, -1, 1, 2, 0, 1])
    before = np.where(steps[:, None] < 0, [[1, 0]], [[0, 0]])
    after = np.stack([steps > 0, steps > 1], axis=1).astype(float)
    swaps = gating.draw_swaps(len(steps), rng=rng)
    found = gating.paired_rate(before, after, swaps, rng=rng)
    sums = [np.dot(signs, steps) for signs in product([1, -1], repeat=len(steps))]
    assert found.worse == pytest.approx(np.mean(np.array(sums) >= steps.sum()))


def test_exact_power_is_that_of_all_tables():
    def slow(n, change, churn, alpha):
        up, down = churn + change, churn
        total = 0.0
        for new, fixed in product(range(n + 1), repeat=2):
            if new + fixed <= n and new and reference.binom.sf(new - 1, new + fixed, 0.5) <= alpha:
                table = [new, fixed, n - new - fixed]
                total += reference.multinomial.pmf(table, n, [up, down, 1 - up - down])
        return total

    for change, churn in ((0.2, 0.05), (0.3, 0.0), (0.1, 0.1)):
        found = paired_power(20, change, churn=churn, level=0.95, exact=True)
        assert found == pytest.approx(slow(20, change, churn, 0.025))


def test_how_rows_read(swaps, rng):
    def rate(new, fixed, **more):
        return gating.paired_rate(*sides(new, fixed, **more), swaps, rng=rng)

    assert read("watch", 0.1, rate(12, 0))[0].reading == "block"
    assert read("guardrail", 0.1, rate(12, 0))[0].reading == "block"
    assert read("guardrail", 0.1, rate(0, 0))[0].reading == "pass"
    assert read("watch", 0.05, rate(2, 2))[0].reading == "insufficient"
    assert read("watch", 0.4, rate(2, 2))[0].reading == "pass"
    assert read("primary", 0.2, rate(0, 12))[0].reading == "pass"
    missed = read("primary", 0.3, rate(1, 1))[0]
    assert (missed.reading, missed.reason) == ("block", "an improvement of its limit is excluded")
    assert read("primary", 0.05, rate(3, 4))[0].reading == "insufficient"
    few = read("watch", 0.05, rate(1, 1))[0]
    assert few.more > 60
    assert few.power < 0.8


def test_a_guardrail_that_is_surely_within_its_limit_passes_though_it_is_worse(rng):
    swaps = gating.draw_swaps(2000, rng=rng)
    found = gating.paired_rate(*sides(20, 2, n=2000), swaps, rng=rng)
    assert found.worse < 0.01
    assert read("guardrail", 0.05, found)[0].reading == "pass"
    assert read("watch", 0.05, found)[0].reading == "block"


def test_all_rows_pay_for_one_another(swaps, rng):
    alone = gating.paired_rate(*sides(8, 1), swaps, rng=rng)
    assert alone.worse < 0.05
    rest = [gating.paired_rate(*sides(2, 2), swaps, rng=rng)] * 9
    readings, _ = gating.read_rows([("watch", 0.4, each) for each in (alone, *rest)])
    assert {each.reading for each in readings} == {"pass"}


def test_bounds_and_attacks(swaps, rng):
    clean, broken = sides(0, 0), sides(1, 0)
    bound = gating.upper_bound(*clean, swaps, 0.1)
    assert read("guardrail", 0.1, bound)[0].reading == "pass"
    strict, _ = read("guardrail", 0.01, gating.upper_bound(*clean, swaps, 0.01))
    assert strict.reading == "insufficient"
    n = N + strict.more
    again = gating.upper_bound([0] * n, [0] * n, gating.draw_swaps(n, rng=rng), 0.01)
    assert again.estimate.high < 0.01
    assert (
        read("guardrail", 0.1, gating.upper_bound(*sides(20, 0), swaps, 0.1))[0].reading == "block"
    )
    assert read("watch", 0.05, gating.existence(*clean, swaps))[0].reading == "pass"
    assert read("watch", 0.01, gating.existence(*clean, swaps))[0].reading == "insufficient"
    blocked, error = read("watch", 0.05, gating.existence(*broken, swaps))
    assert blocked.reading == "block"
    assert error.estimate == pytest.approx(0.5, abs=0.05)  # the case turns in half of the replays


def test_what_nobody_judged_is_insufficient(swaps, rng):
    unknown = gating.paired_rate([None] * N, [1] * N, swaps, rng=rng)
    assert read("watch", 0.1, unknown)[0] == gating.RowReading(
        "insufficient", "no case was judged on both sides"
    )


@pytest.mark.slow
def test_any_statistic_is_tested_by_swaps(rng):
    def mean(old, new):
        return np.log(new.mean(axis=(-1, -2))) - np.log(old.mean(axis=(-1, -2)))

    alarms, n = [], 40
    for _ in range(60):
        before, after = rng.lognormal(size=(2, n))
        swaps = gating.draw_swaps(n, rng=rng)
        found = gating.resampled(before, after, swaps, mean, rng=rng, is_ratio=True)
        alarms.append(found.worse <= 0.05)
    assert np.mean(alarms) <= 0.15
    slower = gating.resampled(before, before * 1.5, swaps, mean, rng=rng, is_ratio=True)
    assert slower.estimate.estimate == pytest.approx(0.5)
    assert read("guardrail", 0.2, slower)[0].reading == "block"
    assert read("guardrail", 0.6, slower)[0].reading == "pass"
