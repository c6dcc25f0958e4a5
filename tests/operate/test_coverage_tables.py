"""What the lake holds is counted as it is: nulls are unknown, and empty weeks are weeks."""

import polars as pl

from evalbench.operate import coverage


def test_surfaces_are_counted_from_sessions_and_spans(sessions):
    kinds = ["llm"] * 5 + ["tool"] * 2
    spans = pl.LazyFrame({"surface": ["shop"] * 7, "source_format": ["x"] * 7, "kind": kinds})
    [row] = coverage.surface_table(sessions, spans).to_dicts()
    assert (row["sessions"], row["spans"], row["users"]) == (400, 7, 0)
    assert f"{row['first']} {row['last']}" == "2026-07-01 2026-07-17"
    formats = coverage.format_table(spans)
    assert formats.rows() == [("shop", "x", "llm", 5), ("shop", "x", "tool", 2)]


def test_releases_keep_their_order_and_the_unnamed_are_shown(sessions):
    named = sessions.with_columns(release=pl.when(pl.col("release") == "10").then("release"))
    releases = coverage.release_table(named)
    assert releases.select("release", "sessions").rows() == [("not named", 200), ("10", 200)]


def test_weeks_without_sessions_are_there_and_sessions_without_a_time_are_not(sessions):
    undated = pl.lit(None, sessions.schema["started_at"])
    second_week = pl.col("started_at").dt.day().is_between(6, 12)
    weeks = coverage.weekly_sessions(
        sessions.with_columns(started_at=pl.when(~second_week).then("started_at"))
    )
    assert weeks["sessions"].to_list() == [120, 0, 112]
    assert coverage.weekly_sessions(sessions.with_columns(started_at=undated)).is_empty()


def test_a_signal_nobody_recorded_is_said_to_be_so(sessions):
    half = sessions.with_columns(thumbs=pl.when(pl.int_range(pl.len()) < 200).then(-1))
    signals = {row["signal"]: row for row in coverage.signal_table(half).to_dicts()}
    assert signals["reported"]["said"] == "100.0%, mean 0.25"
    assert (signals["thumbs"]["share"], signals["thumbs"]["mean"]) == (0.5, -1)
    assert (signals["stars"]["said"], signals["stars"]["mean"]) == ("nobody", None)


def test_rejects_are_counted_by_file_and_reason():
    rejects = pl.DataFrame(
        {"file": ["a"] * 3, "line": [9, 2, 5], "reason": ["not JSON", "not JSON", "no id"]}
    )
    assert coverage.reject_table(rejects).rows() == [("a", "not JSON", 2, 2), ("a", "no id", 1, 5)]
