"""Put together what a span's attributes hold in pieces: messages, documents, scores, facts."""

from __future__ import annotations

from typing import Any

import orjson

from evalbench.observe.attributes import PLANS, Alternate, Fact, Nested, Piece
from evalbench.observe.messages import text_of, to_messages, to_tool_call
from evalbench.observe.otlp import flatten
from evalbench.observe.record import from_json, to_json, to_number, to_text

Deferred = list[tuple[Any, str, Any]]
USER, ANSWER = ("user",), ("assistant", "model")


def place(row: dict[str, Any], rest: dict[str, Any], deferred: Deferred) -> list[dict[str, Any]]:
    """Fill ``row`` from attributes that are more than a column; give back the scores found.

    Parameters
    ----------
    row, rest : dict
        Columns of the span so far, and its attributes without a column; both are added to.
    deferred : list of (plan, name, value)
    """
    slots: dict[str, dict[int, dict[str, Any]]] = {}
    alternates: list[tuple[Alternate, str, Any]] = []
    for plan, name, value in _unfold(row, rest, deferred):
        if plan.__class__ is Piece:
            slot, index, field, inner, leaf = plan
            if slot not in slots:
                slots[slot] = {}
            items = slots[slot]
            if index not in items:
                items[index] = {}
            if inner is None:
                items[index][field] = value
            else:
                held = items[index].setdefault(field, {})
                if held.__class__ is dict:
                    held.setdefault(inner, {})[leaf] = value
                else:
                    rest[name] = value
        elif plan.__class__ is Alternate:
            alternates.append((plan, name, value))
        else:
            row.setdefault("facts", {})[plan.name] = value
            rest[name] = value
    scores = _assemble(row, rest, slots) if slots else []
    if alternates:
        _fill(row, rest, sorted(alternates, key=_rank))
    if "system" in row:
        _add_system(row)
    if "input" not in row and "input_messages" in row:
        _set_text(row, "input", USER)
    if "output" not in row and "output_messages" in row:
        _set_text(row, "output", ANSWER)
    return scores


def _rank(alternate: tuple[Alternate, str, Any]) -> int:
    return alternate[0].rank


def _unfold(row: dict[str, Any], rest: dict[str, Any], deferred: Deferred) -> Deferred:
    """Replace objects whose leaves have names of their own by those leaves."""
    if not any(plan.__class__ is Nested for plan, _, _ in deferred):
        return deferred
    unfolded: Deferred = []
    for plan, name, value in deferred:
        if plan.__class__ is not Nested:
            unfolded.append((plan, name, value))
            continue
        for leaf, held in flatten(name, value):
            plan = PLANS[leaf]
            if plan is None or plan.__class__ is Nested:
                rest[leaf] = held
            elif plan.__class__ is str:
                row.setdefault(plan, held)
            else:
                unfolded.append((plan, leaf, held))
    return unfolded


def _fill(
    row: dict[str, Any], rest: dict[str, Any], alternates: list[tuple[Alternate, str, Any]]
) -> None:
    for (_, column, _), name, value in alternates:
        if column in ("input_messages", "output_messages"):
            messages = to_messages(value) if column not in row else None
            if messages is not None:
                row[column] = to_json(messages)
            elif column not in row and column[:-9] not in row:
                row[column[:-9]] = value
            else:
                rest[name] = value
            continue
        if column not in row:
            row[column] = value
        elif row[column] == value and column != "kind":
            continue
        if column == "kind" or row[column] is not value:
            rest[name] = value


def _assemble(
    row: dict[str, Any], rest: dict[str, Any], slots: dict[str, dict[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    scores: list[dict[str, Any]] = []
    for slot, items in slots.items():
        ordered = [items[index] for index in sorted(items)]
        if slot == "scores":
            rest["annotations"] = scores = ordered
        elif slot == "documents":
            row["documents"] = [_document(item, index, rest) for index, item in enumerate(ordered)]
        else:
            for item in ordered:
                if "contents" in item or "tool_calls" in item:
                    _complete(item)
            row[slot] = to_json(ordered)
    return scores


def _complete(message: dict[str, Any]) -> None:
    """Turn a message's numbered contents and tool calls into lists."""
    parts = message.get("contents")
    if parts.__class__ is dict:
        parts = [parts[index] for index in sorted(parts)]
        plain = all(part.keys() <= {"type", "text"} and "text" in part for part in parts)
        if "content" in message:
            message["contents"] = parts
        else:
            del message["contents"]
            message["content"] = "\n".join(str(part["text"]) for part in parts) if plain else parts
    calls = message.get("tool_calls")
    if calls.__class__ is dict:
        calls = [calls[index] for index in sorted(calls)]
    else:
        calls = from_json(calls)
    if isinstance(calls, list):
        message["tool_calls"] = [to_tool_call(call) for call in calls]
    message.setdefault("content", None)


def _document(item: dict[str, Any], index: int, rest: dict[str, Any]) -> dict[str, Any]:
    others = {k: v for k, v in item.items() if k not in ("id", "content", "score")}
    try:
        score = to_number(item.get("score"), "score")
    except ValueError:
        score, others["score"] = None, item["score"]
    if others:
        rest[f"documents.{index}"] = others
    return {"id": to_text(item.get("id")), "content": to_text(item.get("content")), "score": score}


def _add_system(row: dict[str, Any]) -> None:
    held = from_json(row.pop("system"))
    system = to_messages([{"role": "system", "parts" if isinstance(held, list) else "content": held}])
    row["input_messages"] = to_json([*(system or []), *orjson.loads(row.get("input_messages", "[]"))])


def _set_text(row: dict[str, Any], column: str, roles: tuple[str, ...]) -> None:
    text = text_of(orjson.loads(row[f"{column}_messages"]), roles)
    if text is not None:
        row[column] = text
