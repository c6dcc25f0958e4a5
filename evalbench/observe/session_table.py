"""The session table, kept in step with the spans of the lake."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from evalbench.observe.parallel import end_workers
from evalbench.observe.sessions import KEY, fold_sessions

if TYPE_CHECKING:
    from evalbench.store.files import Staged
    from evalbench.store.lake import Lake

# Spans whose sessions are folded at a time, to keep to the promised memory.
SPANS_AT_ONCE = 1_000_000
# Stands for a session where all are counted: a number takes a fraction of an id's memory.
HASHED = pl.col("session_id").hash(5).alias("hashed")


def add_sessions(
    lake: Lake, staged: Sequence[Staged], outlines: Sequence[pl.DataFrame], *, folder: Path
) -> int:
    """Add the sessions of staged spans that the lake does not have yet; count them.

    Where other spans are of the same sessions, :func:`refresh_sessions` finds it.
    """
    surface = pl.lit(staged[0].surface).alias("surface")
    spans = pl.concat(each.scan() for each in staged).with_columns(surface)
    sessions = fold_sessions(spans, outlines).sort("session_id")
    known = lake.sessions(surface=staged[0].surface).select(KEY)
    known = known.join(sessions.lazy().select(KEY), on=KEY, how="semi")
    new = sessions.join(known.collect(engine="streaming"), on=KEY, how="anti")
    if new.is_empty():
        return 0
    states = lake.commit("session", [lake.stage("session", new, folder=folder)], folder=folder)
    return len(states.filter(state="new"))


def refresh_sessions(lake: Lake, surface: str, *, changed: Collection[str] = ()) -> int:
    """Fold anew each session ``changed``, or of another count than the lake's; count the new."""
    n_new, again = 0, pl.Series(sorted(changed), dtype=pl.String)
    while True:
        known = lake.sessions(surface=surface).select(HASHED, known="n_spans")
        counted = lake.spans(surface=surface).group_by(HASHED).agg(n=pl.len().cast(pl.Int64))
        both = counted.join(known, on="hashed", how="full", coalesce=True)
        wrong = pl.col("known").ne_missing(pl.col("n")) | pl.col("hashed").is_in(
            again.hash(5).implode()
        )
        stale = both.filter(wrong).collect(engine="streaming")
        if stale.is_empty():
            return n_new
        named = pl.concat(
            rows.filter(HASHED.is_in(stale["hashed"].implode())).select("session_id").unique()
            for rows in (lake.spans(surface=surface), lake.sessions(surface=surface))
        )
        names = named.unique().with_columns(HASHED).collect(engine="streaming")
        stale = names.join(stale, on="hashed").sort("session_id")
        gone = stale.filter(pl.col("n").is_null())
        lake.remove("session", gone.select(surface=pl.lit(surface), session_id="session_id"))
        stale = stale.drop_nulls("n")
        n_new += stale["known"].null_count()
        part = (stale["n"].cum_sum() - 1) // SPANS_AT_ONCE
        for sessions in stale.with_columns(part=part).partition_by("part", maintain_order=True):
            # Not a join: this is asked while a file is read, so that no other text is unpacked.
            own = pl.col("session_id").is_in(sessions["session_id"].implode())
            folded = fold_sessions(lake.spans(surface=surface).filter(own))
            end_workers()  # to merge takes memory of its own
            lake.upsert("session", folded.sort("session_id"))
        again = again.clear()
