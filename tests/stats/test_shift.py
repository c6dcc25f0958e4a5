"""What moved: the parts add up, and a planted cause lands in its own part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.stats import what_moved


def period(rng, shares, rates, n):
    segment = rng.choice(len(shares), p=shares, size=n)
    return segment, (rng.random(n) < np.asarray(rates)[segment]).astype(float)


def frame(*arguments):
    return dict(zip(("segment", "fails"), period(*arguments), strict=True))


def moved(before, after, seed=0):
    return what_moved(before, after, rng=np.random.default_rng(seed))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0, 0.95))
def test_parts_add_up_to_the_shift_exactly(seed, segments, hidden):
    rng = np.random.default_rng(seed)
    shares = np.ones(segments) / segments
    old, fails = period(rng, shares, rng.random(segments), 80)
    new, fails_new = period(rng, shares, rng.random(segments), 60)
    rescored = np.where(rng.random(80) < hidden, np.nan, rng.integers(0, 2, 80))
    rescored[0] = 1
    answer = moved(
        {"segment": old, "fails": fails, "rescored": rescored},
        {"segment": new, "fails": fails_new},
    )
    whole = fails_new.mean() - fails.mean()
    parts = answer.judge.estimate + answer.mix.estimate + answer.system.estimate
    assert answer.whole.estimate == pytest.approx(whole, abs=1e-12)
    assert parts == pytest.approx(whole, abs=1e-12)


def test_each_planted_cause_lands_in_its_part():
    rng = np.random.default_rng(1)
    segment, fails = period(rng, [0.5, 0.5], [0.05, 0.25], 6000)
    stricter = np.where(rng.random(6000) < 0.1, 1, fails)
    rescored = np.where(np.arange(6000) < 2000, stricter, np.nan)
    before = {"segment": segment, "fails": fails, "rescored": rescored}
    judge = moved(before, {"segment": segment, "fails": stricter})
    assert judge.judge.low < judge.whole.estimate < judge.judge.high
    assert judge.mix.estimate == 0
    assert judge.system.low < 0 < judge.system.high

    plain = {"segment": segment, "fails": fails}
    mix = moved(plain, frame(rng, [0.2, 0.8], [0.05, 0.25], 6000))
    assert mix.mix.low < 0.06 < mix.mix.high
    assert mix.system.low < 0 < mix.system.high
    assert (mix.judge.low, mix.judge.high) == (0, 0)

    system = moved(plain, frame(rng, [0.5, 0.5], [0.15, 0.35], 6000))
    assert system.system.low < 0.1 < system.system.high
    assert system.mix.low < 0 < system.mix.high


def test_a_new_segment_is_traffic():
    before = {"segment": ["a"] * 100, "fails": [0] * 100}
    after = {"segment": ["a"] * 100 + ["b"] * 100, "fails": [0] * 100 + [1] * 100}
    answer = moved(before, after)
    assert (answer.mix.estimate, answer.system.estimate) == (0.5, 0)


@pytest.mark.slow
def test_parts_cover():
    rng, held = np.random.default_rng(5), np.zeros(2)
    for _ in range(300):
        old = frame(rng, [0.6, 0.4], [0.02, 0.1], 800)
        new = frame(rng, [0.4, 0.6], [0.04, 0.12], 800)
        answer = moved(old, new)
        held += [
            answer.mix.low <= 0.2 * (0.11 - 0.03) <= answer.mix.high,
            answer.system.low <= 0.02 <= answer.system.high,
        ]
    assert (held / 300 > 0.915).all()
