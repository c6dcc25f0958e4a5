"""The median of what is not always done: as statsmodels has it, and with intervals that hold."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from shop import START
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

from evalbench.operate.durations import incidence, median_time
from evalbench.operate.issues import MOVES
from evalbench.operate.resolution import measure_resolution


def test_without_late_entry_it_is_what_statsmodels_gives():
    rng = np.random.default_rng(1)
    time, end = (
        rng.integers(1, 40, 200).astype(float),
        rng.choice([0, 1, 2], 200, p=[0.2, 0.6, 0.2]),
    )
    peer, alive = CumIncidenceRight(time, end), SurvfuncRight(time, 1.0 * (end > 0))
    own = np.searchsorted(alive.surv_times, time[end == 1])
    done = np.bincount(own, minlength=len(alive.n_risk))
    share, se = incidence(alive.n_risk, alive.n_events, done)
    at = np.searchsorted(peer.times, alive.surv_times)
    np.testing.assert_allclose(share, peer.cinc[0][at])
    np.testing.assert_allclose(se[:-1], peer.cinc_se[0][at][:-1])
    found = median_time(time, end, level=0.95)
    assert found.estimate == peer.times[peer.cinc[0] >= 0.5][0]
    assert found.low < found.estimate < found.high


def test_nothing_dropped_or_open_is_the_plain_median_and_what_took_no_time_counts():
    assert median_time([0, 0, 1, 2, 3, 4, 5], [1] * 7, level=0.95).estimate == 2


@pytest.mark.parametrize(
    ("time", "end", "reason"),
    [
        ([], [], "0 of 0 done"),
        ([1, 2, 3], [1, 1, 0], "2 of 3 done"),
        (range(1, 41), [1] * 8 + [2] * 32, "fewer than half|far fewer"),
    ],
)
def test_where_there_is_no_median_it_says_why(time, end, reason):
    found = median_time(list(time), end, level=0.95)
    assert np.isnan(found.estimate)
    assert any(each in found.reason for each in reason.split("|"))


def test_where_each_is_followed_for_a_moment_nothing_is_said():
    entry = np.arange(1.0, 9)
    assert "never 5" in median_time(entry + 0.1, [1] * 8, entry=entry, level=0.95).reason


def test_one_that_enters_alone_and_ends_does_not_end_the_curve():
    late = median_time([1, *range(20, 60)], [1] * 41, entry=[0.5, *[10] * 40], level=0.95)
    assert late.estimate == 39


def moves(*issues):
    """Make the states of issues, each of ``(state, day)``; the first day is when it was opened."""
    rows = [
        {"issue": f"i{number}", "severity": "safety", "source": "incident", "state": state}
        | {"at": START + timedelta(days=day), "recorded_at": START + timedelta(days=opened)}
        for number, (opened, *states) in enumerate(issues)
        for state, day in states
    ]
    return pl.DataFrame(rows, schema=MOVES)


def resolve(frame, stage, start=None, end=None):
    now = START + timedelta(days=300)
    found = measure_resolution(frame, start=start, end=end, now=now, level=0.95)
    return found.row(
        by_predicate=pl.col("stage").eq(stage) & pl.col("severity").eq("all"), named=True
    )


def test_stages_are_timed_from_the_first_of_one_state_to_the_next_of_the_other():
    told = [
        (
            1,
            ("observed", 0),
            ("confirmed", 1),
            ("fix shipped", 5 + n),
            ("verified", 9 + n),
            ("regressed", 40),
            ("fix shipped", 50),
            ("won't fix", 60),
        )
        for n in range(5)
    ]
    told += [(1, ("observed", 0), ("confirmed", 1), ("won't fix", 3)), (2, ("observed", 0))]
    told += [(30, ("observed", 0), ("fix shipped", 20))]  # fixed before anybody opened it here
    frame = moves(*told)
    mitigated = resolve(frame, "mitigated")
    counts = [mitigated[name] for name in ("n", "done", "dropped", "open", "left_out")]
    assert counts == [7, 5, 1, 1, 1]
    assert mitigated["days"] == 8
    assert resolve(frame, "recovered")["days"] == 10
    assert resolve(frame, "verified")["days"] == 4
    assert resolve(frame, "detected")["n"] == 8
    later = START + timedelta(days=30)
    assert resolve(frame, "mitigated", start=later)["done"] == 0
    assert resolve(frame, "mitigated", end=START + timedelta(days=6.5))["done"] == 2


@pytest.mark.slow
def test_the_interval_holds_the_median(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from operate_issues import coverage

    assert coverage(150, np.random.default_rng(3)) >= 0.9


def test_what_is_confirmed_as_it_is_opened_took_no_time():
    opened = 1 + 1e-9  # the event is written a moment after its move was timed
    frame = moves(*[(opened, ("observed", 0), ("confirmed", 1))] * 5)
    found = resolve(frame, "confirmed")
    assert (found["done"], found["days"], found["left_out"]) == (5, 0, 0)


def test_a_clock_behind_the_events_cuts_nothing_off():
    frame = moves(*[(1, ("observed", 0), ("fix shipped", 400 + n)) for n in range(5)])
    frame = frame.with_columns(recorded_at=pl.max_horizontal("at", "recorded_at"))
    assert resolve(frame, "mitigated")["done"] == 5
