"""A failing session is caught where the right evaluator fails it; others do not count."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from evalbench.operate.catches import catch_rate

ABOUT = {"evaluator_id": "judge", "repeat": 0, "learnt": False}


def catch(frame, truth, verdicts, **columns):
    judged = verdicts.with_columns(
        judged_at=pl.lit(datetime(2026, 7, 1, tzinfo=UTC)),
        **{name: pl.lit(value) for name, value in (ABOUT | columns).items()},
    )
    return catch_rate(frame, judged, truth, level=0.95, rng=np.random.default_rng(1))


@pytest.mark.parametrize("every", [1, 2])
def test_failing_sessions_are_caught_where_the_right_evaluator_fails_them(frame, labels, every):
    number = pl.col("fails").cum_sum().over("mode")
    verdicts = labels.with_columns(fails=pl.col("fails") & (number % every == 0))
    found = catch(frame, labels, verdicts)
    assert found.low <= found.estimate <= found.high
    assert found.n > catch(frame, labels, verdicts, learnt=True).n
    assert catch(frame, labels, verdicts, mode="another").estimate == 0
    if every == 1:
        assert found.estimate == 1
    else:
        weight = pl.when("reported").then(1.0).otherwise(3.0)
        read = frame.with_columns(weight=weight).join(labels.filter("fails"), on="session_id")
        flagged = verdicts.filter("fails")["session_id"].implode()
        expected = read.select(
            (pl.col("session_id").is_in(flagged) * pl.col("weight")).sum() / pl.col("weight").sum()
        ).item()
        assert abs(found.estimate - expected) < 0.05


def test_few_failing_sessions_give_no_rate(frame, labels):
    few = labels.filter("fails").head(9)
    found = catch(frame, few, few)
    assert not found.is_defined
    assert found.reason == "people found 9 failing sessions; at least 10 are needed"
    assert not catch(frame, labels.clear(), labels.clear()).is_defined
