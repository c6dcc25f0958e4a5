"""What the first page of a quarter's report shows: failures by severity, and the year beside it."""

from datetime import datetime

import polars as pl

from evalbench.operate.evidence import WHOLE, quarter_window
from evalbench.operate.impact import RELEASE_KEY
from evalbench.schema import TIME, columns

MODE_KEY = ["surface", "mode"]
SEVERITIES = ("safety", "user impact", "polish")
"""In the order in which everything is listed."""
YEAR = 4
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
DECISIONS = columns(
    (pl.String, "decision surface mode text owner state"), (TIME, "due"), (pl.Int64, "seq")
)


def name_quarter(moment: datetime) -> str:
    """Return the quarter of a moment, such as "2026Q3"."""
    return f"{moment.year}Q{(moment.month + 2) // 3}"


def list_quarters(quarter: str, last: datetime | None) -> list[str]:
    """Return the four quarters that end with the one given, of "all" with that of ``last``."""
    if quarter == WHOLE and last is None:
        return []
    named = name_quarter(last) if quarter == WHOLE and last else quarter
    year, number = int(named[:4]), int(named[5])
    places = [4 * year + number - 1 - back for back in reversed(range(YEAR))]
    return [f"{at // 4}Q{at % 4 + 1}" for at in places]


def by_severity(frame: pl.DataFrame, *then: str | pl.Expr) -> pl.DataFrame:
    """Sort rows by ``severity``, safety first, then by other columns; the unknown come last."""
    place = {name: at for at, name in enumerate(SEVERITIES)}
    first = pl.col("severity").replace_strict(place, default=len(place), return_dtype=pl.Int64)
    return frame.sort(first, *then, nulls_last=True, maintain_order=True)


def with_severity(frame: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Add ``severity`` and ``owner`` to rows of failures; safety comes first in each release."""
    joined = frame.join(
        modes.select(*MODE_KEY, "severity", "owner"), on=MODE_KEY, how="left", maintain_order="left"
    )
    groups = joined.partition_by(RELEASE_KEY, maintain_order=True)
    return pl.concat(map(by_severity, groups)) if groups else joined


def list_failures(
    rates: pl.DataFrame, changes: pl.DataFrame, modes: pl.DataFrame, watched: pl.DataFrame
) -> pl.DataFrame:
    """Return :data:`FAILURES` of the newest release of each surface, the most severe first.

    ``watched`` has the keys of those modes that an evaluator which counts watches.
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
    """Return :data:`HISTORY` over the quarters given, release by release, in their order."""
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


def follow_decisions(
    recorded: pl.DataFrame, *, start: datetime | None, now: datetime
) -> pl.DataFrame:
    """Return :data:`DECISIONS` that are open or recorded since ``start``; open ones come first.

    The last event of a surface's decision counts. ``state`` is open, overdue (at ``now``) or done.
    """
    if recorded.is_empty():
        return pl.DataFrame(schema=DECISIONS)
    state = (
        pl.when("done")
        .then(pl.lit("done"))
        .when(pl.col("due").dt.date() < now.date())  # it is due until that day has ended
        .then(pl.lit("overdue"))
        .otherwise(pl.lit("open"))
    )
    key = ["surface", "decision"]
    last = recorded.sort("seq").unique(key, keep="last", maintain_order=True)
    recent = pl.lit(True) if start is None else pl.col("at") >= start
    return (
        last.with_columns(state=state)
        .filter(~pl.col("done") | recent)
        .select(pl.col(name).cast(kind) for name, kind in DECISIONS.items())
        .sort(pl.col("state") == "done", "due", "seq")
    )


def find_steps(issues: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the next ``step`` of each failure: what was decided, else that of its open issue."""
    decided = decisions.filter(pl.col("state") != "done").select(*MODE_KEY, "due", step="text")
    going = issues.filter(pl.col("next_step") != "").select(
        *MODE_KEY, due=pl.lit(None, TIME), step="next_step"
    )
    known = pl.concat([decided, going]).drop_nulls(MODE_KEY)
    return known.unique(MODE_KEY, keep="first", maintain_order=True)
