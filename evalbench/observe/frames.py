"""Rows that format modules read, as typed frames whose every value has been checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import numpy as np
import polars as pl

from evalbench.schema import KEYS, SPAN_KINDS, TABLES

Row = dict[str, Any]
Groups = dict[tuple[str, ...], list[tuple[Any, ...]]]
"""Values of rows by the names they have: such rows turn into columns without a look-up each."""

RECORD = "_record"
"""Column that says which record a row was read from."""
FEW = 32
"""Rows of the same names that are worth columns of their own."""
TIMES = {"span": "started_at", "verdict": "judged_at"}
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
UNTYPED = (TypeError, ValueError, OverflowError, AttributeError, pl.exceptions.PolarsError)


def build_frame(table: str, groups: Groups, flaws: dict[int, str]) -> pl.DataFrame:
    """Make a frame of rows, and note in ``flaws`` every record that has an unusable value.

    Parameters
    ----------
    table : str
        "span" or "verdict".
    groups : Groups
        Rows with keys among the table's columns and :data:`RECORD`; times are microseconds.
    flaws : dict of int to str
        Reason by record; added to.

    Returns
    -------
    polars.DataFrame
        The table's columns, times still as microseconds, and :data:`RECORD`. Rows of flawed records
        may be in it.
    """
    schema = pl.Schema(TABLES[table])
    schema.update({RECORD: pl.UInt32(), TIMES[table]: pl.Int64()})
    frames, rows = [], []
    for names, values in groups.items():
        if len(values) >= FEW:
            try:
                frames.append(_to_columns(names, values, schema))
                continue
            except UNTYPED:
                pass
        rows += [dict(zip(names, row, strict=True)) for row in values]
    if rows:
        try:
            frames.append(_to_frame(rows, schema))
        except UNTYPED:
            frames.append(_to_frame(_drop_untyped(rows, schema, flaws), schema))
    absent = pl.DataFrame(schema=schema)
    frame = pl.concat([absent, *frames], how="diagonal")
    checks = list(_checks(table))
    failed = frame.select(check.any().alias(str(i)) for i, (check, _) in enumerate(checks)).row(0)
    for check, reason in compress(checks, failed):
        for record, told in frame.filter(check).select(RECORD, reason).iter_rows():
            flaws.setdefault(record, told)
    return frame


def hash_key(table: str) -> tuple[pl.Expr, pl.Expr]:
    """Hash a row's key to 128 bits as two columns: two rows of one hash are one row.

    Among a billion rows two keys share a hash with a probability below 1e-20.
    """
    names = [name for name in KEYS[table] if name != "surface"]
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in names]
    forward = pl.concat_str(parts, separator="\x1f")
    backward = pl.concat_str(parts[::-1], separator="\x1e")
    return forward.hash(1).alias("h1"), backward.hash(2).alias("h2")


def _to_columns(
    names: tuple[str, ...], values: list[tuple[Any, ...]], schema: pl.Schema
) -> pl.DataFrame:
    columns = []
    for name, column in zip(names, zip(*values, strict=True), strict=True):
        if name == "documents":
            columns.append(_join_documents(column).cast(schema[name]).alias(name))
        elif name in schema:
            columns.append(pl.Series(name, column, dtype=schema[name], strict=True))
    return pl.DataFrame(columns)


def _to_frame(rows: list[Row], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, strict=True)


def _join_documents(lists: Sequence[list[Row] | None]) -> pl.Series:
    """Make a column of lists of documents out of flat ones, which Polars would take row by row."""
    import pyarrow

    documents = [document for each in lists if each for document in each]
    fields = {
        "id": pyarrow.large_string(),
        "content": pyarrow.large_string(),
        "score": pyarrow.float64(),
    }
    flat = pyarrow.StructArray.from_arrays(
        [
            pyarrow.array([document.get(name) for document in documents], kind)
            for name, kind in fields.items()
        ],
        list(fields),
    )
    ends = np.cumsum([0, *(len(each) if each else 0 for each in lists)])
    missing = pyarrow.array([each is None for each in lists])
    joined = pyarrow.LargeListArray.from_arrays(pyarrow.array(ends), flat, mask=missing)
    return pl.Series(joined)


def _drop_untyped(rows: list[Row], schema: pl.Schema, flaws: dict[int, str]) -> list[Row]:
    kept = []
    for row in rows:
        try:
            _to_frame([row], schema)
        except UNTYPED:
            names = (name for name in row if name in schema and not _is_typed(row, name, schema))
            name = next(names, "a value")
            value = str(row.get(name))[:80]
            flaws.setdefault(row[RECORD], f"{name} is not of its type: {value!r}")
        else:
            kept.append(row)
    return kept


def _is_typed(row: Row, name: str, schema: pl.Schema) -> bool:
    try:
        _to_frame([{name: row[name]}], pl.Schema({name: schema[name]}))
    except UNTYPED:
        return False
    return True


def _checks(table: str) -> Iterator[tuple[pl.Expr, pl.Expr]]:
    """Give what makes a row unusable, and the reason in words."""
    schema = TABLES[table]
    for name in dict.fromkeys(["session_id", *KEYS[table]]):
        if name in schema and schema[name] == pl.String and name != "surface":
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
