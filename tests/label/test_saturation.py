"""Saturation: the intervals hold what they promise, the curve is the one of every order."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from evalbench.label.discovery.saturation import measure_saturation, rarefaction, review


def reviewed(modes, *, chance=None, unread=0.0):
    return pl.DataFrame(
        {
            "surface": ["shop"] * len(modes),
            "session_id": [f"s{number:03d}" for number in range(len(modes))],
            "modes": modes,
            "chance": chance,
            "unread": unread,
        },
        schema_overrides={"modes": pl.List(pl.String), "chance": pl.Float64},
    )


def measure(frame, rng, name):
    measured = measure_saturation(frame, more=100, level=0.95, rng=rng)
    return measured.row(by_predicate=pl.col("measure") == name, named=True)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_too_few_sessions_or_no_failure_is_insufficient_not_a_number(rng):
    few = measure_saturation(reviewed([["a"]] * 29), more=100, level=0.95, rng=rng)
    assert set(few["status"]) == {"insufficient"}
    assert few["estimate"].null_count() == 3
    assert few["reason"][0] == "29 sessions read; at least 30 are needed"
    none = measure(reviewed([[]] * 40), rng, "unseen")
    assert none["reason"] == "no session read showed a failure mode"
    assert rarefaction(reviewed([[]] * 40), more=100, level=0.95, rng=rng)["modes"].max() == 0


def test_the_curve_is_the_mean_over_every_order_of_reading(rng):
    modes = [["a"], ["a", "b"], [], ["c"], ["a"]]
    curve = rarefaction(reviewed(modes), more=100, level=0.95, rng=rng)
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
    new = measure(frame, np.random.default_rng(3), "expected_new")
    assert ahead["modes"][-1] == pytest.approx(12 + new["estimate"])
    unseen = measure(frame, rng, "unseen")
    assert (unseen["n_sessions"], unseen["n_modes"], unseen["status"]) == (100, 12, "ok")
    assert 0 <= unseen["low"] < unseen["estimate"] < unseen["high"]


def test_a_review_lists_each_session_once_in_the_order_of_reading():
    labels = pl.DataFrame({"seq": [1, 2, 3], "surface": "shop", "session_id": ["s2", "s1", "s2"]})
    seen = pl.DataFrame(
        {"surface": "shop", "session_id": ["s2", "s2", "s2", "s9"], "mode": list("4424")}
    )
    frame = pl.DataFrame(
        {
            "surface": "shop",
            "session_id": ["s1", "s2", "s3", "s4", "s5"],
            "stratum": ["a", "a", "a", "b", None],
            "drawn": [True, False, True, True, False],
        }
    )
    assert review(labels, seen, frame).rows() == [
        ("shop", "s2", ["2", "4"], None, 0.25),
        ("shop", "s1", [], 1 / 3, 0.25),
        ("shop", "s9", ["4"], None, 0.25),
    ]


def test_sessions_count_by_the_chance_that_they_were_read_with(rng):
    modes = [["quiet"], ["loud"], ["loud"], ["loud"], ["other"], *[[]] * 35]
    chance = [0.01, *[0.5] * 39]
    weighed, plain = (
        measure_saturation(reviewed(modes, chance=each), more=100, level=0.95, rng=rng)
        for each in (chance, None)
    )
    assert weighed["estimate"][0] == pytest.approx(1 - (99 + 1) / (99 + 1 + 3))
    assert plain["estimate"][0] == pytest.approx(1 - 2 / 5)
    assert weighed["estimate"][1] == plain["estimate"][1]


def test_strata_that_nobody_read_leave_nothing_to_tell(rng):
    found = measure_saturation(reviewed([["a"]] * 40, unread=0.2), more=100, level=0.95, rng=rng)
    assert set(found["status"]) == {"insufficient"}
    assert "20% of sessions" in found["reason"][0]
