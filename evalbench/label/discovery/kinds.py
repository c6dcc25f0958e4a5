"""Kinds of sessions by what is asked, answered or called: where to read before there are notes."""

from __future__ import annotations

import textwrap

import numpy as np
import polars as pl

from evalbench.label.annotation.queue import queue_picked
from evalbench.label.discovery.clustering import cluster, find_none
from evalbench.store.workspace import Workspace

KEY = ["surface", "session_id"]
SORTED, SHOWN = 600, 70  # sessions that are sorted, and letters that name a kind
SIDES = {"requests": "first_input", "answers": "final_output", "tools": "tools"}


def list_tools(spans: pl.LazyFrame) -> pl.DataFrame:
    """List the tools that each session called, in their order, as one text: ``tools``."""
    called = spans.drop_nulls("tool_name").sort("started_at", "span_id")
    named = called.group_by(KEY, maintain_order=True).agg(tools=pl.col("tool_name").str.join(" "))
    return named.collect(engine="streaming")


def sort_sessions(
    sessions: pl.DataFrame, text: str, *, rng: np.random.Generator, seed: int
) -> pl.DataFrame:
    """Sort sessions by a column of text into kinds: ``surface, session_id, kind, typical``.

    At most 600 are, at random. ``kind`` is null where no stable pattern shows; ``typical`` sessions
    are nearest to the middle of theirs.
    """
    known = sessions.drop_nulls(text).sort(KEY)
    known = known.sample(min(SORTED, known.height), seed=seed)
    texts = known[text].to_list()
    try:
        found = cluster(texts, rng=rng)
    except ValueError:  # too few that differ
        found, known = find_none(""), known.clear()
    names = [f"like “{textwrap.shorten(texts[at[0]], SHOWN)}”" for at in found.representatives]
    kinds = [None if found.weak else names[at] for at in found.assignment]
    typical = np.isin(np.arange(known.height), np.concatenate([[], *found.representatives]))
    named = pl.Series(kinds, dtype=pl.String)
    return known.select(KEY).with_columns(kind=named, typical=pl.Series(typical))


def rank_kinds(kinds: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    """List kinds, the least read first: ``kind, n_sessions, n_read, session_id``.

    ``read`` names the sessions that people labelled (``surface, session_id``); the session given is
    a typical one that nobody read.
    """
    seen = kinds.drop_nulls("kind").join(
        read.select(KEY).unique().with_columns(read=True), on=KEY, how="left"
    )
    unread = pl.col("read").is_null()
    session = pl.col("session_id").filter(unread).sort_by(~pl.col("typical").filter(unread)).first()
    return (
        seen.group_by("kind", maintain_order=True)
        .agg(n_sessions=pl.len().cast(pl.Int64), n_read=pl.col("read").sum(), session_id=session)
        .sort(pl.col("n_read") / pl.col("n_sessions"), -pl.col("n_sessions"), "kind")
    )


def queue_unread(ws: Workspace, surface: str, ranked: pl.DataFrame) -> str:
    """Make a queue of one unread session of each kind, whose labels count in no rate."""
    sessions = ranked["session_id"].drop_nulls()
    if sessions.is_empty():
        return "No queue made: there is no kind of session that nobody has read."
    made = queue_picked(ws, surface, sessions, reason="a kind of session that is read least")
    return f"{made['sessions']} sessions are in queue {made['queue']}: evalbench annotate opens it."
