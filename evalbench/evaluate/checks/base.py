"""What every check is made of: parameters that are validated once, and places it looks in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import polars as pl
from polars.exceptions import ComputeError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evalbench.errors import EvaluatorError
from evalbench.evaluate.finding import Finding, Passage
from evalbench.session import Session

Evidence = Sequence[Mapping[str, Any]]


class Check(BaseModel, ABC):
    """One check: its parameters are its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def find(self, session: Session) -> Finding:
        """Look at one session; evidence of what is missing is how the answer begins."""
        found = self._look(session)
        if not found.fails or found.evidence:
            return found
        last = session.final_turn or next(reversed(session.turns), None)
        evidence = [Passage(last.span_id, last.number, last.text).quote()] if last else []
        return replace(found, evidence=evidence)

    @abstractmethod
    def _look(self, session: Session) -> Finding: ...


def say(faults: object, bad: str, good: str, evidence: Evidence = ()) -> Finding:
    """Fail where there are faults, with their evidence."""
    return Finding(True, None, bad, evidence) if faults else Finding(False, rationale=good)


def nothing(why: str) -> Finding:
    """Say that there was nothing to check."""
    return Finding(None, rationale=f"nothing to check: {why}")


def validate(read: Callable[[Any], Any], value: Any, *, hint: str = "") -> Any:
    """Read a value by pydantic; EvaluatorError says what is wrong with it, and where."""
    try:
        return read(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:200]
        plain = isinstance(first["input"], str | int | float)
        got = f" (got {first['input']!r:.200})" if plain else ""
        said = f"{where}: {first['msg']}{got}{hint}".removeprefix(": ")
        raise EvaluatorError(said) from error


def find_pattern(pattern: str, texts: Sequence[Passage]) -> list[dict[str, Any]]:
    """Quote what a pattern matches, of the first text that it does, in linear time."""
    matched = pl.Series([text.content for text in texts], dtype=pl.String).str.extract(pattern, 0)
    pairs = zip(texts, matched, strict=True)
    return [text.quote(words) for text, words in pairs if words is not None][:1]


def check_pattern(pattern: str) -> str:
    """Refuse a pattern that the engine does not take."""
    try:
        find_pattern(pattern, [Passage("", 1, "")])
    except ComputeError as error:
        reason = str(error).partition("\n\nThis error")[0].splitlines()[-1]
        raise ValueError(f"the pattern {pattern!r} cannot be used: {reason}") from error
    return pattern


# In the syntax of Rust's ``regex``: no look-around, no back-references.
Pattern = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(check_pattern)]
