"""Spans read by a mapping: which names of a source fill which column, and where the rest goes.

The first name of a column that says something fills it; names that filled none are kept in
``attributes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from evalbench.observe.formats.facts import session_facts
from evalbench.observe.formats.messages import text_of, to_messages, unwrap
from evalbench.observe.record import (
    READERS,
    Row,
    from_json,
    lookup,
    prompt_tokens,
    to_count,
    to_microseconds,
    to_number,
    to_text,
)
from evalbench.schema import SPAN, SPAN_KINDS

KINDS = frozenset(SPAN_KINDS)
ERRORS = frozenset(("2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR", "error"))
Reader = Callable[[Any, str], Any]
FINE = frozenset(
    "0 1 OK UNSET STATUS_CODE_OK STATUS_CODE_UNSET StatusCode.OK DEFAULT success".split()
)
STATUSES = ERRORS | FINE
# Columns of messages, and the roles whose last text is the ``input`` or ``output`` of the span.
MESSAGES = {"input_messages": ("user",), "output_messages": ("assistant", "model")}
# A name in a list: its item, the list inside and the item of that if any, and the field.
NUMBERED = re.compile(
    r"(\d{1,8})\.(?:message\.|document\.|annotation\.|evaluation\.)?"
    r"(?:(tool_calls|contents)\.(\d{1,8})\."
    r"(?:tool_call\.function\.|tool_call\.|function\.|message_content\.)?)?(.+)",
    re.ASCII | re.DOTALL,
)
INNER_LISTS = {"tool_calls": "tool_calls", "contents": "parts"}


@dataclass(frozen=True, eq=False)
class Mapping:
    """What the names of a source mean.

    ``columns`` gives a column its names, or dotted paths; beside those of a span ``start``,
    ``end``, ``failed`` (any value is an error), ``total_tokens``, ``cache_writes``, ``system``,
    ``metadata``, ``tags``, ``scores``, ``events``. ``kinds`` reads the source's words for kinds;
    ``lists`` are prefixes of names that number the items of a column, ``facts`` those of metadata,
    ``dialects`` name formats.
    """

    source: str
    columns: dict[str, tuple[str, ...]]
    kinds: dict[str, str] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    dialects: dict[str, str] = field(default_factory=dict)


def read_table(text: str) -> dict[str, tuple[str, ...]]:
    """Read lines of ``column: name name``, of which a column may have several."""
    table: dict[str, tuple[str, ...]] = {}
    column = ""
    for word in text.split():
        if word.endswith(":"):
            column = word[:-1]
        else:
            table[column] = (*table.get(column, ()), word)
    return table


def read_words(text: str) -> dict[str, str]:
    """Read lines of ``meaning: word word`` as what each word means."""
    return {word: meaning for meaning, words in read_table(text).items() for word in words}


class Piece(NamedTuple):
    """A name of a numbered list: its item, the field, and for a list inside, its item and field."""

    position: int
    field: str
    inner_position: int
    inner_field: str
    name: str


Fields = list[tuple[str, str]]  # fields of an item, each with the name that it comes from


class Plan(NamedTuple):
    """What one set of names means to a mapping, worked out once.

    ``direct`` columns have one name; of ``choices`` the first place (a field and a path into it)
    that says something counts; ``loose`` are the names that no column of one name uses up.
    """

    source: str
    texts: tuple[tuple[str, str], ...]
    direct: tuple[tuple[str, str, Reader | None], ...]
    words: tuple[tuple[str, str], ...]
    choices: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    loose: tuple[str, ...]
    lists: tuple[tuple[str, tuple[Piece, ...]], ...]
    items: tuple[tuple[str, tuple[Fields, ...]], ...]
    facts: tuple[tuple[str, str], ...]


WORDS = ("kind", "status")  # columns whose field may say more than the column does
# What is read from a field that stays in ``attributes`` beside it.
READ_ONLY = frozenset("failed total_tokens cache_writes metadata tags scores events".split())


def read_span(fields: Row, mapping: Mapping) -> Row:
    """Return a span's row, its messages as objects; ``scores`` and ``events`` are left in it."""
    plan = _plan(mapping, tuple(fields))
    row: Row = {}
    for column, name in plan.texts:
        value = fields[name]
        if value is not None and value != "":
            row[column] = value if value.__class__ is str else to_text(value)
    for column, name, read in plan.direct:
        value = fields[name]
        if value is not None and value != "":
            row[column] = value if read is None else read(value, column)
    rest = {
        name: value
        for name in plan.loose
        if (value := fields[name]) or value is False or value == 0
    }
    for column, name in plan.words:
        if name in rest and _is_told_whole(column, rest[name]):
            del rest[name]
    opened: Row = {}
    for column, places in plan.choices:
        for name, path in places:
            value = fields[name]
            if path:
                if name not in opened:
                    opened[name] = from_json(value)
                value = lookup(opened[name], path)
            if value is None or value == "":
                continue
            if column in MESSAGES and (messages := to_messages(value)) is None:
                column = column.removesuffix("_messages")
                if column in row:
                    continue
                row[column] = to_text(value)
            elif column in MESSAGES:
                row[column] = messages
            else:
                row[column] = READERS[column](value, column) if column in TYPED else value
            if not path and _is_told_whole(column, value):
                rest.pop(name, None)
            break
    listed = [(column, _gather(fields, pieces)) for column, pieces in plan.lists]
    for column, wanted in plan.items:
        listed.append((column, [{n: fields[source] for n, source in item} for item in wanted]))
    for column, items in listed:
        row.setdefault(column, (to_messages(items) or items) if column in MESSAGES else items)
        if column in READ_ONLY:
            rest[column] = items
    row["source_format"] = plan.source
    _complete(row, rest, mapping)
    if plan.facts or "metadata" in row or "tags" in row:
        _add_facts(row, {fact: fields[name] for fact, name in plan.facts})
    row["attributes"] = rest
    return row


def _is_told_whole(column: str, value: Any) -> bool:
    """Tell whether a column says all that its field does; many a word says more than it becomes."""
    if column == "kind":
        return str(value).lower() in KINDS
    return column not in READ_ONLY and (column != "status" or str(value) in STATUSES)


@lru_cache(maxsize=5000)
def _plan(mapping: Mapping, names: tuple[str, ...]) -> Plan:
    present = frozenset(names)
    places = {
        column: [place for each in wanted for place in _find_places(each, present)]
        for column, wanted in mapping.columns.items()
    }
    direct = {
        column: found[0][0]
        for column, found in places.items()
        if len(found) == 1 and not found[0][1] and column not in MESSAGES
    }
    choices = {column: tuple(p) for column, p in places.items() if p and column not in direct}
    lists: dict[str, list[Piece]] = {}
    facts = []
    for name in names:
        for prefix, column in mapping.lists.items():
            if name.startswith(prefix) and (read := NUMBERED.fullmatch(name, len(prefix))):
                item, inner, inner_item, leaf = read.groups()
                place = int(item), INNER_LISTS.get(inner, leaf), int(inner_item or 0)
                lists.setdefault(column, []).append(Piece(*place, leaf if inner else "", name))
        facts += [(name[len(p) :], name) for p in mapping.facts if name.startswith(p)]
    for column, pieces in lists.items():  # of two spellings of one field the first in order
        lists[column] = sorted({p[:4]: p for p in sorted(pieces, reverse=True)}.values())
    used = {name for column, name in direct.items() if column not in (*READ_ONLY, *WORDS)}
    used |= {piece.name for pieces in lists.values() for piece in pieces}
    inner = INNER_LISTS.values()
    nested = {
        c: ps for c, ps in lists.items() if any(p.inner_field or p.field in inner for p in ps)
    }
    items: dict[str, dict[int, Fields]] = {}
    for column in lists.keys() - nested.keys():
        for piece in lists[column]:
            fields = items.setdefault(column, {}).setdefault(piece.position, [])
            fields.append((piece.field, piece.name))
    dialects = (d for p, d in mapping.dialects.items() if any(n.startswith(p) for n in names))
    readers = {column: READERS[column] if column in TYPED else None for column in direct}
    return Plan(
        next(dialects, mapping.source),
        tuple((c, name) for c, name in direct.items() if readers[c] is to_text),
        tuple((c, name, readers[c]) for c, name in direct.items() if readers[c] is not to_text),
        tuple((column, direct[column]) for column in WORDS if column in direct),
        tuple(choices.items()),
        tuple(name for name in names if name not in used),
        tuple((column, tuple(pieces)) for column, pieces in nested.items()),
        tuple((column, tuple(each.values())) for column, each in items.items()),
        tuple(facts),
    )


def _find_places(name: str, present: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Give the field of a name, or the fields whose objects may hold it."""
    if name in present:
        yield name, ""
    for cut, letter in enumerate(name):
        if letter == "." and name[:cut] in present:
            yield name[:cut], name[cut + 1 :]


def _gather(fields: Row, pieces: tuple[Piece, ...]) -> list[Row]:
    """Put the pieces of a numbered list together, in the order of their numbers."""
    items: dict[int, Row] = {}
    for position, name, inner_position, inner_name, source in pieces:
        item = items.setdefault(position, {})
        if inner_name:
            inner = item.setdefault(name, {})
            if inner.__class__ is dict:
                inner.setdefault(inner_position, {})[inner_name] = fields[source]
                continue
            name = f"{name}.{inner_position}.{inner_name}"
        item[name] = fields[source]
    for item in items.values():
        for name in INNER_LISTS.values():
            if item.get(name).__class__ is dict:
                item[name] = list(item[name].values())
    return list(items.values())


def _complete(row: Row, rest: Row, mapping: Mapping) -> None:
    """Work out of what was found the columns that more than one name says."""
    start = row["started_at"] = to_microseconds(row.pop("start", None))
    end = to_microseconds(row.pop("end", None))
    if start is not None and end is not None:
        row["latency_ms"] = (end - start) / 1000
    status = row.get("status")
    failed = row.pop("failed", None) is not None or str(status) in ERRORS
    row["status"] = "error" if failed else None if status is None else "ok"
    row["session_id"] = row.get("session_id") or row.get("trace_id")
    word = str(row.get("kind", ""))
    kind = mapping.kinds.get(word) or word.lower()
    if not kind and "model" in row and "prompt_tokens" in row:
        kind = "llm"
    row["kind"] = kind if kind in KINDS else "other"
    total, written = row.pop("total_tokens", None), row.pop("cache_writes", None)
    if cached := row.get("cached_tokens"):
        total, written = to_count(total, "total_tokens"), to_count(written, "cache_writes")
        given, completion = row.get("prompt_tokens"), row.get("completion_tokens")
        row["prompt_tokens"] = prompt_tokens(given, completion, total, cached, written)
    if "system" in row:
        told = from_json(row.pop("system"))
        message = {"role": "system", "parts" if isinstance(told, list) else "content": told}
        row["input_messages"] = [*(to_messages([message]) or ()), *row.get("input_messages", ())]
    for column, roles in MESSAGES.items():
        side = column.removesuffix("_messages")
        if column in row and row.get(side) is None:
            row[side] = text_of(row[column], roles)
    if row["kind"] == "tool":
        _add_tool(row)
    if "documents" in row:
        row["documents"] = _read_documents(row["documents"], rest)


TYPED = frozenset(SPAN.names()) - {*MESSAGES, "kind", "status", "documents"}


def _add_tool(row: Row) -> None:
    """Fill a tool's name, arguments and result, and its input and output, from each other."""
    for column, other in (("tool_arguments", "input"), ("tool_result", "output")):
        value = row.get(column) if row.get(column) is not None else row.get(other)
        row[column], row[other] = value, row.get(other) if row.get(other) is not None else value
    if row.get("tool_name") is None:
        row["tool_name"] = row.get("name")


def _read_documents(items: Any, rest: Row) -> list[Row] | None:
    """Read documents as ``{id, content, score}``; their other fields go to ``rest``."""
    items = from_json(items)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    documents = []
    for place, item in enumerate(items):
        if "document" in item or "document.content" in item:
            item = unwrap(item, "document")
        told = item.get("page_content", item.get("content"))
        score = item["score"] if "score" in item else lookup(item, "metadata.score")
        document: Row = {"id": to_text(item.get("id")), "content": to_text(told), "score": None}
        others = {
            name: value
            for name, value in item.items()
            if name not in ("id", "content", "page_content", "score") and value is not None
        }
        try:
            document["score"] = to_number(score, "score")
        except ValueError:
            others["score"] = score
        if others:
            rest[f"documents.{place}"] = others
        documents.append(document)
    return documents


def _add_facts(row: Row, own: Row) -> None:
    tags = from_json(row.pop("tags", None))
    facts = session_facts(row.pop("metadata", None), tags if isinstance(tags, list) else ())
    for fact, value in {**session_facts(own), **facts}.items():
        if row.get(fact) is None:
            row[fact] = value
