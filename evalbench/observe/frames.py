"""Rows that formats read, as typed frames whose every value has been checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, compress
from typing import Any

import orjson
import polars as pl

from evalbench.observe.record import Row
from evalbench.schema import KEYS, SPAN_KINDS, TABLES

RECORD = "_record"  # column that says which record a row was read from
# Columns that come as objects, or as the JSON of one; what is empty is null.
OBJECTS = ("input_messages", "output_messages", "attributes", "documents")
TIMES = {"span": "started_at", "verdict": "judged_at"}
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
UNTYPED = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)


def build_frame(table: str, rows: Sequence[tuple[int, Row]], flaws: dict[int, str]) -> pl.DataFrame:
    """Return a typed frame of rows, and note in ``flaws`` every record with a value of no type.

    ``rows`` are pairs of record and values by column: times are microseconds, :data:`OBJECTS`
    objects. The frame has the table's columns, times still as microseconds, and :data:`RECORD`.
    """
    schema = pl.Schema({**TABLES[table], RECORD: pl.UInt32(), TIMES[table]: pl.Int64()})
    records = [record for record, _ in rows]
    known = {*chain.from_iterable(row for _, row in rows)}
    columns = [pl.Series(RECORD, records, dtype=schema[RECORD])]
    for name in TABLES[table]:
        if name not in known:
            columns.append(pl.Series(name, [None], schema[name]).new_from_index(0, len(rows)))
            continue
        values = [row.get(name) for _, row in rows]
        try:
            columns.append(_to_series(name, values, schema[name]))
        except UNTYPED:
            columns.append(_keep_typed(name, values, schema[name], records, flaws))
    return pl.DataFrame(columns)


def keep_usable(table: str, frame: pl.DataFrame, flaws: dict[int, str]) -> pl.DataFrame:
    """Keep the rows of good records, and note in ``flaws`` those with an unusable value."""
    checks = list(_checks(table))
    failed = frame.select(check.any().alias(str(i)) for i, (check, _) in enumerate(checks)).row(0)
    for check, reason in compress(checks, failed):
        for record, told in frame.filter(check).select(RECORD, reason).iter_rows():
            flaws.setdefault(record, told)
    return frame.filter(~pl.col(RECORD).is_in(list(flaws))) if flaws else frame


def name_sessions(frames: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], bool]:
    """Give spans without a session the one their trace names; tell whether some are left."""
    spans = frames.get("span", pl.DataFrame(schema=TABLES["span"]))
    unnamed = spans["session_id"] == spans["trace_id"]
    if not unnamed.any():
        return frames, False
    named = spans.filter(~unnamed).unique("trace_id", keep="first", maintain_order=True)
    session = pl.col("session_id").replace(named["trace_id"], named["session_id"])
    left = not spans.filter(unnamed)["trace_id"].is_in(named["trace_id"].implode()).all()
    return {table: frame.with_columns(session) for table, frame in frames.items()}, left


def _to_series(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    if name not in OBJECTS:
        return pl.Series(name, values, dtype=kind, strict=True)
    texts = [
        each.encode()
        if each.__class__ is str
        else orjson.dumps(each, default=str)
        if each
        else None
        for each in values
    ]
    written = pl.Series(name, texts, dtype=pl.Binary).cast(pl.String)
    return written if kind == pl.String else written.str.json_decode(kind)


def _keep_typed(
    name: str,
    values: Sequence[Any],
    kind: pl.DataType,
    records: Sequence[int],
    flaws: dict[int, str],
) -> pl.Series:
    kept = list(values)
    for place, (value, record) in enumerate(zip(values, records, strict=True)):
        try:
            _to_series(name, [value], kind)
        except UNTYPED:
            kept[place] = None
            flaws.setdefault(record, f"{name} is not of its type: {str(value)[:80]!r}")
    return _to_series(name, kept, kind)


def _checks(table: str) -> Iterator[tuple[pl.Expr, pl.Expr]]:
    """Give what makes a row unusable, and the reason in words."""
    schema = TABLES[table]
    for name in dict.fromkeys(["session_id", *KEYS[table]]):
        if schema[name] == pl.String and name not in ("surface", "mode"):
            yield pl.col(name).fill_null("") == "", pl.lit(f"{name} is missing")
    for name, kind in schema.items():
        column = pl.col(name)
        if kind.is_temporal():
            low, high = int(EARLIEST.timestamp() * 1e6), int(LATEST.timestamp() * 1e6)
            yield (
                (column < low) | (column >= high),
                pl.format(f"{name} is outside 1990 to 2100: {{}} microseconds since 1970", column),
            )
        elif name.endswith(("_tokens", "_ms", "_usd", "_chars")):
            bad = column < 0
            if kind.is_float():
                bad |= ~column.is_finite()
            yield bad, pl.format(f"{name} is not 0 or more: {{}}", column)
    if table == "span":
        yield ~pl.col("kind").is_in(SPAN_KINDS), pl.format("kind is not known: {}", "kind")
