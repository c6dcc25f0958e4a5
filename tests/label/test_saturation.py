"""Saturation: the intervals hold what they promise, the curve is the one of every order."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from evalbench.label.discovery.saturation import (
    measure_saturation,
    new_by_hour,
    rarefaction,
    review,
)


def reviewed(modes, seconds=None, surface="shop"):
    return pl.DataFrame(
        {
            "surface": [surface] * len(modes),
            "session_id": [f"s{number:03d}" for number in range(len(modes))],
            "seconds": seconds or [60.0] * len(modes),
            "modes": modes,
        },
        schema_overrides={"modes": pl.List(pl.String), "seconds": pl.Float64},
    )


def unseen(frame, rng):
    measured = measure_saturation(frame, level=0.95, rng=rng).filter(measure="unseen")
    return measured.row(0, named=True)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "sessions", "rate"), [(15, 100, 0.02), (15, 200, 0.01), (30, 200, 0.01)]
)
def test_the_interval_covers_where_the_theory_applies(planted, sessions, rate):
    """Modes of one frequency, sessions at random."""
    rng = np.random.default_rng(17)
    names = np.array([f"mode {number}" for number in range(planted)])
    held = 0
    for _ in range(600):
        failing = rng.random((sessions, planted)) < rate
        found = unseen(reviewed([names[row].tolist() for row in failing]), rng)
        missed = planted - int(failing.any(axis=0).sum())
        held += found["low"] <= missed <= found["high"]
    assert held / 600 >= 0.90


def test_too_few_sessions_or_no_failure_is_insufficient_not_a_number(rng):
    few = measure_saturation(reviewed([["a"]] * 29), level=0.95, rng=rng)
    assert set(few["status"]) == {"insufficient"}
    assert few["estimate"].null_count() == 3
    assert few["reason"][0] == "29 sessions read; at least 30 are needed"
    none = measure_saturation(reviewed([[]] * 40), level=0.95, rng=rng)
    assert set(none["reason"]) == {"no session read showed a failure mode"}
    assert rarefaction(reviewed([[]] * 40), level=0.95, rng=rng)["modes"].max() == 0


def test_the_curve_is_the_mean_over_every_order_of_reading(rng):
    modes = [["a"], ["a", "b"], [], ["c"], ["a"]]
    curve = rarefaction(reviewed(modes), level=0.95, rng=rng)
    assert curve["part"].unique().to_list() == ["read"]  # too few to look ahead
    for sessions, expected in curve.select("sessions", "modes").iter_rows():
        orders = [len({m for each in part for m in each}) for part in combinations(modes, sessions)]
        assert expected == pytest.approx(np.mean(orders))


def test_the_curve_goes_on_from_the_modes_seen_by_what_more_sessions_would_show(rng):
    frame = reviewed([[str(n)] if n < 12 else [str(n % 5)] for n in range(100)])
    curve = rarefaction(frame, more=100, level=0.95, rng=rng)
    ahead = curve.filter(part="expected")
    assert ahead["sessions"].to_list() == [100, 125, 150, 175, 200]
    assert ahead["modes"][0] == curve.filter(part="read")["modes"].max() == 12
    assert ahead["modes"].is_sorted()
    new = measure_saturation(frame, level=0.95, rng=rng).filter(measure="expected_new")
    assert ahead["modes"][-1] == pytest.approx(12 + new["estimate"].item())
    [unseen] = measure_saturation(frame, level=0.95, rng=rng).filter(measure="unseen").to_dicts()
    assert (unseen["n_sessions"], unseen["n_modes"], unseen["status"]) == (100, 12, "ok")
    assert 0 <= unseen["low"] < unseen["estimate"] < unseen["high"]


def test_new_modes_are_counted_in_the_hour_of_reading_that_showed_them():
    frame = reviewed([["a"], ["b"], ["a"], ["a"], ["c"]], [1800, 1800, 1800, None, 900])
    assert new_by_hour(frame).rows(named=True) == [
        {"surface": "shop", "hour": 1, "sessions": 2, "new_modes": 2, "modes": 2, "minutes": 60},
        {"surface": "shop", "hour": 2, "sessions": 2, "new_modes": 0, "modes": 2, "minutes": 60},
        {"surface": "shop", "hour": 3, "sessions": 1, "new_modes": 1, "modes": 3, "minutes": 15},
    ]
    assert new_by_hour(reviewed([["a"]]).with_columns(seconds=pl.lit(None, pl.Float64))).is_empty()


def test_a_review_lists_each_session_once_in_the_order_of_reading():
    labels = pl.DataFrame(
        [
            (1, "shop", "s2", "ana", 60.0),
            (2, "shop", "s1", "ana", None),
            (3, "shop", "s2", "bruno", 30.0),
        ],
        schema=["seq", "surface", "session_id", "actor", "seconds"],
        orient="row",
    )
    seen = pl.DataFrame(
        {"surface": "shop", "session_id": ["s2", "s2", "s2", "s9"], "mode": list("4424")}
    )
    assert review(labels, seen).rows() == [
        ("shop", "s2", 90.0, ["2", "4"]),
        ("shop", "s1", None, []),
        ("shop", "s9", None, ["4"]),
    ]
