"""What a report rests on: the sessions, the draws that some were read for, and what is missing."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from evalbench.errors import EvalbenchError
from evalbench.operate.impact import OUTCOME
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import SIGNALS, QueueDrawn, columns

WHOLE = "all"
"""Every quarter; and the release of sessions that name none."""

PLACED = columns(
    (pl.String, "surface session_id stratum"),
    (pl.Boolean, "drawn"),
    (pl.Float64, "inclusion_probability"),
)
SAMPLE = columns(
    (pl.Int64, "draw"), (pl.String, "surface"), (pl.Int64, "strata n_sessions n_drawn n_labelled")
)
LIMITS = columns((pl.String, "surface limit"), (pl.Int64, "n of"), (pl.String, "names"))


def quarter_window(quarter: str) -> tuple[datetime | None, datetime | None]:
    """Return the first moment of a quarter such as "2026Q3" and of the next; "all" has neither."""
    if quarter == WHOLE:
        return None, None
    if not re.fullmatch(r"2[0-9]{3}Q[1-4]", quarter):
        raise EvalbenchError(f"quarter must look like 2026Q3, or be {WHOLE!r}; got {quarter!r}")
    months = 12 * int(quarter[:4]) + 3 * int(quarter[5]) - 3
    start, end = (datetime(at // 12, at % 12 + 1, 1, tzinfo=UTC) for at in (months, months + 3))
    return start, end


def read_draws(
    events: pl.DataFrame, *, surface: str | None, start: datetime | None, end: datetime | None
) -> dict[int, QueueDrawn]:
    """Read the draws that may cover sessions of a surface and window; hand-picked ones are none."""
    bodies = map(QueueDrawn.model_validate_json, events["body"])
    return {
        seq: draw
        for seq, draw in zip(events["seq"], bodies, strict=True)
        if draw.surface == (surface or draw.surface)
        and not (draw.items and all(item.inclusion_probability is None for item in draw.items))
        and not (draw.end and start and draw.end <= start)
        and not (draw.start and end and draw.start >= end)
    }


def place_draw(seq: int, draw: QueueDrawn, stratified: pl.DataFrame) -> pl.DataFrame:
    """Say of every session that a draw could have picked with which probability it did.

    ``stratified`` are the sessions it was made from. Those read again, or picked by hand, do not
    count.
    """
    drawn = pl.col("session_id").is_in(
        [item.session_id for item in draw.items if item.inclusion_probability is not None]
    )
    probability = drawn.mean().over("stratum")
    stratum = pl.format("draw {}: {}", pl.lit(seq), "stratum")
    return stratified.select(
        *SESSION_KEY, stratum=stratum, drawn=drawn, inclusion_probability=probability
    )


def combine_draws(placed: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Combine the draws that cover a session: its stratum is what their strata share.

    The draws are independent: a session is missed with the product of its chances to be missed.
    """
    missed = (1 - pl.col("inclusion_probability")).product()
    return (
        pl.concat([pl.DataFrame(schema=PLACED), *placed])
        .group_by(SESSION_KEY, maintain_order=True)
        .agg(
            pl.col("stratum").str.join(" + "),
            pl.col("drawn").any(),
            inclusion_probability=1 - missed,
        )
    )


def report_frame(
    sessions: pl.DataFrame, placed: pl.DataFrame, shipped: pl.DataFrame
) -> pl.DataFrame:
    """Join sessions with their strata, in the order in which releases were first announced."""
    dated = shipped.group_by("surface", "release").agg(pl.col("shipped_at").min())
    first = pl.col("started_at").min().over("surface", "release")
    return (
        sessions.with_columns(pl.col("release").fill_null(WHOLE))
        .join(dated, on=["surface", "release"], how="left")
        .with_columns(since=pl.coalesce("shipped_at", first))
        .join(placed, on=SESSION_KEY, how="left")
        .with_columns(pl.col("drawn").fill_null(False))
        .sort("surface", "since", "release", "session_id")
    )


def find_targets(
    shipped: pl.DataFrame, verdicts: pl.DataFrame
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the newest release, the modes it set out to fix, and who judges these, sorted."""
    if shipped.is_empty():
        raise EvalbenchError("no release of this surface was announced, so none can be decided on")
    release = shipped.sort("shipped_at", "release").row(-1, named=True)
    judging = verdicts.filter(pl.col("mode").is_in(release["targets"]))
    evaluators = judging["evaluator_id"].unique().sort().to_list()
    if not evaluators:
        raise EvalbenchError(
            f"no evaluator judges what release {release['release']} set out to fix: score one first"
        )
    return release["release"], tuple(release["targets"]), tuple(evaluators)


def sample_table(
    frame: pl.DataFrame, labels: pl.DataFrame, draws: dict[int, QueueDrawn]
) -> pl.DataFrame:
    """Count the report's sessions that each draw could pick, picked, and people labelled."""
    labelled = frame.join(labels.drop_nulls("fails"), on=SESSION_KEY, how="semi")
    rows = []
    for seq, draw in draws.items():
        own = pl.col("stratum").str.contains(f"draw {seq}: ", literal=True)
        covered = frame.filter(own, surface=draw.surface)
        picked = {item.session_id for item in draw.items} & set(covered["session_id"])
        read = picked & set(labelled.filter(surface=draw.surface)["session_id"])
        counts = (covered["stratum"].n_unique(), covered.height, len(picked), len(read))
        rows += [(seq, draw.surface, *counts)] if covered.height else []
    return pl.DataFrame(rows, schema=SAMPLE, orient="row")


def limits_table(
    frame: pl.DataFrame, labels: pl.DataFrame, verdicts: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """Count, by surface, what each limit of the report touches, as :data:`LIMITS`."""
    rows = []
    for (surface,), sessions in frame.group_by("surface", maintain_order=True):
        known = labels.join(sessions, on=SESSION_KEY, how="semi")
        judged = verdicts.join(sessions, on=SESSION_KEY, how="semi")
        counts = _count_limits(sessions, known, judged, rates.filter(surface=surface))
        silent = [name for name in SIGNALS if sessions[name].is_null().all()]
        names = {"signals": ", ".join(silent).replace("_", " ")}
        counts["signals"] = (len(silent), len(SIGNALS))
        rows += [
            (surface, limit, n, of, names.get(limit, "")) for limit, (n, of) in counts.items() if n
        ]
    return pl.DataFrame(rows, schema=LIMITS, orient="row")


def _count_limits(
    sessions: pl.DataFrame, known: pl.DataFrame, judged: pl.DataFrame, rates: pl.DataFrame
) -> dict[str, tuple[int, int]]:
    total, n_rates = sessions.height, rates.height
    outcomes = rates["mode"].eq(OUTCOME).any()
    drawn, read = sessions.filter("drawn"), known.select(SESSION_KEY).unique()
    unread = drawn.join(known.drop_nulls("fails"), on=SESSION_KEY, how="anti")
    outside = read.join(drawn, on=SESSION_KEY, how="anti")
    ok = rates.filter(status="ok")
    counts = {
        "no labels": (int(known.is_empty()), 1),
        "outcome not recorded": (sessions["outcome"].null_count() if outcomes else 0, total),
        "insufficient": (n_rates - ok.height, n_rates),
        "cautions": (ok["reason"].ne("").sum(), n_rates),
        "in no draw": (0 if outcomes else sessions["stratum"].null_count(), total),
        "drawn, not labelled": (unread.height, drawn.height),
        "labelled, not drawn": (outside.height, read.height),
        "undecided": (known["fails"].null_count(), known.height),
        "judge silent": (judged["fails"].null_count(), judged.height),
        "no release": ((sessions["release"] == WHOLE).sum(), total),
        "no time": (sessions["started_at"].null_count(), total),
    }
    return {limit: (int(n), int(of)) for limit, (n, of) in counts.items()}
