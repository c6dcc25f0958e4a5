"""What a report rests on: the sessions, the draws that some were read for, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl

from evalbench.errors import EvalbenchError
from evalbench.operate.impact import OUTCOME, SESSION_KEY, latest_verdicts
from evalbench.schema import SIGNALS, Design, QueueDrawn, columns
from evalbench.store.lake import Lake

Stratify = Callable[[pl.DataFrame, Design, pl.DataFrame | None], pl.DataFrame]
WHOLE = "all"
"""Every quarter; and the release of sessions that name none."""

SAMPLED = columns((pl.String, "surface session_id stratum"), (pl.Boolean, "drawn"))
SAMPLE = columns(
    (pl.Int64, "draw"),
    (pl.String, "surface window design"),
    (pl.Int64, "strata n_sessions n_drawn n_labelled"),
)
LIMITS = columns((pl.String, "surface limit"), (pl.Int64, "n of"), (pl.String, "says"))
SAYS = {
    "no labels": "Nobody labelled these sessions, so no failure mode can be named. Shown is the"
    " outcome that the product recorded.",
    "outcome not recorded": "{n:,} of {of:,} sessions have no recorded outcome and are left out;"
    " if they fail more often, the rate is too low.",
    "insufficient": "{n:,} of {of:,} rates are insufficient: too few labelled sessions.",
    "never seen": "{n:,} of {of:,} rates rest on no failure at all: only their upper end says"
    " something.",
    "cautions": "{n:,} of {of:,} rates carry a caution; column `reason` of `tables/rates.csv`.",
    "in no draw": "{n:,} of {of:,} sessions could not have been drawn, so no rate speaks of them.",
    "drawn, not labelled": "{n:,} of {of:,} drawn sessions have no decided label; if they differ"
    " from the rest, the rates do too.",
    "labelled, not drawn": "{n:,} of {of:,} labelled sessions were not drawn at random and are"
    " not counted.",
    "undecided": "{n:,} of {of:,} judgements (session by mode) ended undecided and are not"
    " counted.",
    "judge silent": "{n:,} of {of:,} verdicts of the judge are empty; they are a stratum of their"
    " own.",
    "no release": "{n:,} of {of:,} sessions name no release.",
    "no time": "{n:,} of {of:,} sessions have no time, so no quarter can count them.",
    "signals": "Nobody recorded {names}: what these would have shown is unknown, not absent.",
}
"""What a report cannot tell, in words, by its name."""


def quarter_window(quarter: str) -> tuple[datetime | None, datetime | None]:
    """Give the first moment of a quarter such as "2026Q3" and of the next; "all" has neither.

    Raises EvalbenchError for what is no quarter.
    """
    if quarter == WHOLE:
        return None, None
    if not re.fullmatch(r"\d{4}Q[1-4]", quarter):
        raise EvalbenchError(f"quarter must look like 2026Q3, or be {WHOLE!r}; got {quarter!r}")
    months = 12 * int(quarter[:4]) + 3 * int(quarter[5]) - 3
    start, end = (datetime(at // 12, at % 12 + 1, 1, tzinfo=UTC) for at in (months, months + 3))
    return start, end


def read_draws(
    events: pl.DataFrame,
    *,
    surface: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> dict[int, QueueDrawn]:
    """Read those ``queue.drawn`` events that may cover sessions of a surface and window."""
    bodies = map(QueueDrawn.model_validate_json, events["body"])
    return {
        seq: draw
        for seq, draw in zip(events["seq"], bodies, strict=True)
        if draw.surface == (surface or draw.surface)
        and not (draw.end and start and draw.end <= start)
        and not (draw.start and end and draw.start >= end)
    }


def sampling_frame(lake: Lake, draws: dict[int, QueueDrawn], stratify: Stratify) -> pl.DataFrame:
    """Put every session that a draw could have picked into its stratum again.

    The tables are read at the versions that the draw pinned. Where several draws cover a session
    its stratum joins theirs: within such a stratum each draw, and so all of them, is random.

    Gives ``surface, session_id, stratum, drawn``.
    """
    parts = [pl.DataFrame(schema=SAMPLED)]
    for seq, draw in draws.items():
        pins = draw.lake_versions
        sessions = lake.sessions(
            surface=draw.surface, start=draw.start, end=draw.end, version=pins.get("session")
        )
        verdicts = lake.verdicts(surface=draw.surface, version=pins.get("verdict"))
        judged = verdicts.collect() if draw.design.evaluators else None
        items = [item.session_id for item in draw.items]
        parts.append(
            stratify(sessions.collect(), draw.design, judged).select(
                *SESSION_KEY,
                stratum=pl.format("draw {}: {}", pl.lit(seq), "stratum"),
                drawn=pl.col("session_id").is_in(items),
            )
        )
    return (
        pl.concat(parts)
        .group_by(SESSION_KEY, maintain_order=True)
        .agg(pl.col("stratum").str.join(" + "), pl.col("drawn").any())
    )


def report_frame(
    sessions: pl.DataFrame, sampled: pl.DataFrame, shipped: pl.DataFrame
) -> pl.DataFrame:
    """Join sessions with their strata, in the order in which the releases were shipped.

    ``shipped`` has ``surface, release, shipped_at``; a release nobody announced counts from its
    first session. ``sampled`` is from :func:`sampling_frame`.

    Raises EvalbenchError where there are no sessions to report on.
    """
    if sessions.is_empty():
        raise EvalbenchError("no sessions in this window; see `evalbench run 01_observe`")
    dated = shipped.group_by("surface", "release").agg(pl.col("shipped_at").min())
    return (
        sessions.with_columns(pl.col("release").fill_null(WHOLE))
        .join(dated, on=["surface", "release"], how="left")
        .with_columns(
            since=pl.coalesce("shipped_at", pl.col("started_at").min().over("surface", "release"))
        )
        .join(sampled, on=SESSION_KEY, how="left")
        .with_columns(pl.col("drawn").fill_null(False))
        .sort("surface", "since", "release", "session_id")
    )


def sample_table(
    frame: pl.DataFrame, labels: pl.DataFrame, draws: dict[int, QueueDrawn]
) -> pl.DataFrame:
    """Describe how the sample was drawn: one row a draw that covers sessions of the report.

    Gives ``draw, surface, window, design, strata, n_sessions, n_drawn, n_labelled``; the counts are
    of the report's sessions.
    """
    decided = labels.drop_nulls("fails")
    rows = []
    for seq, draw in draws.items():
        own = pl.col("stratum").str.contains(f"draw {seq}: ", literal=True)
        covered = frame.filter(own, surface=draw.surface)
        picked = set(covered["session_id"]) & {item.session_id for item in draw.items}
        labelled = picked & set(decided.filter(surface=draw.surface)["session_id"])
        if not covered.is_empty():
            words = (draw.surface, _window_words(draw), _design_words(draw.design))
            counts = (covered["stratum"].n_unique(), covered.height, len(picked), len(labelled))
            rows.append((seq, *words, *counts))
    return pl.DataFrame(rows, schema=SAMPLE, orient="row")


def limits_table(
    frame: pl.DataFrame, labels: pl.DataFrame, verdicts: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """Say, surface by surface, what the report cannot tell and how much of it that touches.

    ``frame``, ``labels`` and ``verdicts`` are as for :func:`evalbench.operate.impact.mode_rates`,
    ``rates`` from :func:`evalbench.operate.impact.rates_table`.

    Gives ``surface, limit, n, of, says``; nothing where nothing is limited.
    """
    rows = []
    for (surface,), sessions in frame.group_by("surface", maintain_order=True):
        known = labels.join(sessions, on=SESSION_KEY, how="semi")
        judged = latest_verdicts(verdicts.join(sessions, on=SESSION_KEY, how="semi"))
        own = rates.filter(surface=surface)
        counts = _count_limits(sessions, known, judged, own)
        silent = [name for name in SIGNALS if sessions[name].is_null().all()]
        counts["signals"] = (len(silent), len(SIGNALS))
        names = ", ".join(silent).replace("_", " ")
        for limit, (n, of) in counts.items():
            if n:
                rows.append((surface, limit, n, of, SAYS[limit].format(n=n, of=of, names=names)))
    return pl.DataFrame(rows, schema=LIMITS, orient="row")


def _count_limits(
    sessions: pl.DataFrame, known: pl.DataFrame, judged: pl.DataFrame, rates: pl.DataFrame
) -> dict[str, tuple[int, int]]:
    """Count what each limit touches, and of how many."""
    total, n_rates = sessions.height, rates.height
    outcomes = rates["mode"].eq(OUTCOME).any()
    drawn = sessions.filter("drawn")
    unread = drawn.join(known.drop_nulls("fails"), on=SESSION_KEY, how="anti")
    read = known.select(SESSION_KEY).unique()
    counts = {
        "no labels": (int(known.is_empty()), 1),
        "outcome not recorded": (sessions["outcome"].null_count() if outcomes else 0, total),
        "insufficient": ((rates["status"] == "insufficient").sum(), n_rates),
        "never seen": ((rates["estimate"] == 0).sum(), n_rates),
        "cautions": ((rates["status"].eq("ok") & rates["reason"].ne("")).sum(), n_rates),
        "in no draw": (0 if outcomes else sessions["stratum"].null_count(), total),
        "drawn, not labelled": (unread.height, drawn.height),
        "labelled, not drawn": (read.join(drawn, on=SESSION_KEY, how="anti").height, read.height),
        "undecided": (known["fails"].null_count(), known.height),
        "judge silent": (judged["verdict"].null_count(), judged.height),
        "no release": ((sessions["release"] == WHOLE).sum(), total),
        "no time": (sessions["started_at"].null_count(), total),
    }
    return {limit: (int(n), int(of)) for limit, (n, of) in counts.items()}


def _window_words(draw: QueueDrawn) -> str:
    first = f"from {draw.start:%Y-%m-%d}" if draw.start else ""
    last = f"before {draw.end:%Y-%m-%d}" if draw.end else ""
    return f"{first} {last}".strip() or "any time"


def _design_words(design: Design) -> str:
    parts = [f"all that are {' or '.join(design.always)}"] if design.always else []
    parts += [f"the rest by {', '.join((*design.by, 'signals'))}"]
    judges = len(design.evaluators)
    parts += [f"and whether any of {judges} evaluators fails it"] if judges else []
    return f"{'; '.join(parts)}; at least {design.floor} a stratum"
