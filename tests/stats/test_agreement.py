"""Agreement against krippendorff, scikit-learn, statsmodels, irrCAC and its slow definition."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from evalbench.stats import agreement

nan = float("nan")
# Krippendorff's own example with missing ratings, 12 items by 4 annotators.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, nan],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 3],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
).T


def of_table(table, **options):
    items, annotators = np.indices(table.shape)
    options.setdefault("rng", np.random.default_rng(0))
    return agreement(items.ravel(), annotators.ravel(), np.asarray(table).ravel(), **options)


@pytest.mark.parametrize("measure", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("k", [2, 3, 7])
def test_alpha_is_krippendorffs(measure, k, rng):
    for table in (EXAMPLE, rng.integers(0, k, (40, 2)), rng.integers(0, k, (40, 5))):
        table = np.where(rng.random(table.shape) < 0.2, nan, table)
        # krippendorff.alpha(reliability_data=table.T, level_of_measurement=measure)
        expected = krippendorff.alpha(reliability_data=table.T, level_of_measurement=measure)
        assert of_table(table, measure=measure).alpha.estimate == pytest.approx(expected, abs=1e-9)


def test_kappa_is_scikit_learns_of_two_and_statsmodels_of_more(rng):
    two, four = rng.integers(0, 4, (60, 2)), rng.integers(0, 3, (60, 4))
    # sklearn.metrics.cohen_kappa_score(*two.T), fleiss_kappa(aggregate_raters(four)[0])
    expected = cohen_kappa_score(*two.T), fleiss_kappa(aggregate_raters(four)[0])
    for table, kappa in zip((two, four), expected, strict=True):
        assert of_table(table).kappa.estimate == pytest.approx(kappa, abs=1e-9)


def test_missing_ratings_give_irrcacs_values():
    # irrCAC 0.4.4: CAC(pandas.DataFrame(EXAMPLE), digits=12).gwet(), .fleiss()
    answer = of_table(EXAMPLE)
    assert answer.ac1.estimate == pytest.approx(0.775444068127, abs=1e-9)
    assert answer.kappa.estimate == pytest.approx(0.761169275422, abs=1e-9)
    assert answer.percent.estimate == pytest.approx(0.818181818182, abs=1e-9)
    assert (answer.alpha.n, answer.annotators, answer.missing) == (11, 4, 7)


def test_rare_failures_leave_ac1_high_where_kappa_collapses():
    table = np.array([[0, 0, 0]] * 40 + [[1, 1, 1]] + [[0, 0, 1]] * 3)
    answer = of_table(table)
    # irrCAC 0.4.4: CAC(pandas.DataFrame(table), digits=12).gwet()
    assert answer.ac1.estimate == pytest.approx(0.950226244344, abs=1e-9)
    assert answer.kappa.estimate < 0.5


def test_interval_is_its_slow_definition(rng):
    table = rng.integers(0, 2, (30, 3))
    answer = of_table(table, rng=rng)
    pseudo = np.array([[a, b, nan] for a in (0, 1) for b in (0, 1)])
    counts = np.array([[(row == c).sum() for c in (0, 1)] for row in np.vstack([table, pseudo])])
    shape = np.array([1.0] * 30 + [0.5] * 4)
    draws = []
    for _ in range(3000):
        weight = rng.standard_gamma(shape)
        weight *= 30 / weight.sum()
        r = counts.sum(axis=1)
        disagreeing = weight @ ((r**2 - (counts**2).sum(axis=1)) / (r - 1))
        margin = weight @ counts
        n = margin.sum()
        draws.append(1 - (n - 1) * disagreeing / (n**2 - (margin**2).sum()))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (answer.alpha.low, answer.alpha.high) == pytest.approx((low, high), abs=0.015)


shapes = st.tuples(st.integers(2, 15), st.integers(2, 4))
tables = arrays(float, shapes, elements=st.sampled_from([0, 1, 2, nan])).filter(
    lambda table: (table == table).any(axis=0).all()
)


@given(tables, st.permutations([0, 1, 2]))
def test_names_of_categories_and_order_of_annotators_do_not_matter(table, names):
    renamed = np.append(names, nan)[np.nan_to_num(table, nan=3).astype(int)]
    first = of_table(table, categories=[0, 1, 2])
    second = of_table(renamed[::-1, ::-1], categories=[0, 1, 2])
    for name in ("alpha", "kappa", "ac1", "percent"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.estimate == pytest.approx(other.estimate, abs=1e-9, nan_ok=True)
        if one.is_defined:
            assert one.low - 1e-12 <= one.estimate <= one.high + 1e-12
            assert one.high <= 1 + 1e-12
        else:
            assert one.reason


def test_perfect_agreement_is_one_with_a_width():
    answer = of_table(np.array([[0, 0], [1, 1]] * 20))
    for estimate in (answer.alpha, answer.kappa, answer.ac1, answer.percent):
        assert estimate.estimate == estimate.high == 1
        assert 0.6 < estimate.low < 0.97


def test_one_value_throughout_is_undefined_but_for_ac1():
    answer = of_table(np.zeros((20, 3)), categories=[0, 1])
    assert np.isnan(answer.alpha.estimate)
    assert answer.alpha.reason == "alpha is 0/0: all ratings are the same"
    assert answer.alpha.low < answer.alpha.high
    assert (answer.ac1.estimate, answer.percent.estimate) == (1, 1)


def test_words_and_categories_in_order():
    table = np.array([["low", "mid"], ["high", "high"], ["mid", "mid"], ["low", "low"]])
    order = ["low", "mid", "high"]
    numbers = np.array([[order.index(word) for word in row] for row in table])
    words = of_table(table, measure="ordinal", categories=order)
    assert words.alpha == of_table(numbers, measure="ordinal").alpha


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "annotators", "prevalence", "care"), [(100, 2, 0.1, 0.97), (300, 5, 0.03, 0.8)]
)
def test_interval_covers_where_failures_are_rare(n, annotators, prevalence, care, rng):
    def draw(items):
        truth = rng.random((items, 1)) < prevalence
        guess = rng.random((items, annotators)) < prevalence
        return np.where(rng.random((items, annotators)) < care, truth, guess).astype(int)

    large = of_table(draw(300_000), rng=rng)
    names, held = ("alpha", "kappa", "ac1", "percent"), np.zeros(4)
    for _ in range(250):
        answer = of_table(draw(n), categories=[0, 1], rng=rng)
        held += [
            getattr(answer, name).low <= getattr(large, name).estimate <= getattr(answer, name).high
            for name in names
        ]
    assert (held / 250 > 0.90).all()
