"""Checks of which tools were called, and how often."""

from collections import Counter
from typing import Literal

from pydantic import Field

from evalbench.evaluate.checks.base import Check, nothing, say
from evalbench.evaluate.finding import Finding, Passage, list_calls
from evalbench.schema import Name
from evalbench.session import Session
from evalbench.session.messages import canonical


class ToolNotAllowed(Check):
    """Fails where a tool was called, or asked for, that is not among ``allowed``."""

    check: Literal["tool_not_allowed"]
    allowed: tuple[Name, ...]

    def _look(self, session: Session) -> Finding:
        others = [(n, call) for n, call in list_calls(session) if call.name not in self.allowed]
        names = ", ".join(sorted({call.name for _, call in others}))
        evidence = [Passage(call.span_id, n, call.name).quote() for n, call in others]
        return _untraced(session) or say(
            others, f"not allowed: {names}", "all are allowed", evidence
        )


class ToolMissing(Check):
    """Fails where one of ``tools`` was never called."""

    check: Literal["tool_missing"]
    tools: tuple[Name, ...] = Field(min_length=1)

    def _look(self, session: Session) -> Finding:
        missing = sorted(set(self.tools) - {call.name for _, call in list_calls(session)})
        return _untraced(session) or say(missing, f"not called: {', '.join(missing)}", "all called")


class ToolRepeated(Check):
    """Fails where a tool was called with the same arguments ``times`` times or more."""

    check: Literal["tool_repeated"]
    times: int = Field(default=2, ge=2)

    def _look(self, session: Session) -> Finding:
        keyed = [((c.name, canonical(c.arguments)), n, c) for n, c in list_calls(session)]
        counts = Counter(key for key, _, _ in keyed)
        often = {key: count for key, count in counts.items() if count >= self.times}
        said = "; ".join(f"{name}: {count} same calls" for (name, _), count in often.items())
        same = [(n, call) for key, n, call in keyed if key in often]
        evidence = [Passage(c.span_id, n, c.arguments or c.name).quote() for n, c in same]
        good = f"no call was made {self.times} times"
        return _untraced(session) or say(often, said, good, evidence)


ToolCheck = ToolMissing | ToolNotAllowed | ToolRepeated


def _untraced(session: Session) -> Finding | None:
    """Without a trace nobody knows what was called."""
    return None if session.turns else nothing("no spans")
