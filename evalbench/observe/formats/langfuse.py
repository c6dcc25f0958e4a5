"""Langfuse exports: observations, traces and scores, of the UI (camelCase) or blob (snake_case).

The single-trace download gives all its observations at once; the trace's own facts and scores go
to its root. Latency is the difference of the two timestamps: the ``latency`` field is seconds or
milliseconds by the age of the integration. A score of a person (source API or ANNOTATION) with a
well-known name is a signal, every other score is a verdict of ``langfuse/<name>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from evalbench.observe.formats.attributes import ALTERNATES
from evalbench.observe.formats.facts import session_facts
from evalbench.observe.formats.feedback import signal, verdict
from evalbench.observe.formats.messages import to_messages, to_tool_call
from evalbench.observe.record import (
    Parsed,
    apply_columns,
    from_json,
    is_missing,
    prompt_tokens,
    to_count,
    to_json,
    to_microseconds,
    to_number,
    to_text,
)

NAMES = ("langfuse",)

KINDS = {
    "GENERATION": "llm",
    "SPAN": "chain",
    "EVENT": "other",
    **{
        kind.upper(): kind
        for kind in ("agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail")
    },
}
CACHE_READS = tuple(
    "input_cache_read cache_read_input_tokens input_cached_tokens prompt_details.cache_read".split()
)
CACHE_WRITES = ("input_cache_creation", "cache_creation_input_tokens", "prompt_details.cache_write")
SESSIONS = ("session.id", *ALTERNATES["session_id"])
COLUMNS = {
    "id": "span_id",
    "trace_id": "trace_id",
    "parent_observation_id": "parent_id",
    "name": "name",
    "input": "input",
    "output": "output",
    "provided_model_name": "model",
    "model": "model",
    "status_message": "status_message",
    "session_id": "session_id",
    "user_id": "user_key",
    "release": "release",
    "environment": "environment",
}
READ = ("type", "level", "start_time", "end_time", "total_cost", "timestamp")
"""Fields that become columns of another form and are kept no second time."""


@lru_cache(maxsize=4096)
def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _named(record: Mapping[str, Any]) -> dict[str, Any]:
    return {_snake(name): value for name, value in record.items() if not is_missing(value)}


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a download of a trace, an observation, a trace row or a score row."""
    if isinstance(record.get("observations"), list):
        return True
    if "traceId" in record or "trace_id" in record:
        if "type" in record and ("startTime" in record or "start_time" in record):
            return True
        return "value" in record and "source" in record
    return "id" in record and "timestamp" in record and ("bookmarked" in record or "tags" in record)


def parse(record: dict[str, Any], columns: Mapping[str, str]) -> Parsed:
    """Spans and verdicts of one observation, one trace row, one score or one whole trace."""
    if "observations" in record:
        parsed = _parse_download(record)
    else:
        fields = _named(record)
        if "type" in fields and "start_time" in fields:
            span = _observation(record, fields)
            parsed = Parsed([span], _scores(span, from_json(fields.get("scores"))))
        elif "value" in fields or "string_value" in fields:
            parsed = _parse_score(fields)
        else:
            parsed = _parse_trace(record, fields)
    if columns:
        for span in parsed.spans:
            apply_columns(span, record, columns)
    return parsed


def _parse_download(record: dict[str, Any]) -> Parsed:
    observations = record["observations"]
    held = record.get("trace")
    own = {k: v for k, v in record.items() if k not in ("trace", "observations")}
    trace = {**held, **own} if isinstance(held, dict) else own
    if not isinstance(observations, list) or not all(isinstance(o, dict) for o in observations):
        raise ValueError("observations are not a list of objects")
    if not observations:
        return _parse_trace(trace, _named(trace))
    fields = _named(trace)
    known = {"trace_id": fields["id"]} if "id" in fields else {}
    spans = [_observation(each, {**known, **_named(each)}) for each in observations]
    root = next((span for span in spans if span["parent_id"] is None), spans[0])
    attributes = orjson.loads(root["attributes"] or "{}")
    attributes["trace"] = {k: v for k, v in trace.items() if k != "observations"}
    root["attributes"] = to_json(attributes)
    for name, value in _trace_facts(fields).items():
        if root.get(name) is None:
            root[name] = value
    session = next((s["session_id"] for s in spans if s["session_id"] != s["trace_id"]), None)
    session = to_text(fields.get("session_id")) or session
    if session is not None:
        for span in spans:
            span["session_id"] = session
    verdicts = _scores(root, from_json(fields.get("scores")))
    for each, span in zip(observations, spans, strict=True):
        verdicts += _scores(span, from_json(each.get("scores")))
    return Parsed(spans, verdicts)


def _trace_facts(fields: Mapping[str, Any]) -> dict[str, Any]:
    tags = from_json(fields.get("tags"))
    facts = dict(session_facts(fields.get("metadata"), tags if isinstance(tags, list) else ()))
    for name, column in (("user_id", "user_key"), ("environment", "environment")):
        if name in fields:
            facts[column] = to_text(fields[name])
    release = fields.get("release", fields.get("version"))
    return {**facts, "release": to_text(release)} if release is not None else facts


def _observation(record: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = _trace_facts(fields)
    for name, column in COLUMNS.items():
        if name in fields:
            row.setdefault(column, to_text(fields[name]))
    if "span_id" not in row or "trace_id" not in row:
        raise ValueError("an observation without an id or without a trace")
    row["parent_id"] = row.get("parent_id")
    row["source_format"] = NAMES[0]
    start = row["started_at"] = to_microseconds(fields.get("start_time"))
    end = to_microseconds(fields.get("end_time"))
    if start is not None and end is not None:
        row["latency_ms"] = (end - start) / 1000
    level = fields.get("level")
    row["status"] = None if level is None else "error" if level == "ERROR" else "ok"
    row["kind"] = KINDS.get(str(fields.get("type")).upper(), "other")
    _add_usage(row, fields)
    _add_messages(row, fields)
    inside = _inner_attributes(fields)
    if "session_id" not in row:
        found = (inside[name] for name in SESSIONS if inside.get(name))
        row["session_id"] = to_text(next(found, row.get("trace_id")))
    if row["kind"] == "tool":
        names = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name")
        row["tool_name"] = next((inside[n] for n in names if inside.get(n)), row.get("name"))
        row["tool_arguments"], row["tool_result"] = row.get("input"), row.get("output")
    provider = inside.get("gen_ai.provider.name") or inside.get("gen_ai.system")
    row["provider"] = to_text(provider or inside.get("llm.provider") or inside.get("llm.system"))
    rest = {name: value for name, value in record.items() if _is_left(_snake(name), value, row)}
    row["attributes"] = to_json(rest) if rest else None
    return row


def _is_left(name: str, value: Any, row: Mapping[str, Any]) -> bool:
    if is_missing(value) or value == [] or value == {}:
        return False
    if name in ("type", "level"):
        return str(value).upper() not in (*KINDS, "DEFAULT", "ERROR")
    return name not in READ and not (name in COLUMNS and row.get(COLUMNS[name]) == to_text(value))


def _inner_attributes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = from_json(fields.get("metadata"))
    inside = from_json(metadata.get("attributes")) if isinstance(metadata, dict) else None
    return inside if isinstance(inside, dict) else {}


def _add_usage(row: dict[str, Any], fields: Mapping[str, Any]) -> None:
    usage = from_json(fields.get("usage_details"))
    counts = {}
    for name, value in usage.items() if isinstance(usage, dict) else ():
        counts[name] = to_count(value, name)
    cached = next((counts[name] for name in CACHE_READS if name in counts), None)
    written = next((counts[name] for name in CACHE_WRITES if name in counts), None)
    given, completion = counts.get("input"), counts.get("output")
    row["prompt_tokens"] = prompt_tokens(given, completion, counts.get("total"), cached, written)
    row["completion_tokens"], row["cached_tokens"] = completion, cached
    costs = from_json(fields.get("cost_details"))
    cost = fields.get("total_cost")
    if cost is None and isinstance(costs, dict):
        cost = costs.get("total")
    row["cost_usd"] = to_number(cost, "total_cost")


def _add_messages(row: dict[str, Any], fields: Mapping[str, Any]) -> None:
    asked, answered = to_messages(fields.get("input")), to_messages(fields.get("output"))
    calls = from_json(fields.get("tool_calls"))
    if isinstance(calls, list) and calls:
        if not any("tool_calls" in message for message in answered or ()):
            read = [to_tool_call(from_json(call)) for call in calls]
            message = {"role": "assistant", "content": None, "tool_calls": read}
            answered = [*(answered or ()), message]
    row["input_messages"] = None if asked is None else to_json(asked)
    row["output_messages"] = None if answered is None else to_json(answered)


def _parse_trace(record: Mapping[str, Any], fields: Mapping[str, Any]) -> Parsed:
    trace_id = to_text(fields.get("id"))
    if trace_id is None:
        raise ValueError("a trace without an id")
    row = _observation(
        {name: value for name, value in record.items() if name != "observations"},
        {
            **{k: v for k, v in fields.items() if k != "type"},
            "trace_id": trace_id,
            "start_time": fields.get("timestamp"),
        },
    )
    row |= {"span_id": f"trace-{trace_id}", "kind": "chain"}
    return Parsed([row], _scores(row, from_json(fields.get("scores"))))


def _scores(row: dict[str, Any], scores: Any) -> list[dict[str, Any]]:
    """Set signals of scores on ``row``; give the other scores back as verdicts."""
    verdicts = []
    for score in _each_score(scores):
        read = _signal(score)
        if read is None:
            verdicts.append(_verdict(score, row))
        else:
            row[read[0]] = read[1]
    return verdicts


def _each_score(scores: Any) -> Iterable[dict[str, Any]]:
    if isinstance(scores, dict):  # the tables' form: name -> value, or name -> values
        for name, held in scores.items():
            for value in held if isinstance(held, list) else [held]:
                yield (
                    _named(value) | {"name": name}
                    if isinstance(value, dict)
                    else {
                        "name": name,
                        "value": value,
                    }
                )
    for score in scores if isinstance(scores, list) else ():
        score = from_json(score)
        if not isinstance(score, dict):
            raise ValueError(f"a score is not an object: {str(score)[:80]!r}")
        yield _named(score)


def _value(score: Mapping[str, Any]) -> Any:
    value = score.get("value", score.get("string_value"))
    if score.get("data_type") == "BOOLEAN" and value in (0, 1, "0", "1"):
        return bool(int(value))
    return score.get("string_value", value) if score.get("data_type") == "CATEGORICAL" else value


def _signal(score: Mapping[str, Any]) -> tuple[str, Any] | None:
    return None if score.get("source") == "EVAL" else signal(score.get("name"), _value(score))


def _verdict(score: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    target = to_text(score.get("observation_id")) or (
        row["trace_id"] if row["trace_id"] != row["session_id"] else None
    )
    return verdict(
        NAMES[0],
        score.get("name"),
        session_id=row["session_id"],
        value=_value(score),
        label=score.get("string_value"),
        rationale=score.get("comment"),
        target=target,
        judged_at=to_microseconds(score.get("timestamp")),
    )


def _parse_score(score: dict[str, Any]) -> Parsed:
    session = to_text(score.get("session_id")) or to_text(score.get("trace_id"))
    if session is None:
        raise ValueError("a score without a trace or a session")
    row = {
        "trace_id": to_text(score.get("trace_id")) or session,
        "session_id": session,
        "span_id": f"score-{score.get('id')}",
        "kind": "other",
        "name": to_text(score.get("name")),
        "started_at": to_microseconds(score.get("timestamp")),
        "source_format": NAMES[0],
        "attributes": to_json(score),
    }
    read = _signal(score)
    if read is None:
        return Parsed([], [_verdict(score, row)])
    return Parsed([{**row, read[0]: read[1]}], [])
