"""Spans of OpenTelemetry: OTLP/JSON, one span a line, OpenInference, Phoenix, Vercel.

The engine gives one record at a time: an OTLP envelope, a line of JSONL, or a row of Phoenix's
data frame. Its spans are sorted by the names they have, and those of the same names are read
together, column by column. What has no column stays in ``attributes`` under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from evalbench.observe.formats.attributes import PLANS
from evalbench.observe.formats.facts import session_facts
from evalbench.observe.formats.feedback import signal, verdict
from evalbench.observe.formats.otlp import envelope_spans, gather, plain_attributes
from evalbench.observe.formats.shapes import (
    DOCUMENT,
    Pairs,
    Rest,
    Shape,
    editable,
    read_all,
    read_objects,
    read_slots,
    shape_of,
    unfold,
)
from evalbench.observe.frames import OBJECTS, Columns
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
from evalbench.schema import SPAN, SPAN_KINDS

NAMES = ("opentelemetry", "openinference", "vercel")
Names = tuple[Shape, tuple[str, ...], tuple[str, ...]]

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
ERRORS = frozenset(("2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR", "error"))
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")
TOTALS = ("llm.token_count.total", "gen_ai.usage.total_tokens", "ai.usage.totalTokens")
CACHE_WRITES = (
    "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.cache_creation.input_tokens",
)
RELEASES = ("service.version", "deployment.environment.name", "deployment.environment")
NO_TEXT = {name for name, kind in SPAN.items() if kind != pl.String}
UTC_ZONES = (b"+00:00", b"Z")
SHORTEST = len("2026-01-01T00:00:00Z")


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a span: an OTLP envelope, a flat span, or a row of Phoenix's frame."""
    if "span_id" in record or "context" in record:
        return "attributes" in record or "start_time" in record or "name" in record
    return "spanId" in record or "context.span_id" in record or "resourceSpans" in record


def parse(record: dict[str, Any], columns: Mapping[str, str]) -> Parsed:
    """Span of a record, or those of an OTLP envelope, and the verdicts of their evaluations."""
    parsed = Parsed([], [])
    for span in split_spans({**record}):
        names, values = take_apart(span)
        found, verdicts = read_alike(names, values, columns)
        row = {name: values[0] for name, values in found.items()}
        row |= {name: to_json(row[name]) for name in OBJECTS if row.get(name) is not None}
        if "documents" in row:
            row["documents"] = [dict(zip(DOCUMENT, each, strict=True)) for each in row["documents"]]
        parsed.spans.append(row)
        parsed.verdicts.extend(each for _, each in verdicts)
    return parsed


def split_spans(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Spans of a record: itself, or those of an OTLP envelope."""
    if "resourceSpans" not in record:
        return [gather(record) if "context.span_id" in record else record]
    return [
        {**each["span"], "resource": each["resource"], "scope": each["scope"]}
        for each in envelope_spans(record)
    ]


def take_apart(span: dict[str, Any]) -> tuple[Names, list[Any]]:
    """Names and values of a span, which is used up; its attributes plain and flat."""
    attributes, context = span.pop("attributes", None), span.pop("context", None)
    if attributes.__class__ is not dict:
        attributes = plain_attributes(attributes)
    if context.__class__ is not dict:
        context = {}
    shape = shape_of(attributes)
    if shape.nested:
        attributes = unfold(attributes)
        shape = shape_of(attributes)
    names = (shape, tuple(context), tuple(span))
    return names, [*attributes.values(), *context.values(), *span.values()]


def read_alike(
    names: Names, values: list[Any], mapped: Mapping[str, str]
) -> tuple[Columns, list[tuple[int, dict[str, Any]]]]:
    """Read spans that have the same names: their columns, and verdicts by place of the span.

    Parameters
    ----------
    names : Names
        Shape of the attributes, names of the context, and the other names.
    values : list
        The values of the first span under these names, then those of the next, and so on.
    mapped : mapping of str to str
        What ``--map`` says.

    Raises
    ------
    ValueError
        One of them cannot be used.
    """
    shape, context_names, other_names = names
    width = len(shape.names) + len(context_names) + len(other_names)
    if not width:
        raise ValueError("a span without any field")
    count = len(values) // width
    each = (tuple(values[place::width]) for place in range(width))
    held: Columns = dict(zip(shape.names, each, strict=False))
    context: Columns = dict(zip(context_names, each, strict=False))
    others: Columns = dict(zip(other_names, each, strict=False))
    columns: Columns = {column: held[name] for column, name in shape.columns}
    pairs = [(name, name) for name in shape.rest]
    rests = list(read_objects(pairs, held)) if pairs else [{} for _ in range(count)]
    fields = _take_fields(context, others, rests)
    for name in columns.keys() - NO_TEXT:
        columns[name] = read_all(to_text, columns[name], str)
    columns["source_format"] = [shape.dialect] * count
    scores = read_slots(shape, held, columns, rests)
    if "resource" in others:
        _add_resource(columns, rests)
    _identify(columns, fields, rests)
    _convert(columns, rests)
    if shape.facts or {"metadata", "tag.tags"} & {*held, *context, *others}:
        _add_facts(columns, rests, shape.facts)
    if any(fields.get("events") or ()):
        scores = scores or [[] for _ in range(count)]
        for place, events in enumerate(fields["events"]):
            if events:
                scores[place].extend(_events(columns, rests[place], from_json(events), place))
    verdicts = [
        (place, found)
        for place, each in enumerate(scores or ())
        for score in each
        if (found := _score(columns, score, place))
    ]
    columns["attributes"] = [rest or None for rest in rests]
    for place in range(count if mapped else 0):
        record, record["context"], record["attributes"] = (
            {name: values[place] for name, values in each.items()}
            for each in (others, context, held)
        )
        row = {"segments": columns["segments"][place] if "segments" in columns else None}
        apply_columns(row, record, mapped)
        for name, value in row.items():
            editable(columns, name, count)[place] = value
    return columns, verdicts


def _take_fields(context: Columns, others: Columns, rests: list[Rest]) -> Columns:
    """Fields outside the attributes, by what they mean; the others go to ``rests``."""
    fields: Columns = {}
    for name, values in (*others.items(), *context.items()):
        if name in FIELDS:
            fields[FIELDS[name]] = values
            continue
        for rest, value in zip(rests, values, strict=True):
            if value is not None and value != [] and value != {}:
                rest.setdefault(name, value)
    return fields


def _add_resource(columns: Columns, rests: list[Rest]) -> None:
    for place, rest in enumerate(rests):
        held = rest.get("resource")
        if isinstance(held, dict):
            held = plain_attributes(held["attributes"]) if "attributes" in held else held
            for name in RELEASES:
                if name in held:
                    values = editable(columns, PLANS[name].column, len(rests))
                    values[place] = held[name] if values[place] is None else values[place]


def _identify(columns: Columns, fields: Columns, rests: list[Rest]) -> None:
    """Ids, name, times, status and session of spans."""
    nothing = [None] * len(rests)
    for name in ("trace_id", "span_id", "parent_id", "name"):
        columns[name] = read_all(to_text, fields.get(name, nothing), str)
    columns["parent_id"] = [parent or None for parent in columns["parent_id"]]
    start = columns["started_at"] = _read_times(fields.get("start", nothing))
    columns["latency_ms"] = [
        None if begun is None or ended is None else (ended - begun) / 1000
        for begun, ended in zip(start, _read_times(fields.get("end", nothing)), strict=True)
    ]
    for name in ("session_id", "kind"):
        for place, value in enumerate(fields.get(name, ())):
            if value:
                values = editable(columns, name, len(rests))
                if values[place]:
                    rests[place][f"span.{name}"] = value
                else:
                    values[place] = to_text(value)
    sessions = zip(columns.get("session_id", nothing), columns["trace_id"], strict=True)
    columns["session_id"] = [session or trace for session, trace in sessions]
    messages = list(fields.get("status_message", nothing))
    statuses = fields.get("status", nothing)
    if dict in map(type, statuses):
        for place, status in enumerate(statuses := list(statuses)):
            if status.__class__ is dict:
                told = status.get("message") or status.get("description")
                messages[place] = told or messages[place]
                statuses[place] = status.get("code", status.get("status_code", 0))
    columns["status"] = [
        "error"
        if "error.type" in rest or str(status) in ERRORS
        else None
        if status is None
        else "ok"
        for status, rest in zip(statuses, rests, strict=True)
    ]
    for place, message in enumerate(messages):
        if message:
            values = editable(columns, "status_message", len(rests))
            if values[place] is not None:
                rests[place]["exception.message"] = values[place]
            values[place] = to_text(message)


def _read_times(values: Sequence[Any]) -> list[int | None]:
    """Microseconds of times; texts of one form are read in one go, which is far quicker."""
    if len(values) > 1 and {*map(type, values)} == {str} and len({*map(len, values)}) == 1:
        joined, length = "".join(values), len(values[0])
        for zone in UTC_ZONES if joined.isascii() and length >= SHORTEST else ():
            form = [("time", f"S{length - len(zone)}"), ("zone", f"S{len(zone)}")]
            told = np.frombuffer(joined.encode(), form)
            if (told["zone"] == zone).all():
                try:
                    return told["time"].astype("datetime64[us]").view(np.int64).tolist()
                except ValueError:
                    break
    return list(map(to_microseconds, values))


def _convert(columns: Columns, rests: list[Rest]) -> None:
    """Read kind, counts and costs as their columns want them, and a tool's own columns."""
    kinds = columns.get("kind", [None] * len(rests))
    default = "llm" if "model" in columns and "prompt_tokens" in columns else "other"
    columns["kind"] = [default if kind is None else KINDS.get(kind, "other") for kind in kinds]
    if "other" in columns["kind"]:
        for kind, read, rest in zip(kinds, columns["kind"], rests, strict=True):
            if kind is not None and read == "other" and kind not in rest.values():
                rest["span_kind"] = kind
    for name in COUNTS:
        if name in columns:
            columns[name] = read_all(partial(to_count, name=name), columns[name], int)
    if "cost_usd" in columns:
        columns["cost_usd"] = read_all(
            partial(to_number, name="cost_usd"), columns["cost_usd"], float
        )
    for place, cached in enumerate(columns.get("cached_tokens", ())):
        if cached:
            rest, given = rests[place], editable(columns, "prompt_tokens", len(rests))
            total = next((to_count(rest[name], name) for name in TOTALS if name in rest), None)
            written = (to_count(rest[name], name) for name in CACHE_WRITES if name in rest)
            completion = columns["completion_tokens"][place] if COUNTS[1] in columns else None
            given[place] = prompt_tokens(
                given[place], completion, total, cached, next(written, None)
            )
    if "tool" in columns["kind"]:
        _add_tool(columns, [kind == "tool" for kind in columns["kind"]])


def _add_tool(columns: Columns, tools: list[bool]) -> None:
    """Fill a tool's name, arguments and result, and its input and output, from each other."""
    pairs = [("tool_name", "name")]
    for name, source in (("tool_arguments", "input"), ("tool_result", "output")):
        pairs += [(name, source), (source, name)]
    for name, source in pairs:
        if source in columns:
            held = columns.get(name, [None] * len(tools))
            columns[name] = [
                other if tool and value is None else value
                for value, other, tool in zip(held, columns[source], tools, strict=True)
            ]


def _add_facts(columns: Columns, rests: list[Rest], own: Pairs) -> None:
    for place, rest in enumerate(rests):
        tags = from_json(rest.get("tag.tags"))
        facts = session_facts(rest.get("metadata"), tags if isinstance(tags, list) else ())
        if own:
            facts = {**session_facts({fact: rest[name] for fact, name in own}), **facts}
        for fact, value in facts.items():
            values = editable(columns, fact, len(rests))
            if values[place] is None:
                values[place] = value


def _events(columns: Columns, rest: Rest, events: Any, place: int) -> list[Rest]:
    """Scores in a span's events; the message of an exception becomes the status message."""
    rest["events"] = events
    scores = []
    for event in events if isinstance(events, list) else ():
        held = plain_attributes(event.get("attributes")) if isinstance(event, dict) else {}
        if "exception.message" in held:
            messages = editable(columns, "status_message", len(columns["kind"]))
            if messages[place] is None:
                messages[place] = to_text(held["exception.message"])
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


def _score(columns: Columns, score: dict[str, Any], place: int) -> dict[str, Any] | None:
    """Set the signal that a person's score means; any other score is given back as a verdict."""
    value = score.get("score")
    name = score.get("name") or score.get("identifier") or "score"
    if str(score.get("annotator_kind", "HUMAN")).upper() in ("HUMAN", "USER", "API"):
        read = signal(name, value if value is not None else score.get("label"))
        if read is not None:
            editable(columns, read[0], len(columns["kind"]))[place] = read[1]
            return None
    session, span = columns["session_id"][place], columns["span_id"][place]
    whole = columns["parent_id"][place] is None and session == columns["trace_id"][place]
    return verdict(
        columns["source_format"][place],
        name,
        session_id=session,
        value=value,
        label=score.get("label"),
        rationale=score.get("explanation"),
        target=None if whole else span,
        judged_at=to_microseconds(score.get("time")) or columns["started_at"][place],
    )
