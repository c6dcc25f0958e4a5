"""Labels that would show an evaluator to be aligned, and what judging the rest costs."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from evalbench import stats
from evalbench.evaluate.promotion import ASSURANCE, plan_promotion
from evalbench.schema import VERDICT
from evalbench.settings import Evaluators

KNOWN = {"sessions": [200, 1800], "labels": [40, 40], "fails": [36, 1]}
SETTINGS = Evaluators()


def plan(cells, *, looks=1, sessions=2500, status="insufficient"):
    rows = [(f"s{n:04d}", n < 200, 0.01) for n in range(2000)]
    verdicts = pl.DataFrame(rows, schema=["session_id", "fails", "cost_usd"], orient="row")
    about = {"surface": "shop", "evaluator_id": "j", "evaluator_version": "2", "mode": "rude"}
    fixed = {**about, "judged_at": datetime(2026, 7, 1, tzinfo=UTC), "repeat": 0}
    verdicts = verdicts.with_columns(pl.lit(value).alias(name) for name, value in fixed.items())
    verdicts = verdicts.match_to_schema(VERDICT, missing_columns="insert", integer_cast="upcast")
    tried = pl.DataFrame(
        [{**about, **dict(zip(("tp", "fn", "fp", "tn"), cells, strict=True))}]
        + [
            {**about, "evaluator_version": "1", "tp": n, "fn": 0, "fp": 0, "tn": 0}
            for n in range(looks - 1)
        ]
    )
    row = {"surface": "shop", "evaluator_id": "j", "version": "2", "mode": "rude", "why": "few"}
    statuses = pl.DataFrame([row | {"status": status}])
    rng = np.random.default_rng(4)
    return plan_promotion(
        statuses, tried, verdicts, sessions, settings=SETTINGS, level=0.95, rng=rng
    )


def test_the_chance_is_that_of_reading_so_many_labels_and_measuring():
    rng = np.random.default_rng(5)
    extra, above = np.array([60, 60]), []
    for _ in range(80):
        rates = rng.beta(np.array([36, 1]) + 0.5, np.array([4, 39]) + 0.5)
        fails = np.array([36, 1]) + rng.binomial(extra, rates)
        labels = np.array([40, 40]) + extra
        truth = np.concatenate(
            [[1.0] * k + [0.0] * (n - k) for k, n in zip(fails, labels, strict=True)]
        )
        verdict = np.repeat([1.0, 0.0], labels)
        population = {"stratum": ["all"] * 2, "verdict": [1, 0], "n": [200, 1800]}
        how = {"strata": ["all"] * len(truth), "population": population, "rng": rng}
        above.append(stats.mcc(truth, verdict, **how).low > 0.6)
    planned = stats.mcc_assurance(0.6, **KNOWN, extra=extra, rng=rng)
    assert planned == pytest.approx(np.mean(above), abs=0.17)
    assert 0.05 < planned < 0.98


def test_a_better_evaluator_needs_fewer_labels_and_dollars_are_of_what_is_not_judged():
    good, poor = plan((38, 1, 2, 39)), plan((30, 3, 10, 37))
    aligned = {
        name: found.filter(aim="aligned").row(0, named=True)
        for name, found in (("good", good), ("poor", poor))
    }
    size = {name: row["flagged"] + row["passed"] for name, row in aligned.items()}
    assert size["good"] < size["poor"]
    assert aligned["good"]["assurance"] >= ASSURANCE
    assert good["dollars"].to_list() == pytest.approx([5.0, 5.0])  # 500 at a cent each
    gating = good.filter(aim="gating").row(0, named=True)
    assert gating["flagged"] + gating["passed"] >= size["good"]
    assert aligned["poor"]["flagged"] <= 200 - 40  # no more than the evaluator fails


def test_earlier_looks_cost_labels_and_what_counts_is_not_planned():
    once, often = plan((38, 1, 2, 39)), plan((38, 1, 2, 39), looks=9)
    sizes = [
        each.filter(aim="aligned").select(pl.col("flagged") + pl.col("passed")).item()
        for each in (once, often)
    ]
    assert sizes[0] <= sizes[1]
    assert plan((38, 1, 2, 39), status="gating").is_empty()
