"""Unseen modes: published values, invariants, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.stats import expected_new, sample_coverage, unseen_modes


def of_frequencies(*frequencies):
    """Counts with the given number of modes seen once, twice, and so on."""
    return [times for times, modes in enumerate(frequencies, 1) for _ in range(modes)]


def test_chaos_formulas(rng):
    counts = of_frequencies(6, 3, 2)
    assert unseen_modes(counts, n_sessions=50, rng=rng).estimate == pytest.approx(
        49 / 50 * 6**2 / (2 * 3), abs=1e-12
    )
    assert unseen_modes([1, 1, 1], n_sessions=10, rng=rng).estimate == pytest.approx(0.9 * 3)
    assert sample_coverage(counts, rng=rng).estimate == pytest.approx(1 - 6 / 18, abs=1e-12)


def test_new_modes_follow_the_slow_definition(rng):
    counts = of_frequencies(6, 3, 2)
    unseen = unseen_modes(counts, n_sessions=50, rng=rng).estimate
    each = 6 / (50 * unseen + 6)
    expected = sum(unseen * each * (1 - each) ** day for day in range(30))
    assert expected_new(counts, 50, 30, rng=rng).estimate == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(6, 500))
def test_bounds_and_monotony(counts, sessions):
    def drawn():
        return np.random.default_rng(0)

    unseen = unseen_modes(counts, n_sessions=sessions, rng=drawn())
    soon, later = (expected_new(counts, sessions, more, rng=drawn()) for more in (10, 1000))
    assert 0 <= unseen.low <= unseen.estimate <= unseen.high
    assert 0 <= soon.estimate <= later.estimate <= unseen.estimate + 1e-9
    coverage = sample_coverage(counts, rng=drawn())
    if coverage.is_defined:
        assert 0 <= coverage.low <= coverage.estimate <= coverage.high <= 1
    else:
        assert coverage.reason == "no mode was seen"


def test_nothing_new_where_all_are_frequent(rng):
    unseen = unseen_modes([40, 50, 60], n_sessions=200, rng=rng)
    assert (unseen.estimate, unseen.low) == (0, 0)
    assert unseen.high > 0


@pytest.mark.slow
@pytest.mark.parametrize(("modes", "sessions"), [(10, 100), (20, 300), (50, 100)])
def test_intervals_cover_where_modes_are_equally_frequent(modes, sessions, rng):
    share, held = 1 / sessions, np.zeros(3)
    for counts in rng.binomial(sessions, share, (400, modes)):
        missed = (counts == 0).sum()
        answer = unseen_modes(counts, n_sessions=sessions, rng=rng)
        more = expected_new(counts, sessions, rng=rng)
        known = sample_coverage(counts, rng=rng)
        shown = (rng.binomial(100, share, missed) > 0).sum()
        held += [
            answer.low <= missed <= answer.high,
            more.low <= shown <= more.high,
            known.low <= 1 - missed / modes <= known.high,
        ]
    assert (held / 400 >= 0.90).all()


@pytest.mark.slow
def test_coverage_holds_where_sessions_are_read_by_signals_that_half_the_modes_do_not_raise(rng):
    """Modes seen where signals are say little of those that raise none."""
    size, read = np.array([2700, 300]), np.array([60, 140])
    share = np.geomspace(0.0004, 0.03, 50)
    loud = np.arange(50) % 2 == 0
    shares = np.stack([np.where(loud, share / 4, share), np.where(loud, share * 8, share)])
    held = np.zeros(2)
    for _ in range(200):
        seen = rng.binomial(read[:, None], shares)
        waiting = rng.binomial((size - read)[:, None], shares).sum(axis=0)
        counts, stand_for = seen.sum(axis=0), (size / read - 1) @ seen
        truth = waiting[counts > 0].sum() / waiting.sum()
        weighed = {"unread": stand_for, "heaviest": (size / read - 1).max()}
        answers = (sample_coverage(counts, **each, rng=rng) for each in (weighed, {}))
        held += [answer.low <= truth <= answer.high for answer in answers]
    weighted, plain = held / 200
    assert weighted >= 0.93
    assert plain < 0.9
