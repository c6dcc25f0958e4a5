"""Checks: evaluators that are declared, and need no model.

A check is a mapping: ``check`` names it, the other fields are its parameters. ``all``, ``any`` and
``not`` are made of others. A check fails where it finds the failure.

>>> check = read_check({"check": "tool_repeated", "times": 3})
>>> run_check(check, session).fails  # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks.base import Check, explain, nothing, say
from evalbench.evaluate.checks.bounds import Bound
from evalbench.evaluate.checks.grounding import GroundingCheck
from evalbench.evaluate.checks.text import TextCheck
from evalbench.evaluate.checks.tools import ToolCheck
from evalbench.evaluate.finding import Finding, list_calls
from evalbench.schema import Name
from evalbench.session import Session

__all__ = ["Check", "read_check", "run_check"]


class Joined(Check):
    """Fails where ``all`` of its checks do, or ``any``.

    By three-valued logic: where some have nothing to check, the others decide if they can.
    """

    check: Literal["all", "any"]
    of: tuple[AnyCheck, ...] = Field(min_length=1)

    def _look(self, session: Session) -> Finding:
        decisive = self.check == "any"
        found = [each.find(session) for each in self.of]
        deciding = [each for each in found if each.fails is decisive]
        unknown = [each for each in found if each.fails is None]
        told = deciding or unknown or found
        fails = decisive if deciding else None if unknown else not decisive
        rationale = "; ".join(each.rationale for each in told)
        return Finding(fails, None, rationale, [piece for each in told for piece in each.evidence])


class Not(Check):
    """Fails where its check passes; where that has nothing to check, nor has this."""

    check: Literal["not"]
    of: AnyCheck

    def _look(self, session: Session) -> Finding:
        found = self.of.find(session)
        turned = None if found.fails is None else not found.fails
        return Finding(turned, None, f"not: {found.rationale}", found.evidence)


class EscalationMissing(Check):
    """Fails where policy asks to hand over to a person and nobody did.

    Policy asks where ``when`` fails. It is handed over where the session is recorded as escalated,
    or one of ``tools`` was called.
    """

    check: Literal["escalation_missing"]
    when: AnyCheck
    tools: tuple[Name, ...] = ()

    def _look(self, session: Session) -> Finding:
        asked = self.when.find(session)
        if not asked.fails:
            return replace(asked, score=None, evidence=())
        escalated = session.row["escalated"]
        done = escalated or any(call.name in self.tools for _, call in list_calls(session))
        if not done and escalated is None and not self.tools:
            return nothing("nobody recorded whether it was handed over")
        said = f"policy asks for a person ({asked.rationale})"
        handed = f"{said}, and one took over"
        return say(not done, f"{said}, and none took over", handed, asked.evidence)


AnyCheck = Annotated[
    Bound | EscalationMissing | GroundingCheck | Joined | Not | TextCheck | ToolCheck,
    Field(discriminator="check"),
]
CHECKS: TypeAdapter[Check] = TypeAdapter(AnyCheck)


def read_check(parameters: Mapping[str, Any]) -> Check:
    """Read a check.

    Raises
    ------
    EvaluatorError
        No such check, an unknown parameter, or a value out of bounds; the message names it.
    """
    try:
        return CHECKS.validate_python(dict(parameters))
    except ValidationError as error:
        raise EvaluatorError(explain(error)) from error


def run_check(check: Check | Mapping[str, Any], session: Session) -> Finding:
    """Look at one session by a check.

    Parameters
    ----------
    check : Check or mapping
        As :func:`read_check` gives or takes it; read it once for many sessions.

    Raises
    ------
    EvaluatorError
        The mapping is no check.
    """
    check = check if isinstance(check, Check) else read_check(check)
    try:
        return check.find(session)
    except RecursionError:
        return Finding(None, error="the session's JSON is nested too deep to be checked")
