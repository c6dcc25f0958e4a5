"""OpenAI chat transcripts: one object with a list of messages is one session.

Each answer is an ``llm`` span with the messages since the one before, each call a ``tool`` span
under it; what follows the last answer a span ``other``. Span ids end in their position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from evalbench.observe.formats.messages import speaks_as_agent, text_of, to_messages
from evalbench.observe.record import (
    Parsed,
    Row,
    apply_columns,
    from_json,
    is_missing,
    lookup,
    resolve,
    to_text,
)

NAMES = ("openai-chat",)
SIGNATURES: tuple[set[str], ...] = ()
# Columns that a mapping sets on every span; the others stand on the first.
EVERYWHERE = ("session_id", "trace_id", "started_at")
# Columns that hold one side of a transcript, and who speaks there.
SIDES = {"input": "user", "output": "assistant"}


def is_chat(value: Any) -> bool:
    """Tell whether a value is a list of messages, as OpenAI or AutoGen writes them."""
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return False
    speaks = "role" in value[0] or speaks_as_agent(value[0])
    return speaks and ("content" in value[0] or "tool_calls" in value[0])


def holds_chat(record: Row) -> bool:
    """Tell whether some field holds a chat; ask the other formats first."""
    return any(is_chat(value) for value in record.values())


def parse(record: Row, columns: Mapping[str, str]) -> Parsed:
    """Return the spans of one transcript, as a map says where it is.

    ``columns["messages"]`` names the field that holds it; ``input`` and ``output`` what was asked
    and answered, instead or after it.
    """
    field = columns.get("messages", "messages")
    chat = from_json(lookup(record, field))
    sides = [
        message for name in SIDES if name in columns for message in _say(record, name, columns)
    ]
    if not is_chat(chat) and not sides:
        raise ValueError(f"{field!r} is not a list of chat messages (map it: --map messages=FIELD)")
    chat = [*(chat if is_chat(chat) else ()), *sides]
    messages = to_messages(chat)
    if messages is None:
        raise ValueError(f"{field!r} holds something that is not a chat message")
    try:
        canonical = orjson.dumps(record, option=orjson.OPT_SORT_KEYS, default=str)
    except TypeError as error:
        raise ValueError(f"the record cannot be kept as JSON: {error}") from error
    trace = hashlib.blake2b(canonical, digest_size=16).hexdigest()
    spans = _read_spans(messages, trace)
    mapped: Row = {}
    apply_columns(mapped, record, {n: path for n, path in columns.items() if n not in SIDES})
    everywhere = {name: mapped[name] for name in EVERYWHERE if name in mapped}
    used = {field, *(columns.get(name) for name in SIDES)}
    rest = {name: value for name, value in record.items() if name not in used and value is not None}
    spans[0] |= {"attributes": rest, **mapped}
    return Parsed([span | everywhere for span in spans], [])


def _say(record: Row, side: str, columns: Mapping[str, str]) -> list[Row]:
    """Return the messages of one side: a chat of its own, or a text."""
    value = resolve(record, columns[side])
    if is_missing(value):
        return []
    held = from_json(value)
    messages = to_messages(held) if isinstance(held, list | dict) else None
    return messages or [{"role": SIDES[side], "content": to_text(value)}]


def _read_spans(messages: list[Row], trace: str) -> list[Row]:
    spans: list[Row] = []
    waiting: list[Row] = []
    unanswered: list[Row] = []

    def add(kind: str, **columns: Any) -> Row:
        ids = {"trace_id": trace, "session_id": trace, "span_id": f"{trace}-{len(spans):06d}"}
        spans.append({**ids, "source_format": NAMES[0], "kind": kind, **columns})
        return spans[-1]

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
            input_messages=waiting,
            output_messages=[message],
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
                attributes={"tool_call_id": call["id"]},
            )
            for call in message.get("tool_calls") or []
        ]
    if waiting or not spans:
        text = text_of(waiting, ("user",))
        add("other", name="after the last answer", input=text, input_messages=waiting)
    return spans


def _answer(unanswered: list[Row], message: Row) -> None:
    """Put a tool's answer on its call: by id, and without one on the first call still open."""
    call_id = message.get("tool_call_id")
    ids = [span["attributes"]["tool_call_id"] for span in unanswered]
    place = ids.index(call_id) if call_id in ids else 0
    if unanswered and (call_id in ids or not call_id or not ids[0]):
        found = unanswered.pop(place)
        found["tool_result"] = found["output"] = to_text(message.get("content"))
