"""Seeded coverage simulations of estimators as they are called; `make bench` has the rest."""

import numpy as np
import pytest

from evalbench.stats import alignment, failure_rate, mcc, proportion, table_alignment
from evalbench.stats.multiclass import multiclass_mcc


def covered(interval, truth):
    return interval.low <= truth <= interval.high


@pytest.mark.slow
def test_alignment_as_called_covers():
    rng = np.random.default_rng(11)
    cells = np.array([0.07, 0.03, 0.09, 0.81])
    truth = (cells[0] * cells[3] - cells[1] * cells[2]) / np.sqrt(0.16 * 0.1 * 0.9 * 0.84)
    hits = 0
    for _ in range(600):
        cell = rng.choice(4, p=cells, size=150)
        hits += covered(mcc(cell < 2, cell % 2 == 0, rng=rng), truth)
    assert 0.92 < hits / 600 < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("users", [30, 100])
def test_users_of_whom_a_few_have_most_sessions_are_covered(users):
    rng = np.random.default_rng(15)
    mean = np.array([0.2, 0.8, 0.9])[:, None]
    hits = np.zeros(2)
    for _ in range(250):
        sessions = np.minimum(np.ceil(2 + 2 * rng.pareto(1.2, users)), 300).astype(int)
        user = np.repeat(np.arange(users), sessions)
        own = rng.beta(4 * mean, 4 * (1 - mean), size=(3, users))[:, user]
        fails, finds, passes = rng.random((3, len(user))) < own
        judge = alignment(fails, np.where(fails, finds, ~passes), groups=user, rng=rng)
        hits += [covered(judge.tpr, 0.8), covered(judge.precision, 0.16 / 0.24)]
    assert (hits / 250 >= 0.93).all()


@pytest.mark.slow
def test_three_categories_cover():
    rng = np.random.default_rng(12)
    cells = np.array([[0.1, 0.04, 0.02], [0.05, 0.3, 0.06], [0.02, 0.06, 0.35]])
    hits = 0
    for _ in range(400):
        human, judge = np.divmod(rng.choice(9, p=cells.ravel(), size=150), 3)
        result = table_alignment(human, judge, categories=(0, 1, 2), rng=rng)
        hits += covered(result.mcc, multiclass_mcc(cells))
    assert 0.91 < hits / 400 < 0.985


@pytest.mark.slow
def test_a_grouped_rate_covers_where_one_that_ignores_groups_does_not():
    rng = np.random.default_rng(13)
    group = np.repeat(np.arange(60), 8)
    hits = np.zeros(3)
    for _ in range(400):
        fails = rng.random(480) < rng.beta(0.4, 3.6, size=60)[group]
        rate = failure_rate({"fails": fails, "group": group}, {"n": [10_000]}, rng=rng).rate
        hits += [
            covered(rate, 0.1),
            covered(proportion(fails, groups=group, rng=rng), 0.1),
            covered(proportion(fails, rng=rng), 0.1),
        ]
    grouped_rate, grouped, ignored = hits / 400
    assert min(grouped_rate, grouped) > 0.91
    assert ignored < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("allocation", [(15, 15, 15, 15), (8, 12, 30, 30), (75, 75, 75, 75)])
def test_sparse_strata_by_verdict_cover(allocation):
    rng = np.random.default_rng(14)
    stratum = np.repeat(np.arange(4), [7_000, 2_000, 700, 300])
    starts = np.searchsorted(stratum, np.arange(4))
    hits = 0
    for _ in range(300):
        fails = rng.random(10_000) < np.array([0.01, 0.05, 0.2, 0.4])[stratum]
        verdict = rng.random(10_000) < np.where(fails, 0.8, 0.07)
        drawn = np.concatenate(  # the sessions of a stratum are alike: its first are as good
            [start + np.arange(n) for start, n in zip(starts, allocation, strict=True)]
        )
        cells, sizes = np.unique(2 * stratum + verdict, return_counts=True)
        columns = {"stratum": stratum, "verdict": verdict, "fails": fails}
        rate = failure_rate(
            {name: column[drawn] for name, column in columns.items()},
            {"stratum": cells // 2, "verdict": cells % 2, "n": sizes},
            rng=rng,
        ).rate
        hits += covered(rate, fails.mean())
    assert hits / 300 > 0.91
