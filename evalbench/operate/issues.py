"""Failures, incidents and red-team findings, followed until a fix is shown: a fold over events.

What cannot be is refused with the next step to take, and an event that was written past this module
and could not be is left out of the fold and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, get_args

import polars as pl
from pydantic import ValidationError
from sqlalchemy import Connection

from evalbench.errors import IssueError
from evalbench.schema import BODIES, TIME, IssueMoved, IssueOpened, IssueState, Severity, columns
from evalbench.store.ledger import Draft, Ledger

KINDS = ("issue.opened", "issue.moved")
SEVERITIES = get_args(Severity)
NEXT: dict[str, tuple[str, ...]] = {
    "observed": ("confirmed", "escalating", "won't fix"),
    "confirmed": ("reproduced", "fix shipped", "escalating", "won't fix"),
    "reproduced": ("fix shipped", "escalating", "won't fix"),
    "fix shipped": ("verified", "regressed", "fix shipped", "escalating", "won't fix"),
    "verified": ("regressed",),
    "regressed": ("reproduced", "fix shipped", "escalating", "won't fix"),
    "escalating": ("confirmed", "reproduced", "fix shipped", "won't fix"),
    "won't fix": ("confirmed", "escalating"),
}
"""The states that an issue may be moved into from each."""
STEPS = {
    "observed": "confirm it on its sessions",
    "confirmed": "reproduce it",
    "reproduced": "ship a fix",
    "fix shipped": "show that the rate is lower",
    "verified": "",
    "regressed": "ship another fix",
    "escalating": "ship a fix, or go back a release",
    "won't fix": "",
}
"""What is to be done about an issue in each state; nothing where it is closed."""
ISSUES = columns(
    (pl.String, "issue surface title source severity owner mode state next_step release"),
    (TIME, "observed_at opened_at state_at fixed_at"),
    (pl.Float64, "delta low high exposure"),
    (pl.List(pl.String), "session_ids"),
    (pl.String, "runbook reason"),
    (pl.Int64, "refused"),
)
"""One row an issue. ``release`` ships the fix, since ``fixed_at``; ``delta`` with its interval and
``exposure`` are what showed a verified one. ``refused`` counts events that could not be."""
MOVES = columns(
    (pl.String, "issue surface source severity state release reason"), (TIME, "at recorded_at")
)
"""Every state of every issue in its order, the first of them observed."""


@dataclass(frozen=True)
class Issue:
    """An issue: how it was opened, the moves that held, and why others did not."""

    opened: IssueOpened
    opened_at: datetime
    moves: list[tuple[datetime, IssueMoved]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def state(self) -> IssueState:
        """Its state now."""
        return self.moves[-1][1].state if self.moves else "observed"

    @property
    def state_at(self) -> datetime:
        """Since when it is in that state."""
        return _utc(self.moves[-1][1].moved_at if self.moves else self.opened.observed_at)

    @property
    def mode(self) -> str | None:
        """The failure mode that it is of, where one was named."""
        return next((move.mode for _, move in self.moves[::-1] if move.mode), self.opened.mode)

    @property
    def fix(self) -> IssueMoved | None:
        """The last move that shipped a fix."""
        shipped = [move for _, move in self.moves if move.state == "fix shipped"]
        return shipped[-1] if shipped else None

    def refuse(self, move: IssueMoved, *, now: datetime) -> str:
        """Say why a move cannot be, with the next step; empty where it can."""
        name, at = move.issue, _utc(move.moved_at)
        if move.state not in NEXT[self.state]:
            *others, last = NEXT[self.state]
            may = f"{', '.join(others)} or {last}" if others else last
            return f"{name} is {self.state}, so it cannot be {move.state}: next it may be {may}"
        if at < self.state_at:
            since = f"{self.state_at:%Y-%m-%d %H:%M}"
            return f"{name} is {self.state} since {since}: give a time after that, with --at"
        if at > now:
            return f"{name} cannot be {move.state} in the future: give a time up to now, with --at"
        if move.state in ("fix shipped", "regressed") and not move.release:
            does = "ships the fix" if move.state == "fix shipped" else "showed it again"
            return f"name the release that {does}, with --release"
        if move.state == "won't fix" and not move.reason:
            return f"say why {name} will not be fixed, with --reason"
        if move.state == "verified" and not (move.high is not None and move.high < 0):
            return f"nothing shows that the rate of {name} is lower: it stays {self.state}"
        return ""


def read_issues(
    ledger: Ledger, *, until: int | None = None, connection: Connection | None = None
) -> dict[str, Issue]:
    """Fold the issues, by name, as of event ``until``."""
    issues = dict[str, Issue]()
    events = ledger.events(KINDS, until=until, connection=connection)
    for at, kind, text in events.select("at", "kind", "body").iter_rows():
        body: Any = BODIES[kind].model_validate_json(text)
        known = issues.get(body.issue)
        if kind == "issue.opened" and known is None:
            issues[body.issue] = Issue(body, at)
        elif kind == "issue.opened" and known:
            known.refused.append(f"{body.issue} was open already")
        elif known and (why := known.refuse(body, now=at)):
            known.refused.append(why)
        elif known:
            known.moves.append((at, body))
    return issues


def issue_table(
    issues: Mapping[str, Issue], *, start: datetime | None = None, end: datetime | None = None
) -> pl.DataFrame:
    """Return the issues that were open in a window as :data:`ISSUES`, the most severe first."""
    rows = [_row(name, issue) for name, issue in issues.items()]
    table = pl.DataFrame(rows, schema=ISSUES)
    if end:
        table = table.filter(pl.col("observed_at") < end)
    if start:
        table = table.filter((pl.col("next_step") != "") | (pl.col("state_at") >= start))
    severe = pl.col("severity").cast(pl.Enum(SEVERITIES))
    return table.sort(pl.col("next_step") == "", severe, "observed_at", "issue")


def move_table(issues: Mapping[str, Issue]) -> pl.DataFrame:
    """Return every state of the issues as :data:`MOVES`."""
    rows = []
    for name, issue in issues.items():
        opened = issue.opened
        about = {"issue": name, "surface": opened.surface}
        about |= {"source": opened.source, "severity": opened.severity}
        first = {"state": "observed", "release": None, "reason": "", "at": _utc(opened.observed_at)}
        rows.append(about | first | {"recorded_at": issue.opened_at})
        for recorded_at, move in issue.moves:
            said = move.model_dump(include={"state", "release", "reason"})
            rows.append(about | said | {"at": _utc(move.moved_at), "recorded_at": recorded_at})
    return pl.DataFrame(rows, schema=MOVES)


def check_sessions(sessions: pl.DataFrame, surface: str, ids: Sequence[str]) -> pl.DataFrame:
    """Return the sessions of these ids; IssueError where there is none of one."""
    seen = sessions.filter(pl.col("session_id").is_in(list(ids)), surface=surface)
    if missing := set(ids) - set(seen["session_id"]):
        raise IssueError(f"{surface} has no session {min(missing)!r}: see evalbench browse")
    return seen


def describe_failure(
    modes: pl.DataFrame,
    sessions: pl.DataFrame,
    truth: pl.DataFrame,
    mode: str,
    session_ids: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe a failure mode, seen in some sessions, as :func:`open_issue` takes it.

    It is confirmed where people decided that one of them fails, and was observed at the first.
    """
    known = modes.filter(mode=mode)
    if known.height != 1:
        names = ", ".join(modes["mode"]) or "none yet"
        raise IssueError(f"{known.height} failure modes are called {mode!r}; there are {names}")
    row = known.row(0, named=True)
    seen = check_sessions(sessions, row["surface"], session_ids)
    chosen = pl.col("session_id").is_in(list(session_ids))
    failed = truth.filter(chosen, pl.col("fails"), surface=row["surface"], mode=mode)
    about = {"surface": row["surface"], "mode": mode, "session_ids": tuple(session_ids)}
    about |= {"title": row["name"], "confirmed": failed.height > 0}
    about |= {each: row[each] for each in ("severity", "owner") if row[each]}
    if first := seen["started_at"].min():
        about["observed_at"] = first
    return about


def open_issue(ledger: Ledger, *, confirmed: bool = False, **fields: Any) -> str:
    """Open an issue and give its name, by default the surface with a number.

    ``fields`` are those of IssueOpened; a ``confirmed`` failure is moved into that state at once.
    """
    given = {"source": "production failure", "observed_at": ledger.clock(), **fields}
    names = list[str]()

    def choose(connection: Connection) -> list[Draft]:
        known = read_issues(ledger, connection=connection)
        numbered = (f"{given.get('surface')}-{number}" for number in count(1))
        name = given.get("issue") or next(each for each in numbered if each not in known)
        if name in known:
            raise IssueError(f"there is an issue {name!r} already: move it, or take another name")
        if _utc(given["observed_at"]) > ledger.clock():
            raise IssueError("nothing is observed in the future: give a time up to now")
        names.append(name)
        moved = {"issue": name, "state": "confirmed", "moved_at": ledger.clock()}
        moves: list[Draft] = [("issue.moved", name, moved)] if confirmed else []
        return [("issue.opened", name, given | {"issue": name}), *moves]

    ledger.extend(choose)
    return names[0]


def move_issue(
    ledger: Ledger, issue: str, state: str, *, fixes: pl.DataFrame | None = None, **fields: Any
) -> int:
    """Move an issue into another state, by ``fields`` of IssueMoved; give the event's number.

    It is verified only where ``fixes`` (of ``check_fixes``) show a lower rate, and has come back
    only in a release that carries its fix. Raises IssueError with the next step.
    """

    def choose(connection: Connection) -> list[Draft]:
        known = read_issues(ledger, connection=connection)
        if issue not in known:
            raise IssueError(f"no issue is called {issue!r}: see evalbench issues list")
        body = {"issue": issue, "state": state, "moved_at": ledger.clock(), **fields}
        checked = pl.DataFrame() if fixes is None else fixes.filter(issue=issue)
        row = checked.row(0, named=True) if checked.height else {}
        if state == "verified" and row.get("proposed") == "verified":
            body |= {name: row[name] for name in ("delta", "low", "high", "exposure")}
        try:
            move = IssueMoved.model_validate(body)
        except ValidationError:
            return [("issue.moved", issue, body)]  # the ledger refuses it, and says why
        if why := known[issue].refuse(move, now=ledger.clock()):
            raise IssueError(why + (f" ({row['reason']})" if row.get("reason") else ""))
        if state == "regressed" and move.release not in (row.get("carriers") or ()):
            raise IssueError(
                f"release {move.release} is not known to carry the fix of {issue}, which is in"
                f" {row.get('release')}: what an older release does reopens nothing"
            )
        return [("issue.moved", issue, move)]

    return ledger.extend(choose)


def _row(name: str, issue: Issue) -> dict[str, Any]:
    fix, last = issue.fix, issue.moves[-1][1] if issue.moves else None
    kept = "surface title source severity owner session_ids runbook".split()
    row = {each: getattr(issue.opened, each) for each in kept} | {"issue": name}
    row |= {"mode": issue.mode, "state": issue.state, "next_step": STEPS[issue.state]}
    row |= {"observed_at": _utc(issue.opened.observed_at), "opened_at": issue.opened_at}
    row |= {"state_at": issue.state_at, "refused": len(issue.refused)}
    if last:
        row |= last.model_dump(include={"delta", "low", "high", "exposure", "reason"})
    if fix:
        row |= {"release": fix.release, "fixed_at": _utc(fix.moved_at)}
    return row


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
