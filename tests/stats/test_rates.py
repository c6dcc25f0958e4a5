"""Failure rates against slow definitions, reference libraries and their refusals."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from evalbench.stats import corrected_rate, failure_rate
from evalbench.stats._resampling import mover_wilson


def table(cells):
    """Labels and population of (stratum, verdict, fails, labels, size) cells."""
    labels = {"stratum": [], "verdict": [], "fails": []}
    for stratum, verdict, fails, n, _ in cells:
        labels["stratum"] += [stratum] * n
        labels["verdict"] += [verdict] * n
        labels["fails"] += [1] * fails + [0] * (n - fails)
    stratum, verdict, _, _, size = zip(*cells, strict=True)
    return labels, {"stratum": list(stratum), "verdict": list(verdict), "n": list(size)}


TWO = [("all", 1, 30, 60, 500), ("all", 0, 3, 140, 9500)]


def test_two_cells_have_the_jeffreys_posterior(rng):
    result = failure_rate(*table(TWO), rng=rng)
    draws = 0.05 * scipy_stats.beta.rvs(30.5, 30.5, size=10**6, random_state=rng)
    draws += 0.95 * scipy_stats.beta.rvs(3.5, 137.5, size=10**6, random_state=rng)
    ends = np.quantile(draws, [0.025, 0.975])
    assert (result.rate.low, result.rate.high) == pytest.approx(ends, rel=0.03)
    assert result.draws.shape == (10_000,)


def test_one_cell_is_the_interval_of_statsmodels(rng):
    rate = failure_rate({"fails": [1] * 12 + [0] * 88}, {"n": [5000]}, rng=rng).rate
    ends = proportion_confint(12, 100, method="jeffreys")
    assert (rate.low, rate.high) == pytest.approx(ends, abs=0.003)
    ends = proportion_confint(12, 100, method="wilson")
    one, twelve, hundred = np.array([[1.0], [12.0], [100.0]])
    assert mover_wilson(one, twelve, hundred, 0.95) == pytest.approx(ends, abs=1e-9)


def test_labels_drawn_by_the_judge_narrow_the_rate(rng):
    uniform = failure_rate({"fails": [1] * 8 + [0] * 392}, {"n": [100_000]}, rng=rng)
    designed = [("all", 1, 31, 126, 6500), ("all", 0, 1, 274, 93_500)]
    judged = failure_rate(*table(designed), rng=rng)
    assert judged.rate.high - judged.rate.low < 0.8 * (uniform.rate.high - uniform.rate.low)
    assert judged.design_effect < 0.8
    assert uniform.design_effect == pytest.approx(1, abs=0.1)
    assert sum(cell.variance_share for cell in judged.by_stratum) == pytest.approx(1)
    assert pl.DataFrame(judged.by_stratum)["verdict"].to_list() == [True, False]


def test_sparse_strata_merge_and_keep_the_plug_in(rng):
    cells = [("a", 0, 3, 3, 10), ("b", 0, 1, 50, 9000), ("c", 0, 0, 4, 40), ("a", 1, 8, 10, 950)]
    result = failure_rate(*table(cells), rng=rng)
    assert [cell.strata for cell in result.by_stratum] == [("a", "c"), ("b",), ("a",)]
    plug_in = (10 * 1 + 9000 / 50 + 40 * 0 + 950 * 0.8) / 10_000
    assert result.rate.estimate == pytest.approx(plug_in, abs=1e-12)
    assert "2 cells were merged" in result.rate.reason


def test_a_stratum_with_a_sparse_verdict_gives_up_its_verdicts_not_its_rate(rng):
    cells = [("calm", 0, 1, 40, 7000), ("calm", 1, 1, 2, 500)]
    cells += [("loud", 0, 2, 20, 1500), ("loud", 1, 12, 15, 1000)]
    result = failure_rate(*table(cells), rng=rng)
    parts = [(cell.strata, cell.verdict) for cell in result.by_stratum]
    assert parts == [(("calm",), None), (("loud",), False), (("loud",), True)]
    plug_in = (7000 / 40 + 500 / 2 + 1500 * 0.1 + 1000 * 0.8) / 10_000
    assert result.rate.estimate == pytest.approx(plug_in, abs=1e-12)


def test_strata_that_are_verdicts_merge_with_their_like(rng):
    cells = [("a", 0, 1, 30, 5000), ("b", 0, 0, 3, 2000), ("c", 1, 2, 3, 300)]
    strata = [cell.strata for cell in failure_rate(*table(cells), rng=rng).by_stratum]
    assert strata == [("a", "b"), ("c",)]


def test_a_small_stratum_that_nobody_read_is_bounded_not_guessed(rng):
    cells = [("seen", 0, 5, 50, 970), ("unseen", 0, 0, 0, 30)]
    rate = failure_rate(*table(cells), rng=rng).rate
    alone = failure_rate(*table(cells[:1]), rng=rng).rate
    assert rate.estimate == pytest.approx(0.1)
    ends = 0.97 * alone.low, 0.97 * alone.high + 0.03
    assert (rate.low, rate.high) == pytest.approx(ends, abs=0.003)
    assert "3.0% of the sessions are of a kind that nobody labelled" in rate.reason


@pytest.mark.parametrize(("stratum", "verdict"), [("unseen", 0), ("all", None)])
def test_a_large_part_that_nobody_read_leaves_nothing_to_tell(stratum, verdict, rng):
    cells = [("all", 0, 5, 50, 900), (stratum, verdict, 0, 0, 100)]
    rate = failure_rate(*table(cells), rng=rng).rate
    assert np.isnan(rate.estimate)
    assert "nobody labelled: cannot tell until some are read" in rate.reason
    assert 0 < rate.low < rate.high < 1


def test_a_population_read_whole_has_no_interval(rng):
    labels = {"fails": [1] * 14 + [0] * 186}
    whole, half, drawn = (failure_rate(labels, {"n": [n]}, rng=rng) for n in (200, 400, 100_000))
    assert (whole.rate.low, whole.rate.high) == (0.07, 0.07)
    widths = [each.rate.high - each.rate.low for each in (half, drawn)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert np.std(whole.draws) == pytest.approx(np.std(drawn.draws), rel=0.05)


def test_the_failures_that_were_found_are_in_the_interval_of_the_rest(rng):
    """Slow definition: what is known, and a beta-binomial number of what is not."""
    cells = [("a", None, 3, 10, 40), ("b", None, 1, 30, 60)]
    rate = failure_rate(*table(cells), rng=rng).rate
    others = [
        scipy_stats.betabinom.rvs(rest, a, b, size=10**5, random_state=rng)
        for rest, a, b in ((30, 3.5, 7.5), (30, 1.5, 29.5))
    ]
    ends = np.quantile((4 + sum(others)) / 100, [0.025, 0.975])
    assert (rate.low, rate.high) == pytest.approx(ends, abs=0.011)


def test_abstentions_are_a_cell_of_their_own(rng):
    cells = [("all", 0, 5, 50, 800), ("all", None, 10, 20, 100), ("all", 1, 9, 10, 100)]
    result = failure_rate(*table(cells), rng=rng)
    assert result.rate.estimate == pytest.approx(0.8 * 0.1 + 0.1 * 0.5 + 0.1 * 0.9)
    assert {cell.verdict for cell in result.by_stratum} == {True, False, None}


def test_many_strata_do_not_lift_a_rare_rate(rng):
    """Half a failure of prior in each of ten strata would put the whole interval above 2%."""
    cells = [(f"s{i}", None, 1 if i < 2 else 0, 10, 1000) for i in range(10)]
    rate = failure_rate(*table(cells), rng=rng).rate
    assert rate.estimate == pytest.approx(0.02)
    assert rate.low < 0.01
    assert "2 failures among the labels: the interval is mostly prior" in rate.reason


def test_users_with_several_sessions_widen_the_rate(rng):
    labels = {"fails": np.repeat([1, 0], [40, 360])}
    alone = failure_rate(labels, {"n": [10_000]}, rng=rng).rate
    shared = failure_rate(labels | {"group": np.arange(400) // 8}, {"n": [10_000]}, rng=rng).rate
    assert shared.estimate == alone.estimate
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    few = failure_rate(labels | {"group": np.arange(400) % 5}, {"n": [10_000]}, rng=rng).rate
    assert "only 5 groups" in few.reason


def test_unsure_labels_are_left_out_and_said(rng):
    rate = failure_rate({"fails": [1, 0, None, 0, 0]}, {"n": [50]}, rng=rng).rate
    assert rate.n == 4
    assert "1 labels are unsure and left out" in rate.reason


def test_polars_frames_are_columns_and_stay_as_they_were(rng):
    labels, population = map(pl.DataFrame, table(TWO))
    before = labels.clone(), population.clone()
    again = failure_rate(*table(TWO), rng=np.random.default_rng(3))
    assert failure_rate(labels, population, rng=np.random.default_rng(3)) == again
    assert before[0].equals(labels)
    assert before[1].equals(population)


CELLS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(60, 5000)), min_size=1, max_size=8
).filter(lambda cells: any(fails + passes for fails, passes, _ in cells))


@given(CELLS)
def test_a_rate_lies_in_its_interval_and_that_in_zero_to_one(cells):
    rows = [(f"s{i}", None, x, x + y, size) for i, (x, y, size) in enumerate(cells)]
    rate = failure_rate(*table(rows), rng=np.random.default_rng(1)).rate
    assert -1e-12 <= rate.low <= rate.high <= 1 + 1e-12
    if rate.is_defined:
        assert rate.low - 1e-12 <= rate.estimate <= rate.high + 1e-12


@given(st.integers(0, 59), st.integers(0, 140), st.integers(60, 5000))
def test_one_more_failing_label_never_lowers_the_rate(fails, others, size):
    cells = [("a", None, fails, 60, size), ("b", None, others, 140, 5000)]
    more = [("a", None, fails + 1, 60, size), ("b", None, others, 140, 5000)]
    before, after = (
        failure_rate(*table(rows), rng=np.random.default_rng(1)).rate for rows in (cells, more)
    )
    assert before.estimate < after.estimate
    shares, n = np.array([size, 5000]) / (size + 5000), np.array([60, 140])
    counts = np.array([[fails, others], [fails + 1, others]])
    low, high = mover_wilson(shares, counts, n, 0.95)
    assert low[0] <= low[1] + 1e-12
    assert high[0] <= high[1] + 1e-12


@given(CELLS)
def test_a_larger_population_of_the_same_shares_is_known_no_better(cells):
    rows = [(f"s{i}", None, x, x + y, size) for i, (x, y, size) in enumerate(cells)]
    tenfold = [(*row[:-1], 10 * row[-1]) for row in rows]
    one, other = (
        failure_rate(*table(cells), rng=np.random.default_rng(1)) for cells in (rows, tenfold)
    )
    assert one.rate.estimate == pytest.approx(other.rate.estimate, nan_ok=True)
    assert one.draws == pytest.approx(other.draws)
    assert one.rate.high - one.rate.low <= 1.1 * (other.rate.high - other.rate.low) + 0.01


def test_rogan_gladen_is_its_formula_and_jeffreys_draws(rng):
    rate = corrected_rate(120, 1000, tp=45, fn=5, fp=10, tn=140, rng=rng)
    assert rate.estimate == pytest.approx((0.12 - 10 / 150) / (0.9 - 10 / 150), abs=1e-12)
    beta = scipy_stats.beta
    q, sensitivity, specificity = (
        beta.rvs(a, b, size=10**6, random_state=rng)
        for a, b in ((120.5, 880.5), (45.5, 5.5), (140.5, 10.5))
    )
    draws = np.clip((q + specificity - 1) / (sensitivity + specificity - 1), 0, 1)
    assert (rate.low, rate.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.004)
    assert rate.reason == ""


def test_a_judge_not_shown_to_beat_chance_is_refused(rng):
    rate = corrected_rate(300, 1000, tp=11, fn=9, fp=40, tn=60, rng=rng)
    assert np.isnan([rate.estimate, rate.low, rate.high]).all()
    assert rate.reason == "refused: the judge is not shown to beat chance"


def test_a_raw_rate_under_the_false_alarms_warns(rng):
    rate = corrected_rate(60, 1000, tp=45, fn=5, fp=10, tn=140, rng=rng)
    assert (rate.estimate, rate.low) == (0, 0)
    assert "raw rate 0.0600 is under the judge's false alarm rate 0.0667" in rate.reason


def test_a_raw_rate_no_such_judge_could_give_is_refused(rng):
    high = corrected_rate(990, 1000, tp=70, fn=30, fp=10, tn=90, rng=rng)
    low = corrected_rate(10, 1000, tp=70, fn=30, fp=30, tn=70, rng=rng)
    for rate in (high, low):
        assert np.isnan(rate.estimate)
        assert "calibrate by segment" in rate.reason


@given(st.integers(0, 200), *[st.integers(1, 60)] * 4)
def test_a_corrected_rate_is_refused_or_between_zero_and_one(flagged, tp, fn, fp, tn):
    rate = corrected_rate(flagged, 200, tp=tp, fn=fn, fp=fp, tn=tn, rng=np.random.default_rng(1))
    if rate.is_defined:
        assert 0 <= rate.low <= rate.estimate <= rate.high <= 1
    else:
        assert rate.reason.startswith("refused")


def test_a_perfect_judge_changes_nothing_but_the_width(rng):
    rate = corrected_rate(120, 1000, tp=500, fn=0, fp=0, tn=500, rng=rng)
    assert rate.estimate == pytest.approx(0.12)
