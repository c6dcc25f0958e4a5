"""Ratios, quantiles and counts: by users, next to the literature, and with intervals that hold."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from evalbench.stats.amounts import count, mean, quantile, rank_correlation, ratio


def test_a_ratio_counts_users_and_a_quantile_too():
    rng = np.random.default_rng(1)
    cost, success, users = rng.exponential(1, 400), rng.random(400) < 0.5, np.arange(400)
    alone = ratio(cost, success, groups=users, level=0.95)
    assert alone.estimate == pytest.approx(cost.sum() / success.sum())
    cost4, success4, users4 = (np.repeat(each, 4) for each in (cost, success, users))
    grouped = ratio(cost4, success4, groups=users4, level=0.95)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    p95 = quantile(cost, 0.95, groups=users, level=0.95)
    assert p95.low < p95.estimate < p95.high
    assert "29 users" in ratio(cost[:29], success[:29], groups=users[:29], level=0.95).reason
    assert "29 users" in quantile(cost[:29], 0.95, groups=users[:29], level=0.95).reason


@pytest.mark.slow
def test_the_intervals_of_a_ratio_and_of_a_quantile_hold_the_truth():
    rng, held = np.random.default_rng(2), []
    many = rng.exponential(rng.lognormal(0, 0.3, 400_000))
    truths = many.mean() / 0.5, np.quantile(many, 0.9)
    for _ in range(400):
        users = rng.integers(0, 60, 240)
        cost = rng.exponential(rng.lognormal(0, 0.3, 60)[users])
        found = ratio(cost, rng.random(240) < 0.5, groups=users, level=0.95)
        p90 = quantile(cost, 0.9, groups=users, level=0.95)
        both = zip((found, p90), truths, strict=True)
        held.append([each.low <= truth <= each.high for each, truth in both])
    assert np.mean(held, axis=0) == pytest.approx([0.94, 0.94], abs=0.03)


def test_counts_have_garwoods_interval_and_means_students():
    nothing, five = count(0, level=0.95), count(5, level=0.95)
    assert (nothing.estimate, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(3.689, abs=1e-3)  # Garwood (1936), his table
    assert (five.low, five.high) == pytest.approx((1.623, 11.668), abs=1e-3)
    assert mean([1, 2, 3], level=0.95).high == pytest.approx(2 + 4.3027 / np.sqrt(3), abs=1e-3)
    assert mean([1], level=0.95).reason == "1 known; 2 are needed"


def test_a_rank_correlation_is_scipys_and_its_interval_holds_none():
    rng = np.random.default_rng(4)
    first, noise = rng.integers(0, 8, 40), rng.normal(0, 2, 40)
    found = rank_correlation(first, first + noise, level=0.95)
    assert found.estimate == pytest.approx(spearmanr(first, first + noise).statistic)
    assert found.low < found.estimate < found.high < 1
    pairs = rng.normal(size=(400, 2, 20))
    held = [
        each.low <= 0 <= each.high for each in (rank_correlation(*p, level=0.95) for p in pairs)
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert "9 pairs" in rank_correlation(first[:9], noise[:9], level=0.95).reason
