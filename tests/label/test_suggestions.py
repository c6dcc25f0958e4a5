"""What is asked next and what is suggested, held against the plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.label.discovery import suggestions
from evalbench.label.discovery.vectors import offline_vectors

TOPICS = (
    "late refund promised to",
    "search called twice for",
    "rude words toward",
    "made up price of",
)
THINGS = "kettle toaster lamp chair table".split()
TEXTS = [f"{topic} {thing}" for topic in TOPICS for thing in THINGS]
KINDS = np.repeat(np.arange(4), 5)
VECTORS = offline_vectors(TEXTS, rng=np.random.default_rng(0))
ALIKE = suggestions.measure_similarity(VECTORS)
WEIGHTS = np.ones(20)
NONE = np.full(20, -1)


def named(*notes):
    return np.array([KINDS[note] if note in notes else -1 for note in range(20)])


def test_few_notes_keep_their_exact_cosines():
    np.testing.assert_allclose(np.diag(VECTORS @ VECTORS.T), 1, atol=1e-5)
    again = offline_vectors(TEXTS[:7], rng=np.random.default_rng(9))
    assert again.shape == (7, 7)
    assert (ALIKE >= 0).all()


def test_groups_keep_named_modes_apart_and_struck_notes_out():
    groups = suggestions.group(ALIKE, NONE)
    assert [len(set(groups[KINDS == kind])) for kind in range(4)] == [1] * 4
    all_in_one = suggestions.group(ALIKE, named(0, 1, 5), like=0.0)
    assert all_in_one[0] == all_in_one[1] != all_in_one[5]
    struck = suggestions.group(ALIKE, named(0), [(1, 0)], like=0.0)
    assert struck[0] != struck[1]
    assert suggestions.group(ALIKE[:1, :1], NONE[:1]).tolist() == [0]


def test_a_note_moves_once_to_the_group_whose_middle_is_nearest():
    # The last note met the first one early, and fits the pair beside better.
    near = [(0, 1, 0.9), (2, 3, 0.9), (2, 4, 0.6), (3, 4, 0.6), (0, 4, 0.3), (1, 4, 0.3)]
    alike = np.eye(6)
    for one, other, cosine in near:
        alike[one, other] = alike[other, one] = cosine
    early, none = np.array([0, 0, 1, 1, 0, 2]), np.full(6, -1)
    settled = suggestions._settle(alike, none, [], early)
    assert settled.tolist() == [0, 0, 1, 1, 1, 2]
    named_early = np.where(np.arange(6) == 4, 0, none)
    assert suggestions._settle(alike, named_early, [], early).tolist() == early.tolist()
    struck = suggestions._settle(alike, np.where(np.arange(6) == 2, 7, none), [(4, 7)], early)
    assert struck.tolist() == early.tolist()


def test_what_is_believed_draws_a_middle_by_half_but_not_for_itself():
    modes, believed = named(0, 5), np.where(np.arange(20) < 3, 0, -1)
    believed[0] = -1
    fits = suggestions.score(ALIKE, modes, np.arange(20), (), believed)[1]
    for note in (1, 9):
        drawn = np.where(believed == 0, 0.5, modes == 0)
        inside = drawn @ ALIKE @ drawn / drawn.sum() ** 2
        others = np.where(np.arange(20) == note, 0, drawn)
        near = np.average(ALIKE[note], weights=others)
        assert fits[note, 0] == pytest.approx(near / np.sqrt(inside))


def test_a_fit_is_the_cosine_to_the_middle_of_a_mode():
    modes = named(0, 1, 2, 5, 6)
    numbers, fits = suggestions.score(ALIKE, modes, np.arange(20), [(3, 0)])
    middles = [VECTORS[modes == number].mean(axis=0) for number in numbers]
    cosines = np.column_stack([VECTORS @ m / np.linalg.norm(m) for m in middles])
    assert fits[3, 0] == -1
    fits[3, 0] = cosines[3, 0]
    np.testing.assert_allclose(fits, cosines, atol=1e-4)


def test_the_first_note_asked_covers_most_and_repeats_weigh():
    gains = ALIKE.sum(axis=0)
    assert suggestions.ask_next(ALIKE, WEIGHTS, NONE) == gains.argmax()
    heavy = np.where(np.arange(20) == 13, 1000.0, 1.0)
    assert suggestions.ask_next(ALIKE, heavy, NONE) == 13
    # What is like something named already tells nothing new.
    assert KINDS[suggestions.ask_next(ALIKE, WEIGHTS, named(0, 1))] != 0


def test_what_is_named_stays_and_the_rest_is_suggested():
    modes = named(0, 1, 5)
    placed = suggestions.place(ALIKE, WEIGHTS, modes)
    assert (placed[modes >= 0] == modes[modes >= 0]).all()
    assert (placed[:5] == 0).all()
    assert (placed[5:10] == 1).all()
    assert len({*placed[10:15]}) == len({*placed[15:]}) == 1  # groups of their own, beyond
    assert placed[10:].min() > 1
    assert placed[10] != placed[15]


def test_a_batch_is_of_one_kind_and_of_eight_at_the_most():
    mode, notes = suggestions.next_batch(ALIKE, WEIGHTS, named(0, 5, 10, 15))
    assert 2 <= len(notes) <= suggestions.BATCH
    assert set(KINDS[notes]) == ({mode} if mode is not None else {KINDS[notes[0]]})
    mode, notes = suggestions.next_batch(ALIKE, WEIGHTS, named(0, 1, 2, 3, 4), [])
    assert mode is None
    assert len(set(KINDS[notes])) == 1


@given(st.data())
def test_every_note_is_asked_for_once_whatever_is_said(data):
    n = data.draw(st.integers(2, 12))
    points = np.abs(np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(n, 3)))
    alike = suggestions.measure_similarity(points / np.linalg.norm(points, axis=1, keepdims=True))
    modes, struck = np.full(n, -1), set()
    for _ in range(3 * n):
        if (modes >= 0).all():
            break
        one = suggestions.ask_next(alike, np.ones(n), modes, struck)
        assert modes[one] < 0
        _, batch = suggestions.next_batch(alike, np.ones(n), modes, struck)
        assert 1 <= len(batch) <= suggestions.BATCH
        assert (modes[batch] < 0).all()
        assert suggestions.place(alike, np.ones(n), modes, struck).shape == (n,)
        kind = data.draw(st.integers(0, 3))
        modes[one] = kind
        struck = {each for each in struck if each[0] != one}
        if len(batch) > 1 and modes[batch[-1]] < 0:
            struck.add((int(batch[-1]), kind))
    else:
        pytest.fail("notes are left")
