"""Sessions folded on Polars and on DuckDB, against each other and against a loop over spans."""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.observe import parallel, sessions
from evalbench.observe.sessions import OUTLINE, collect_signals, fold_sessions, session_signals
from evalbench.schema import SESSION, SPAN
from evalbench.session import outline

START = datetime(2026, 1, 1, tzinfo=UTC)
FOLDED = pl.Schema(
    {n: t for n, t in SESSION.items() if n not in ("first_input", "final_output", "n_turns")}
)


def make_spans(rows):
    return pl.DataFrame(
        [{"surface": "support", "session_id": "s", "trace_id": "t", **row} for row in rows],
        schema_overrides={name: SPAN[name] for row in rows for name in row},
    ).match_to_schema(SPAN, missing_columns="insert")


def make_many(count=4_000, *, seed=3):
    """Spans in which every column is null now and then, and times are often tied."""
    rng = np.random.default_rng(seed)

    def some(values, *, known=0.7):
        return [None if rng.random() > known else v for v in rng.choice(values, count).tolist()]

    flags = ("regenerated", "abandoned", "escalated", "schema_valid", "refused", "reported")
    seconds = some(np.arange(20))
    return pl.DataFrame(
        {
            "surface": rng.choice(["support", "review"], count).tolist(),
            "session_id": [f"s{i}" for i in rng.integers(0, 300, count)],
            "trace_id": some(["t1", "t2"], known=1),
            "span_id": [f"{i:05d}" for i in rng.permutation(count)],
            "parent_id": some(["p"], known=0.6),
            "kind": some(["llm", "tool", "chain", "agent", "retriever", "other"], known=0.95),
            "started_at": [None if s is None else START + timedelta(seconds=s) for s in seconds],
            "latency_ms": some(rng.gamma(2, 300, 50)),
            "status": some(["ok", "error"]),
            "input": some(["hello", "and then?", ""]),
            "output": some(["yes", "no", "Grüße"]),
            "tool_name": some(["search", "book"]),
            "tool_arguments": some(['{"q": 1}', '{"q": 2}']),
            "prompt_tokens": some([10, 20], known=0.3),
            "completion_tokens": some([1, 2], known=0.3),
            "cost_usd": some([0.01, 0.02], known=0.3),
            "user_key": some(["u1", "u2"], known=0.2),
            "group_key": some(["g1"], known=0.05),
            "release": some(["1.0", "2.0"], known=0.2),
            "segments": some(['{"tier": "pro"}'], known=0.2),
            "thumbs": some([-1, 1], known=0.1),
            "stars": some([1.0, 4.5], known=0.1),
            "confidence": some([0.2, 0.9], known=0.1),
            "outcome": some([True, False], known=0.1),
            "edited_chars": some([5, 200], known=0.1),
            **{flag: some([True, False], known=0.1) for flag in flags},
        },
        schema_overrides=SPAN,
    ).match_to_schema(SPAN, missing_columns="insert")


def slow(spans):
    """One session by the words of the docstring."""
    known = [s | {"order": (s["started_at"] is not None, s["started_at"], s["span_id"])}
             for s in spans]  # fmt: skip
    known.sort(key=lambda s: (s["order"][0], s["order"][1] or START, s["span_id"]))

    def of(name, rows=known):
        return [row[name] for row in rows if row[name] is not None]

    def last(name):
        return next(reversed(of(name)), None)

    wrappers = [s for s in known if s["kind"] in ("agent", "chain")]
    leaves = [s for s in known if s["kind"] not in ("agent", "chain", None)]
    tools = [s for s in known if s["kind"] == "tool"]
    calls = [(s["tool_name"], s["tool_arguments"]) for s in tools]
    calls = [call for call in calls if None not in call]
    starts = [s for s in known if s["started_at"] is not None]
    row = {
        name: max(of(name), default=None)
        for name in ("user_key", "group_key", "release", "environment", "segments")
    }
    row["group_key"] = row["group_key"] or row["user_key"]
    for name in ("prompt_tokens", "completion_tokens", "cost_usd"):
        counted = of(name, leaves) or of(name, wrappers)
        row[name] = sum(counted) if counted else None
    for name in ("regenerated", "abandoned", "escalated", "refused", "reported"):
        row[name] = any(of(name)) if of(name) else None
    return {
        "surface": known[0]["surface"],
        "session_id": known[0]["session_id"],
        **row,
        "started_at": min(of("started_at"), default=None),
        "ended_at": max(
            (s["started_at"] + timedelta(microseconds=round((s["latency_ms"] or 0) * 1000))
             for s in starts), default=None,
        ),
        "n_spans": len(known),
        "n_tool_calls": len(tools),
        "n_tool_errors": sum(s["status"] == "error" for s in tools),
        "n_retries": len(calls) - len(set(calls)),
        "latency_p95_ms": (
            float(np.percentile(of("latency_ms"), 95)) if of("latency_ms") else None
        ),
        "schema_valid": all(of("schema_valid")) if of("schema_valid") else None,
        "edited_chars": sum(of("edited_chars")) if of("edited_chars") else None,
        **{name: last(name) for name in ("outcome", "thumbs", "stars", "confidence")},
    }  # fmt: skip


def fold_in_duckdb(spans):
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    connection.register("spans", spans.to_arrow())
    return session_signals(connection.table("spans")).pl()


def test_polars_duckdb_and_a_loop_agree():
    spans = make_many()
    before = spans.clone()
    by = ["surface", "session_id"]
    folded = collect_signals(spans.lazy()).sort(by)
    looped = pl.DataFrame(
        [slow(rows.to_dicts()) for _, rows in spans.group_by(by)], schema=FOLDED
    ).sort(by)
    assert folded.schema == FOLDED
    assert_frame_equal(folded, looped)
    assert_frame_equal(fold_in_duckdb(spans).sort(by), looped)
    assert_frame_equal(session_signals(spans).sort(by), looped)
    shuffled = spans.sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(collect_signals(shuffled.lazy()).sort(by), looped)
    assert_frame_equal(spans, before)


def test_no_spans_are_no_sessions():
    empty = collect_signals(pl.LazyFrame(schema=SPAN))
    assert empty.is_empty()
    assert empty.schema == FOLDED


def test_an_agent_counts_no_token_twice():
    spans = make_spans(
        [
            {"span_id": str(n), "parent_id": parent, "kind": kind, "prompt_tokens": tokens}
            for n, (parent, kind, tokens) in enumerate(
                ((None, "agent", 30), ("0", "llm", 10), ("0", "llm", 20), (None, "evaluator", None))
            )
        ]
    )
    session = collect_signals(spans.lazy()).row(0, named=True)
    assert session["prompt_tokens"] == 30
    assert session["started_at"] is session["ended_at"] is None
    assert {session[name] for name in ("outcome", "reported", "thumbs", "cost_usd")} == {None}


def test_what_was_said_is_what_the_view_of_the_session_says(monkeypatch):
    monkeypatch.setattr(sessions, "SPANS_AT_ONCE", 700)
    monkeypatch.setattr(parallel, "WORKERS", 1000)  # that is, in this process
    spans = make_many(3_000)
    folded = fold_sessions(spans.lazy())
    assert folded.schema == SESSION
    for surface, session_id, *told in folded.select(OUTLINE.names()[:-1]).iter_rows():
        own = spans.filter(surface=surface, session_id=session_id)
        assert tuple(told) == outline(own.to_dicts())
    assert fold_sessions(pl.LazyFrame(schema=SPAN)).schema == SESSION


@pytest.mark.parametrize(("count", "expected"), [(1, 0.0), (2, 0.95), (21, 19.0), (41, 38.0)])
def test_latency_is_the_linear_95th_percentile(count, expected):
    spans = make_spans(
        [{"span_id": str(i), "kind": "llm", "latency_ms": float(i)} for i in range(count)]
    )
    assert collect_signals(spans.lazy())["latency_p95_ms"].to_list() == pytest.approx([expected])
