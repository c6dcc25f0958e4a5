"""What the lake holds, and what in it can carry a number.

The same narwhals expressions count with Polars, as a stream, and with Spark.
"""

from collections.abc import Iterable
from typing import Any

import narwhals as nw
import polars as pl

from evalbench.schema import SIGNALS, columns
from evalbench.session import Session
from evalbench.store.engines import collect

GAPS = columns((pl.String, "surface session_id gap"))
COUNTED = {
    "sessions": nw.len().cast(nw.Int64),
    "first": nw.col("started_at").min(),
    "last": nw.col("started_at").max(),
}
DATES = pl.col("first", "last").dt.date()


def surface_table(sessions: Any, spans: Any) -> pl.DataFrame:
    """Count what was read, by surface; ``users`` are the groups that sessions share."""
    rows = nw.from_native(sessions)
    totals = {"tools": nw.col("n_tool_calls").sum(), "errors": nw.col("n_tool_errors").sum()}
    counted = collect(rows.group_by("surface").agg(**COUNTED, **totals))
    groups = rows.select("surface", "group_key").drop_nulls().unique()
    users = collect(groups.group_by("surface").agg(users=nw.len().cast(nw.Int64)))
    steps = nw.from_native(spans).group_by("surface").agg(spans=nw.len().cast(nw.Int64))
    joined = counted.join(users, on="surface", how="left")
    return (
        joined.join(collect(steps), on="surface", how="left")
        .with_columns(DATES, pl.col("users").fill_null(0))
        .select("surface", "sessions", "tools", "errors", "users", "first", "last", "spans")
        .sort("surface")
    )


def format_table(spans: Any) -> pl.DataFrame:
    """Count spans by surface, format and kind, the most frequent kind first."""
    kinds = nw.from_native(spans).group_by("surface", "source_format", "kind")
    counted = collect(kinds.agg(spans=nw.len().cast(nw.Int64)))
    return counted.sort("surface", "source_format", -pl.col("spans"), "kind")


def release_table(sessions: Any) -> pl.DataFrame:
    """Count sessions by release, in the order of their first session; null is "not named"."""
    named = nw.from_native(sessions).with_columns(nw.col("release").fill_null("not named"))
    counted = collect(named.group_by("surface", "release").agg(**COUNTED))
    return counted.sort("surface", "first", "release").with_columns(DATES)


def weekly_sessions(sessions: Any) -> pl.DataFrame:
    """Count sessions by week (its Monday is ``start``), weeks without any too.

    Sessions without a time are in no week.
    """
    timed = nw.from_native(sessions).select("surface", "started_at").drop_nulls()
    days = timed.with_columns(nw.col("started_at").dt.truncate("1d")).group_by(
        "surface", "started_at"
    )
    counted = collect(days.agg(sessions=nw.len().cast(nw.Int64)))
    week = pl.col("started_at").dt.date().dt.truncate("1w")
    weeks = counted.group_by("surface", start=week).agg(pl.col("sessions").sum())
    every = pl.date_ranges(pl.col("start").min(), pl.col("start").max(), "1w").first()
    spread = weeks.group_by("surface").agg(start=every).explode("start")
    joined = spread.join(weeks, on=["surface", "start"], how="left")
    return joined.with_columns(pl.col("sessions").fill_null(0)).sort("surface", "start")


def signal_table(sessions: Any) -> pl.DataFrame:
    """Count the sessions that recorded each signal, with its mean, or the share that is true."""
    share, mean = pl.col("recorded") / pl.col("sessions"), pl.col("mean")
    means = pl.format("{}%, mean {}", (100 * share).round(1), mean.round(2))
    values = {
        name: nw.col(name).cast(nw.Int64) if kind == pl.Boolean else nw.col(name)
        for name, kind in SIGNALS.items()
    }
    counted = collect(
        nw.from_native(sessions)
        .group_by("surface")
        .agg(
            COUNTED["sessions"].alias("sessions"),
            *(value.count().cast(nw.Int64).alias(f"n {name}") for name, value in values.items()),
            *(value.cast(nw.Float64).mean().alias(name) for name, value in values.items()),
        )
    )
    parts = [
        counted.select("surface", "sessions", signal=pl.lit(name), recorded=f"n {name}", mean=name)
        for name in SIGNALS
    ]
    return (
        pl.concat(parts)
        .with_columns(
            name=pl.col("signal").str.replace_all("_", " "),
            share=share,
            said=pl.when(pl.col("recorded") == 0).then(pl.lit("nobody")).otherwise(means),
        )
        .select("surface", "signal", "recorded", "sessions", "mean", "name", "share", "said")
        .sort("surface", -pl.col("share"), "signal")
    )


def gap_table(sessions: Iterable[Session]) -> pl.DataFrame:
    """List the texts of sessions that could not be placed: ``surface, session_id, gap``."""
    rows = [(each.surface, each.session_id, gap) for each in sessions for gap in each.gaps]
    return pl.DataFrame(rows, schema=GAPS, orient="row")


def reject_table(rejects: pl.DataFrame) -> pl.DataFrame:
    """Count rejects by file and reason, the most frequent first: ``records``, first ``line``."""
    return (
        rejects.group_by("file", "reason")
        .agg(records=pl.len().cast(pl.Int64), line=pl.col("line").min())
        .sort("file", -pl.col("records"), "reason")
    )
