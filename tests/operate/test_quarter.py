"""The first page is of four quarters, safety first, and says what nobody can know."""

from datetime import UTC, datetime

import polars as pl
import pytest

from evalbench.errors import EvalbenchError
from evalbench.operate import quarter
from evalbench.operate.evidence import WHOLE, quarter_window
from evalbench.operate.impact import CHANGES, RATES

QUARTERS = ["2025Q4", "2026Q1", "2026Q2", "2026Q3"]


def test_a_year_ends_with_the_quarter_reported_on_or_the_last_session(sessions):
    last = sessions["started_at"].max()
    assert quarter.list_quarters("2026Q1", last) == ["2025Q2", "2025Q3", "2025Q4", "2026Q1"]
    assert quarter.list_quarters(WHOLE, last) == QUARTERS
    for none in ("0000Q1", "9999Q4", "2026Q5"):
        with pytest.raises(EvalbenchError, match="must look like 2026Q3"):
            quarter_window(none)
    timeless = sessions.with_columns(started_at=pl.lit(None, sessions.schema["started_at"]))
    assert quarter.list_quarters(WHOLE, timeless["started_at"].max()) == []
    history = quarter.trace_history(pl.DataFrame(schema=RATES), sessions, modes(), [])
    assert history.is_empty()


def modes():
    rows = [("shop", "rude", "polish", "ana"), ("shop", "leak", "safety", "ben")]
    return pl.DataFrame(rows, ["surface", "mode", "severity", "owner"], orient="row")


def rates():
    rows = [
        {"surface": "shop", "release": release, "mode": mode, "name": mode, "process": process}
        | {"process_low": process / 2, "process_high": process * 2, "evaluator": "judge"}
        for release in ("9", "10")
        for mode, process in (("rude", 0.05), ("leak", 0.01))
    ]
    return pl.DataFrame(rows, schema=RATES)


def test_failures_stand_as_of_the_newest_release_safety_first():
    change = {"surface": "shop", "release": "10", "mode": "rude", "reading": "cannot tell"}
    changes = pl.DataFrame([change], schema=CHANGES)
    watched = pl.DataFrame({"surface": ["shop"] * 2, "mode": ["leak"] * 2})
    failures = quarter.list_failures(rates(), changes, modes(), watched)
    assert failures.select("mode", "release", "owner", "watched", "reading").rows() == [
        ("leak", "10", "ben", True, None),
        ("rude", "10", "ana", False, "cannot tell"),
    ]
    assert failures["per_1000"].to_list() == [10.0, 50.0]


def test_safety_comes_first_in_each_release_and_releases_keep_their_order():
    ordered = quarter.with_severity(rates(), modes())
    assert ordered.select("release", "mode", "owner").rows() == [
        ("9", "leak", "ben"), ("9", "rude", "ana"), ("10", "leak", "ben"), ("10", "rude", "ana"),
    ]  # fmt: skip
    assert quarter.with_severity(rates().clear(), modes()).columns[-2:] == ["severity", "owner"]


def test_history_is_by_the_lives_of_releases_within_the_year(sessions):
    history = quarter.trace_history(rates(), sessions, modes(), QUARTERS)
    assert history.select("mode", "release").rows() == [
        ("leak", "9"), ("leak", "10"), ("rude", "9"), ("rude", "10"),
    ]  # fmt: skip
    first, second = history["start"][:2]
    assert first < history["end"][0] < second
    assert quarter.trace_history(rates(), sessions, modes(), QUARTERS[:1]).is_empty()


def test_the_last_word_on_a_decision_counts():
    at, due = datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
    row = {"at": at, "surface": None, "mode": None, "text": "Hire", "owner": "cleo", "due": due}
    rows = [
        row | {"seq": seq, "decision": name, "done": done}
        for seq, (name, done) in enumerate([("a", False), ("b", False), ("a", True)])
    ]
    recorded = pl.DataFrame(rows, schema_overrides={"surface": pl.String, "mode": pl.String})
    late = datetime(2026, 11, 1, tzinfo=UTC)
    followed = quarter.follow_decisions(recorded, start=at, now=late)
    assert followed.select("decision", "state").rows() == [("b", "overdue"), ("a", "done")]
    assert quarter.follow_decisions(recorded, start=late, now=at)["state"].to_list() == ["open"]
    assert quarter.follow_decisions(recorded.clear(), start=None, now=at).is_empty()
    on_the_day = quarter.follow_decisions(recorded, start=late, now=due.replace(hour=9))
    assert on_the_day["state"].to_list() == ["open"]  # until the day has ended
    other = recorded.with_columns(surface=pl.lit("shop"), seq=pl.col("seq") + 9)
    both = quarter.follow_decisions(pl.concat([recorded, other]), start=at, now=late)
    assert both["decision"].to_list() == ["b", "b", "a", "a"]  # a name is one of its surface
