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
    (pl.Int64, "watched"),
    (pl.String, "proposed reason"),
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

    Takes the issues, what each release changed, the sessions in the order of their releases
    (``since``), what people decided of them, and the releases that were announced. A fix is
    verified by a confirmed improvement in the release that ships it. An issue has come back where a
    release that carries its fix confirms a regression, and escalates where it has no fix and the
    newest release does.
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

    Takes the statuses of evaluators, verdicts of any standing, what people decided, and the
    sessions. A failure was seen where people say so, or where the evaluator does and people do not
    say otherwise. One that counts is proposed for the archive when it ``watched`` sessions in the
    last :data:`QUIET` of the surface's traffic and saw it in none; an archived one is to come back
    as soon as the failure is seen within that time.
    """
    times = frame.select(*SESSION_KEY, "started_at").drop_nulls()
    decided = truth.drop_nulls("fails").select(*SESSION_KEY, "mode", "fails")
    said = decided.rename({"fails": "truth"})
    rows = []
    for row in statuses.filter(pl.col("status").is_in(["aligned", "gating", "archived"])).iter_rows(
        named=True
    ):
        place: dict[str, Any] = {"surface": row["surface"], "mode": row["mode"]}
        judged = verdicts.filter(evaluator_id=row["evaluator_id"], **place).drop_nulls("fails")
        own = judged.join(said, on=[*SESSION_KEY, "mode"], how="left")
        seen = own.select(*SESSION_KEY, fails=pl.coalesce("truth", "fails"))
        seen = pl.concat([seen, decided.filter(**place).select(*SESSION_KEY, "fails")])
        timed = seen.unique().join(times, on=SESSION_KEY)
        newest: Any = times.filter(surface=row["surface"])["started_at"].max()
        if newest is None:
            continue
        lately = timed.filter(pl.col("started_at") > newest - QUIET)
        last = timed.filter("fails")["started_at"].dt.date().max()
        about = {name: row[name] for name in ("evaluator_id", "kind", "owner", "status")} | place
        watched = lately.select(SESSION_KEY).n_unique()
        about |= {"last": last, "watched": watched}
        rows.append(about | _propose(row["status"], lately, watched))
    return pl.DataFrame(rows, schema=STALE)


def _propose(status: str, lately: pl.DataFrame, watched: int) -> dict[str, str]:
    again = lately["fails"].sum()
    if status == "archived":
        proposed, reason = ("bring back", f"seen in {again} sessions") if again else ("", "")
    elif not watched:
        proposed, reason = "", "it judged no session of that time"
    else:
        proposed, reason = ("", "") if again else ("archive", f"seen in none of {watched:,}")
    days = f" of the last {QUIET.days} days"
    return {"proposed": proposed, "reason": reason + days if reason and watched else reason}


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
