"""Langfuse exports: observations, traces and scores, of the UI (camelCase) or blob (snake_case).

Latency is the difference of the timestamps: ``latency`` is seconds or milliseconds by the age of
the integration. A person's score of a well-known name is a signal, every other a verdict of
``langfuse/<name>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from evalbench.observe.formats.feedback import add_scores
from evalbench.observe.formats.mapping import Mapping as Names
from evalbench.observe.formats.mapping import read_span, read_table
from evalbench.observe.formats.messages import to_tool_call
from evalbench.observe.formats.opentelemetry import MAPPING as OPENTELEMETRY
from evalbench.observe.record import Parsed, Row, apply_columns, from_json, is_missing, to_text
from evalbench.schema import SIGNALS

NAMES = ("langfuse",)
_SIGNATURES = (
    "trace observations",
    "id observations timestamp",
    "id trace_id type start_time",
    "id timestamp bookmarked",
    "id timestamp html_path",
    "name value source trace_id",
    "name value source session_id",
    "name string_value source trace_id",
)
FACTS = ("user_key", "environment", "release", "segments", "group_key", *SIGNALS)
SAID = ("input", "output")  # fields of a trace that repeat what its observations say


@lru_cache(maxsize=4096)
def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _camel(name: str) -> str:
    field, dot, path = name.partition(".")
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others)) + dot + path


def _named(record: Mapping[str, Any]) -> Row:
    return {_snake(name): value for name, value in record.items() if not is_missing(value)}


SIGNATURES = tuple(
    {spell(name) for name in names.split()} for names in _SIGNATURES for spell in (_snake, _camel)
)
COLUMNS = read_table("""
    trace_id: trace_id
    span_id: id
    parent_id: parent_observation_id
    name: name
    start: start_time timestamp
    end: end_time
    status: level
    status_message: status_message
    session_id: session_id
    user_key: user_id
    release: release version
    environment: environment
    kind: type
    model: provided_model_name model
    input: input
    output: output
    input_messages: input
    output_messages: output
    prompt_tokens: usage_details.input
    completion_tokens: usage_details.output
    cached_tokens: usage_details.input_cache_read usage_details.cache_read_input_tokens
        usage_details.input_cached_tokens usage_details.prompt_details.cache_read
    cache_writes: usage_details.input_cache_creation usage_details.cache_creation_input_tokens
        usage_details.prompt_details.cache_write
    total_tokens: usage_details.total
    cost_usd: total_cost cost_details.total
    metadata: metadata
    tags: tags
    scores: scores
""")
for _column in ("session_id", "provider", "tool_name"):  # of an OpenTelemetry span in metadata
    _inner = (f"metadata.attributes.{name}" for name in OPENTELEMETRY.columns[_column])
    COLUMNS[_column] = (*COLUMNS.get(_column, ()), *_inner)
MAPPING = Names(
    source="langfuse",
    columns={
        column: tuple(dict.fromkeys((*names, *map(_camel, names))))
        for column, names in COLUMNS.items()
    },
    kinds={"GENERATION": "llm", "SPAN": "chain", "EVENT": "other"},
)


def parse(record: Row, columns: Mapping[str, str]) -> Parsed:
    """Return spans and verdicts of one observation, one trace, one score or a whole download."""
    names = {_snake(name) for name, value in record.items() if not is_missing(value)}
    if "observations" in names:
        parsed = _parse_download(record)
    elif names & {"value", "string_value"}:
        parsed = _parse_score(_named(record))
    else:
        parsed = _parse_one(record if "trace_id" in names else _as_observation(record))
    for span in parsed.spans:
        apply_columns(span, record, columns)
    return parsed


def _as_observation(trace: Row) -> Row:
    if is_missing(trace.get("id")):
        raise ValueError("a trace without an id")
    span_id = f"trace-{to_text(trace['id'])}"
    return {**trace, "trace_id": trace["id"], "id": span_id, "type": "CHAIN"}


def _parse_one(fields: Row) -> Parsed:
    row = read_span(fields, MAPPING)
    if "span_id" not in row or "trace_id" not in row:
        raise ValueError("an observation without an id or without a trace")
    calls = from_json(fields.get("toolCalls", fields.get("tool_calls")))
    answered = row.get("output_messages") or []
    if isinstance(calls, list) and calls and not any("tool_calls" in each for each in answered):
        read = [to_tool_call(from_json(call)) for call in calls]
        message = {"role": "assistant", "content": None, "tool_calls": read}
        row["output_messages"] = [*answered, message]
    return Parsed([row], add_scores(row, _read_scores(row, row.pop("scores", None))))


def _parse_download(record: Row) -> Parsed:
    observations = record["observations"]
    if not isinstance(observations, list) or not all(isinstance(o, dict) for o in observations):
        raise ValueError("observations are not a list of objects")
    held = record.get("trace")
    own = {name: value for name, value in record.items() if name not in ("trace", "observations")}
    trace = {**held, **own} if isinstance(held, dict) else own
    if not observations:
        return _parse_one(_as_observation(trace))
    known = {} if is_missing(trace.get("id")) else {"trace_id": trace["id"]}
    spans, verdicts = [], []
    for each in observations:
        parsed = _parse_one({**known, **each})
        spans += parsed.spans
        verdicts += parsed.verdicts
    root = next((span for span in spans if "parent_id" not in span), spans[0])
    facts = read_span({name: trace[name] for name in trace if name not in SAID}, MAPPING)
    for name in FACTS:
        if root.get(name) is None:
            root[name] = facts.get(name)
    root["attributes"]["trace"] = trace
    of_trace = _named(trace)
    session = next((s["session_id"] for s in spans if s["session_id"] != s["trace_id"]), None)
    session = to_text(of_trace.get("session_id")) or session
    for span in spans if session else ():
        span["session_id"] = session
    verdicts += add_scores(root, _read_scores(root, of_trace.get("scores")))
    return Parsed(spans, [{**each, "session_id": root["session_id"]} for each in verdicts])


def _parse_score(fields: Row) -> Parsed:
    session = to_text(fields.get("session_id")) or to_text(fields.get("trace_id"))
    if session is None:
        raise ValueError("a score without a trace or a session")
    about = {"trace_id": session, **fields, "id": f"score-{fields.get('id')}", "type": "OTHER"}
    row = read_span({**about, "session_id": session}, MAPPING)
    verdicts = add_scores(row, _read_scores(row, [fields]))
    return Parsed([], verdicts) if verdicts else Parsed([row], [])


def _read_scores(row: Row, scores: Any) -> Iterator[Row]:
    """Give scores as :func:`add_scores` reads them, of a list or an object of name and value."""
    scores = from_json(scores)
    if isinstance(scores, dict):
        pairs = (
            (n, each) for n, v in scores.items() for each in (v if isinstance(v, list) else [v])
        )
        scores = [{**(v if isinstance(v, dict) else {"value": v}), "name": n} for n, v in pairs]
    for score in map(from_json, scores if isinstance(scores, list) else ()):
        if not isinstance(score, dict):
            raise ValueError(f"a score is not an object: {str(score)[:80]!r}")
        fields = _named(score)
        whole = row["trace_id"] == row["session_id"]
        yield {
            "name": fields.get("name"),
            "score": _read_value(fields),
            "label": fields.get("string_value"),
            "explanation": fields.get("comment"),
            "time": fields.get("timestamp"),
            "annotator_kind": "LLM" if fields.get("source") == "EVAL" else "HUMAN",
            "target": to_text(fields.get("observation_id")) or (None if whole else row["trace_id"]),
        }


def _read_value(score: Row) -> Any:
    value = score.get("value", score.get("string_value"))
    if score.get("data_type") == "BOOLEAN" and value in (0, 1, "0", "1"):
        return bool(int(value))
    return score.get("string_value", value) if score.get("data_type") == "CATEGORICAL" else value
