"""What the lake holds, and what in it can carry a number."""

from collections.abc import Iterable

import polars as pl

from evalbench.schema import SIGNALS, columns
from evalbench.session import Session

GAPS = columns((pl.String, "surface session_id gap"))

COUNTED = {
    "sessions": pl.len().cast(pl.Int64),
    "first": pl.col("started_at").min().dt.date(),
    "last": pl.col("started_at").max().dt.date(),
}


def surface_table(sessions: pl.DataFrame, spans: pl.LazyFrame) -> pl.DataFrame:
    """Count what was read, by surface; ``users`` are the groups that sessions share."""
    steps = spans.group_by("surface").agg(spans=pl.len().cast(pl.Int64)).collect()
    return (
        sessions.group_by("surface")
        .agg(
            **COUNTED,
            tools=pl.col("n_tool_calls").sum(),
            errors=pl.col("n_tool_errors").sum(),
            users=pl.col("group_key").drop_nulls().n_unique().cast(pl.Int64),
        )
        .join(steps, on="surface", how="left")
        .select("surface", "sessions", "tools", "errors", "users", "first", "last", "spans")
        .sort("surface")
    )


def format_table(spans: pl.LazyFrame) -> pl.DataFrame:
    """Count spans by surface, format and kind, the most frequent kind first."""
    counted = spans.group_by("surface", "source_format", "kind").agg(spans=pl.len().cast(pl.Int64))
    return counted.collect().sort("surface", "source_format", -pl.col("spans"), "kind")


def release_table(sessions: pl.DataFrame) -> pl.DataFrame:
    """Count sessions by release, in the order of their first session; null is "not named"."""
    named = sessions.group_by("surface", pl.col("release").fill_null("not named"))
    return named.agg(**COUNTED).sort("surface", "first", "release")


def weekly_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Count sessions by week (its Monday is ``start``), weeks without any too.

    Sessions without a time are in no week.
    """
    week = pl.col("started_at").dt.date().dt.truncate("1w")
    weeks = sessions.drop_nulls("started_at").group_by("surface", start=week)
    counted = weeks.agg(COUNTED["sessions"].alias("sessions"))
    every = pl.date_ranges(pl.col("start").min(), pl.col("start").max(), "1w").first()
    spread = counted.group_by("surface").agg(start=every).explode("start")
    joined = spread.join(counted, on=["surface", "start"], how="left")
    return joined.with_columns(pl.col("sessions").fill_null(0)).sort("surface", "start")


def signal_table(sessions: pl.DataFrame) -> pl.DataFrame:
    """Count the sessions that recorded each signal, with its mean, or the share that is true."""
    share, mean = pl.col("recorded") / pl.col("sessions"), pl.col("mean")
    means = pl.format("{}%, mean {}", (100 * share).round(1), mean.round(2))
    return (
        sessions.select("surface", pl.col(list(SIGNALS)).cast(pl.Float64))
        .unpivot(index="surface", variable_name="signal")
        .group_by("surface", "signal")
        .agg(
            recorded=pl.col("value").count().cast(pl.Int64),
            sessions=pl.len().cast(pl.Int64),
            mean=pl.col("value").mean(),
        )
        .with_columns(
            name=pl.col("signal").str.replace_all("_", " "),
            share=share,
            said=pl.when(pl.col("recorded") == 0).then(pl.lit("nobody")).otherwise(means),
        )
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
