"""Looking every day: coverage at all times, false alarms of a year, and a prompt alarm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from evalbench.stats import alarm, confidence_sequence
from evalbench.stats.sequential import ODDS_RATIOS


def test_ends_of_the_interval_solve_the_mixture_equation():
    fails, n = np.array([3, 5, 0]), np.array([40, 50, 60])
    sequence = confidence_sequence(fails, n)
    s, f = fails.cumsum(), (n - fails).cumsum()
    for p in (sequence.low, sequence.high):
        mixture = special.beta(s + 0.5, f + 0.5) / special.beta(0.5, 0.5) / (p**s * (1 - p) ** f)
        np.testing.assert_allclose(mixture, 20, rtol=1e-9)
    assert sequence.last.estimate == pytest.approx(8 / 150, abs=1e-12)
    assert sequence.last.n == 150


days = st.lists(
    st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=1,
    max_size=20,
)


@given(days)
def test_bounds_and_mirror(stream):
    fails, n = np.array(stream).T
    sequence = confidence_sequence(fails, n)
    mirror = confidence_sequence(n - fails, n)
    np.testing.assert_allclose(sequence.low, 1 - mirror.high, atol=1e-9)
    seen = n.cumsum() > 0
    assert (sequence.low[seen] <= sequence.estimate[seen]).all()
    assert (sequence.estimate[seen] <= sequence.high[seen]).all()
    assert np.isnan(sequence.estimate[~seen]).all()
    assert (sequence.high[~seen] == 1).all()


def test_evidence_is_its_slow_definition(rng):
    fails, n = rng.binomial(50, 0.1, 12), np.full(12, 50)
    answer = alarm(fails, n, baseline=0.08)
    total = np.zeros(12)
    for ratio in ODDS_RATIOS:
        odds = ratio * 0.08 / 0.92
        q = odds / (1 + odds)
        likelihood = (q / 0.08) ** fails * ((1 - q) / 0.92) ** (n - fails)
        for day in range(12):
            weights = [365 / ((j + 365) * (j + 366)) for j in range(day + 1)]
            started = sum(w * likelihood[j : day + 1].prod() for j, w in enumerate(weights))
            total[day] += (started + 1 - sum(weights)) / len(ODDS_RATIOS)
    np.testing.assert_allclose(answer.evidence, total, rtol=1e-9)
    assert answer.threshold == pytest.approx(20)


def test_a_counted_baseline_is_less_sharp_than_a_known_one():
    known = alarm([4], [200], baseline=0.02)
    counted = alarm([4], [200], baseline=(112, 5600))
    assert (known.bound, known.threshold) == (0.02, pytest.approx(20))
    assert counted.bound > 0.023
    assert counted.threshold == pytest.approx(40)


@pytest.mark.slow
def test_a_year_of_looking_misses_rarely(rng):
    streams = rng.binomial(50, 0.05, (400, 365))
    missed = 0
    for stream in streams:
        sequence = confidence_sequence(stream, [50] * 365)
        missed += bool(((sequence.low > 0.05) | (sequence.high < 0.05)).any())
    assert missed / 400 <= 0.05


@pytest.mark.slow
def test_false_alarms_of_a_year_and_days_to_a_doubling(rng):
    baseline = rng.binomial(5600, 0.02, 2000)
    still = rng.binomial(200, 0.02, (2000, 365))
    false = [
        alarm(stream, [200] * 365, baseline=(int(fails), 5600)).day is not None
        for stream, fails in zip(still, baseline, strict=True)
    ]
    assert np.mean(false) <= 0.05
    doubled = np.hstack([still[:500, :120], rng.binomial(200, 0.04, (500, 120))])
    found = [
        alarm(stream, [200] * 240, baseline=(int(fails), 5600)).day
        for stream, fails in zip(doubled, baseline, strict=False)
    ]
    late = [np.inf if day is None else day - 119 for day in found]
    assert np.median(late) <= 14
