"""Is production well: rates by day or week, error budgets, and how far earlier figures held."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.alerts import MODE_KEY
from evalbench.operate.impact import FEWEST, SurfaceRates
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns
from evalbench.stats import Estimate
from evalbench.stats.mix import difference

# ``often`` is null with a ``reason`` where no rate can be given.
WATCHED = columns(
    (pl.String, "surface mode name severity owner"),
    (pl.Date, "start"),
    (pl.Float64, "often often_low often_high held_to"),
    (pl.Int64, "n_sessions n_labels"),
    (pl.String, "reason"),
)
# Failing sessions of the quarter: ``allowed`` for the whole of it, ``spent`` so far.
BUDGETS = columns(
    (pl.String, "surface severity mode name owner"),
    (pl.Float64, "held_to"),
    (pl.Int64, "n_sessions"),
    (pl.Float64, "allowed spent spent_low spent_high"),
    (pl.String, "reading reason"),
)
# ``shift`` is what labels say later less the nowcast, or production less the suite.
NOWCASTS = columns(
    (pl.String, "surface mode name"),
    (pl.Float64, "nowcast nowcast_low nowcast_high later later_low later_high"),
    (pl.Float64, "shift shift_low shift_high"),
    (pl.String, "reading"),
)
GAPS = columns(
    (pl.String, "surface release mode name suite"),
    (pl.Float64, "offline offline_low offline_high online online_low online_high"),
    (pl.Float64, "shift shift_low shift_high"),
    (pl.Int64, "n_cases"),
    (pl.String, "reading"),
)


def choose_sample(sessions: pl.DataFrame, share: float) -> pl.DataFrame:
    """Choose a share of sessions by a hash of their name: the same ones whenever it is asked."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    keys = map("\n".join, sessions.select(SESSION_KEY).iter_rows())
    hashed = (int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) for key in keys)
    return sessions.filter(pl.Series([each < share * 2**64 for each in hashed], dtype=pl.Boolean))


def put_in_periods(frame: pl.DataFrame, *, start: datetime, every: str) -> pl.DataFrame:
    """Divide sessions by time in the place of releases: what went before ``start`` by quarters.

    A period, such as "1w", is called by its first day. Sessions that no draw could have picked are
    a stratum that nobody read.
    """
    day, new = pl.col("started_at").dt.date(), pl.col("started_at") >= start
    since = pl.max_horizontal(day.dt.truncate(every), pl.lit(start.date()))
    period = pl.when(new).then(since).otherwise(day.dt.truncate("1q")).cast(pl.String)
    stratum = pl.col("stratum").fill_null("in no draw")
    timed = frame.drop_nulls("started_at").with_columns(release=period, stratum=stratum)
    return timed.sort("surface", "release", "session_id")


class _Window(NamedTuple):
    """One failure mode in one period: what was estimated of it, or the reason why nothing was."""

    about: dict[str, Any]
    start: date
    rate: Estimate
    process: Estimate
    reason: str


def _list_windows(estimated: list[SurfaceRates], start: datetime) -> Iterator[_Window]:
    """List periods from ``start`` on.

    Unlike for a release an evaluator's word is taken where a period has no labels, but enough
    others.
    """
    for each in estimated:
        for at, (mode, name) in enumerate(each.names.items()):
            labels = each.counted.n_labels[at]
            for window, first in enumerate(map(date.fromisoformat, each.counted.releases)):
                if first < start.date() or each.found is None:
                    continue
                about: dict[str, Any] = {"surface": each.surface, "mode": mode, "name": name}
                about |= {"n_sessions": int(each.counted.n_sessions[at, window])}
                about |= {"n_labels": int(labels[window])}
                reason = ""
                if labels.sum() < FEWEST:
                    reason = (
                        f"{labels.sum()} labelled sessions in all; at least {FEWEST} are needed"
                    )
                elif not each.counted.evaluators[at, window] and labels[window] < FEWEST:
                    reason = f"no evaluator judged it, and {labels[window]} sessions are labelled"
                found = each.found.rates[at][window], each.found.processes[at][window]
                yield _Window(about, first, *found, reason)


def period_rates(
    estimated: list[SurfaceRates], modes: pl.DataFrame, targets: pl.DataFrame, *, start: datetime
) -> pl.DataFrame:
    """Return the rates of the periods from ``start`` on as :data:`WATCHED`, the highest first."""
    rows = [
        each.about
        | {"start": each.start, "reason": each.reason}
        | ({} if each.reason else each.process.cells("often"))
        for each in _list_windows(estimated, start)
    ]
    facts = modes.select(*MODE_KEY, "severity", "owner").join(
        targets.select(*MODE_KEY, "held_to"), on=MODE_KEY, how="left"
    )
    table = _fill(rows, WATCHED).drop("severity", "owner", "held_to")
    joined = table.join(facts, on=MODE_KEY, how="left").select(list(WATCHED))
    most = -pl.col("often").mean().over(MODE_KEY)
    return joined.sort("surface", most, "mode", "start", nulls_last=True)


def spend_budgets(
    estimated: list[SurfaceRates],
    modes: pl.DataFrame,
    targets: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    now: datetime,
) -> pl.DataFrame:
    """Set what failed in the quarter against what its targets allow, as :data:`BUDGETS`.

    The whole quarter is taken to have as many sessions a day as so far. What a severity spent is
    the sum over its modes, whose errors are taken to be independent.
    """
    passed = min(max((now - start) / (end - start), 0.01), 1.0)
    facts = modes.join(targets, on=MODE_KEY).rows_by_key(MODE_KEY, named=True, unique=True)
    rows = []
    for each in _list_windows(estimated, start):
        fact, n = facts.get((each.about["surface"], each.about["mode"])), each.about["n_sessions"]
        if fact is not None:
            row = each.about | {"severity": fact["severity"], "held_to": fact["held_to"]}
            row |= {"allowed": fact["held_to"] * n / passed, "owner": fact["held_by"]}
            spent = {} if each.reason else each.rate.cells("spent")
            rows.append(row | {name: n * value for name, value in spent.items()})
            rows[-1]["reason"] = each.reason
    single, low, high = _fill(rows, BUDGETS), pl.col("spent_low"), pl.col("spent_high")
    over, allowed = pl.concat([_sum_severities(single), single]), pl.col("allowed")
    inside = pl.when(high <= allowed).then(pl.lit("inside")).otherwise(pl.lit("cannot tell"))
    reading = pl.when(low > allowed).then(pl.lit("exhausted")).otherwise(inside)
    severity = pl.col("severity").cast(pl.Enum(["safety", "user impact", "polish"]))
    order = ("surface", severity, pl.col("mode").is_not_null(), "name")
    return over.with_columns(reading=reading).sort(order)


def _sum_severities(single: pl.DataFrame) -> pl.DataFrame:
    spent, unknown = pl.col("spent"), pl.col("spent").null_count() > 0
    under, over = ((spent - pl.col(f"spent_{end}")).pow(2).sum().sqrt() for end in ("low", "high"))
    ends = {"spent": spent.sum(), "spent_low": (spent.sum() - under).clip(0)}
    ends["spent_high"] = spent.sum() + over
    several = single.filter(pl.len().over("surface", "severity") > 1)
    known = {name: pl.when(~unknown).then(value) for name, value in ends.items()}
    summed = several.group_by("surface", "severity").agg(
        pl.col("n_sessions").max(), pl.col("allowed").sum(), **known
    )
    named = summed.with_columns(name=pl.format("All of severity {}", "severity"))
    return pl.concat([single.clear(), named], how="diagonal")


def score_nowcasts(
    guessed: list[SurfaceRates], later: list[SurfaceRates], *, start: datetime
) -> pl.DataFrame:
    """Set what judges alone said of a period beside what people's labels then said: NOWCASTS.

    It "held" where the interval of the shift holds 0.
    """
    read = (each for each in _list_windows(later, start) if each.about["n_labels"] >= FEWEST)
    labels = {(each.about["mode"], each.start): each.process for each in read}
    rows = []
    for each in _list_windows(guessed, start):
        truth = labels.get((each.about["mode"], each.start))
        if truth is not None and not each.reason:
            shift = difference(each.process, truth)
            cells = each.process.cells("nowcast") | truth.cells("later") | shift.cells("shift")
            reading = "held" if shift.low <= 0 <= shift.high else "missed"
            rows.append(each.about | cells | {"reading": reading})
    return _fill(rows, NOWCASTS).sort(pl.col("reading") == "held", -pl.col("shift").abs())


def compare_offline(
    runs: pl.DataFrame,
    verdicts: pl.DataFrame,
    rates: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Set failure rates of releases on suites beside those in production: :data:`GAPS`."""
    known = runs.drop_nulls("release").select("surface", "run", "suite", "release")
    judged = verdicts.drop_nulls("fails").join(known, on=["surface", "run"])
    key = ["surface", "release", "mode"]
    produced, rows = rates.filter(status="ok").rows_by_key(key, named=True, unique=True), []
    for names, part in judged.sort(*key, "suite", "case").group_by(
        *key, "suite", maintain_order=True
    ):
        row = produced.get(names[:3])
        if row is None:
            continue
        cases, fails = part["case"].to_numpy(), part["fails"].cast(pl.Float64).to_numpy()
        offline = stats.proportion(fails, groups=cases, level=level, rng=rng)
        ends = row["process_low"], row["process_high"], level, row["method"]
        online = Estimate(row["process"], *ends, row["n_sessions"])
        shift = difference(offline, online)
        reading = "worse in production" if shift.low > 0 else "better in production"
        reading = "no gap shown" if shift.low <= 0 <= shift.high else reading
        own = dict(zip((*key, "suite"), names, strict=True)) | {"name": row["name"]}
        own |= offline.cells("offline") | online.cells("online") | shift.cells("shift")
        rows.append(own | {"n_cases": part["case"].n_unique(), "reading": reading})
    return _fill(rows, GAPS).sort("surface", "release", -pl.col("shift").abs(), "mode")


def _fill(rows: list[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    """Make a frame of rows that have some of its columns, and others."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema)
