"""The joint model against its prototype; what versions, labels and losses of TPR do to it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from statsmodels.stats.multitest import multipletests

from evalbench.stats import Estimate
from evalbench.stats.pooled import (
    NO_EVALUATOR,
    PooledChange,
    Windows,
    effective_labels,
    pooled_rates,
    read_changes,
    relative_risk,
)
from evalbench.stats.pooled.readings import _pass_holm


def windows(*modes, version=None):
    """Make counts of modes, each window ``(flagged, passed, labels, failures, labels, failures)``.

    The first labels are of flagged sessions, the others of passed ones.
    """
    table = np.moveaxis(np.array(modes, dtype=float), -1, 0)
    silent = np.zeros((1, *table.shape[1:]))
    counted = [np.concatenate([table[at], silent]) for at in ([0, 1], [2, 4], [3, 5])]
    versions = np.zeros(table.shape[1:], dtype=int) if version is None else np.array(version)
    return Windows(*counted, versions)


def fit(*modes, version=None, seed=1, **options):
    counts = windows(*modes, version=version)
    return pooled_rates(counts, rng=np.random.default_rng(seed), **options)


def interval(estimate):
    return estimate.estimate, estimate.low, estimate.high


def width(estimate):
    return estimate.high - estimate.low


# The prototype's fit(N1, N0, n1, x1, n0, x0, judged=[True, True, False], change=(W - 2, W - 1)) on
# the last W of these windows; with history=0.3 at four, which is what two windows cannot have.
# Then, of each mode: summarise_rate(mode, W - 1) (mean, low, high), summarise_change(mode) (mean,
# low, high, p), and of mode.realised[W - 1] from 400,000 draws the mean and the 95% quantiles.
RARE = [(60, 1940, 30, 21, 150, 2), (52, 1948, 30, 19, 160, 1)]
RARE += [(30, 1970, 28, 9, 155, 1), (33, 1967, 30, 10, 150, 0)]
OFTEN = [(150, 1850, 40, 28, 120, 3), (160, 1840, 40, 30, 130, 4)]
OFTEN += [(158, 1842, 40, 27, 125, 2), (140, 1860, 40, 29, 140, 3)]
UNJUDGED = [(0, 2000, 0, 0, n, x) for n, x in ((180, 9), (190, 11), (183, 4), (190, 10))]
PROTOTYPE = {
    2: [
        ((0.007622, 0.003618, 0.013704), (0.000100, -0.006574, 0.006756, 0.972823)),
        ((0.065176, 0.048258, 0.086100), (-0.005838, -0.029474, 0.017951, 0.615185)),
        ((0.051125, 0.025063, 0.085994), (0.029067, -0.006533, 0.068057, 0.107723)),
    ],
    4: [
        ((0.008035, 0.003884, 0.014051), (0.000057, -0.007170, 0.006976, 0.976082)),
        ((0.067265, 0.050610, 0.087212), (-0.008939, -0.028262, 0.011590, 0.365655)),
        ((0.051346, 0.025296, 0.086219), (0.017989, -0.019918, 0.061172, 0.404594)),
    ],
}
REALISED = {
    2: [(0.007427, 0.005, 0.012), (0.065375, 0.052, 0.083), (0.051272, 0.0265, 0.0845)],
    4: [(0.007787, 0.0055, 0.012), (0.067455, 0.0545, 0.084), (0.051465, 0.0265, 0.0845)],
}


@pytest.mark.parametrize("n_windows", [2, 4])
def test_rates_and_changes_are_the_prototypes(n_windows):
    modes = [mode[-n_windows:] for mode in (RARE, OFTEN, UNJUDGED)]
    version = [[0] * n_windows] * 2 + [[NO_EVALUATOR] * n_windows]
    found = fit(*modes, version=version)
    for mode, (rate, (*delta, p_value)) in enumerate(PROTOTYPE[n_windows]):
        process, change = found.processes[mode][-1], found.changes[mode][-1]
        assert interval(process) == pytest.approx(rate, abs=1e-3 * width(process))
        assert interval(change.delta) == pytest.approx(delta, abs=1e-3 * width(change.delta))
        assert change.p_value == pytest.approx(p_value, abs=1e-3)
        realised = found.rates[mode][-1]
        # Both are drawn, and a share moves by whole sessions.
        close = pytest.approx(REALISED[n_windows][mode], abs=0.05 * width(realised))
        assert interval(realised) == close
        assert len(found.changes[mode]) == n_windows - 1


def test_a_window_read_whole_has_no_interval_and_its_process_has():
    whole, half = (20, 180, 20, 14, 180, 3), (20, 180, 10, 7, 90, 1)
    found = fit([whole, half])
    assert interval(found.rates[0][0]) == pytest.approx((17 / 200,) * 3, abs=1e-12)
    assert width(found.processes[0][0]) > 0.04
    assert width(found.rates[0][1]) > 0.02


GOOD, POOR = (100, 1900, 60, 48, 100, 1), (100, 1900, 60, 30, 100, 8)
FEW = (100, 1900, 6, 3, 20, 0)


def test_labels_of_an_old_version_do_not_calibrate_a_new_one():
    moved = {}
    for versions in ((0, 0, 0), (0, 0, 1)):
        rates = [fit([old, old, FEW], version=[versions]).processes[0][2] for old in (GOOD, POOR)]
        moved[versions] = abs(rates[1].estimate - rates[0].estimate)
    assert moved[0, 0, 0] > 0.015
    # The prior of all rates is the one thing that both versions share.
    assert moved[0, 0, 1] < 0.005


def test_a_mode_whose_evaluator_is_replaced_or_leaves_still_gets_a_change():
    half, unjudged = (50, 1950, 40, 32, 100, 0), (0, 2000, 0, 0, 140, 3)
    kept, replaced, left = (
        fit([GOOD, GOOD, last], version=[[0, 0, version]]).changes[0][-1]
        for last, version in ((half, 0), (half, 1), (unjudged, NO_EVALUATOR))
    )
    for change in (kept, replaced, left):
        assert change.delta.estimate < 0
    assert kept.delta.high < 0
    assert width(kept.delta) < width(replaced.delta) < width(left.delta)
    assert not np.isnan(kept.loss_survived)
    assert np.isnan(left.loss_survived)  # no evaluator, whose TPR could have fallen


def test_without_any_evaluator_the_labels_alone_speak():
    rows = [(0, 1000, 0, 0, 100, 30)] * 3
    found = fit(rows, version=[[NO_EVALUATOR] * 3])
    assert found.shifted == (False,) * 3
    for process, rate in zip(found.processes[0], found.rates[0], strict=True):
        assert process.low < 0.3 < process.high
        assert width(rate) < width(process)  # a tenth of the sessions is known
        assert width(process) == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 100), rel=0.1)


def test_one_mode_in_one_window_has_a_rate_and_neither_change_nor_trend():
    found = fit([GOOD])
    assert found.changes == ((),)
    assert not found.trends[0].is_defined
    assert "three windows, not 1" in found.trends[0].reason
    assert 0.03 < found.rates[0][0].low < 0.05 < found.rates[0][0].high < 0.08


def test_a_rate_of_most_sessions_is_not_pulled_to_the_rare():
    found = fit([(1150, 850, 60, 55, 60, 8)] * 2)
    expected = (1150 * 55 / 60 + 850 * 8 / 60) / 2000
    assert found.rates[0][0].estimate == pytest.approx(expected, abs=0.02)
    assert found.rates[0][0].low < expected < found.rates[0][0].high
    unjudged = fit([(0, 2000, 0, 0, 200, 190)] * 2, version=[[NO_EVALUATOR] * 2])
    assert unjudged.processes[0][0].low < 0.95 < unjudged.processes[0][0].high


def test_a_trend_is_the_factor_from_window_to_window():
    halves = [(0, 4000, 0, 0, 2000, n) for n in (160, 80, 40, 20)]
    [trend] = fit(halves, version=[[NO_EVALUATOR] * 4]).trends
    assert np.exp(trend.low) < 0.5 < np.exp(trend.high)
    assert trend.high < 0


@pytest.mark.parametrize(
    "last", [(100, 1900, 60, 30, 100, 4), (160, 1840, 60, 28, 100, 3), (400, 1600, 60, 8, 100, 8)]
)
def test_a_window_whose_evaluators_all_err_otherwise_is_not_pooled_and_the_others_are(last):
    modes = [[GOOD, GOOD, GOOD, last]] * 3
    found = fit(*modes)
    assert found.shifted == (False, False, False, True)
    assert "unlike that of the other windows" in found.rates[0][3].reason
    assert found.rates[0][0].reason == ""


def test_labels_drawn_with_one_chance_are_worth_what_they_are():
    labels, failures = np.array([[20.0, 50.0]]), np.array([[4.0, 5.0]])
    risk = relative_risk(labels[:, None], failures[:, None])
    assert risk[0] > 1 > risk[1]
    even = effective_labels(10 * labels, labels, labels, failures, risk)
    assert np.ravel(even) == pytest.approx([70, 9])
    uneven = effective_labels(
        np.array([[20.0, 5000.0]]), labels, labels, failures, np.ones(2)
    )  # Kish (1965): (sum w)^2 / sum w^2
    weights = np.repeat([1.0, 100.0], [20, 50])
    assert uneven[0][0] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert uneven[1][0] / uneven[0][0] == pytest.approx((4 + 100 * 5) / (20 + 100 * 50))
    none = np.zeros((1, 2))
    assert np.ravel(effective_labels(10 * labels, labels, none, none, risk)).tolist() == [0, 0]


@st.composite
def cells(draw):
    """Draw a window: sessions, labels of them and failures among these, flagged and passed."""
    row = []
    for _ in range(2):
        sessions = draw(st.integers(0, 400))
        labels = draw(st.integers(0, sessions))
        row.append((sessions, labels, draw(st.integers(0, labels))))
    (flagged, n1, x1), (passed, n0, x0) = row
    return flagged, passed + 1, n1, x1, n0, x0


@settings(max_examples=20)
@given(st.data(), st.integers(1, 2), st.integers(1, 3))
def test_intervals_hold_their_estimate_and_stay_among_the_possible(data, n_modes, n_windows):
    modes = [[data.draw(cells()) for _ in range(n_windows)] for _ in range(n_modes)]
    version = [
        [data.draw(st.integers(NO_EVALUATOR, 1)) for _ in range(n_windows)] for _ in range(n_modes)
    ]
    found = fit(*modes, version=version)
    for estimate in (*sum(found.rates, ()), *sum(found.processes, ())):
        assert 0 <= estimate.low <= estimate.estimate + 1e-12
        assert estimate.estimate - 1e-12 <= estimate.high <= 1
    for change in sum(found.changes, ()):
        assert -1 <= change.delta.low <= change.delta.estimate <= change.delta.high <= 1
        assert 0 <= change.p_improved <= change.p_despite <= 1
        assert 0 <= change.p_value <= 1


def test_the_same_seed_gives_the_same_rates_and_no_count_moves():
    counts = windows(RARE, OFTEN)
    before = replace(counts, sessions=counts.sessions.copy())
    first, second = (pooled_rates(counts, rng=np.random.default_rng(5)) for _ in range(2))
    assert first.rates == second.rates
    assert first.changes == second.changes
    assert (counts.sessions == before.sessions).all()


def test_an_improvement_that_a_loss_of_tpr_explains_is_not_confirmed():
    seen = (110, 1890, 40, 30, 150, 1)
    few, many = (fit([seen, seen, (76, 1924, 30, 22, n, 0)]).changes[0][-1] for n in (15, 800))
    assert few.p_improved < 0.05 < few.p_despite
    assert few.loss_survived < 0.2
    assert many.p_despite < 0.05
    read = [read_changes([each], ["release"], margin=0.02) for each in (few, many)]
    assert read == [["likely improvement"], ["confirmed improvement"]]


def change(low, high, *, p=0.5, despite=None):
    """Make a change of this interval; ``p`` is one-sided, of an improvement."""
    delta = Estimate((low + high) / 2, low, high, 0.95, "made up", 100)
    two_sided = 2 * min(p, 1 - p)
    return PooledChange(delta, delta, delta, two_sided, p, p if despite is None else despite, 0.1)


chances, ends = st.floats(0, 1), st.floats(-1, 1)
rows = st.tuples(ends, ends, chances, chances, st.sampled_from(["", "2"]))


@settings(max_examples=30)
@given(st.lists(rows, min_size=1, max_size=6), st.floats(0.001, 1))
def test_no_reading_contradicts_its_interval(rows, margin):
    changes = [change(*sorted(row[:2]), p=row[2], despite=max(row[2:4])) for row in rows]
    readings = read_changes(changes, [row[4] for row in rows], margin=margin)
    for each, reading in zip(changes, readings, strict=True):
        assert reading.endswith("improvement") is (each.delta.high < 0)
        assert reading.endswith("regression") is (each.delta.low > 0)
        if reading == "confirmed improvement":
            assert each.p_despite < 0.05
        if not reading.startswith(("confirmed", "likely")):
            within = -margin <= each.delta.low and each.delta.high <= margin
            assert reading == ("no change shown" if within else "cannot tell")


def test_targets_of_a_release_and_the_other_modes_are_families_apart():
    better, worse = change(-0.02, -0.001, p=0.03), change(0.001, 0.02, p=1 - 0.015)
    nothing = [change(-0.01, 0.01)] * 9
    likely = "likely improvement"

    def read(changes, targets):
        return read_changes(changes, targets, margin=0.02)

    alone = read([better, *nothing], ["2", *[""] * 9])
    assert alone == ["confirmed improvement", *["no change shown"] * 9]
    assert read([better, better, *nothing], ["2", "2", *[""] * 9])[:2] == [likely] * 2  # Holm
    assert read([better, better], ["2", "3"]) == ["confirmed improvement"] * 2
    assert read([better], [""]) == [likely]  # two-sided, as it was not announced
    assert read([worse], [""]) == ["confirmed regression"]
    assert read([worse, *nothing], [""] * 10)[0] == "likely regression"  # one of ten is luck


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"labels": np.zeros((3, 1, 2))}, r"labels must be of shape \(3, 1, 1\)"),
        ({"failures": np.full((3, 1, 1), 61.0)}, "failures must not exceed labels, got 2 that do"),
        ({"sessions": np.zeros((3, 1, 1))}, "labels must not exceed sessions, got 2 that do"),
        ({"sessions": np.full((3, 1, 1), np.nan)}, "sessions must be numbers from 0 up, got nan"),
        ({"failures": np.full((3, 1, 1), -1.0)}, "failures must be numbers from 0 up, got -1.0"),
    ],
)
def test_counts_that_cannot_be_are_refused_by_name(broken, message):
    with pytest.raises(ValueError, match=message):
        replace(windows([GOOD]), **broken)


def test_levels_margins_and_targets_are_refused_by_name():
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        fit([GOOD], level=95)
    with pytest.raises(ValueError, match="target_of must have 1 values, got 2"):
        read_changes([change(-1, 1)], ["", ""], margin=0.02)
    with pytest.raises(ValueError, match=r"margin must lie above 0 and at most 1, got -0\.02"):
        read_changes([change(-1, 1)], [""], margin=-0.02)


@pytest.mark.slow
def test_rates_and_changes_cover_what_was_planted():
    """Forty surfaces of five modes over three windows, whose evaluators drift a little."""
    rng = np.random.default_rng(21)
    held = []
    for _ in range(40):
        p = expit(rng.normal(-3.5, 0.8, (5, 1))) * np.array([1, 1, 0.6])
        t = expit(rng.normal(1.5, 0.5, (5, 1)) + rng.normal(0, 0.2, (5, 3)))
        f = expit(rng.normal(-4.5, 0.5, (5, 1)) + rng.normal(0, 0.1, (5, 3)))
        of_cell = np.stack([p * t, (1 - p) * f, p * (1 - t), (1 - p) * (1 - f)], -1)
        sessions = rng.multinomial(2000, of_cell)
        drawn = rng.multivariate_hypergeometric
        labelled = np.array([[drawn(cell, 200) for cell in mode] for mode in sessions])
        a, b, c, d = np.moveaxis(labelled, -1, 0)
        flagged = sessions[..., 0] + sessions[..., 1]
        rows = np.stack([flagged, 2000 - flagged, a + b, a, c + d, c], -1)
        found = pooled_rates(windows(*rows), rng=rng)
        share = (sessions[..., 0] + sessions[..., 2]) / 2000
        for mode in range(5):
            rate, delta = found.rates[mode][2], found.changes[mode][-1].delta
            moved = p[mode, 2] - p[mode, 1]
            in_rate = rate.low - 1e-12 <= share[mode, 2] <= rate.high + 1e-12
            held.append((in_rate, delta.low <= moved <= delta.high))
    assert (np.mean(held, axis=0) >= 0.92).all()


def test_labels_in_doubt_leave_an_interval_where_a_window_was_read_whole():
    sessions = np.array([[[20.0, 20.0]], [[180.0, 180.0]], [[0.0, 0.0]]])
    failures = np.array([[[14.0, 14.0]], [[3.0, 3.0]], [[0.0, 0.0]]])
    version, doubt = np.zeros((1, 2), dtype=np.int64), np.array([[0.0, 4.0]])
    counts = Windows(sessions, sessions, failures, version, doubt)
    sure, open_ = pooled_rates(counts, rng=np.random.default_rng(2)).rates[0]
    assert width(sure) == pytest.approx(0, abs=1e-12)
    assert width(open_) == pytest.approx(2 * 1.96 * 2 / 200, rel=0.15)


def test_targets_pass_as_holm_of_statsmodels_lets_them():
    rng = np.random.default_rng(1)
    for passing in (0.0, 0.5, 1.0):
        p_values = np.where(rng.random(9) < passing, rng.random(9) / 60, rng.random(9))
        p_values[:3] = 0.05 / 9, p_values[1], p_values[1]  # on the line, and a tie
        expected = multipletests(p_values, alpha=0.05, method="holm")[0]
        assert _pass_holm(p_values, 0.05).tolist() == expected.tolist()
