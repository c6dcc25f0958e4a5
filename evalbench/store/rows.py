"""Rows of a CSV or JSONL text, each with its line: what cannot be read is a row with a reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson


class Row(NamedTuple):
    """A row of a file: the record it holds, or as text the reason why it holds none."""

    line: int
    text: str
    record: dict[str, Any] | str


def read_csv(text: str) -> Iterator[Row]:
    """Read the rows under a header; a row of another length is none."""
    lines = list(io.StringIO(text, newline=""))
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # holds for all; never lower it
    rows = csv.reader(lines)
    header = next(rows, [])
    start = rows.line_num
    for cells in rows:
        part = "".join(lines[start : rows.line_num]).rstrip("\r\n")
        if len(cells) == len(header):
            yield Row(start + 1, part, dict(zip(header, cells, strict=True)))
        elif cells:
            yield Row(start + 1, part, f"{len(cells)} cells; the header has {len(header)}")
        start = rows.line_num


def read_lines(text: str) -> Iterator[Row]:
    """Read the lines of JSONL that are not empty; what is not a JSON object is none."""
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if line.strip():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                value = None
            record = value if isinstance(value, dict) else "not a JSON object"
            yield Row(number, line.rstrip("\r\n"), record)


def find_value(record: Mapping[str, Any], source: str) -> Any:
    """Give the value of a column, or a template such as ``{task}-{trial}`` filled in from columns.

    None where there is no such column; ValueError where the template cannot be filled.
    """
    if "{" not in source:
        return record.get(source)
    try:
        return source.format_map(record)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"{source}: no column {error}") from error
