"""Checks: evaluators that are declared, and need no model.

A mapping whose ``check`` names it and whose other fields are its parameters; ``any`` is of others.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from evalbench.evaluate.checks.base import Check, validate
from evalbench.evaluate.checks.grounding import GroundingCheck
from evalbench.evaluate.checks.text import TextCheck
from evalbench.evaluate.checks.tools import ToolCheck
from evalbench.evaluate.finding import Finding
from evalbench.session import Session

PlainCheck = Annotated[GroundingCheck | TextCheck | ToolCheck, Field(discriminator="check")]


class AnyOf(Check):
    """Fails where any of its checks does; passes where all pass."""

    check: Literal["any"]
    of: tuple[PlainCheck, ...] = Field(min_length=1)

    def _look(self, session: Session) -> Finding:
        found = [each.find(session) for each in self.of]
        failing = [each for each in found if each.fails]
        unknown = [each for each in found if each.fails is None]
        told = failing or unknown or found
        rationale = "; ".join(each.rationale for each in told)
        fails = True if failing else None if unknown else False
        return Finding(fails, None, rationale, [piece for each in told for piece in each.evidence])


AnyCheck = Annotated[AnyOf | PlainCheck, Field(discriminator="check")]
_CHECKS: TypeAdapter[Check] = TypeAdapter(AnyCheck)


def read_check(parameters: Mapping[str, Any]) -> Check:
    """Read a check; EvaluatorError names what is unknown or out of bounds."""
    return validate(_CHECKS.validate_python, dict(parameters))
