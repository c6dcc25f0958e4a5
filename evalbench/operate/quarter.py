"""What the first page of a quarter's report shows: failures by severity, and the year beside it."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.evidence import WHOLE, quarter_window
from evalbench.operate.impact import RELEASE_KEY
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import TIME, columns

MODE_KEY = ["surface", "mode"]
SEVERITIES = ("safety", "user impact", "polish")
"""In the order in which everything is listed."""
YEAR = 4
FEWEST = 10
"""Failing sessions under which no catch rate is given."""
LIKE_THESE = {
    name: 1000 * pl.col(process)
    for name, process in (
        ("per_1000", "process"),
        ("low_per_1000", "process_low"),
        ("high_per_1000", "process_high"),
    )
}
"""The rate of many more sessions like a release's own: what the next quarter may expect."""

FAILURES = columns(
    (pl.String, "surface release mode name severity owner evaluator reading target"),
    (pl.Float64, "per_1000 low_per_1000 high_per_1000 delta low high before"),
    (pl.Boolean, "watched"),
)
"""Where each failure stands since the newest release: its rate, what the release changed, and
whether an evaluator that counts watches it. ``target`` is "yes" where the release aimed at it."""
HISTORY = columns(
    (pl.String, "surface mode name severity release"),
    (TIME, "start end"),
    (pl.Float64, "per_1000 low_per_1000 high_per_1000"),
)
"""The rate of each failure in each release, from its first session in the year to its last."""
CAUGHT = columns((pl.String, "quarter"), (pl.Float64, "estimate low high"), (pl.Int64, "n"))
CAUGHT["reason"] = pl.String()
DECISIONS = columns(
    (pl.String, "decision surface text owner state"), (TIME, "due"), (pl.Int64, "seq")
)


def name_quarter(moment: datetime) -> str:
    """Return the quarter of a moment, such as "2026Q3"."""
    return f"{moment.year}Q{(moment.month + 2) // 3}"


def list_quarters(sessions: pl.DataFrame, quarter: str) -> list[str]:
    """Return the four quarters that end with the one reported on, of "all" with the last session.

    None where no session has a time.
    """
    last = sessions["started_at"].max()
    if quarter == WHOLE and last is None:
        return []
    named = name_quarter(last) if quarter == WHOLE else quarter  # type: ignore[arg-type]
    year, number = int(named[:4]), int(named[5])
    places = [4 * year + number - 1 - back for back in reversed(range(YEAR))]
    return [f"{at // 4}Q{at % 4 + 1}" for at in places]


def by_severity(frame: pl.DataFrame, *then: str | pl.Expr) -> pl.DataFrame:
    """Sort rows by ``severity``, safety first, then by other columns; the unknown come last."""
    place = {name: at for at, name in enumerate(SEVERITIES)}
    first = pl.col("severity").replace_strict(place, default=len(place), return_dtype=pl.Int64)
    return frame.sort(first, *then, nulls_last=True, maintain_order=True)


def list_failures(
    rates: pl.DataFrame, changes: pl.DataFrame, modes: pl.DataFrame, watched: pl.DataFrame
) -> pl.DataFrame:
    """Return :data:`FAILURES` of the newest release of each surface, safety first.

    Takes the tables of rates and changes, the modes with ``severity, owner``, and the keys of those
    modes that an evaluator which counts watches. Within a severity the most frequent come first.
    """
    newest = rates.filter(pl.col("release") == pl.col("release").last().over("surface"))
    key = [*RELEASE_KEY, "mode"]
    moved = changes.select(*key, "reading", "target", "delta", "low", "high", "before")
    known = watched.select(MODE_KEY).unique().with_columns(watched=True)
    rows = (
        newest.select(*key, "name", "evaluator", **LIKE_THESE)
        .join(modes.select(*MODE_KEY, "severity", "owner"), on=MODE_KEY, how="left")
        .join(moved, on=key, how="left", maintain_order="left")
        .join(known, on=MODE_KEY, how="left", maintain_order="left")
        .with_columns(pl.col("watched").fill_null(False), pl.col("owner").fill_null(""))
        .select(pl.col(name).cast(kind) for name, kind in FAILURES.items())
    )
    return by_severity(rows, -pl.col("per_1000"), "surface", "mode")


def trace_history(
    rates: pl.DataFrame, sessions: pl.DataFrame, modes: pl.DataFrame, quarters: list[str]
) -> pl.DataFrame:
    """Return :data:`HISTORY` over the quarters given, release by release, in their order.

    ``rates`` are those of all releases, each over its whole life, ``sessions`` of all quarters.
    """
    if not quarters:
        return pl.DataFrame(schema=HISTORY)
    start, end = quarter_window(quarters[0])[0], quarter_window(quarters[-1])[1]
    lives = (
        sessions.filter(pl.col("started_at") >= start, pl.col("started_at") < end)
        .group_by(RELEASE_KEY, maintain_order=True)
        .agg(start=pl.col("started_at").min(), end=pl.col("started_at").max())
    )
    return (
        rates.select(*RELEASE_KEY, "mode", "name", **LIKE_THESE)
        .join(lives, on=RELEASE_KEY)
        .join(modes.select(*MODE_KEY, "severity"), on=MODE_KEY, how="left")
        .select(*HISTORY)
        .sort("surface", "mode", "start", maintain_order=True)
    )


def catch_rates(
    frame: pl.DataFrame,
    verdicts: pl.DataFrame,
    truth: pl.DataFrame,
    quarters: list[str],
    *,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Estimate by quarter which share of failing sessions some evaluator flags, for the right one.

    Takes sessions with their strata (``group_key, stratum, drawn, split``), verdicts with
    ``learnt``, and what people decided. A session is caught where a failure that people see in it
    is failed by an evaluator of that failure. Where any evaluator may have learnt from labels, the
    train split is left out.
    """
    latest = (
        verdicts.drop_nulls("fails")
        .sort("judged_at", "repeat")
        .group_by([*SESSION_KEY, "mode", "evaluator_id"])
    )
    flagged = latest.agg(pl.col("fails").last()).group_by([*SESSION_KEY, "mode"])
    judged = truth.join(flagged.agg(flagged=pl.col("fails").any()), [*SESSION_KEY, "mode"], "left")
    fails, caught = pl.col("fails"), pl.col("fails") & pl.col("flagged").fill_null(False)
    unclear = fails.is_null().any() & ~fails.any()
    sessions = judged.group_by(SESSION_KEY).agg(
        fails=pl.when(~unclear).then(fails.any()), caught=caught.any()
    )
    placed = frame.drop_nulls("stratum")
    if "learnt" in verdicts.columns and verdicts["learnt"].any():
        placed = placed.filter(pl.col("split") != "train")
    rows = []
    for quarter, stream in zip(quarters, rng.spawn(len(quarters)), strict=True):
        start, end = quarter_window(quarter)
        own = placed.filter(pl.col("started_at") >= start, pl.col("started_at") < end)
        read = (
            own.filter("drawn").join(sessions.drop_nulls("fails"), on=SESSION_KEY).sort(SESSION_KEY)
        )
        rows.append({"quarter": quarter} | _catch_rate(own, read, level=level, rng=stream))
    return pl.DataFrame(rows, schema=CAUGHT)


def _catch_rate(
    placed: pl.DataFrame, read: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> dict[str, Any]:
    failing = int(read["fails"].sum())
    if failing < FEWEST:
        why = f"people found {failing} failing sessions; at least {FEWEST} are needed"
        return {"n": failing, "reason": why}
    groups = read["group_key"]
    shared = groups.fill_null("alone " + read["session_id"])
    stratum = pl.format("{}: {}", "surface", "stratum")
    sizes = placed.group_by(stratum=stratum, maintain_order=True).agg(n=pl.len().cast(pl.Int64))
    found = stats.alignment(
        read["fails"].cast(pl.Float64).to_numpy(),
        read["caught"].cast(pl.Float64).to_numpy(),
        groups=shared.to_numpy() if shared.is_duplicated().any() else None,
        strata=read.select(stratum).to_series().to_numpy(),
        population={name: sizes[name].to_numpy() for name in sizes.columns},
        level=level,
        rng=rng,
    ).tpr
    ends = {"estimate": found.estimate, "low": found.low, "high": found.high}
    return ends | {"n": failing, "reason": found.reason}


def follow_decisions(
    recorded: pl.DataFrame, *, start: datetime | None, now: datetime
) -> pl.DataFrame:
    """Return :data:`DECISIONS` that are open or recorded since ``start``, by when they are due.

    The last event of a decision counts. ``state`` is open, overdue (at ``now``) or done.
    """
    if recorded.is_empty():
        return pl.DataFrame(schema=DECISIONS)
    state = (
        pl.when("done")
        .then(pl.lit("done"))
        .when(pl.col("due") < now)
        .then(pl.lit("overdue"))
        .otherwise(pl.lit("open"))
    )
    last = recorded.sort("seq").unique("decision", keep="last", maintain_order=True)
    recent = pl.lit(True) if start is None else pl.col("at") >= start
    return (
        last.with_columns(state=state)
        .filter(~pl.col("done") | recent)
        .select(pl.col(name).cast(kind) for name, kind in DECISIONS.items())
        .sort("due", "seq")
    )
