from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from make import START

from evalbench.release import golden, wear
from evalbench.schema import TIME

FRIDAY = datetime(2026, 3, 6, tzinfo=START.tzinfo)


def make_cases(names, *, at=START, mode="rude", suite="golden"):
    rows = pl.DataFrame({"case": names}, schema={"case": pl.String})
    held = {"surface": "shop", "suite": suite, "mode": mode, "added_at": at, "retired_at": None}
    missing = {name: None for name in golden.CASES if name not in (*held, "case")}
    filled = rows.with_columns(
        pl.lit(value).alias(name) for name, value in (held | missing).items()
    )
    return filled.select(*golden.CASES).cast(golden.CASES)


def make_runs(n, *, days=1):
    at = [START + timedelta(days=days * number) for number in range(n)]
    about = {"surface": "shop", "suite": "golden"}
    runs = pl.DataFrame({"seq": range(n), "at": at, "run": [f"r{number}" for number in range(n)]})
    return runs.with_columns(pl.lit(value).alias(name) for name, value in about.items())


def make_verdicts(run, names, fails, mode="rude"):
    rows = {"run": [run] * len(names), "case": names, "fails": fails}
    return pl.DataFrame(rows).with_columns(surface=pl.lit("shop"), mode=pl.lit(mode))


NO_GATES = pl.DataFrame(schema={"surface": pl.String, "suite": pl.String})
HOW = {"margin": 0.05, "level": 0.95}


def test_a_critical_mode_needs_a_case_within_ten_working_days():
    names = ["early", "late", "missing", "open", "minor"]
    kinds = ["safety", "user impact", "safety", "safety", "polish"]
    ages = [60, 60, 60, 5, 60]
    since = [FRIDAY - timedelta(days=age) for age in ages]
    modes = pl.DataFrame({"mode": names, "severity": kinds, "since": since})
    modes = modes.with_columns(pl.col("since").cast(TIME), surface=pl.lit("shop"))
    cases = pl.concat(
        make_cases(["x"], mode=mode, at=FRIDAY - timedelta(days=60 - days))
        for mode, days in {"early": 14, "late": 15}.items()
    )
    found = wear.list_freshness(modes, cases, now=FRIDAY).sort("mode")
    told = found.select("mode", "working_days", "timely").rows()
    assert told == [
        ("early", 10, "in time"),
        ("late", 11, "late"),
        ("missing", 44, "late"),
        ("open", 4, "open"),
    ]


def test_forty_equal_candidates_wear_a_suite_out():
    rng = np.random.default_rng(5)
    old, fresh = ([f"{kind}{n}" for n in range(200)] for kind in ("old", "new"))
    rolls = {f"r{n}": rng.random(200) < 0.2 for n in range(40)}
    best = min(rolls, key=lambda run: rolls[run].sum())
    parts = [make_verdicts(run, old, fails) for run, fails in rolls.items()]
    last = [
        make_verdicts("r40", old, rolls[best]),
        make_verdicts("r40", fresh, rng.random(200) < 0.2),
    ]
    gates = pl.DataFrame({"surface": ["shop"] * 2, "suite": ["golden", "policy"]})
    asked = make_cases(old + fresh), make_runs(41), gates, pl.concat([*parts, *last])
    row = wear.measure_wear(*asked, **HOW, rng=rng).row(0, named=True)
    assert (row["cases"], row["decisions"], row["candidates"]) == (400, 1, 41)
    assert (row["n_old"], row["n_fresh"]) == (200, 200)
    assert row["old"] < 0.2 - 0.03
    assert row["fresh_low"] < 0.2 < row["fresh_high"]
    assert row["fresh_gap_low"] < row["fresh"] - row["old"] < row["fresh_gap_high"]
    assert 0.04 < row["optimism"] < 0.08
    assert START.date() < row["retire_on"] < (START + timedelta(days=40)).date()


def test_a_suite_that_served_once_is_not_worn():
    names = ["a", "b", "c"]
    judged = make_verdicts("r0", names, [True, False, False])
    row = wear.measure_wear(
        make_cases(names), make_runs(1), NO_GATES, judged, **HOW, rng=np.random.default_rng(1)
    ).row(0, named=True)
    assert (row["candidates"], row["n_old"], row["n_fresh"]) == (1, 0, 3)
    assert row["fresh"] == pytest.approx(1 / 3)
    assert row["retire_on"] is None
    assert row["fresh_gap"] is None
    empty = wear.measure_wear(make_cases([]), make_runs(0), NO_GATES, judged, **HOW, rng=None)
    assert empty.schema == wear.WEAR


def test_a_case_is_judged_on_its_own_mode():
    cases = pl.concat([make_cases(["a"]), make_cases(["attack"], mode=None)])
    verdicts = pl.concat(
        [
            make_verdicts("r0", ["a", "attack"], [False, False]),
            make_verdicts("r0", ["a", "attack"], [True, True], mode="late"),
        ]
    )
    assert wear.judge_cases(cases, verdicts)["case", "fails"].rows() == [
        ("a", False),
        ("attack", True),
    ]
