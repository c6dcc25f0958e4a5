"""Checks of form: JSON schemas, and which tools were called how often."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from evalbench.evaluate.checks.base import Check, check_pattern, match_texts, nothing, say
from evalbench.evaluate.finding import Finding, Passage, find_answer, list_calls
from evalbench.schema import Name
from evalbench.session import Call, Session
from evalbench.session.messages import canonical


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"not a JSON schema: {error.message}") from error
    _check_keywords(schema)
    return schema


def _check_keywords(schema: Any) -> None:
    """Refuse what could take more than linear time, or a network, once a session is checked."""
    for each in schema if isinstance(schema, list) else ():
        _check_keywords(each)
    for key, value in schema.items() if isinstance(schema, dict) else ():
        if key == "patternProperties":
            raise ValueError("patternProperties is not supported: use propertyNames with a pattern")
        if key in ("$ref", "$dynamicRef") and not str(value).startswith(("#", "{")):
            raise ValueError(f"{key} {value!r} leads outside: copy what it names into $defs")
        if key == "pattern" and isinstance(value, str):
            check_pattern(value)
        _check_keywords(value)


class _SchemaCheck(Check):
    json_schema: Annotated[dict[str, Any], AfterValidator(_check_schema)]

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator, ValidationError, validators
        from referencing import Registry

        def match(validator: Any, pattern: str, instance: Any, schema: Any) -> Any:
            if isinstance(instance, str) and match_texts(pattern, [instance]) == [None]:
                yield ValidationError(f"{instance[:100]!r} does not match {pattern!r}")

        linear = validators.extend(Draft202012Validator, {"pattern": match})
        return linear(self.json_schema, registry=Registry())

    def _fault(self, text: str) -> str:
        from jsonschema.exceptions import best_match

        try:
            fault = best_match(self._validator.iter_errors(json.loads(text)))
        except ValueError as error:
            return f"not JSON: {error}"
        return "" if fault is None else f"{fault.json_path}: {fault.message[:300]}"


class OutputSchema(_SchemaCheck):
    """Fails where the final output is not JSON, or does not fit the schema (draft 2020-12)."""

    check: Literal["output_schema"]

    def _look(self, session: Session) -> Finding:
        answer = find_answer(session)
        if answer is None:
            return nothing("no final output")
        fault = self._fault(answer.content)
        return say(fault, fault, "the output fits its schema")


class ToolSchema(_SchemaCheck):
    """Fails where the arguments of a call of ``tool`` do not fit the schema."""

    check: Literal["tool_schema"]
    tool: Name

    def _look(self, session: Session) -> Finding:
        calls = [(n, call) for n, call in list_calls(session) if call.name == self.tool]
        if not calls:
            return nothing(f"no call of {self.tool}")
        bad = [(n, call, fault) for n, call in calls if (fault := self._fault(call.arguments))]
        said = "; ".join(f"{self.tool}: {fault}" for _, _, fault in bad)
        return say(bad, said, "the arguments fit", _quote((n, call) for n, call, _ in bad))


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
        calls = list_calls(session)
        counts = Counter(_key(call) for _, call in calls)
        often = {key: count for key, count in counts.items() if count >= self.times}
        said = "; ".join(f"{name}: {count} same calls" for (name, _), count in often.items())
        evidence = _quote((n, call) for n, call in calls if _key(call) in often)
        good = f"no call was made {self.times} times"
        return _untraced(session) or say(often, said, good, evidence)


ToolCheck = OutputSchema | ToolMissing | ToolNotAllowed | ToolRepeated | ToolSchema


def _untraced(session: Session) -> Finding | None:
    """Without a trace nobody knows what was called."""
    return None if session.turns else nothing("no spans")


def _key(call: Call) -> tuple[str, str]:
    """Return the same for the same name and arguments, however they are written."""
    return call.name, canonical(call.arguments)


def _quote(calls: Iterable[tuple[int, Call]]) -> list[dict[str, Any]]:
    return [Passage(call.span_id, n, call.arguments or call.name).quote() for n, call in calls]
