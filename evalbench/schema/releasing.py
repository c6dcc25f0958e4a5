"""The bodies of events about releases: golden cases, runs, gates, overrides and forecasts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from evalbench.schema.labelling import Body, Name, Severity

Suite = Literal["golden", "regression", "adversarial", "policy", "segment", "canary"]
GateReading = Literal["pass", "block", "insufficient"]
RowRole = Literal["primary", "guardrail", "watch"]
RowUnit = Literal["change", "rate", "relative"]
"""Of a row's numbers: a change of a share of cases, such a share, or a change in proportion."""
RUN_SIGN = "@"
"""The lake's surface ``SURFACE@RUN`` holds what a candidate did on the cases of a suite."""


class ReleaseShipped(Body):
    """``release.shipped``: a release of a surface, and the failure modes it set out to fix."""

    surface: Name
    release: Name
    shipped_at: datetime
    targets: tuple[Name, ...] = ()


class GoldenAdded(Body):
    """``golden.added``: a case of a suite, by the hash of its input and expected behaviour.

    ``messages`` is the input as chat messages, ``expected`` a person's words. ``session_id`` and
    ``release`` say where it failed first.
    """

    surface: Name
    suite: Suite
    case: Name
    messages: tuple[dict[str, JsonValue], ...] = Field(min_length=1)
    expected: str = Field(min_length=1)
    mode: Name | None = None
    severity: Severity
    session_id: Name | None = None
    release: Name | None = None
    segments: dict[str, str] = Field(default={})


class GoldenRetired(Body):
    """``golden.retired``: a case is in no suite any longer."""

    surface: Name
    suite: Suite
    case: Name
    reason: str = Field(min_length=1)


class RunRecorded(Body):
    """``run.recorded``: the outputs of one version of the product on the cases of a suite."""

    surface: Name
    run: Name
    suite: Suite
    suite_version: Name
    release: Name | None = None
    cases: int = Field(ge=1)
    repeats: int = Field(ge=1)


class BaselineSet(Body):
    """``baseline.set``: later candidates of a surface are compared with this run."""

    surface: Name
    suite: Suite
    run: Name


class GateRow(Body):
    """One row of a decision: what it asks, and how it reads.

    ``power`` is the chance to show a change of the size of its limit; ``more`` cases would settle
    it, None where no number would. Of cases ``newly_failing`` and ``fixed`` turned.
    """

    row: Name
    role: RowRole
    owner: Name
    unit: RowUnit
    limit: float
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0)
    newly_failing: int | None = None
    fixed: int | None = None
    power: float | None = None
    more: int | None = None
    reading: GateReading
    reason: str = ""


class GateDecided(Body):
    """``gate.decided``: whether a candidate may ship, by every row of a decision.

    ``false_block`` is how often these rows would have blocked a release that changes nothing,
    ``unasked`` how many cases of the suite these runs did not answer.
    """

    decision: Name
    surface: Name
    candidate: Name
    baseline: Name
    suite: Suite
    suite_version: Name
    verdict: GateReading
    rows: tuple[GateRow, ...] = Field(min_length=1)
    false_block: float
    false_block_low: float
    false_block_high: float
    unasked: int = 0
    lake_versions: dict[str, int]
    ledger_seq: int


class GateOverridden(Body):
    """``gate.overridden``: a person ships in spite of open rows; the verdict stays as it is.

    ``role`` is the one that the actor holds; what they say of it ends at ``expires_at``.
    """

    gate: int
    role: Name
    rows: tuple[Name, ...] = Field(min_length=1)
    reason: str = Field(min_length=1)
    evidence: str = Field(min_length=1)
    expires_at: datetime
    rollback: str = Field(min_length=1)


class OverrideClosed(Body):
    """``override.closed``: what production did after a gate was overridden."""

    override: int
    outcome: str = Field(min_length=1)


class ForecastMade(Body):
    """``forecast.made``: by how many failing sessions a week a release will change production.

    Without a mode it is of all that fail; it holds for so many ``sessions_a_week``.
    """

    gate: int
    surface: Name
    release: Name
    mode: Name | None = None
    estimate: float
    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    sessions_a_week: float = Field(gt=0)
