"""LangSmith runs. ``session_id`` of a run is its tracing project, not the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalbench.observe.formats.facts import session_facts
from evalbench.observe.formats.feedback import signal, verdict
from evalbench.observe.formats.messages import to_messages
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
from evalbench.schema import SPAN_KINDS

NAMES = ("langsmith",)
CONVERSATION = ("session_id", "conversation_id", "thread_id")
READ = frozenset(
    "id name inputs outputs start_time end_time error trace_id status parent_run_id run_type "
    "prompt_tokens completion_tokens total_cost".split()
)


def matches(record: dict[str, Any]) -> bool:
    """Whether this is a run."""
    return "run_type" in record and ("dotted_order" in record or "inputs" in record)


def parse(record: dict[str, Any], columns: Mapping[str, str]) -> Parsed:
    """Span of one run, and the verdicts of its feedback."""
    run = {name: value for name, value in record.items() if not is_missing(value)}
    inputs, outputs = from_json(run.get("inputs")), from_json(run.get("outputs"))
    extra = from_json(run.get("extra"))
    extra = extra if isinstance(extra, dict) else {}
    metadata = from_json(extra.get("metadata"))
    metadata = metadata if isinstance(metadata, dict) else {}
    tags = from_json(run.get("tags"))
    row: dict[str, Any] = dict(session_facts(metadata, tags if isinstance(tags, list) else ()))
    trace_id = to_text(run.get("trace_id")) or to_text(run.get("id"))
    start, end = to_microseconds(run.get("start_time")), to_microseconds(run.get("end_time"))
    kind = run.get("run_type")
    session = next((metadata[name] for name in CONVERSATION if metadata.get(name)), trace_id)
    asked, answered = to_messages(inputs), to_messages(outputs)
    row |= {
        "trace_id": trace_id,
        "span_id": to_text(run.get("id")),
        "parent_id": to_text(run.get("parent_run_id")),
        "session_id": to_text(session),
        "kind": kind if kind in SPAN_KINDS else "other",
        "name": to_text(run.get("name")),
        "started_at": start,
        "latency_ms": None if start is None or end is None else (end - start) / 1000,
        "status": "error" if "error" in run or run.get("status") == "error" else "ok",
        "status_message": to_text(run.get("error")),
        "model": _model(extra, metadata),
        "provider": to_text(metadata.get("ls_provider")),
        "input": to_text(inputs),
        "output": to_text(outputs),
        "input_messages": None if asked is None else to_json(asked),
        "output_messages": None if answered is None else to_json(answered),
        "documents": _documents(outputs) if kind == "retriever" else None,
        "completion_tokens": to_count(run.get("completion_tokens"), "completion_tokens"),
        "cost_usd": to_number(run.get("total_cost"), "total_cost"),
        "source_format": NAMES[0],
    }
    _add_prompt_tokens(row, run)
    if kind == "tool":
        row["tool_name"] = row["name"]
        row["tool_arguments"], row["tool_result"] = row["input"], row["output"]
    left = {name: value for name, value in run.items() if name not in READ}
    rest = {name: value for name, value in left.items() if value not in ([], {})}
    if row["kind"] != kind:
        rest["run_type"] = kind
    row["attributes"] = to_json(rest) if rest else None
    verdicts = _feedback(row, from_json(run.get("feedback_stats")))
    apply_columns(row, record, columns)
    return Parsed([row], verdicts)


def _model(extra: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    parameters = from_json(extra.get("invocation_params"))
    parameters = parameters if isinstance(parameters, dict) else {}
    given = metadata.get("ls_model_name") or parameters.get("model")
    return to_text(given or parameters.get("model_name"))


def _add_prompt_tokens(row: dict[str, Any], run: Mapping[str, Any]) -> None:
    details = from_json(run.get("prompt_token_details"))
    details = details if isinstance(details, dict) else {}
    row["cached_tokens"] = to_count(details.get("cache_read"), "cache_read")
    row["prompt_tokens"] = prompt_tokens(
        to_count(run.get("prompt_tokens"), "prompt_tokens"),
        row["completion_tokens"],
        to_count(run.get("total_tokens"), "total_tokens"),
        row["cached_tokens"],
        to_count(details.get("cache_creation"), "cache_creation"),
    )


def _documents(outputs: Any) -> list[dict[str, Any]] | None:
    found = outputs
    if isinstance(outputs, dict):
        found = outputs.get("documents", outputs.get("output"))
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return None
    documents = []
    for each in found:
        metadata = each.get("metadata")
        score = metadata.get("score") if isinstance(metadata, dict) else None
        documents.append(
            {
                "id": to_text(each.get("id")),
                "content": to_text(each.get("page_content", each.get("content"))),
                "score": score if isinstance(score, float) else None,
            }
        )
    return documents


def _feedback(row: dict[str, Any], stats: Any) -> list[dict[str, Any]]:
    """Set well-known feedback as signals; give the rest back as verdicts with its mean."""
    verdicts = []
    for name, held in stats.items() if isinstance(stats, dict) else ():
        value = held.get("avg") if isinstance(held, dict) else held
        if value is None:
            continue
        read = signal(name, value)
        if read is not None:
            row[read[0]] = read[1]
            continue
        whole = row["parent_id"] is None and row["session_id"] == row["trace_id"]
        verdicts.append(
            verdict(
                NAMES[0],
                name,
                session_id=row["session_id"],
                value=value,
                target=None if whole else row["span_id"],
                judged_at=row["started_at"],
            )
        )
    return verdicts
