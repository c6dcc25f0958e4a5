"""Checks of a session's measures against bounds."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from evalbench.evaluate.checks.base import Check, nothing, say
from evalbench.evaluate.finding import Finding
from evalbench.session import Session

Measure = Literal[
    "latency_p95_ms",
    "duration_ms",
    "cost_usd",
    "tokens",
    "prompt_tokens",
    "completion_tokens",
    "n_turns",
    "n_spans",
    "n_tool_calls",
    "n_tool_errors",
    "n_retries",
]


class Bound(Check):
    """Fails where a measure is above ``most`` or below ``least``."""

    check: Literal["bound"]
    measure: Measure
    most: float | None = None
    least: float | None = None

    @model_validator(mode="after")
    def _has_bound(self) -> Bound:
        if self.most is None and self.least is None:
            raise ValueError("a bound needs most or least")
        return self

    def _look(self, session: Session) -> Finding:
        value = self.read(session)
        if value is None:
            return nothing(f"{self.measure} was not recorded")
        above = self.most is not None and value > self.most
        below = self.least is not None and value < self.least
        limits = {"at least": self.least, "at most": self.most}
        allowed = " and ".join(f"{k} {v:g}" for k, v in limits.items() if v is not None)
        said = f"{self.measure} is {value:g}, allowed {allowed}"
        return say(above or below, said, said)

    def read(self, session: Session) -> float | None:
        """Give the measure; None where nobody recorded it."""
        row = session.row
        if self.measure == "duration_ms":
            started, ended = row["started_at"], row["ended_at"]
            return (ended - started).total_seconds() * 1000 if started and ended else None
        if self.measure == "tokens":
            counts = [row["prompt_tokens"], row["completion_tokens"]]
            return None if counts == [None, None] else sum(filter(None, counts))
        return row[self.measure]
