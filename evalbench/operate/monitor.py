"""Is production well? Rates by day or week, error budgets, and how far earlier figures held."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.alerts import MODE_KEY
from evalbench.operate.impact import FEWEST, SurfaceRates
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns
from evalbench.stats import Estimate

IN_NO_DRAW = "in no draw"
_INTERVAL = (pl.Float64, "per_1000 low_per_1000 high_per_1000")
WATCHED = columns(
    (pl.String, "surface mode name severity owner"),
    (pl.Date, "start"),
    _INTERVAL,
    (pl.Float64, "held_to"),
    (pl.Int64, "n_sessions n_labels"),
    (pl.String, "reason"),
)
"""Rates by period; null with a ``reason`` where none can be given."""
BUDGETS = columns(
    (pl.String, "surface severity mode name owner"),
    (pl.Float64, "held_to"),
    (pl.Int64, "n_sessions"),
    (pl.Float64, "allowed spent spent_low spent_high"),
    (pl.String, "reading reason"),
)
"""Failing sessions of the quarter: ``allowed`` for the whole of it, ``spent`` so far."""
NOWCASTS = columns(
    (pl.String, "surface mode name"),
    _INTERVAL,
    (pl.Float64, "later later_low later_high missed low high"),
    (pl.String, "reading"),
)
GAPS = columns(
    (pl.String, "surface release mode name suite"),
    (pl.Float64, "offline offline_low offline_high online online_low online_high delta low high"),
    (pl.Int64, "n_cases"),
    (pl.String, "reading"),
)
"""``delta`` is online less offline: what a suite did not see coming."""


def choose_sample(sessions: pl.DataFrame, share: float) -> pl.DataFrame:
    """Choose a share of sessions by a hash of their name: the same ones whenever it is asked.

    Raises ValueError where ``share`` is none.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    keys = map("\n".join, sessions.select(SESSION_KEY).iter_rows())
    hashed = (int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) for key in keys)
    return sessions.filter(
        pl.Series([number < share * 2**64 for number in hashed], dtype=pl.Boolean)
    )


def put_in_periods(frame: pl.DataFrame, *, start: datetime, every: str) -> pl.DataFrame:
    """Divide sessions by time in the place of releases: what went before ``start`` by quarters.

    ``every`` is a period of polars, "1d" or "1w"; a window is called by its first day. Sessions
    that no draw could have picked are taken in, as a stratum that nobody read.
    """
    day = pl.col("started_at").dt.date()
    earlier = pl.col("started_at") < start
    since = pl.when(earlier).then(day.dt.truncate("1q")).otherwise(day.dt.truncate(every))
    first = pl.max_horizontal(since, pl.lit(start.date()))
    since = pl.when(earlier).then(since).otherwise(first)
    return (
        frame.drop_nulls("started_at")
        .with_columns(
            release=since.cast(pl.String), stratum=pl.col("stratum").fill_null(IN_NO_DRAW)
        )
        .sort("surface", "release", "session_id")
    )


def period_rates(
    estimated: list[SurfaceRates], modes: pl.DataFrame, targets: pl.DataFrame, *, start: datetime
) -> pl.DataFrame:
    """Return the rates of the periods from ``start`` on as :data:`WATCHED`, those over most first.

    A period without labels is a nowcast: labels of the others tell how the evaluator errs.
    """
    rows = []
    for each, at, window, about in _windows(estimated):
        row = about | {"start": datetime.fromisoformat(about["release"]).date()}
        if row["start"] < start.date():
            continue
        row["reason"] = why_not(each, at, window)
        if not row["reason"]:
            rate = each.found.processes[at][window]
            ends = zip(("per_1000", "low_per_1000", "high_per_1000"), _ends(rate), strict=True)
            row |= {name: 1000 * value for name, value in ends}
        row["n_sessions"] = int(each.counted.n_sessions[at, window])
        row["n_labels"] = int(each.counted.n_labels[at, window])
        rows.append(row)
    table = pl.DataFrame([{n: row.get(n) for n in WATCHED} for row in rows], WATCHED)
    known = table.drop("severity", "owner", "held_to").join(
        modes.select(*MODE_KEY, "severity", "owner"), on=MODE_KEY, how="left"
    )
    joined = known.join(targets.select(*MODE_KEY, "held_to"), on=MODE_KEY, how="left")
    last = pl.col("per_1000").mean().over(MODE_KEY)
    return joined.select(list(WATCHED)).sort("surface", -last, "mode", "start", nulls_last=True)


def why_not(each: SurfaceRates, at: int, window: int) -> str:
    """Say why no rate can be given of a mode in a window; empty if it can.

    Unlike a report on a release this takes an evaluator's word for a window without labels, where
    there are enough in all.
    """
    labels = each.counted.n_labels[at]
    if each.found is None:
        return "no failure mode counts"
    if labels.sum() < FEWEST:
        return f"{labels.sum()} labelled sessions in all; at least {FEWEST} are needed"
    if not each.counted.evaluators[at, window] and labels[window] < FEWEST:
        return f"no evaluator judged it, and {labels[window]} sessions are labelled"
    return ""


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

    ``estimated`` is by quarters. The sessions of the whole quarter are those so far over the share
    of it that has passed by ``now``. What severities allow and spent is the sum over their modes,
    of which errors are taken to be independent.
    """
    passed = min(max((now - start) / (end - start), 0.01), 1.0)
    facts = modes.join(targets, on=MODE_KEY).select(*MODE_KEY, "severity", "held_to", "held_by")
    known = {(row["surface"], row["mode"]): row for row in facts.iter_rows(named=True)}
    rows = []
    for each, at, window, about in _windows(estimated):
        fact = known.get((about["surface"], about["mode"]))
        if fact is None or about["release"] != str(start.date()):
            continue
        n = int(each.counted.n_sessions[at, window])
        row = about | fact | {"n_sessions": n, "owner": fact["held_by"]}
        row |= {"allowed": fact["held_to"] * n / passed, "reason": why_not(each, at, window)}
        if not row["reason"]:
            spent = [n * end for end in _ends(each.found.rates[at][window])]
            row |= dict(zip(("spent", "spent_low", "spent_high"), spent, strict=True))
        rows.append(row)
    single = pl.DataFrame([{n: row.get(n) for n in BUDGETS} for row in rows], BUDGETS)
    table = pl.concat([_sum_severities(single), single]).with_columns(
        reading=pl.when(pl.col("spent_low") > pl.col("allowed"))
        .then(pl.lit("exhausted"))
        .when(pl.col("spent_high") <= pl.col("allowed"))
        .then(pl.lit("inside"))
        .otherwise(pl.lit("cannot tell"))
    )
    severity = pl.col("severity").cast(pl.Enum(["safety", "user impact", "polish"]))
    return table.sort("surface", severity, pl.col("mode").is_not_null(), "name")


def _sum_severities(single: pl.DataFrame) -> pl.DataFrame:
    spent = pl.col("spent").sum()
    under, over = (
        (pl.col("spent") - pl.col(f"spent_{end}")).pow(2).sum().sqrt() for end in ("low", "high")
    )
    some = single.filter(pl.len().over("surface", "severity") > 1)
    unknown = pl.col("spent").null_count()
    summed = some.group_by("surface", "severity").agg(
        pl.col("n_sessions").max(),
        pl.col("allowed").sum(),
        spent=pl.when(unknown == 0).then(spent),
        spent_low=pl.when(unknown == 0).then((spent - under).clip(0)),
        spent_high=pl.when(unknown == 0).then(spent + over),
        reason=pl.when(unknown > 0).then(pl.format("{} of its rates are not known", unknown)),
    )
    named = summed.with_columns(name=pl.format("All of severity {}", "severity"))
    nothing = [pl.lit(None, BUDGETS[n]).alias(n) for n in BUDGETS if n not in named.columns]
    return named.with_columns(nothing).select(list(BUDGETS)).cast(BUDGETS)


def score_nowcasts(
    guessed: list[SurfaceRates], later: list[SurfaceRates], *, start: datetime
) -> pl.DataFrame:
    """Set what the judge alone said of a quarter beside what people's labels then said.

    ``guessed`` knows labels of earlier quarters alone, ``later`` those of this one and no verdict.
    Gives :data:`NOWCASTS`, in shares of 1,000; ``missed`` is the nowcast less the labels, and it
    "held" where the interval of that holds 0.
    """
    labels = {
        (about["surface"], about["mode"]): each.found.processes[at][window]
        for each, at, window, about in _windows(later)
        if about["release"] == str(start.date()) and each.counted.n_labels[at, window] >= FEWEST
    }
    rows = []
    for each, at, window, about in _windows(guessed):
        truth = labels.get((about["surface"], about["mode"]))
        if truth is None or about["release"] != str(start.date()) or why_not(each, at, window):
            continue
        guess = each.found.processes[at][window]
        low, high = gap_ends(truth, guess)
        numbers = [*_ends(guess), *_ends(truth), guess.estimate - truth.estimate, low, high]
        row = [about["surface"], about["mode"], about["name"], *(1000 * each for each in numbers)]
        rows.append([*row, "held" if low <= 0 <= high else "missed"])
    return pl.DataFrame(rows, NOWCASTS, orient="row").sort("reading", -pl.col("missed").abs())


def gap_ends(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Return the ends of second - first, of two independent estimates (Zou & Donner 2008)."""
    gap = second.estimate - first.estimate
    under = np.hypot(second.estimate - second.low, first.high - first.estimate)
    over = np.hypot(second.high - second.estimate, first.estimate - first.low)
    return float(gap - under), float(gap + over)


def compare_offline(
    runs: pl.DataFrame,
    verdicts: pl.DataFrame,
    rates: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Set the failure rates of each release on its suites beside those in production: :data:`GAPS`.

    ``verdicts`` are on the outputs of ``runs``, by ``surface, run, case, repeat``; ``rates`` those
    of releases, with ``process`` and its ends.
    """
    known = runs.drop_nulls("release").select("surface", "run", "suite", "release")
    judged = verdicts.drop_nulls("fails").join(known, on=["surface", "run"])
    key, rows = ["surface", "release", "mode", "suite"], []
    for names, part in judged.sort("case").group_by(key, maintain_order=True):
        own = dict(zip(key, names, strict=True))
        about = {name: own[name] for name in key[:3]}
        row = next(rates.filter(status="ok", **about).iter_rows(named=True), None)
        if row is None:
            continue
        cases, fails = part["case"].to_numpy(), part["fails"].cast(pl.Float64).to_numpy()
        offline = stats.proportion(fails, groups=cases, level=level, rng=rng)
        ends = (row[name] for name in ("process", "process_low", "process_high"))
        value, low, high = ends
        online = Estimate(value, low, high, level, row["method"], row["n_sessions"])
        low, high = gap_ends(offline, online)
        sign = "worse in production" if low > 0 else "better in production"
        own |= {"name": row["name"], "n_cases": part["case"].n_unique()}
        own |= dict(zip(("offline", "offline_low", "offline_high"), _ends(offline), strict=True))
        own |= dict(zip(("online", "online_low", "online_high"), _ends(online), strict=True))
        own |= {"delta": online.estimate - offline.estimate, "low": low, "high": high}
        rows.append(own | {"reading": "no gap shown" if low <= 0 <= high else sign})
    return pl.DataFrame(rows, GAPS).sort("surface", "release", -pl.col("delta").abs(), "mode")


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.estimate, estimate.low, estimate.high


def _windows(estimated: list[SurfaceRates]) -> Any:
    """Walk over the modes and windows of all surfaces: where, and what they are called."""
    for each in estimated:
        for at, (mode, name) in enumerate(each.names.items()):
            for window, release in enumerate(each.counted.releases):
                about = {"surface": each.surface, "mode": mode, "name": name, "release": release}
                yield each, at, window, about
