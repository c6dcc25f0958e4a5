"""How the simulated company follows its failures: targets, issues, metrics and decisions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from evalbench.demo.company import QUARTERS, Release, Surface
from evalbench.operate.fixes import check_fixes
from evalbench.operate.issues import move_issue, open_issue
from evalbench.snapshot import take_snapshot
from evalbench.store.ledger import Ledger
from evalbench.store.workspace import Workspace

HEAD = "mara"  # answers for the figures of the whole company
BUDGETS = {"safety": 0.01, "user impact": 0.03, "polish": 0.06}
"""The share of sessions that may fail by a mode of each severity, by its owner's word."""
COMPANY = {"coverage_safety": 0.9, "satisfaction": 7.5, "time_to_verified_fix": 120.0}
"""What the company's figures are held to."""
SATISFACTION = (6.8, 7.0, 7.3, 7.6)  # measured elsewhere, a value a quarter
SEEN_BEFORE = timedelta(days=3)
FEWEST = 3  # sessions that show a failure before it is followed
ASKED = (
    "Label 400 sessions of each product a quarter.",
    "Ship no release without a gate on the golden cases.",
    "Work on safety failures of Code reviewer first.",
    "Label 200 more sessions of Sales research, where most readings cannot tell.",
)
"""What leadership is asked for at the end of each quarter."""


def set_targets(ledger: Ledger, company: Iterable[Surface]) -> None:
    """Let the owner of every failure mode say how often it may happen."""
    modes = [(surface.surface, mode) for surface in company for mode in surface.modes]
    bodies = [
        {
            "surface": surface,
            "metric": "failure_rate",
            "mode": mode.mode,
            "target": BUDGETS[mode.severity],
            "owner": mode.owner,
        }
        for surface, mode in modes
    ]
    bodies += [
        {"metric": name, "target": target, "owner": HEAD} for name, target in COMPANY.items()
    ]
    ledger.extend(("target.set", str(body.get("mode", body["metric"])), body) for body in bodies)


def open_issues(ledger: Ledger, surface: Surface, truth: pl.DataFrame) -> None:
    """Follow each failure that people saw in several sessions; ``truth`` is what they decided."""
    known = set(ledger.bodies("issue.opened").filter(surface=surface.surface)["mode"])
    for mode in surface.modes:
        seen = truth.filter("fails", surface=surface.surface, mode=mode.mode)["session_id"].sort()
        if len(seen) >= FEWEST and mode.mode not in known:
            open_issue(
                ledger,
                surface=surface.surface,
                title=mode.name,
                severity=mode.severity,
                owner=mode.owner,
                mode=mode.mode,
                observed_at=ledger.clock() - SEEN_BEFORE,
                session_ids=tuple(seen[:FEWEST]),
                confirmed=True,
            )


def ship_fixes(ledger: Ledger, surface: Surface, release: Release) -> None:
    """Note on the issues of a release's targets that it ships their fix."""
    opened = ledger.bodies("issue.opened").filter(surface=surface.surface)
    for issue, mode in opened.select("issue", "mode").iter_rows():
        if mode in release.targets:
            move_issue(ledger, issue, "fix shipped", release=release.release)


def verify_fixes(ws: Workspace, changes: pl.DataFrame) -> None:
    """Call those fixes verified of which reports say that they are confirmed."""
    view = take_snapshot(ws)
    known = check_fixes(view.issues, changes, view.frame, view.truth, view.shipped)
    for issue in known.filter(proposed="verified")["issue"]:
        move_issue(ws.ledger, issue, "verified", fixes=known)


def close_quarter(ledger: Ledger, quarter: str, *, end: datetime) -> None:
    """Record what a survey measured in a quarter, and what leadership is asked for."""
    number = QUARTERS.index(quarter)
    said = {"metric": "satisfaction", "value": SATISFACTION[number], "owner": HEAD}
    said |= {"observed_at": end - timedelta(days=1), "source": "survey"}
    ledger.append("metric.observed", "satisfaction", said)
    asked = {"decision": f"{quarter}-1", "text": ASKED[number], "owner": HEAD}
    ledger.append("decision.recorded", f"{quarter}-1", asked | {"due": end + timedelta(days=60)})
    for before in ledger.bodies("decision.recorded").filter(~pl.col("done")).to_dicts()[:-1]:
        kept = {name: before[name] for name in (*asked, "due")}
        ledger.append("decision.recorded", before["decision"], kept | {"done": True})
