import numpy as np
import pytest

from evalbench.stats.selection import best_of


def draw(rng, candidates, cases, rates):
    return (rng.random((candidates, cases)) < rates).astype(float)


def test_the_best_of_equals_seems_better_by_as_much_as_in_a_simulation():
    rng = np.random.default_rng(1)
    rates = rng.beta(0.4, 1.6, 200)
    seen = [rates.mean() - draw(rng, 40, 200, rates).mean(axis=1).min() for _ in range(300)]
    found = best_of(draw(rng, 40, 200, rates))
    assert found.candidates == 40
    assert found.optimism == pytest.approx(np.mean(seen), rel=0.08)


def test_the_last_candidate_is_where_the_optimism_reaches_the_margin():
    rng = np.random.default_rng(2)
    found = best_of(draw(rng, 40, 200, 0.2))
    assert found.last(found.optimism) == pytest.approx(40)
    assert found.last(0.5 * found.optimism) < 40
    assert best_of(np.zeros((3, 10))).last(0.02) == np.inf


def test_one_candidate_has_nothing_to_be_chosen_from():
    assert np.isnan(best_of([[0, 1, 0]]).optimism)
    apart = [[0, 1, np.nan, np.nan], [np.nan, np.nan, 1, 0]]
    assert np.isnan(best_of(apart).spread)
    with pytest.raises(ValueError, match="two dimensions, got 1"):
        best_of([0, 1])
