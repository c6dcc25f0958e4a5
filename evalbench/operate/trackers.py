"""Issues in the shapes that issue trackers take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

PRIORITIES = {"safety": "Highest", "user impact": "High", "polish": "Low"}
"""The names that Jira gives its priorities by default."""


def to_github(issues: pl.DataFrame) -> list[dict[str, Any]]:
    """Write each issue as GitHub takes a new one; an owner it does not know it would refuse."""
    return [
        {"title": row["title"], "body": _describe(row), "labels": _label(row)}
        for row in issues.iter_rows(named=True)
    ]


def to_jira(issues: pl.DataFrame, *, project: str) -> dict[str, Any]:
    """Write the issues as Jira takes many at once (version 2): labels have no spaces there."""
    about = {"project": {"key": project}, "issuetype": {"name": "Bug"}}
    fields = [
        about
        | {"summary": " ".join(row["title"].split()), "description": _describe(row)}
        | {"labels": [each.replace(" ", "-") for each in _label(row)]}
        | {"priority": {"name": PRIORITIES[row["severity"]]}}
        for row in issues.iter_rows(named=True)
    ]
    return {"issueUpdates": [{"fields": each} for each in fields]}


TRACKERS: dict[str, Callable[..., Any]] = {"github": to_github, "jira": to_jira}


def _label(row: dict[str, Any]) -> list[str]:
    return ["evalbench", row["severity"], row["source"], row["state"].replace("'", "")]


def _describe(row: dict[str, Any]) -> str:
    told = {
        "Issue": row["issue"],
        "Product": row["surface"],
        "Owner": row["owner"],
        "Observed": f"{row['observed_at']:%Y-%m-%d}",
        "State": f"{row['state']} since {row['state_at']:%Y-%m-%d}",
        "Next": row["next_step"],
        "Failure mode": row["mode"],
        "Release with the fix": row["release"],
        "Sessions": ", ".join(row["session_ids"]),
        "Runbook": row["runbook"],
        "Why": row["reason"],
    }
    return "\n".join(f"{name}: {value}" for name, value in told.items() if value)
