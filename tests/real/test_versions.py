"""Eight published models on the same tasks: win rates, paired changes and their readings."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evalbench.stats import paired_change

DATA = Path(__file__).parents[3] / "shared" / "data" / "versions"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")

PAIRS = [
    (
        ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-1106"),
        (803, 0.1021, 0.1345, 0.0324, 70, 44, 0.0188, "regression"),
    ),
    (
        ("gpt4_0314", "gpt4_1106_preview"),
        (804, 0.0435, 0.0199, -0.0236, 9, 28, 0.0026, "improvement"),
    ),
    (("claude", "claude-2"), (804, 0.0833, 0.0858, 0.0025, 16, 14, 0.8555, "no change shown")),
]


@pytest.fixture(scope="module")
def verdicts():
    frame = pl.read_csv(DATA / "alpacaeval_verdicts.csv")
    return frame.with_columns(fails=pl.col("preference") == 1)


def change_between(verdicts, models, **options):
    before, after = (verdicts.filter(model=model).select("item_id", "fails") for model in models)
    pairs = before.join(after, on="item_id", suffix="_after", validate="1:1")
    columns = (pairs["fails"].to_list(), pairs["fails_after"].to_list())
    return paired_change(*columns, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(("models", "expected"), PAIRS)
def test_pairs_read_as_published(verdicts, models, expected):
    change = change_between(verdicts, models)
    found = (
        change.delta.n,
        round(change.before.estimate, 4),
        round(change.after.estimate, 4),
        round(change.delta.estimate, 4),
        change.newly_failing,
        change.fixed,
        round(change.p_value, 4),
        change.reading,
    )
    assert found[:6] == expected[:6]
    assert found[6] == pytest.approx(expected[6], abs=6e-5)
    assert found[7] == expected[7]
    assert change.missing == 805 - expected[0]


def test_interval_of_the_regression_is_that_of_a_bootstrap(verdicts):
    delta = change_between(verdicts, PAIRS[0][0]).delta
    assert (round(delta.low, 3), round(delta.high, 3)) == (0.006, 0.059)


def test_a_margin_too_small_for_these_cases_is_insufficient(verdicts):
    change = change_between(verdicts, PAIRS[2][0], margin=0.01)
    assert change.reading == "insufficient"
    assert change.mde > 0.01


def test_win_rates_match_the_leaderboard(verdicts):
    published = pl.read_csv(DATA / "alpacaeval_published_leaderboard.csv").rename({"": "model"})
    draw = pl.col("preference").is_in([0.0, 1.5])
    wins = pl.when(draw).then(0.5).otherwise((pl.col("preference") == 2).cast(pl.Float64))
    ours = (
        verdicts.drop_nulls("preference")
        .group_by("model")
        .agg(ours=wins.mean() * 100, fails=pl.col("fails").sum())
    )
    both = published.join(ours, on="model", validate="1:1")
    assert both.height == 8
    np.testing.assert_allclose(both["ours"], both["win_rate"], atol=1e-9)
    assert both["fails"].to_list() == both["n_wins_base"].to_list()
