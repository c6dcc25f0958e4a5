"""Every public function names the argument and the value that it refuses."""

import re
from functools import partial

import numpy as np
import pytest

from evalbench import stats

RNG = np.random.default_rng(0)
agreement = partial(stats.agreement, rng=RNG)
alignment = partial(stats.alignment, rng=RNG)
changed = partial(stats.paired_change, rng=RNG)
rate = partial(stats.failure_rate, rng=RNG)
unseen = partial(stats.unseen_modes, rng=RNG)
scored = partial(stats.table_alignment, categories=(1, 2, 3), rng=RNG)
ONE, TWO = {"stratum": ["x"], "fails": [1]}, {"stratum": ["x", "x"], "fails": [0, 1]}
SIZES = {"stratum": ["x"], "n": [9]}


def corrected(flagged=3, n=10, **cells):
    return stats.corrected_rate(flagged, n, **dict(tp=5, fn=5, fp=5, tn=5) | cells, rng=RNG)


def moved(segment, fails, **rescored):
    before = {"segment": segment, "fails": fails, **rescored}
    return stats.what_moved(before, {"segment": ["a"], "fails": [1]}, rng=RNG)


CASES = [
    (agreement, ([], [], []), {}, "item must be one non-empty column"),
    (agreement, ([1, 1], ["a"], [1, 1]), {}, "annotator must be as long as item (2 values), got 1"),
    (agreement, ([1, 2], ["a", "a"], [1, 1]), {}, "annotator must name at least two who rated"),
    (agreement, ([1, 1], ["a", "b"], [None, None]), {}, "at least two who rated, got []"),
    (agreement, ([1, 1], ["a", "b"], [1, 3]), {"categories": [0, 1]}, "categories [0, 1], got 3"),
    (agreement, ([1], ["a"], [1]), {"measure": "ratio"}, "measure must be one of nominal,"),
    (agreement, ([1, 1, 1], ["a", "a", "b"], [1] * 3), {}, "rate an item once, got 'a' twice"),
    (agreement, ([1, 1], ["a", "b"], ["x", "y"]), {"measure": "ordinal"}, "in order, got 'x'"),
    (agreement, ([1], ["a"], [1]), {"level": 0}, "level must lie between 0 and 1, got 0"),
    (alignment, ([], []), {}, "truth must be one non-empty column"),
    (alignment, ([1, 0], [1]), {}, "verdict must be as long as truth (2 values), got 1 values"),
    (alignment, ([1, 2], [1, 0]), {}, "truth must hold 0, 1 or null, got 2"),
    (alignment, ([1, 0], ["fail", "pass"]), {}, "verdict must hold 0, 1 or null, got"),
    (alignment, ([None, None], [1, 0]), {}, "truth must hold at least one 0 or 1, got 2 null"),
    (alignment, ([[1], [0]], [1, 0]), {}, "truth must be one non-empty column"),
    (alignment, ([1, 0], [1, 0]), {"level": 95}, "level must lie between 0 and 1, got 95"),
    (alignment, ([1, 0], [1, 0]), {"groups": ["a"]}, "groups must be as long as truth"),
    (alignment, ([1, 0], [1, 0]), {"groups": ["a", None]}, "not hold null, got one at position 1"),
    (partial(stats.proportion, rng=RNG), ([None, None],), {}, "at least one 0 or 1, got 2 null"),
    (changed, ([], []), {}, "before must be one non-empty column"),
    (changed, ([1, 0], [1]), {}, "after must be as long as before (2 values), got 1"),
    (changed, ([2], [1]), {}, "before must hold 0, 1 or null, got 2"),
    (changed, ([None], [1]), {}, "before and after must share a complete pair, got 1"),
    (changed, ([1], [1]), {"margin": 0}, "margin must lie above 0 and at most 1, got 0"),
    (scored, ([1, 2], [1]), {}, "verdict must be as long as truth"),
    (scored, ([1, 7], [1, 2]), {}, "truth must hold 1, 2, 3, got 7"),
    (scored, ([None], [1]), {}, "truth must hold at least one category, got 1 null"),
    (scored, ([1], [1]), {"categories": (1,)}, "categories must be at least two and differ"),
    (stats.paired_power, (9, 0), {"churn": 0}, "change must lie above 0"),
    (stats.paired_power, (9, 0.5), {"churn": 0.4}, "churn must lie between"),
    (stats.paired_power, (0, 0.1), {"churn": 0}, "n must be at least 1, got 0"),
    (stats.labels_for_rate, (0.0,), {"rate": 0.1}, "half_width must lie between 0 and 1, got 0.0"),
    (stats.labels_for_rate, (0.1,), {"rate": 50}, "rate must lie between 0 and 1, got 50"),
    (stats.labels_next, (ONE, SIZES), {"n": 0}, "n must lie between 1 and the 8 unlabelled, got 0"),
    (rate, ({"fails": []}, {"n": [10]}), {}, "labels fails must be one non-empty column"),
    (rate, ({"fails": [None]}, {"n": [10]}), {}, "labels fails must hold at least one 0 or 1"),
    (rate, ({"fails": [3]}, {"n": [10]}), {}, "labels fails must hold 0, 1 or null, got 3"),
    (rate, (TWO, SIZES | {"n": [1]}), {}, "must hold every labelled session, got 1 in ('x', None)"),
    (rate, (ONE, SIZES), {"method": "ppi"}, "method must be one of stratified, got"),
    (rate, ({"fails": [1]}, {"n": [0]}), {}, "must count at least one session, got [0]"),
    (rate, ({"fails": [1]}, {"n": [-4]}), {}, "population n must be whole and at least 0, got -4"),
    (rate, (ONE, SIZES | {"stratum": ["y"]}), {}, "must lie in cells that population counts"),
    (rate, (TWO | {"stratum": ["x"]}, SIZES), {}, "stratum must have 2 values, got 1 values"),
    (corrected, (), {"flagged": 11}, "n must be at least 1 and at least flagged (11), got 10"),
    (corrected, (), {"fp": -1}, "fp must be whole and at least 0, got -1"),
    (corrected, (), {"tn": 2.5}, "tn must be whole and at least 0, got 2.5"),
    (corrected, (), {"tp": 0, "fn": 0}, "must hold both classes, got 0 + 0 failing"),
    (unseen, ([],), {}, "counts must be one non-empty column"),
    (unseen, ([1.5],), {}, "counts must be whole and at least 0, got 1.5"),
    (unseen, ([5],), {"n_sessions": 4}, "n_sessions must be at least every count, got 4"),
    (unseen, ([5],), {"level": 1}, "level must lie between 0 and 1, got 1"),
    (partial(stats.expected_new, rng=RNG), ([1], 10, 0), {}, "more must be at least 1, got 0"),
    (moved, (["a"], [None]), {}, "fails of before must be 0 or 1, got null"),
    (moved, (["a"], [1]), {"rescored": [None]}, "rescored must hold a verdict, got 1 nulls"),
    (moved, (["a", "b"], [1]), {}, "segment must be as long as fails"),
]


@pytest.mark.parametrize(("function", "arguments", "options", "message"), CASES)
def test_what_cannot_be_used_is_refused_by_name(function, arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(*arguments, **options)
