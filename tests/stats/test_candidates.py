"""Several candidates on the same cases: the best of many, means beside a baseline, the front."""

import numpy as np
import pytest

from evalbench.stats import front_chances, paired_means, shrunken_rates
from evalbench.stats.projection import (
    at_level,
    draw_rates,
    effective_counts,
    forecasts_hold,
    mean_error,
    project_changes,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_the_best_of_equal_candidates_is_not_what_it_seems(rng):
    held = 0
    for _ in range(25):
        fails = rng.random((400, 40)) < 0.1
        best = fails.mean(axis=0).argmin()
        estimate = shrunken_rates(fails, rng=rng)[best]
        assert fails[:, best].mean() < 0.09
        assert estimate.estimate > fails[:, best].mean() + 0.01
        held += estimate.low <= 0.1 <= estimate.high
    assert held >= 24


def test_a_candidate_that_is_truly_better_is_not_drawn_to_the_others(rng):
    fails = rng.random((400, 40)) < np.r_[0.03, np.full(39, 0.2)]
    estimate = shrunken_rates(fails, rng=rng)[0]
    assert abs(estimate.estimate - fails[:, 0].mean()) < 0.01
    assert estimate.high < 0.1


def test_one_candidate_alone_has_nearly_its_own_interval(rng):
    fails = np.r_[np.ones(40), np.zeros(360)][:, None]
    [estimate] = shrunken_rates(fails, rng=rng)
    assert (round(estimate.estimate, 2), estimate.n) == (0.1, 400)
    assert (estimate.low, estimate.high) == pytest.approx((0.074, 0.133), abs=0.006)
    with pytest.raises(ValueError, match="fails must have a known case of each candidate"):
        shrunken_rates([[np.nan], [np.nan]], rng=rng)


def test_a_ratio_profits_from_the_same_cases(rng):
    base = rng.lognormal(0, 1, 300)
    means, ratios = paired_means(np.stack([base, 2 * base], axis=1), baseline=0, rng=rng)
    assert [each.estimate for each in means] == pytest.approx([base.mean(), 2 * base.mean()])
    assert (ratios[1].low, ratios[1].high) == pytest.approx((2, 2))
    assert means[1].high / means[1].low > 1.2
    _, [_, unknown] = paired_means([[1.0, np.nan], [2.0, np.nan]], baseline=0, rng=rng)
    assert np.isnan(unknown.estimate)
    assert unknown.reason == "not recorded on both sides"


def test_the_front_is_of_those_that_none_beats_in_both(rng):
    fails = rng.random((500, 4)) < [0.1, 0.1, 0.3, 0.02]
    costs = np.tile([1.0, 2.0, 2.0, 3.0], (500, 1))
    chances = front_chances(fails, costs, rng=rng)
    assert chances[[0, 2, 3]].tolist() == [1.0, 0.0, 1.0]
    assert 0.05 < chances[1] < 0.95  # as good as the first, and dearer


def test_weights_count_as_many_cases_as_they_are_worth():
    assert effective_counts([1, 0, 1, 0], [1, 1, 1, 1]) == (2, 4)
    assert effective_counts([1, 0], [3, 1]) == pytest.approx((1.2, 1.6))
    assert effective_counts([], []) == (0, 0)


def test_a_release_that_fixes_half_of_a_mode_is_forecast_so(rng):
    rates = draw_rates(
        [0.04, 0.02], [0.035, 0.017], [0.046, 0.024], level=0.95, draws=4000, rng=rng
    )
    assert np.quantile(rates[0], [0.025, 0.975]) == pytest.approx([0.035, 0.046], abs=0.001)
    perfect = [[1e4, 0, 0, 1e4]] * 2
    others = [[[0, 0, 0, 0], [50, 50, 0, 5000]], [[0, 0, 0, 0], [100, 0, 0, 5000]]]
    change = project_changes(rates, verdicts=others, errors=perfect, rng=rng)
    assert change.mean(axis=1) == pytest.approx([-0.02, 0], abs=0.001)
    others[0][1][2:] = 50, 4950
    worse = project_changes(rates, verdicts=others, errors=perfect, rng=rng)
    assert worse.mean(axis=1) == pytest.approx([-0.01, 0], abs=0.002)
    others[0][1][:2] = others[1][1][:2] = 0, 100
    gone = project_changes(rates, verdicts=others, errors=perfect, rng=rng)
    assert (gone >= -rates).all()


def test_errors_of_an_evaluator_are_no_change_of_the_product(rng):
    # 1,000 cases fail and 4,000 pass in both runs, read anew with a TPR of .8 and a FPR of .05.
    cells = np.outer([0.8, 0.2], [0.8, 0.2]) * 1000 + np.outer([0.05, 0.95], [0.05, 0.95]) * 4000
    verdicts = np.stack([np.zeros((1, 4)), cells.reshape(1, 4)], axis=1)
    shares = np.full((1, 4000), 0.04)
    known = project_changes(shares, verdicts=verdicts, errors=[[800, 200, 200, 3800]], rng=rng)
    assert np.quantile(known, 0.025) < 0 < np.quantile(known, 0.975)
    assert np.abs(known.mean()) < 0.005
    trusted = project_changes(shares, verdicts=verdicts, errors=[[1e5, 0, 0, 1e5]], rng=rng)
    assert np.quantile(trusted, 0.025) > 0.015  # some 190 of 4,000 look newly failing


def test_a_forecast_is_judged_by_what_was_seen_with_its_error():
    forecast = [[0.0] * 3, [-1.0] * 3, [1.0] * 3]
    observed = [[0.9, 2, 2], [0.9, 2, -1], [0.9, 2, 5]]
    assert forecasts_hold(forecast, observed).tolist() == [True, False, True]
    assert at_level([[1.0], [-0.96], [2.96]], level=0.95, to=0.9)[1:].ravel() == pytest.approx(
        [-0.645, 2.645], abs=1e-3
    )
    bias = mean_error(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0]), level=0.95)
    assert (bias.estimate, round(bias.low, 2), round(bias.high, 2)) == (1, -1.48, 3.48)
    assert mean_error(np.ones(1), np.ones(1), level=0.9).reason == "one forecast alone"
