"""The offline stand-in: it looks for a rubric's words in a trace, and says that it does no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import orjson

FENCE = re.compile(r"<(trace[\w-]*)>(.*)</\1>", re.DOTALL)
"""Where the trace stands in the last message; without a fence the whole message is the trace."""
RUBRIC = re.compile(r"<(rubric[\w-]*)>(.*?)</\1>", re.DOTALL)
"""Where the rubric stands in any message; without a mark every other message is the rubric."""
SPAN = re.compile(r"\bspan(?:[ _]id)?[=: \"]+([\w-]+)")
WORD = re.compile(r"[^\W\d_]{4,}")
MATCHES = 3
"""Distinct words of the rubric that one line of a trace must hold to be called a failure."""
COMMON = frozenset(
    "about above after also answer assistant because been before being below could does doing each "
    "failure fails from have here into judge judged last made make more most must never only other "
    "over pass passes product response said same should some such tells than that their them then "
    "there these they this those trace under user using very what when where which while will with "
    "without would your".split()
)


def judge_offline(messages: list[dict[str, Any]], form: Mapping[str, Any] | None) -> str:
    """Answer by the words that the rubric and a line of the trace share; JSON where asked for."""
    told = [str(message.get("content") or "") for message in messages]
    fenced = FENCE.search(told[-1])
    trace = fenced[2] if fenced else told[-1]
    rest = "\n".join([*told[:-1], told[-1].replace(trace, "")])
    rubric = RUBRIC.search(rest)
    words = _stems(rubric[2] if rubric else rest)
    best, shared, span, span_here = "", set[str](), "", ""
    for line in trace.splitlines():
        named = SPAN.search(line)
        span_here = named[1] if named else span_here
        if len(found := words & _stems(line)) > len(shared):
            best, shared, span = line.strip(), found, span_here
    fails = len(shared) >= MATCHES
    why = (
        f"Offline stand-in, no judgement: {len(shared)} of the rubric's {len(words)} words in one "
        f"line ({', '.join(sorted(shared)) or 'none'}); {MATCHES} or more are called a failure."
    )
    schema = ((form or {}).get("json_schema") or {}).get("schema")
    if schema is None:
        return why
    known = {"fails": fails, "quotes": fails, "span_id": span, "text": best, "quote": best}
    return orjson.dumps(_fill(schema, schema, "", known, why)).decode()


def _stems(text: str) -> set[str]:
    return {word[:6] for word in map(str.lower, WORD.findall(text)) if word not in COMMON}


def _fill(
    schema: Mapping[str, Any], root: Mapping[str, Any], name: str, known: dict[str, Any], why: str
) -> Any:
    """Fill a JSON schema: what is known by the name of its field, else the plainest value."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {each: _fill(part, root, each, known, why) for each, part in fields.items()}
        case "array":
            wanted = known["fails"] or schema.get("minItems", 0)
            return [_fill(schema["items"], root, name[:-1], known, why)] if wanted else []
        case "boolean":
            return known["fails"]
        case "number" | "integer":
            return max(schema.get("minimum", 0), 0)
        case "null":
            return None
    return known.get(name, why) if isinstance(known.get(name, why), str) else why


def offline_stand_in(litellm: ModuleType) -> Any:
    """Give the LiteLLM provider of every ``offline/...`` model."""

    class OfflineStandIn(litellm.CustomLLM):  # type: ignore[name-defined]
        def completion(self, *args: Any, **options: Any) -> Any:
            asked, messages = options["optional_params"], options["messages"]
            text = judge_offline(messages, asked.get("response_format"))
            answer = options["model_response"]
            answer.model = f"{options['model']} (offline stand-in)"
            answer.choices[0].message.content = text
            prompt = sum(len(str(message.get("content"))) for message in messages) // 4
            answer.usage = litellm.Usage(
                prompt_tokens=prompt,
                completion_tokens=len(text) // 4,
                total_tokens=prompt + len(text) // 4,
            )
            return answer

        async def acompletion(self, *args: Any, **options: Any) -> Any:
            return self.completion(*args, **options)

    return OfflineStandIn()
