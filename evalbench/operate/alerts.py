"""Alerts: failure rates of which the evidence says that they are above their target."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection

from evalbench.operate.quarter import MODE_KEY, name_quarter
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import TIME, AlertRaised, columns
from evalbench.stats.sequential import evidence, judged_target, overdispersion, spend_alpha
from evalbench.store.ledger import Draft
from evalbench.store.workspace import Workspace

JUDGE_KEY = ["surface", "mode", "evaluator_id", "evaluator_version"]
TARGETS = columns((pl.String, "surface mode"), (pl.Float64, "held_to"), (pl.String, "held_by"))
HISTORY = timedelta(days=91)  # before a quarter, from which it is learnt how days differ
# ``seen_from`` is the rate above which an alert can come, the evaluator's errors at their worst; it
# is ``raised`` on the day on which the evidence, ``highest`` so far, first reached ``threshold``.
ALERTS = columns(
    (pl.String, "surface mode name severity owner evaluator_id"),
    (pl.Float64, "held_to seen_from e_value highest threshold dispersion"),
    (pl.Int64, "n_sessions n_users"),
    (TIME, "raised"),
    (pl.String, "reading why"),
)
OVER, QUIET, UNKNOWN = "above target", "no alert", "cannot tell"


def read_targets(events: pl.DataFrame) -> pl.DataFrame:
    """Read what the owners hold failure modes to as :data:`TARGETS`; the last word counts.

    ``events`` are ``target.set``: those that name a failure mode and a surface.
    """
    own = events.drop_nulls(MODE_KEY).rename({"target": "held_to", "owner": "held_by"})
    return own.unique(MODE_KEY, keep="last", maintain_order=True).select(list(TARGETS))


def choose_judges(alignment: pl.DataFrame) -> pl.DataFrame:
    """Choose who speaks for each failure mode: of the evaluators measured the one that errs least.

    Takes what ``measure_alignment`` gives; those whose errors are not known speak for none.
    """
    known = alignment.drop_nulls(["tpr_high", "tnr_low"]).sort("mcc", descending=True)
    best = known.unique(MODE_KEY, keep="first", maintain_order=True)
    return best.select(*JUDGE_KEY, "tpr", "tpr_high", "tnr", "tnr_low")


def judge_stream(verdicts: pl.DataFrame, judges: pl.DataFrame) -> pl.DataFrame:
    """Keep the last word of each mode's judge on each session, where it said fail or pass."""
    own = verdicts.join(judges.select(JUDGE_KEY), on=JUDGE_KEY, how="semi").drop_nulls("fails")
    return own.sort("judged_at", "repeat").unique([*SESSION_KEY, "mode"], keep="last")


def watch_targets(
    targets: pl.DataFrame,
    modes: pl.DataFrame,
    judges: pl.DataFrame,
    stream: pl.DataFrame,
    sessions: pl.DataFrame,
    *,
    weights: Mapping[str, float],
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Weigh the evidence against each target over a quarter, as :data:`ALERTS`.

    ``targets`` and ``modes`` are the whole company's, whose alerts together may be wrong in 5% of
    quarters; the ``weights`` of severities divide these. ``sessions`` begin before ``start``.
    """
    facts = modes.select(*MODE_KEY, "name", "severity", "owner")
    watched = targets.join(facts, on=MODE_KEY, maintain_order="left")
    alphas = spend_alpha([weights.get(each, 1.0) for each in watched["severity"]])
    watched = watched.with_columns(threshold=pl.Series(1 / alphas, dtype=pl.Float64))
    own = watched.join(sessions.select("surface").unique(), on="surface", how="semi")
    about = sessions.select(
        *SESSION_KEY, "started_at", user=pl.coalesce("group_key", "session_id")
    ).drop_nulls()
    judged = stream.join(about, on=SESSION_KEY)
    rows = []
    for row in own.join(judges, on=MODE_KEY, how="left", maintain_order="left").to_dicts():
        mine = judged.filter(surface=row["surface"], mode=row["mode"])
        rows.append(row | _weigh(row, mine, start, end))
    table = pl.DataFrame([{name: row.get(name) for name in ALERTS} for row in rows], ALERTS)
    return table.sort(pl.col("reading") != OVER, -pl.col("highest"), "name", nulls_last=True)


def _weigh(
    row: Mapping[str, Any], judged: pl.DataFrame, start: datetime, end: datetime
) -> dict[str, Any]:
    if row["evaluator_id"] is None:
        return {"reading": UNKNOWN, "why": "no evaluator that counts was measured against people"}
    if not 0 <= row["held_to"] < 1:
        return {"reading": UNKNOWN, "why": "its target is no share of sessions, such as 0.01"}
    day = (pl.col("started_at") - start).dt.total_days()
    past = judged.filter(pl.col("started_at").is_between(start - HISTORY, start, closed="left"))
    now = judged.filter(pl.col("started_at").is_between(start, end, closed="left"))
    if now.is_empty():
        return {"reading": UNKNOWN, "why": "no session of this quarter was judged"}
    worst = judged_target(row["held_to"], tpr_high=row["tpr_high"], fpr_high=1 - row["tnr_low"])
    means = now.group_by("user", day=day).agg(pl.col("fails").mean()).sort("day", "user")
    unit, users, fails = (means[name].to_numpy() for name in ("day", "user", "fails"))
    days, dispersion = (end - start).days, _learn_dispersion(past)
    found = evidence(unit, users, fails, target=worst, days=days, dispersion=dispersion)
    seen = found[: unit.max() + 1]
    over = np.flatnonzero(seen >= row["threshold"])
    fpr = 1 - row["tnr"]
    power = row["tpr"] - fpr
    return {
        "reading": OVER if len(over) else QUIET,
        "raised": start + timedelta(days=int(over[0])) if len(over) else None,
        "seen_from": min((worst - fpr) / power, 1.0) if power > 0 else 1.0,
        "e_value": seen[-1],
        "highest": seen.max(),
        "dispersion": dispersion,
        "n_sessions": now.height,
        "n_users": now["user"].n_unique(),
    }


def _learn_dispersion(past: pl.DataFrame) -> float:
    if past.is_empty():
        return 1.0
    by_user = past.group_by("user", day=pl.col("started_at").dt.date()).agg(pl.col("fails").mean())
    by_user, x = by_user.sort("day", "user"), pl.col("fails")
    days = by_user.group_by("day").agg(n=pl.len(), sums=x.sum(), squares=(x**2).sum()).sort("day")
    whole = days.upsample("day", every="1d").fill_null(0)
    return float(overdispersion(*(whole[name].to_numpy() for name in ("n", "sums", "squares"))))


def record_alerts(ws: Workspace, alerts: pl.DataFrame, *, start: datetime) -> int:
    """Write ``alert.raised`` for each alert that the quarter has not heard of; give how many."""
    drafts = {
        (row["surface"], row["mode"]): AlertRaised(
            surface=row["surface"],
            mode=row["mode"],
            day=row["raised"],
            e_value=row["highest"],
            threshold=row["threshold"],
            target=row["held_to"],
        )
        for row in alerts.filter(reading=OVER).iter_rows(named=True)
    }

    def choose(connection: Connection) -> list[Draft]:
        events = ws.ledger.events("alert.raised", connection=connection)
        known = [AlertRaised.model_validate_json(text) for text in events["body"]]
        quarter = name_quarter(start)
        heard = {(each.surface, each.mode) for each in known if name_quarter(each.day) == quarter}
        return [
            ("alert.raised", "/".join(key), body)
            for key, body in drafts.items()
            if key not in heard
        ]

    before = ws.ledger.head()
    return ws.ledger.extend(choose) - before
