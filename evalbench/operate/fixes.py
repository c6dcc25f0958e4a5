"""Which fixes are shown to have worked, and which evaluators watch for what no longer happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from evalbench.operate.issues import STEPS
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns

FIXES = columns(
    (pl.String, "issue surface title mode state release"),
    (pl.List(pl.String), "carriers"),
    (pl.Int64, "n_sessions n_carrying again old"),
    (pl.Float64, "exposure before before_low before_high after after_low after_high"),
    (pl.Float64, "delta low high"),
    (pl.String, "reading proposed reason"),
)
"""``carriers`` are the releases that carry the fix, ``exposure`` the share of the surface's
sessions since then that ran on one. People saw the failure ``again`` in so many of these, and in
``old`` ones of older releases. ``proposed`` is the state that the evidence speaks for, if any."""
STALE = columns(
    (pl.String, "evaluator_id surface mode kind owner status"),
    (pl.Date, "last"),
    (pl.Int64, "watched again"),
    (pl.String, "proposed"),
)
QUIET = timedelta(days=90)
"""An evaluator of a failure that was not seen for so long is proposed for the archive."""
JUDGED = [*SESSION_KEY, "mode", "evaluator_id", "fails"]
_NUMBERS = "before before_low before_high after after_low after_high delta low high".split()


def check_fixes(
    issues: pl.DataFrame,
    changes: pl.DataFrame,
    frame: pl.DataFrame,
    truth: pl.DataFrame,
    shipped: pl.DataFrame,
) -> pl.DataFrame:
    """Compare the rates before and after each fix, as :data:`FIXES`.

    A fix is verified by a confirmed improvement in the release that ships it. An issue has come
    back where a release that carries its fix confirms a regression, and escalates where it has none
    and the newest release does.
    """
    failed = truth.filter(pl.col("fails")).join(frame, on=SESSION_KEY)
    rows = []
    for issue in issues.iter_rows(named=True):
        if issue["release"] or (STEPS[issue["state"]] and issue["mode"]):
            about = {"surface": issue["surface"]}
            own = changes.filter(mode=issue["mode"] or "", **about)
            seen = failed.filter(mode=issue["mode"] or "", **about)
            row = {
                name: issue[name] for name in ("issue", "title", "mode", "state", "release")
            } | about
            rows.append(row | _check(row, own, frame.filter(**about), seen))
            twice = shipped.filter(release=issue["release"] or "", **about).height > 1
            rows[-1]["reason"] += "; it was announced twice, the first counts" if twice else ""
    return pl.DataFrame(rows, schema=FIXES)


def find_stale(
    statuses: pl.DataFrame, verdicts: pl.DataFrame, truth: pl.DataFrame, frame: pl.DataFrame
) -> pl.DataFrame:
    """Find the evaluators of failures that are not seen any longer, as :data:`STALE`.

    A failure is seen where people say so, or the evaluator does and people do not say otherwise.
    One that ``watched`` sessions in the last :data:`QUIET` and saw it in none is proposed for the
    archive; an archived one is to come back as soon as the failure is seen.
    """
    mode, key = ["surface", "mode"], [*SESSION_KEY, "mode"]
    asked = statuses.filter(pl.col("status").is_in(["aligned", "gating", "archived"]))
    said = truth.drop_nulls("fails").select(*key, said="fails")
    judged = verdicts.drop_nulls("fails").join(said, on=key, how="left")
    seen = pl.concat(
        [
            judged.select("evaluator_id", *SESSION_KEY, fails=pl.coalesce("said", "fails")),
            asked.join(said, on=mode).select("evaluator_id", *SESSION_KEY, fails="said"),
        ]
    ).unique()
    at, fails = pl.col("started_at"), pl.col("fails")
    times = frame.select(*SESSION_KEY, at, lately=at > at.max().over("surface") - QUIET)
    found = (
        seen.join(times.drop_nulls(), on=SESSION_KEY)
        .group_by("evaluator_id")
        .agg(
            last=at.filter("fails").max().dt.date(),
            watched=pl.col("session_id").filter("lately").n_unique().cast(pl.Int64),
            again=(fails & pl.col("lately")).sum().cast(pl.Int64),
        )
    )
    archived, again = pl.col("status") == "archived", pl.col("again") > 0
    quiet = ~archived & ~again & (pl.col("watched") > 0)
    back = pl.when(archived & again).then(pl.lit("bring back"))
    proposed = back.when(quiet).then(pl.lit("archive")).otherwise(pl.lit(""))
    joined = asked.join(found, on="evaluator_id", how="left", maintain_order="left")
    counted = joined.with_columns(pl.col("watched", "again").fill_null(0), proposed=proposed)
    return counted.with_columns(pl.col("proposed").fill_null("")).select(STALE.names())


def _check(
    row: dict[str, Any], changes: pl.DataFrame, frame: pl.DataFrame, failed: pl.DataFrame
) -> dict[str, Any]:
    releases = dict(
        frame.select("release", "since").unique(keep="first", maintain_order=True).rows()
    )
    fix = row["release"]
    if fix is None:
        newest = next(reversed(releases), "")
        change = changes.filter(release=newest)
        worse = change["reading"].eq("confirmed regression").any() and row["state"] != "escalating"
        proposed = "escalating" if worse else ""
        return {"proposed": proposed, "reason": "no fix is shipped"} | _numbers(change)
    if fix not in releases:
        return {"reason": f"no session of release {fix} is known", "proposed": ""}
    since = releases[fix]
    carriers = [name for name, at in releases.items() if at >= since]
    carries = pl.col("release").is_in(carriers)
    later, again = (each.filter(pl.col("started_at") >= since) for each in (frame, failed))
    carrying, change = later.filter(carries).height, changes.filter(release=fix)
    found: dict[str, Any] = {
        "carriers": carriers,
        "n_sessions": later.height,
        "n_carrying": carrying,
    }
    found |= {"again": again.filter(carries).height}
    found["old"] = again.filter(~carries).height
    found |= {"exposure": carrying / later.height if later.height else None} | _numbers(change)
    back = changes.filter(pl.col("release").is_in(carriers), reading="confirmed regression")
    proposed = "verified" if found["reading"] == "confirmed improvement" else ""
    if row["state"] != "fix shipped":
        proposed = ""
    if back.height and row["state"] in ("fix shipped", "verified"):
        proposed = "regressed"
    more = "" if proposed else "; label more of it, with 02_sample -p decide release"
    found |= {"proposed": proposed, "reason": f"release {fix}: {found['reading']}{more}"}
    if row["mode"] is None:
        found["reason"] = "it is of no failure mode, so no rate tells: name one, with --mode"
    elif change.is_empty():
        found["reason"] = f"there is no release before {fix} to compare it with"
    return found


def _numbers(change: pl.DataFrame) -> dict[str, Any]:
    if change.is_empty():
        return {"reading": "cannot tell"}
    row = change.row(0, named=True)
    return {name: row[name] for name in (*_NUMBERS, "reading")}
