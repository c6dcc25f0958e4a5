"""Categories and scores against scikit-learn, the two-class case and the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from evalbench.stats import alignment, table_alignment

SCORES = (1, 2, 3, 4, 5)


@pytest.fixture
def scores(rng):
    human = rng.integers(1, 6, 300)
    return human, np.clip(human + rng.integers(-1, 2, 300), 1, 5)


def test_estimates_equal_scikit_learn(scores, rng):
    human, judge = scores
    result = table_alignment(human, judge, categories=SCORES, rng=rng)
    macro = metrics.precision_recall_fscore_support(human, judge, average="macro")
    expected = {
        "mcc": metrics.matthews_corrcoef(human, judge),
        "kappa": metrics.cohen_kappa_score(human, judge),
        "accuracy": metrics.accuracy_score(human, judge),
        "macro_precision": macro[0],
        "macro_recall": macro[1],
        "macro_f1": macro[2],
    }
    for name, value in expected.items():
        estimate = getattr(result, name)
        assert estimate.estimate == pytest.approx(value, abs=1e-9), name
        assert estimate.low < estimate.estimate < estimate.high
    assert (result.table == metrics.confusion_matrix(human, judge)).all()


def test_two_categories_are_the_binary_case():
    truth, verdict = [1] * 20 + [0] * 80, [1] * 16 + [0] * 4 + [1] * 8 + [0] * 72
    table = table_alignment(truth, verdict, categories=(1, 0), rng=np.random.default_rng(1))
    binary = alignment(truth, verdict, rng=np.random.default_rng(1))
    for name in ("mcc", "kappa"):
        one, other = getattr(table, name), getattr(binary, name)
        assert (one.estimate, one.low, one.high) == pytest.approx(
            (other.estimate, other.low, other.high), abs=1e-12
        )


def test_an_abstention_is_wrong_and_costs_no_precision(rng):
    result = table_alignment([1, 5, 3, None], [None, None, None, 2], categories=SCORES, rng=rng)
    assert result.table.sum() == 0
    assert (result.abstained, result.unlabelled) == (3, 1)
    assert result.accuracy.estimate == 0
    human, judge = [1, 1, 2, 2, 3, 3], [1, None, 2, 2, 3, None]
    quiet = table_alignment(human, judge, categories=(1, 2, 3), rng=rng)
    assert quiet.macro_precision.estimate == 1
    assert quiet.accuracy.estimate == quiet.macro_recall.estimate == pytest.approx(4 / 6)


def test_a_category_nobody_used_leaves_macro_means_undefined(rng):
    result = table_alignment([1, 2, 2], [1, 2, 1], categories=SCORES, rng=rng)
    assert np.isnan(result.macro_recall.estimate)
    assert "macro_recall is 0/0" in result.macro_recall.reason
    assert result.macro_recall.low < result.macro_recall.high


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*"abc", None])), min_size=1))
def test_bounds_hold_and_the_order_of_names_does_not_matter(pairs):
    human, judge = zip(*pairs, strict=True)
    one, other = (
        table_alignment(human, judge, categories=names, rng=np.random.default_rng(1))
        for names in ("abc", "cab")
    )
    for name in ("mcc", "kappa", "accuracy"):
        estimate = getattr(one, name)
        assert -1 - 1e-12 <= estimate.low <= estimate.high <= 1 + 1e-12
        assert estimate.estimate == pytest.approx(getattr(other, name).estimate, nan_ok=True)
