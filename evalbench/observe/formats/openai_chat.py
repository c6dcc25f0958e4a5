"""OpenAI chat transcripts: one object with a list of messages is one session.

Each assistant message becomes an ``llm`` span whose ``input_messages`` are only the messages since
the answer before it, so a session is stored once and not once a turn. Each tool call becomes a
``tool`` span under its answer. Messages after the last answer stand on a last span of kind
``other``. Span ids end in the position, so their text order is the order of the session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from evalbench.observe.formats.messages import text_of, to_messages
from evalbench.observe.record import Parsed, apply_columns, from_json, lookup, to_json, to_text

NAMES = ("openai-chat",)


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and "role" in value[0]
        and ("content" in value[0] or "tool_calls" in value[0])
    )


def matches(record: dict[str, Any]) -> bool:
    """Whether some field holds a chat; ask the other formats first."""
    return any(_is_chat(value) for value in record.values())


def parse(record: dict[str, Any], columns: Mapping[str, str]) -> Parsed:
    """Spans of one transcript; ``columns["messages"]`` names the field that holds it."""
    field = columns.get("messages", "messages")
    chat = from_json(lookup(record, field))
    if not _is_chat(chat):
        raise ValueError(f"{field!r} is not a list of chat messages (map it: --map messages=FIELD)")
    messages = to_messages(chat)
    if messages is None:
        raise ValueError(f"{field!r} holds something that is not a chat message")
    trace = hashlib.blake2b(_canonical(record), digest_size=16).hexdigest()
    base: dict[str, Any] = {"trace_id": trace, "session_id": trace, "source_format": NAMES[0]}
    spans = _spans(messages, base)
    rest = {key: value for key, value in record.items() if key != field and value is not None}
    spans[0]["attributes"] = to_json(rest) if rest else None
    mapped: dict[str, Any] = {}
    apply_columns(mapped, record, columns)
    spans[0].update(mapped)
    everywhere: dict[str, Any] = {
        k: mapped[k] for k in ("session_id", "trace_id", "started_at") if k in mapped
    }
    for span in spans:
        span.update(everywhere)
    return Parsed(spans, [])


def _canonical(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS, default=str)
    except TypeError as error:
        raise ValueError(f"the record cannot be kept as JSON: {error}") from error


def _spans(messages: list[dict[str, Any]], base: dict[str, Any]) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    unanswered: list[dict[str, Any]] = []

    def add(kind: str, **fields: Any) -> dict[str, Any]:
        span = {**base, "span_id": f"{base['trace_id']}-{len(spans):06d}", "kind": kind, **fields}
        spans.append(span)
        return span

    for message in messages:
        if message["role"] == "tool":
            _answer(unanswered, message)
        if message["role"] != "assistant":
            waiting.append(message)
            continue
        answer = add(
            "llm",
            name="assistant",
            model=message.get("model"),
            input=text_of(waiting, ("user",)),
            output=to_text(message.get("content")),
            input_messages=to_json(waiting),
            output_messages=to_json([message]),
        )
        waiting = []
        unanswered = [
            add(
                "tool",
                parent_id=answer["span_id"],
                name=call["name"],
                tool_name=call["name"],
                tool_arguments=call["arguments"],
                input=call["arguments"],
                attributes=to_json({"tool_call_id": call["id"]}),
            )
            for call in message.get("tool_calls") or []
        ]
    if waiting or not spans:
        add(
            "other",
            name="after the last answer",
            input=text_of(waiting, ("user",)),
            input_messages=to_json(waiting),
        )
    return spans


def _answer(unanswered: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Put a tool's answer on its call: by id, or else on the first call still without one."""
    wanted = to_json({"tool_call_id": message.get("tool_call_id")})
    found = next((span for span in unanswered if span["attributes"] == wanted), None)
    if found is None:
        found = unanswered[0] if unanswered else None
    if found is not None:
        found["tool_result"] = found["output"] = to_text(message.get("content"))
        unanswered.remove(found)
