"""How a span is put together from the names of its attributes, worked out once for each set.

Spans of one source repeat a few sets of names thousands of times, so what a set means - which name
fills which column, which names are one message - is kept as a :class:`Shape`, and reading a span
is only taking its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import polars as pl

from evalbench.observe.attributes import PLANS, Alternate, Fact, Nested, Piece
from evalbench.observe.messages import text_of, to_messages, to_tool_call
from evalbench.observe.otlp import flatten
from evalbench.observe.record import from_json, to_json, to_number, to_text
from evalbench.schema import SPAN

Attributes = Mapping[str, Any]
Pairs = tuple[tuple[str, str], ...]
MESSAGES = ("input_messages", "output_messages")
USER, ANSWER = ("user",), ("assistant", "model")
DOCUMENT, TYPED = ("id", "content", "score"), (str, str, float)
MEMORY = 5_000


class Item(NamedTuple):
    """One item of a numbered list: pairs of field and attribute name, and its inner lists."""

    fields: Pairs
    inner: tuple[tuple[str, tuple[Pairs, ...]], ...]


class Shape(NamedTuple):
    """What a set of attribute names means."""

    columns: tuple[str, ...]
    take_columns: Callable[[Attributes], tuple[Any, ...]]
    rest: tuple[str, ...]
    take_rest: Callable[[Attributes], tuple[Any, ...]]
    slots: tuple[tuple[str, tuple[Item, ...]], ...]
    whole: Pairs
    facts: Pairs
    texts: tuple[str, ...]
    messages: bool
    nested: bool
    dialect: str


def shape_of(attributes: Attributes) -> Shape:
    """Shape of a span's attributes, kept for the next span with the same names in this order."""
    names = tuple(attributes)
    shape = _SHAPES.get(names)
    if shape is None:
        if len(_SHAPES) >= MEMORY:
            _SHAPES.clear()
        shape = _SHAPES[names] = _shape(names)
    return shape


_SHAPES: dict[tuple[str, ...], Shape] = {}


def _shape(names: tuple[str, ...]) -> Shape:
    plans = [(PLANS[name], name) for name in names]
    columns = {plan: name for plan, name in plans if plan.__class__ is str}
    rest = [name for plan, name in plans if plan is None or plan.__class__ is Nested]
    facts = [(plan.name, name) for plan, name in plans if plan.__class__ is Fact]
    slots: dict[str, dict[int, dict[str, Any]]] = {}
    taken: set[Piece] = set()
    for plan, name in plans:
        if plan.__class__ is not Piece:
            continue
        if plan in taken:  # two spellings of one field, as in gen_ai.prompt and llm.input_messages
            rest.append(name)
            continue
        taken.add(plan)
        item = slots.setdefault(plan.slot, {}).setdefault(
            plan.position, {"fields": [], "inner": {}}
        )
        if plan.inner_position is None:
            item["fields"].append((plan.field, name))
        else:
            lists = item["inner"].setdefault(plan.field, {})
            lists.setdefault(plan.inner_position, []).append((plan.inner_field, name))
    whole = {}
    alternates = [(plan, name) for plan, name in plans if plan.__class__ is Alternate]
    for plan, name in sorted(alternates, key=lambda each: each[0].rank):
        if plan.column in MESSAGES and plan.column not in slots and plan.column not in whole:
            whole[plan.column] = name
        elif plan.column in MESSAGES or plan.column in columns:
            rest.append(name)
        else:
            columns[plan.column] = name
            if plan.column == "kind":  # the source's word says more than the kind it becomes
                rest.append(name)
    rest += [name for _, name in facts]
    return Shape(
        tuple(columns),
        _taker(columns.values()),
        tuple(rest),
        _taker(rest),
        tuple((slot, _items(items)) for slot, items in slots.items()),
        tuple(whole.items()),
        tuple(facts),
        tuple(column for column in columns if SPAN.get(column, pl.String) == pl.String),
        bool(slots or whole or "system" in columns),
        any(plan.__class__ is Nested for plan, _ in plans),
        _dialect(names),
    )


def _dialect(names: tuple[str, ...]) -> str:
    if any(name.startswith(("openinference.", "llm.")) for name in names):
        return "openinference"
    return "vercel" if any(name.startswith("ai.") for name in names) else "opentelemetry"


def _items(items: dict[int, dict[str, Any]]) -> tuple[Item, ...]:
    return tuple(
        Item(
            tuple(items[index]["fields"]),
            tuple(
                (field, tuple(tuple(lists[inner]) for inner in sorted(lists)))
                for field, lists in items[index]["inner"].items()
            ),
        )
        for index in sorted(items)
    )


def _taker(names: Iterable[str]) -> Callable[[Attributes], tuple[Any, ...]]:
    names = tuple(names)
    if len(names) > 1:
        return itemgetter(*names)
    return lambda attributes: tuple(attributes[name] for name in names)


def unfold(attributes: Attributes) -> dict[str, Any]:
    """Replace objects whose leaves have names of their own, as Phoenix exports, by the leaves."""
    unfolded: dict[str, Any] = {}
    for name, value in attributes.items():
        if PLANS[name].__class__ is Nested:
            for leaf, held in flatten(name, value):
                unfolded[leaf if leaf == name or leaf not in attributes else f"nested.{leaf}"] = (
                    held
                )
        else:
            unfolded[name] = value
    return unfolded


def read_slots(
    shape: Shape, attributes: Attributes, row: dict[str, Any], rest: dict[str, Any]
) -> list[dict[str, Any]]:
    """Put messages and documents on ``row``; give back the scores."""
    scores: list[dict[str, Any]] = []
    for slot, items in shape.slots:
        made = []
        for fields, inner in items:
            item = {field: attributes[name] for field, name in fields}
            if inner:
                _add_inner(item, inner, attributes)
            made.append(item)
        if slot == "documents":
            row["documents"] = [_document(item, index, rest) for index, item in enumerate(made)]
        elif slot == "scores":
            rest["annotations"] = scores = made
        else:
            row[slot] = to_json(made)
    for column, name in shape.whole:
        messages = to_messages(attributes[name])
        if messages is not None:
            row[column] = to_json(messages)
        elif column[:-9] not in row:
            row[column[:-9]] = attributes[name]
        else:
            rest[name] = attributes[name]
    if "system" in row:
        _add_system(row)
    if "input" not in row and "input_messages" in row:
        _set_text(row, "input", USER)
    if "output" not in row and "output_messages" in row:
        _set_text(row, "output", ANSWER)
    return scores


def _add_inner(item: dict[str, Any], inner: Any, attributes: Attributes) -> None:
    """Add a message's tool calls and contents; contents that are all text become its content."""
    for field, lists in inner:
        parts = [{leaf: attributes[name] for leaf, name in pairs} for pairs in lists]
        if field == "tool_calls":
            item[field] = [
                part
                if part.get("arguments").__class__ is str and "id" in part
                else to_tool_call(part)
                for part in parts
            ]
        elif "content" in item:
            item[field] = parts
        elif all(map(_is_text, parts)):
            item["content"] = "\n".join(str(part["text"]) for part in parts)
        else:
            item["content"] = parts
    item.setdefault("content", None)


def _is_text(part: dict[str, Any]) -> bool:
    return "text" in part and part.keys() <= {"type", "text"} and part.get("type") in (None, "text")


def _document(item: dict[str, Any], index: int, rest: dict[str, Any]) -> dict[str, Any]:
    if tuple(map(type, map(item.get, DOCUMENT))) == TYPED and len(item) == len(DOCUMENT):
        return item
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
    field = "parts" if isinstance(held, list) else "content"
    system = to_messages([{"role": "system", field: held}]) or []
    row["input_messages"] = to_json([*system, *orjson.loads(row.get("input_messages", "[]"))])


def _set_text(row: dict[str, Any], column: str, roles: tuple[str, ...]) -> None:
    text = text_of(orjson.loads(row[f"{column}_messages"]), roles)
    if text is not None:
        row[column] = text
