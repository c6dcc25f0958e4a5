"""The bodies of events about production: alerts, issues, metrics, targets and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from evalbench.schema.labelling import Body, Name, Severity

IssueState = Literal[
    "observed",
    "confirmed",
    "reproduced",
    "fix shipped",
    "verified",
    "regressed",
    "escalating",
    "won't fix",
]
IssueSource = Literal["production failure", "incident", "red team"]


class IssueOpened(Body):
    """``issue.opened``: a failure, an incident or a red-team finding is followed from now on.

    ``observed_at`` is when it first happened, as far as is known.
    """

    issue: Name
    surface: Name
    title: Name
    source: IssueSource
    severity: Severity
    owner: Name
    mode: Name | None = None
    observed_at: datetime
    session_ids: tuple[Name, ...] = ()
    runbook: str = ""


class IssueMoved(Body):
    """``issue.moved``: an issue is in another state.

    ``release`` is the one that ships the fix, or in which the failure came back; ``mode`` the
    failure mode from now on, where the issue had none. A verified fix notes the change of the rate
    that showed it, with its interval, and the share of sessions that carry the fix.
    """

    issue: Name
    state: IssueState
    moved_at: datetime
    release: Name | None = None
    mode: Name | None = None
    reason: str = ""
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    exposure: float | None = None


class AlertRaised(Body):
    """``alert.raised``: the evidence that a rate is over its target passed the line."""

    surface: Name
    mode: Name
    day: datetime
    e_value: float = Field(ge=0)
    threshold: float = Field(gt=0)
    target: float = Field(ge=0, le=1)


class TargetSet(Body):
    """``target.set``: what the owner of a metric or a failure mode holds it to."""

    surface: Name | None = None
    metric: Name
    mode: Name | None = None
    target: float = Field(allow_inf_nan=False)
    owner: Name


class MetricObserved(Body):
    """``metric.observed``: a value of a metric that is measured elsewhere."""

    surface: Name | None = None
    metric: Name
    owner: Name
    value: float = Field(allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    observed_at: datetime
    source: str = ""


class DecisionRecorded(Body):
    """``decision.recorded``: what leadership was asked for, and decided, by when.

    It may be about one failure ``mode``; the last event of a ``decision`` counts.
    """

    decision: Name
    surface: Name | None = None
    mode: Name | None = None
    text: str = Field(min_length=1)
    owner: Name
    due: datetime
    done: bool = False
