"""How a span is put together from the names of its attributes, worked out once for each set.

Spans of one source repeat a few sets of names thousands of times, so what a set means - which name
fills which column, which names are one message - is kept as a :class:`Shape`, and all spans of one
shape are read together, column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

from evalbench.observe.formats.attributes import PLANS, Alternate, Fact, Nested, Piece
from evalbench.observe.formats.messages import text_of, to_messages, to_tool_call
from evalbench.observe.formats.otlp import flatten
from evalbench.observe.frames import OBJECTS, Columns
from evalbench.observe.record import from_json, to_number, to_text

Attributes = Mapping[str, Any]
Rest = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]
USER, ANSWER = ("user",), ("assistant", "model")
Document = tuple[str | None, str | None, float | None]
DOCUMENT, TYPED = ("id", "content", "score"), [{str}, {str}, {float}]
MEMORY = 5_000


class Item(NamedTuple):
    """One item of a numbered list: pairs of field and attribute name, also of its inner lists."""

    fields: list[tuple[str, str]]
    inner: dict[str, dict[int, list[tuple[str, str]]]]


@dataclass(frozen=True, eq=False)
class Shape:
    """What a set of attribute names means; two shapes are never equal."""

    names: tuple[str, ...]
    columns: Pairs
    rest: tuple[str, ...]
    slots: dict[str, dict[int, Item]]
    whole: Pairs
    facts: Pairs
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
    slots: dict[str, dict[int, Item]] = {}
    taken: set[Piece] = set()
    pieces: Any = [(plan, name) for plan, name in plans if plan.__class__ is Piece]
    for piece, name in sorted(pieces, key=lambda each: (each[0].position, each[0].inner_position)):
        if piece in taken:  # two spellings of one field, as in gen_ai.prompt and llm.input_messages
            rest.append(name)
            continue
        taken.add(piece)
        item = slots.setdefault(piece.slot, {}).setdefault(piece.position, Item([], {}))
        if piece.inner_field:
            lists = item.inner.setdefault(piece.field, {})
            lists.setdefault(piece.inner_position, []).append((piece.inner_field, name))
        else:
            item.fields.append((piece.field, name))
    whole = {}
    alternates = [(plan, name) for plan, name in plans if plan.__class__ is Alternate]
    for plan, name in sorted(alternates, key=lambda each: each[0].rank):
        if plan.column in OBJECTS and plan.column not in slots and plan.column not in whole:
            whole[plan.column] = name
        elif plan.column in OBJECTS or plan.column in columns:
            rest.append(name)
        else:
            columns[plan.column] = name
            if plan.column == "kind":  # the source's word says more than the kind it becomes
                rest.append(name)
    rest += [name for _, name in facts]
    return Shape(
        names,
        tuple(columns.items()),
        tuple(rest),
        slots,
        tuple(whole.items()),
        tuple(facts),
        any(plan.__class__ is Nested for plan, _ in plans),
        _dialect(names),
    )


def _dialect(names: tuple[str, ...]) -> str:
    if any(name.startswith(("openinference.", "llm.")) for name in names):
        return "openinference"
    return "vercel" if any(name.startswith("ai.") for name in names) else "opentelemetry"


def unfold(attributes: Attributes) -> dict[str, Any]:
    """Replace objects whose leaves have names of their own, as Phoenix exports, by the leaves."""
    unfolded: dict[str, Any] = {}
    for name, value in attributes.items():
        if PLANS[name].__class__ is Nested:
            for leaf, held in flatten(name, value):
                own = leaf == name or leaf not in attributes
                unfolded[leaf if own else f"nested.{leaf}"] = held
        else:
            unfolded[name] = value
    return unfolded


def editable(columns: Columns, name: str, count: int) -> list[Any]:
    """Column of ``count`` values to write into, made of nulls where there is none."""
    values = columns.get(name)
    if values.__class__ is not list:
        columns[name] = values = [None] * count if values is None else list(values)
    return values


def read_all(read: Callable[[Any], Any], values: Sequence[Any], kind: type) -> Sequence[Any]:
    """Read values that are not all of a kind already, or null."""
    return values if {*map(type, values)} <= {kind, type(None)} else [read(each) for each in values]


def read_objects(pairs: Iterable[tuple[str, str]], held: Columns) -> Iterable[dict[str, Any]]:
    """One object a span of the attributes that fields are named after."""
    fields, names = zip(*pairs, strict=True)
    return map(dict, map(zip, repeat(fields), zip(*map(held.__getitem__, names), strict=True)))


def read_slots(
    shape: Shape, held: Columns, columns: Columns, rests: list[Rest]
) -> Sequence[list[dict[str, Any]]] | None:
    """Put messages and documents of spans into ``columns``; give back the scores of each."""
    scores = None
    for slot, items in shape.slots.items():
        if slot == "documents":
            columns[slot] = _read_documents(items, held, rests)
            continue
        made = (_read_item(item, held, rests) for item in items.values())
        lists = list(map(list, zip(*made, strict=True)))
        if slot == "scores":
            scores = lists
            for rest, each in zip(rests, lists, strict=True):
                rest["annotations"] = list(each)
        else:
            columns[slot] = lists
    for column, name in shape.whole:
        columns[column] = list(map(to_messages, held[name]))
        for place, messages in enumerate(columns[column]):
            if messages is None:
                value, texts = held[name][place], editable(columns, column[:-9], len(rests))
                if texts[place] is None:
                    texts[place] = to_text(value)
                else:
                    rests[place][name] = value
    if "system" in columns:
        lists = editable(columns, "input_messages", len(rests))
        for place, system in enumerate(map(from_json, columns.pop("system"))):
            field = "parts" if isinstance(system, list) else "content"
            messages = to_messages([{"role": "system", field: system}]) or []
            lists[place] = [*messages, *(lists[place] or ())]
    for column, roles in (("input", USER), ("output", ANSWER)):
        if column not in dict(shape.columns) and f"{column}_messages" in columns:
            texts = editable(columns, column, len(rests))
            for place, messages in enumerate(columns[f"{column}_messages"]):
                if texts[place] is None:
                    texts[place] = text_of(messages, roles)
    return scores


def _read_item(item: Item, held: Columns, rests: list[Rest]) -> list[dict[str, Any]]:
    made = list(read_objects(item.fields, held)) if item.fields else [{} for _ in rests]
    for field, lists in item.inner.items():
        parts = zip(*(read_objects(pairs, held) for pairs in lists.values()), strict=True)
        for each, inner in zip(made, map(list, parts), strict=True):
            _add_inner(each, field, inner)
    return made


def _add_inner(item: dict[str, Any], field: str, parts: list[dict[str, Any]]) -> None:
    """Add a message's tool calls and contents; contents that are all text become its content."""
    if field == "tool_calls":
        item[field] = [
            part if part.get("arguments").__class__ is str and "id" in part else to_tool_call(part)
            for part in parts
        ]
        item.setdefault("content", None)
    elif "content" in item and item["content"] is not None:
        item[field] = parts
    elif all(map(_is_text, parts)):
        item["content"] = "\n".join(str(part["text"]) for part in parts)
    else:
        item["content"] = parts


def _is_text(part: dict[str, Any]) -> bool:
    return "text" in part and part.keys() <= {"type", "text"} and part.get("type") in (None, "text")


def _read_documents(
    items: dict[int, Item], held: Columns, rests: list[Rest]
) -> list[list[Document]]:
    made = []
    for index, item in enumerate(items.values()):
        names = dict(item.fields)
        if names.keys() == set(DOCUMENT) and not item.inner:
            columns = [held[names[field]] for field in DOCUMENT]
            if [{*map(type, column)} for column in columns] == TYPED:
                made.append(list(zip(*columns, strict=True)))
                continue
        objects = zip(_read_item(item, held, rests), rests, strict=True)
        made.append([_document(each, index, rest) for each, rest in objects])
    return list(map(list, zip(*made, strict=True)))


def _document(item: dict[str, Any], index: int, rest: Rest) -> Document:
    others = {k: v for k, v in item.items() if k not in DOCUMENT}
    try:
        score = to_number(item.get("score"), "score")
    except ValueError:
        score, others["score"] = None, item["score"]
    if others:
        rest[f"documents.{index}"] = others
    return to_text(item.get("id")), to_text(item.get("content")), score
