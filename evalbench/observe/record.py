"""Values of a source read as what they are, and what a format makes of one record.

A format module has ``NAMES``, ``SIGNATURES`` and ``parse(record, columns) -> Parsed``. A record
that cannot be used raises ``ValueError`` with the reason that its reject will show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple

import orjson
import polars as pl

from evalbench.schema import SPAN
from evalbench.session.messages import read_literal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TRUE = frozenset(("true", "yes", "y", "1", "1.0", "pass", "passed", "success", "t"))
FALSE = frozenset(("false", "no", "n", "0", "0.0", "fail", "failed", "failure", "f"))
ALIASES = {"timestamp": "started_at", "success": "outcome"}
Row = dict[str, Any]


class Parsed(NamedTuple):
    """Rows read from one record: keys are a subset of the table's columns, absent means null."""

    spans: list[Row]
    verdicts: list[Row]


def to_json(value: Any) -> str:
    """Return the JSON text of a value; ``ValueError`` where there is none (too deep, bad text)."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError as error:
        raise ValueError(f"a value cannot be kept as JSON: {error}") from error


def from_json(value: Any) -> Any:
    """Return the value of a text that holds JSON or a Python literal, anything else as it is."""
    if value.__class__ is not str or value[:1] not in ("{", "[", '"'):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        pass
    literal = read_literal(value)
    return value if literal is None else literal


def to_text(value: Any, name: str = "") -> str | None:
    """Return text as it is, null as null, everything else as JSON."""
    return value if value is None or isinstance(value, str) else to_json(value)


def is_missing(value: Any) -> bool:
    """Tell whether a cell of an export says nothing: null, empty text or not a number."""
    return value is None or value == "" or (value.__class__ is float and math.isnan(value))


def to_microseconds(value: Any, name: str = "timestamp") -> int | None:
    """Return microseconds since the epoch of ISO text (no zone means UTC), a datetime or a number.

    A number is seconds, milli-, micro- or nanoseconds by its size: below 1e11, 1e14, 1e17.
    """
    if value.__class__ is str:
        if not value:
            return None
        try:  # digits first: fromisoformat takes 20240520 for a day
            value = int(value) if value.isdecimal() else datetime.fromisoformat(value)
        except ValueError:
            value = to_number(value, name)
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is not a time: {value!r}")
    size = abs(value)
    if size >= 1e17:
        return int(value) // 1000
    return int(value * (1 if size >= 1e14 else 1_000 if size >= 1e11 else 1_000_000))


def to_number(value: Any, name: str) -> float | None:
    """Return the finite number of a cell, null where it is missing."""
    if is_missing(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} is not a number: {str(value)[:80]!r}")
    return number


def to_count(value: Any, name: str) -> int | None:
    """Return the whole number of a cell, null where it is missing."""
    if value.__class__ is int:
        return int(value)
    number = to_number(value, name)
    if number is not None and not number.is_integer():
        raise ValueError(f"{name} is not a whole number: {value!r}")
    return None if number is None else int(number)


def to_segments(value: Any, name: str) -> str | None:
    """Return the JSON text of an object of segments, null where it is missing."""
    if is_missing(value):
        return None
    if not isinstance(held := from_json(value), dict):
        raise ValueError(
            f"{name} is no object of names and values: {str(value)[:80]!r}; "
            f"--map {name}.NAME=SOURCE sets one"
        )
    return to_json(held)


def to_truth(value: Any, name: str) -> bool | None:
    """Return true or false of a boolean, 1 or 0, or a plain word; null where it is missing."""
    if is_missing(value):
        return None
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"{name} is neither true nor false: {str(value)[:80]!r}")
    return word in TRUE


_READERS: dict[Any, Callable[[Any, str], Any]] = {
    pl.Boolean(): to_truth,
    pl.Int64(): to_count,
    pl.Float64(): to_number,
}
READERS = {
    name: to_microseconds if dtype.is_temporal() else _READERS.get(dtype, to_text)
    for name, dtype in SPAN.items()
}
# How a value becomes one of its column; times are microseconds until they are in a frame.
READERS["segments"] = to_segments


def prompt_tokens(
    given: int | None, completion: int | None, total: int | None, *cached: int | None
) -> int | None:
    """Return input tokens with cache reads and writes in them, by the reading that makes total."""
    if given is None or total is None or given + (completion or 0) == total:
        return given
    everything = given + sum(count or 0 for count in cached)
    return everything if everything + (completion or 0) == total else given


def lookup(record: Any, path: str) -> Any:
    """Return the value at a name or dotted path; a name that itself holds dots is tried first."""
    if isinstance(record, Mapping):
        if path in record:
            return record[path]
        for cut, letter in enumerate(path):
            if letter == "." and path[:cut] in record:
                return lookup(from_json(record[path[:cut]]), path[cut + 1 :])
    if isinstance(record, list):
        head, _, tail = path.partition(".")
        if head.isdecimal() and int(head) < len(record):
            return lookup(record[int(head)], tail) if tail else record[int(head)]
    return None


@lru_cache(maxsize=256)
def _template(source: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((text, path) for text, path, _, _ in Formatter().parse(source))


def resolve(record: Mapping[str, Any], source: str) -> Any:
    """Return what ``--map COLUMN=SOURCE`` means: a field, a dotted path or a template."""
    if "{" not in source:
        return lookup(record, source)
    text = ""
    for literal, path in _template(source):
        value = None if path is None else lookup(record, path)
        if path is not None and is_missing(value):
            return None
        text += literal + ("" if path is None else str(value))
    return text


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a ``--map`` whose column does not exist or whose template is broken (ValueError)."""
    for column, source in columns.items():
        if column.startswith("segments.") or column == "messages":
            continue
        if ALIASES.get(column, column) not in SPAN or column in ("surface", "ingest_id"):
            raise ValueError(f"--map names no column of a span: {column!r}")
        _template(source)


def apply_columns(span: Row, record: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """Set on a span what ``--map`` says of its record, each value read as its column's type."""
    segments = {}
    for column, source in columns.items():
        if column == "messages" or is_missing(value := resolve(record, source)):
            continue
        column = ALIASES.get(column, column)
        if column.startswith("segments."):
            segments[column[9:]] = str(value)
        else:
            span[column] = READERS[column](value, column)
    if segments:
        span["segments"] = to_json(orjson.loads(span.get("segments") or "{}") | segments)
