"""Alignment of a judge with people against reference libraries, slow definitions and invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from evalbench.stats import alignment, mcc, proportion
from evalbench.stats._resampling import Units, inflation, jackknife_variance
from evalbench.stats.binary import MEASURES


def pairs(tp, fn, fp, tn):
    truth = [1] * (tp + fn) + [0] * (fp + tn)
    return truth, [1] * tp + [0] * fn + [1] * fp + [0] * tn


CELLS = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda cells: sum(cells) > 0)


@pytest.mark.parametrize("cells", [(16, 4, 8, 72), (2, 1, 5, 192), (40, 3, 2, 5)])
def test_estimates_equal_scikit_learn_and_statsmodels(cells, rng):
    truth, verdict = pairs(*cells)
    judge = alignment(truth, verdict, rng=rng)
    tp, fn, fp, tn = cells
    expected = {
        "mcc": metrics.matthews_corrcoef(truth, verdict),
        "kappa": cohens_kappa(np.array([[tp, fn], [fp, tn]])).kappa,
        "tpr": metrics.recall_score(truth, verdict),
        "tnr": metrics.recall_score(truth, verdict, pos_label=0),
        "precision": metrics.precision_score(truth, verdict),
        "f1": metrics.f1_score(truth, verdict),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, verdict),
    }
    for name, value in expected.items():
        assert getattr(judge, name).estimate == pytest.approx(value, abs=1e-9), name
    assert judge.counts == cells
    assert judge.precision.n == tp + fp
    wilson = proportion_confint(tp, tp + fp, alpha=0.05, method="wilson")
    assert (judge.precision.low, judge.precision.high) == pytest.approx(wilson, abs=1e-9)


@pytest.mark.parametrize("n", [1, 12, 50, 51])
def test_sensitivity_is_wilson_of_statsmodels_but_for_a_few_hits_or_misses(n, rng):
    for hits in range(n + 1):
        tpr, tnr = (
            alignment(*pairs(*cells), rng=rng)
            for cells in ((hits, n - hits, 3, 3), (3, 3, n - hits, hits))
        )
        low, high = proportion_confint(hits, n, alpha=0.05, method="wilson")
        exact = scipy_stats.binomtest(hits, n).proportion_ci(0.9, method="exact")
        few = range(1, min(2 if n <= 50 else 3, n - 1) + 1)
        expected = (exact.low if hits in few else low, exact.high if n - hits in few else high)
        for estimate in (tpr.tpr, tnr.tnr):
            assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-9)
            assert estimate.n == n


def test_balanced_accuracy_is_newcombes_interval_of_the_difference_from_one(rng):
    judge = alignment(*pairs(32, 8, 9, 151), rng=rng).balanced_accuracy
    # TPR + TNR = 1 + (TPR - (1 - TNR)): a difference of two independent proportions.
    low, high = confint_proportions_2indep(32, 40, 9, 160, method="newcomb")
    assert (judge.low, judge.high) == pytest.approx(((1 + low) / 2, (1 + high) / 2), abs=1e-9)


@pytest.mark.parametrize("fails", [0, 1, 84, 200])
def test_proportion_is_the_interval_of_statsmodels(fails, rng):
    rate = proportion([1] * fails + [0] * (200 - fails), level=0.9, rng=rng)
    assert (rate.low, rate.high) == pytest.approx(
        proportion_confint(fails, 200, alpha=0.1, method="wilson"), abs=1e-9
    )


def test_smoothed_interval_is_that_of_correlations_of_dirichlet_draws(rng):
    judge = alignment(*pairs(16, 4, 8, 72), rng=np.random.default_rng(1))
    assert judge.mcc == mcc(*pairs(16, 4, 8, 72), rng=np.random.default_rng(1))
    tp, fn, fp, _ = rng.dirichlet([16.5, 4.5, 8.5, 72.5], size=1000).T
    fails, flags = tp + fn, tp + fp  # and MCC is the correlation of the two
    draws = (tp - fails * flags) / np.sqrt(fails * (1 - fails) * flags * (1 - flags))
    ends = np.quantile(draws, [0.025, 0.975])
    assert (judge.mcc.low, judge.mcc.high) == pytest.approx(ends, abs=0.02)


def test_group_variance_is_the_delete_one_group_jackknife_done_slowly(rng):
    group = np.repeat(np.arange(12), 9)
    cell = rng.integers(0, 4, 108)
    units = Units.of(cell, 4, group)
    measure = MEASURES["mcc"]
    left_out = np.array(
        [measure(np.bincount(cell[group != g], minlength=4) + 0.5) for g in range(12)]
    )
    slow = 11 / 12 * ((left_out - left_out.mean()) ** 2).sum()
    assert jackknife_variance(measure(units.total + 0.5 - units.patterns), units) == pytest.approx(
        slow, rel=1e-12
    )


def test_groups_that_repeat_one_row_widen_as_if_they_were_one_row(rng):
    truth, verdict = map(np.array, pairs(160, 40, 80, 720))
    group = np.repeat(np.arange(1000), 10)
    cell = np.repeat(np.where(truth == 1, 1 - verdict, 2 + (1 - verdict)), 10)
    # 160 users move TPR by 40 each and 40 by 160: they know as much as 128 alike.
    wider = 10 * (scipy_stats.t.ppf(0.975, 127) / scipy_stats.norm.ppf(0.975)) ** 2
    effect = inflation(MEASURES["tpr"], Units.of(cell, 4, group), 0.95)
    assert effect == pytest.approx(wider, rel=0.02)
    copied = alignment(np.repeat(truth, 10), np.repeat(verdict, 10), groups=group, rng=rng).mcc
    alone = alignment(truth, verdict, rng=rng).mcc
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.06)


def test_groups_of_one_change_little_and_fewer_than_twenty_are_said(rng):
    truth, verdict = pairs(40, 10, 30, 120)
    alone = alignment(truth, verdict, rng=rng).mcc
    singles = alignment(truth, verdict, groups=np.arange(200), rng=rng).mcc
    assert (singles.low, singles.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    few = alignment(truth, verdict, groups=np.arange(200) % 19, rng=rng).mcc
    assert "only 19 groups" in few.reason
    assert alone.reason == ""
    one = alignment(truth, verdict, groups=["a"] * 200, rng=rng).mcc
    assert one.high - one.low > 1.5
    assert "only 1 group" in one.reason


def test_an_abstention_is_a_wrong_answer(rng):
    truth, verdict = [1, 1, 0, 0, None], [True, None, False, np.nan, True]
    judge = alignment(truth, verdict, rng=rng)
    assert judge.counts == (1, 1, 1, 1)
    assert (judge.abstained, judge.unlabelled) == (2, 1)


def test_abstentions_flag_nothing_and_leave_precision_alone(rng):
    truth, verdict = pairs(8, 2, 2, 88)
    plain = alignment(truth, verdict, rng=rng)
    quiet = alignment(truth + [0] * 10, verdict + [None] * 10, rng=rng)
    assert quiet.counts == (8, 2, 12, 88)
    ends = [
        (each.precision.estimate, each.precision.low, each.precision.high)
        for each in (plain, quiet)
    ]
    assert ends[0] == ends[1]
    assert quiet.f1.estimate == plain.f1.estimate
    assert quiet.tnr.estimate < plain.tnr.estimate
    assert quiet.mcc.estimate < plain.mcc.estimate


def by_verdict():
    """Labels of a judge with TPR .6, half of them among the few sessions that it fails."""
    truth, verdict = pairs(60, 2, 40, 98)
    return np.array(truth), np.array(verdict, float)


@pytest.mark.parametrize("judged", [True, False])
def test_labels_drawn_by_verdict_count_for_what_they_stand_for(judged, rng):
    truth, verdict = by_verdict()
    strata = np.where(verdict == 1, "flagged", "rest")
    population = {"stratum": ["flagged", "rest"], "n": [1000, 19000]}
    population |= {"verdict": [1.0, 0.0]} if judged else {}
    judge = alignment(truth, verdict, strata=strata, population=population, rng=rng)
    weights = np.where(verdict == 1, 1000 / 100, 19000 / 100)
    expected = {
        "mcc": metrics.matthews_corrcoef(truth, verdict, sample_weight=weights),
        "tpr": metrics.recall_score(truth, verdict, sample_weight=weights),
        "precision": metrics.precision_score(truth, verdict, sample_weight=weights),
    }
    for name, value in expected.items():
        estimate = getattr(judge, name)
        assert estimate.estimate == pytest.approx(value, abs=1e-9), name
        assert estimate.low < value < estimate.high
    assert judge.counts == (60, 2, 40, 98)
    naive = alignment(truth, verdict, rng=rng).tpr
    assert naive.low > judge.tpr.estimate


def test_strata_drawn_with_equal_chances_give_the_figures_of_one_sample():
    truth, verdict = by_verdict()
    half = np.arange(200) % 2
    both = {"stratum": [0, 1], "n": [5000, 5000]}
    one, other = (
        alignment(truth, verdict, rng=np.random.default_rng(1), **drawn)
        for drawn in ({}, {"strata": half, "population": both})
    )
    assert one == other


def test_sparse_strata_join_and_still_weigh_what_they_stand_for(rng):
    truth, verdict = by_verdict()
    strata = np.array(["big"] * 98 + ["b"] * 2 + ["c"] * 3 + ["big"] * 97)
    size = {"big": 9000, "b": 20, "c": 900}
    population = {"stratum": list(size), "n": list(size.values())}
    judge = alignment(truth, verdict, strata=strata, population=population, rng=rng)
    n = {name: (strata == name).sum() for name in size}
    weights = np.array([size[name] / n[name] for name in strata])
    slow = metrics.matthews_corrcoef(truth, verdict, sample_weight=weights)
    assert judge.mcc.estimate == pytest.approx(slow, abs=1e-9)


def test_strata_that_nobody_labelled_are_said_and_strata_need_their_population(rng):
    truth, verdict = by_verdict()
    population = {"stratum": ["a", "b"], "n": [800, 200]}
    judge = alignment(truth, verdict, strata=["a"] * 200, population=population, rng=rng)
    assert "20.0% of the sessions are of kinds that nobody labelled" in judge.mcc.reason
    with pytest.raises(ValueError, match="strata and population must be given together"):
        alignment(truth, verdict, strata=["a"] * 200, rng=rng)


def test_a_judge_that_never_fires_is_undefined_with_an_interval(rng):
    judge = alignment(*pairs(0, 20, 0, 80), rng=rng)
    for undefined in (judge.mcc, judge.precision):
        assert np.isnan(undefined.estimate)
        assert "0/0" in undefined.reason
        assert undefined.low < undefined.high
    assert judge.tpr.estimate == 0
    assert judge.tpr.reason == ""


@pytest.mark.parametrize(("failing", "sufficient"), [(9, False), (10, True)])
def test_few_of_a_class_are_insufficient_with_an_estimate(failing, sufficient, rng):
    judge = alignment(*pairs(failing - 4, 4, 8, 200), rng=rng)
    assert judge.mcc.is_defined
    assert ("insufficient: 9 failing" in judge.mcc.reason) is not sufficient


@given(CELLS)
def test_bounds_hold(cells):
    judge = alignment(*pairs(*cells), rng=np.random.default_rng(1))
    for name in MEASURES:
        measure = getattr(judge, name)
        floor = -1 if name in ("mcc", "kappa") else 0
        assert floor - 1e-12 <= measure.low <= measure.high <= 1 + 1e-12
        if measure.is_defined:
            assert measure.low <= measure.estimate <= measure.high


@given(CELLS)
def test_swapping_the_labels_swaps_the_classes(cells):
    truth, verdict = map(np.array, pairs(*cells))
    judge = alignment(truth, verdict, rng=np.random.default_rng(1))
    swapped = alignment(1 - truth, 1 - verdict, rng=np.random.default_rng(1))
    for one, other in (("mcc", "mcc"), ("kappa", "kappa"), ("tpr", "tnr")):
        assert getattr(judge, one).estimate == pytest.approx(
            getattr(swapped, other).estimate, nan_ok=True
        )
    assert (judge.tpr.low, judge.tpr.high) == (swapped.tnr.low, swapped.tnr.high)


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_perfect_judge_has_every_measure_at_one(failing, passing):
    judge = alignment(*pairs(failing, 0, 0, passing), rng=np.random.default_rng(1))
    for name in MEASURES:
        measure = getattr(judge, name)
        assert measure.estimate == pytest.approx(1)
        assert measure.low < 1 == pytest.approx(measure.high)


def test_proportion_counts_what_it_leaves_out(rng):
    rate = proportion([1, 0, None, 0], rng=rng)
    assert (rate.n, rate.estimate) == (3, pytest.approx(1 / 3))
    assert rate.reason == "1 without a value were left out"
