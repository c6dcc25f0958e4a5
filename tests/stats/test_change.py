"""Change of the same cases: exact McNemar, Newcombe's interval and the readings."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar

from evalbench.stats import benjamini_hochberg, paired_change
from evalbench.stats.change import _flip_p_values, newcombe_paired


def columns(both, fixed, new, neither):
    before = [1] * (both + fixed) + [0] * (new + neither)
    after = [1] * both + [0] * fixed + [1] * new + [0] * neither
    return before, after


@pytest.mark.parametrize("cells", [(5, 44, 70, 684), (3, 28, 9, 764), (0, 0, 8, 22), (4, 6, 6, 4)])
def test_p_value_is_statsmodels_exact_mcnemar(cells, rng):
    both, fixed, new, neither = cells
    change = paired_change(*columns(*cells), rng=rng)
    # statsmodels.stats.contingency_tables.mcnemar([[both, fixed], [new, neither]], exact=True)
    expected = mcnemar([[both, fixed], [new, neither]], exact=True).pvalue
    assert change.p_value == pytest.approx(expected, abs=1e-9)
    mid_p = expected - scipy_stats.binom.pmf(max(fixed, new), fixed + new, 0.5)
    assert change.mid_p == pytest.approx(1 if fixed == new else mid_p, abs=1e-9)
    assert (change.fixed, change.newly_failing) == (fixed, new)


def test_interval_is_altmans_worked_example(rng):
    # Altman et al. (2000) Statistics with Confidence, p. 52: 14, 5, 0, 22 gives .122 [.011, .226].
    delta = paired_change(*columns(14, 0, 5, 22), rng=rng).delta
    found = (delta.estimate, delta.low, delta.high)
    assert found == pytest.approx((0.122, 0.011, 0.226), abs=0.0005)


def test_grouped_p_value_flips_whole_groups(rng):
    groups = np.repeat(np.arange(8), 3)
    before = rng.integers(0, 2, 24)
    after = rng.integers(0, 2, 24)
    net = np.bincount(groups, weights=after - before)
    sums = [abs(np.dot(signs, net)) for signs in product((-1, 1), repeat=8)]
    change = paired_change(before, after, groups=groups, rng=rng)
    assert change.p_value == pytest.approx(np.mean(np.array(sums) >= abs(net.sum())), abs=1e-12)


def test_shared_cases_widen_the_interval(rng):
    before, after = (np.repeat(column, 10) for column in columns(2, 4, 12, 60))
    plain = paired_change(before, after, rng=rng).delta
    grouped = paired_change(before, after, groups=np.repeat(np.arange(78), 10), rng=rng).delta
    assert grouped.high - grouped.low > 2.5 * (plain.high - plain.low)
    change = paired_change(*columns(0, 0, 20, 80), groups=[1] * 100, rng=rng)
    assert (change.reading, change.p_value) == ("insufficient", 1)
    assert (change.delta.low, change.delta.high) == (-1, 1)
    assert "only 1 group" in change.delta.reason


@pytest.mark.parametrize(
    ("cells", "margin", "reading"),
    [
        ((0, 0, 8, 192), None, "regression"),
        ((0, 8, 0, 192), None, "improvement"),
        ((2, 3, 4, 191), None, "no change shown"),
        ((2, 3, 4, 191), 0.2, "no change shown"),
        ((2, 3, 4, 191), 0.02, "insufficient"),
        ((0, 0, 2, 3), None, "insufficient"),
    ],
)
def test_readings(cells, margin, reading, rng):
    assert paired_change(*columns(*cells), margin=margin, rng=rng).reading == reading


def test_no_reading_contradicts_its_interval(rng):
    """Of every table of 8 cases, and 4 against 0, 6 against 15 and 8 against 18 that once did."""
    small = [cells for cells in product(range(9), repeat=4) if sum(cells) == 8]
    for cells in [*small, (0, 0, 4, 6), (2, 0, 4, 4), (0, 6, 15, 9), (3, 8, 18, 1)]:
        change = paired_change(*columns(*cells), rng=rng)
        excludes_zero = change.delta.low > 0 or change.delta.high < 0
        assert (change.reading in ("regression", "improvement")) is excludes_zero
        assert (change.mid_p < 0.05) is excludes_zero


@pytest.mark.parametrize("n", [15, 24, 40])
def test_what_the_mid_p_shows_newcombes_interval_shows_too(n):
    for fixed, new in product(range(n // 2), range(n + 1)):
        shown = fixed < new and _flip_p_values(np.array([1, -1]), np.array([new, fixed]))[1] < 0.05
        for both in range(n - fixed - new + 1) if shown else ():
            cells = np.array([both, fixed, new, n - both - fixed - new], dtype=float)
            assert newcombe_paired(cells, 0.95)[0] > 0


def test_nulls_are_dropped_by_pair_and_counted(rng):
    change = paired_change([0, None, 1, 0], [1, 1, None, float("nan")], rng=rng)
    assert (change.missing, change.delta.n) == (3, 1)


outcome = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


@given(outcome)
def test_swapping_before_and_after_mirrors_the_change(pairs):
    before, after = zip(*pairs, strict=True)
    there = paired_change(before, after, rng=np.random.default_rng(0))
    back = paired_change(after, before, rng=np.random.default_rng(0))
    assert there.delta.low <= there.delta.estimate <= there.delta.high
    assert -1 <= there.delta.low
    assert there.delta.high <= 1
    assert there.delta.low == pytest.approx(-back.delta.high, abs=1e-12)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-12)
    assert 0 <= there.p_value <= 1
    if before == after:
        assert (there.delta.estimate, there.p_value) == (0, 1)


def test_benjamini_hochberg_leaves_nan():
    adjusted = benjamini_hochberg([0.001, 0.02, 0.03, np.nan, 0.5])
    np.testing.assert_allclose(adjusted, [0.004, 0.04, 0.04, np.nan, 0.5], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("cells", [(0.02, 0.02, 0.04, 0.92), (0.1, 0.05, 0.05, 0.8)])
def test_newcombe_covers(cells, rng):
    truth, held = cells[2] - cells[1], 0
    for both, fixed, new, neither in rng.multinomial(200, cells, size=1000):
        delta = paired_change(*columns(both, fixed, new, neither), rng=rng).delta
        held += delta.low <= truth <= delta.high
    assert scipy_stats.binom.sf(held, 1000, 0.97) > 1e-3
    assert scipy_stats.binom.cdf(held, 1000, 0.94) > 1e-3


@pytest.mark.slow
def test_grouped_interval_covers(rng):
    groups, held = np.repeat(np.arange(40), 5), 0
    for _ in range(1000):
        user = rng.beta(0.5, 4.5, 40)
        before, after = (rng.random((40, 5)) < user[:, None] for _ in range(2))
        worse = np.repeat(rng.random(40) < 0.1, 5).reshape(40, 5)
        delta = paired_change(before.ravel(), (after | worse).ravel(), groups=groups, rng=rng).delta
        held += delta.low <= 0.1 * (1 - 0.1) <= delta.high
    assert held >= 920
