"""Spans of OpenTelemetry: OTLP/JSON, one span a line, OpenInference, Phoenix, Vercel.

The engine gives one record at a time: an OTLP envelope, a line of JSONL, or a row of Phoenix's
data frame. What has no column stays in ``attributes`` under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalbench.observe.attributes import PLANS
from evalbench.observe.facts import session_facts
from evalbench.observe.feedback import signal, verdict
from evalbench.observe.otlp import envelope_spans, gather, plain_attributes
from evalbench.observe.record import (
    Parsed,
    apply_columns,
    from_json,
    prompt_tokens,
    to_count,
    to_json,
    to_microseconds,
    to_number,
    to_text,
)
from evalbench.observe.shapes import read_slots, shape_of, unfold
from evalbench.schema import SPAN_KINDS

__all__ = ["NAMES", "envelope_spans", "matches", "parse"]

NAMES = ("opentelemetry", "openinference", "vercel")

FIELDS = {
    **dict.fromkeys(("trace_id", "traceId", "context.trace_id"), "trace_id"),
    **dict.fromkeys(("span_id", "spanId", "context.span_id"), "span_id"),
    **dict.fromkeys(("parent_id", "parentSpanId", "parent_span_id"), "parent_id"),
    **dict.fromkeys(("start_time", "startTimeUnixNano", "start_time_unix_nano"), "start"),
    **dict.fromkeys(("end_time", "endTimeUnixNano", "end_time_unix_nano"), "end"),
    **dict.fromkeys(("status", "status_code"), "status"),
    "status_message": "status_message",
    "name": "name",
    "session_id": "session_id",
    "span_kind": "kind",
    "context": "context",
    "attributes": "attributes",
    "events": "events",
}
"""Fields of a span outside its attributes."""

KINDS = {
    **{kind: kind for kind in SPAN_KINDS},
    **{kind.upper(): kind for kind in SPAN_KINDS},
    **dict.fromkeys(("chat", "text_completion", "generate_content"), "llm"),
    **dict.fromkeys(("ai.generateText.doGenerate", "ai.streamText.doStream"), "llm"),
    **dict.fromkeys(("ai.generateObject.doGenerate", "ai.streamObject.doStream"), "llm"),
    **dict.fromkeys(("ai.generateText", "ai.streamText", "ai.generateObject"), "chain"),
    **dict.fromkeys(("ai.streamObject", "workflow", "task", "invoke_workflow"), "chain"),
    **dict.fromkeys(("invoke_agent", "create_agent"), "agent"),
    **dict.fromkeys(("execute_tool", "ai.toolCall"), "tool"),
    **dict.fromkeys(("embeddings", "ai.embed.doEmbed", "ai.embedMany.doEmbed"), "embedding"),
    **dict.fromkeys(("retrieval", "retrieve"), "retriever"),
    "rerank": "reranker",
}
STATUSES = {
    **dict.fromkeys(("2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR", "error"), "error")
}
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")
TOTALS = ("llm.token_count.total", "gen_ai.usage.total_tokens", "ai.usage.totalTokens")
CACHE_WRITES = (
    "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.cache_creation.input_tokens",
)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a span: an OTLP envelope, a flat span, or a row of Phoenix's frame."""
    if "span_id" in record or "context" in record:
        return "attributes" in record or "start_time" in record or "name" in record
    return "spanId" in record or "context.span_id" in record or "resourceSpans" in record


def parse(record: dict[str, Any], columns: Mapping[str, str]) -> Parsed:
    """Span of a record, or those of an OTLP envelope, and the verdicts of their evaluations."""
    if "resourceSpans" not in record:
        return _parse_span(record, None, None, columns)
    parsed = Parsed([], [])
    for envelope in envelope_spans(record):
        found = _parse_span(envelope["span"], envelope["resource"], envelope["scope"], columns)
        parsed.spans.extend(found.spans)
        parsed.verdicts.extend(found.verdicts)
    return parsed


def _parse_span(
    record: dict[str, Any],
    resource: dict[str, Any] | None,
    scope: dict[str, Any] | None,
    columns: Mapping[str, str],
) -> Parsed:
    if "context.span_id" in record:
        record = gather(record)
    fields: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in record.items():
        field = FIELDS.get(name)
        if field is not None:
            fields[field] = value
        elif value is not None and value != [] and value != {}:
            rest[name] = value
    attributes = fields.get("attributes")
    if attributes.__class__ is not dict:
        attributes = plain_attributes(attributes)
    shape = shape_of(attributes)
    if shape.nested:
        attributes = unfold(attributes)
        shape = shape_of(attributes)
    row: dict[str, Any] = dict(zip(shape.columns, shape.take_columns(attributes), strict=True))
    rest.update(zip(shape.rest, shape.take_rest(attributes), strict=True))
    row["source_format"] = shape.dialect
    for name in shape.texts:
        if row[name].__class__ is not str:
            row[name] = to_text(row[name])
    scores = read_slots(shape, attributes, row, rest) if shape.messages else []
    if resource or scope or "resource" in rest:
        _add_envelope(row, rest, resource, scope)
    _identify(row, fields, rest)
    _convert(row, rest)
    if "metadata" in rest or "tag.tags" in rest or shape.facts:
        tags = from_json(rest.get("tag.tags"))
        own = {fact: attributes[name] for fact, name in shape.facts}
        facts = session_facts(rest.get("metadata"), tags if isinstance(tags, list) else ())
        for fact, value in ({**session_facts(own), **facts} if own else facts).items():
            if fact not in row:
                row[fact] = value
    if fields.get("events"):
        scores += _events(row, rest, from_json(fields["events"]))
    verdicts = [found for score in scores if (found := _score(row, score))]
    row["attributes"] = to_json(rest) if rest else None
    if columns:
        apply_columns(row, {**record, "attributes": attributes}, columns)
    return Parsed([row], verdicts)


def _add_envelope(
    row: dict[str, Any],
    rest: dict[str, Any],
    resource: dict[str, Any] | None,
    scope: dict[str, Any] | None,
) -> None:
    if scope:
        rest["scope"] = scope
    if resource:
        rest["resource"] = resource
    held = rest.get("resource")
    if isinstance(held, dict):
        held = plain_attributes(held["attributes"]) if "attributes" in held else held
        for name in ("service.version", "deployment.environment.name", "deployment.environment"):
            if name in held:
                row.setdefault(PLANS[name].column, held[name])


def _identify(row: dict[str, Any], fields: dict[str, Any], rest: dict[str, Any]) -> None:
    """Ids, name, times, status and session of a span."""
    context = fields.get("context")
    if context.__class__ is dict:
        for name, value in context.items():
            if name in FIELDS:
                fields[FIELDS[name]] = value
            else:
                rest[name] = value
    for name in ("trace_id", "span_id", "parent_id", "name"):
        value = fields.get(name)
        row[name] = value if value.__class__ is str else to_text(value)
    row["parent_id"] = row["parent_id"] or None
    start = row["started_at"] = to_microseconds(fields.get("start"))
    end = to_microseconds(fields.get("end"))
    if start is not None and end is not None:
        row["latency_ms"] = (end - start) / 1000
    for name in ("session_id", "kind"):
        if fields.get(name):
            if row.get(name):
                rest[f"span.{name}"] = fields[name]
            else:
                row[name] = to_text(fields[name])
    row["session_id"] = row.get("session_id") or row["trace_id"]
    status = fields.get("status")
    message = fields.get("status_message")
    if status.__class__ is dict:
        message = status.get("message") or status.get("description") or message
        status = status.get("code", status.get("status_code", 0))
    if message:
        if "status_message" in row:
            rest["exception.message"] = row["status_message"]
        row["status_message"] = to_text(message)
    if "error.type" in rest:
        row["status"] = "error"
    elif status is not None:
        row["status"] = STATUSES.get(str(status), "ok")


def _convert(row: dict[str, Any], rest: dict[str, Any]) -> None:
    """Read kind, counts and costs as their columns want them, and a tool's own columns."""
    kind = row.get("kind")
    if kind is not None:
        row["kind"] = KINDS.get(kind, "other")
        if row["kind"] == "other" and kind not in rest.values():
            rest["span_kind"] = kind
    else:
        row["kind"] = "llm" if "model" in row and "prompt_tokens" in row else "other"
    for name in COUNTS:
        if name in row and row[name].__class__ is not int:
            row[name] = to_count(row[name], name)
    if "cost_usd" in row:
        row["cost_usd"] = to_number(row["cost_usd"], "cost_usd")
    if row.get("cached_tokens"):
        total = next((to_count(rest[name], name) for name in TOTALS if name in rest), None)
        written = next((to_count(rest[name], name) for name in CACHE_WRITES if name in rest), None)
        row["prompt_tokens"] = prompt_tokens(
            row.get("prompt_tokens"),
            row.get("completion_tokens"),
            total,
            row["cached_tokens"],
            written,
        )
    if row["kind"] == "tool":
        row.setdefault("tool_name", row["name"])
        for name, source in (("tool_arguments", "input"), ("tool_result", "output")):
            if name in row:
                row.setdefault(source, row[name])
            elif source in row:
                row[name] = row[source]


def _events(row: dict[str, Any], rest: dict[str, Any], events: Any) -> list[dict[str, Any]]:
    """Scores in a span's events; the message of an exception becomes the status message."""
    rest["events"] = events
    scores = []
    for event in events if isinstance(events, list) else ():
        held = plain_attributes(event.get("attributes")) if isinstance(event, dict) else {}
        if "exception.message" in held:
            row.setdefault("status_message", to_text(held["exception.message"]))
        if "gen_ai.evaluation.name" in held:
            scores.append(
                {
                    "name": held["gen_ai.evaluation.name"],
                    "score": held.get("gen_ai.evaluation.score.value"),
                    "label": held.get("gen_ai.evaluation.score.label"),
                    "explanation": held.get("gen_ai.evaluation.explanation"),
                    "time": event.get("timeUnixNano") or event.get("timestamp"),
                }
            )
    return scores


def _score(row: dict[str, Any], score: dict[str, Any]) -> dict[str, Any] | None:
    """Set the signal that a person's score means; any other score is given back as a verdict."""
    value = score.get("score")
    name = score.get("name") or score.get("identifier") or "score"
    if str(score.get("annotator_kind", "HUMAN")).upper() in ("HUMAN", "USER", "API"):
        read = signal(name, value if value is not None else score.get("label"))
        if read is not None:
            row[read[0]] = read[1]
            return None
    whole = row["parent_id"] is None and row["session_id"] == row["trace_id"]
    return verdict(
        row["source_format"],
        name,
        session_id=row["session_id"],
        value=value,
        label=score.get("label"),
        rationale=score.get("explanation"),
        target=None if whole else row["span_id"],
        judged_at=to_microseconds(score.get("time")) or row["started_at"],
    )
