"""Rows that format modules read, as typed frames whose every value has been checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, compress
from typing import Any

import numpy as np
import orjson
import polars as pl

from evalbench.schema import KEYS, SPAN_KINDS, TABLES

Columns = dict[str, Sequence[Any]]
"""Values of rows by column, null where a row has none."""
OBJECTS = ("input_messages", "output_messages", "attributes")
"""Columns of JSON that may come as objects, whose text :func:`write_json` writes."""

RECORD = "_record"
"""Column that says which record a row was read from."""
TIMES = {"span": "started_at", "verdict": "judged_at"}
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
UNTYPED = (TypeError, ValueError, OverflowError, AttributeError, pl.exceptions.PolarsError)
BETWEEN = b",\n,"
"""Stands between the JSON texts of :class:`Written`, in none of which a line can break."""
BREAK = orjson.Fragment(BETWEEN.strip(b","))


class Written(list[bytes]):
    """JSON texts of many rows, :data:`BETWEEN` them; each piece has those of some."""


def write_json(values: Sequence[Any]) -> bytes:
    """Write values as one piece of :class:`Written`; a text is taken for JSON as it is.

    Raises
    ------
    ValueError
        One of them cannot be written: too deep, or text that is no Unicode.
    """
    if str in {*map(type, values)}:
        values = [_spare(each) if each.__class__ is str else each for each in values]
    spaced: list[Any] = [BREAK] * (2 * len(values) - 1)
    spaced[::2] = values
    try:
        return orjson.dumps(spaced, default=str)[1:-1]
    except TypeError as error:
        raise ValueError(f"a value cannot be kept as JSON: {error}") from error


def _spare(text: str) -> orjson.Fragment:
    between = BETWEEN.decode()
    return orjson.Fragment(text.replace(between, between[:-1] + " ,"))


def build_frame(table: str, groups: list[Columns], flaws: dict[int, str]) -> pl.DataFrame:
    """Make a frame of rows, and note in ``flaws`` every record that has an unusable value.

    Parameters
    ----------
    table : str
        "span" or "verdict".
    groups : list of Columns
        Rows by the names they have: columns of the table and :data:`RECORD`; times are
        microseconds, those of :data:`OBJECTS` JSON texts or :class:`Written`.
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
    counts = [len(group[RECORD]) for group in groups]
    columns = []
    for name, kind in schema.items():
        try:
            parts = [
                _to_series(name, group[name], kind)
                if name in group
                else pl.Series(name, [None], kind).new_from_index(0, count)
                for group, count in zip(groups, counts, strict=True)
            ]
            columns.append(pl.concat(parts))
        except UNTYPED:
            found = [group.get(name, [None] * n) for group, n in zip(groups, counts, strict=True)]
            records = chain.from_iterable(group[RECORD] for group in groups)
            values = list(chain.from_iterable(found))
            columns.append(_keep_typed(name, values, kind, records, flaws))
    frame = pl.DataFrame(columns)
    checks = list(_checks(table))
    failed = frame.select(check.any().alias(str(i)) for i, (check, _) in enumerate(checks)).row(0)
    for check, reason in compress(checks, failed):
        for record, told in frame.filter(check).select(RECORD, reason).iter_rows():
            flaws.setdefault(record, told)
    return frame


def name_sessions(frames: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], bool]:
    """Give spans that name no session, and their verdicts, the one their trace names elsewhere.

    And tells whether spans are left whose trace names none here.
    """
    spans = frames.get("span", pl.DataFrame(schema=TABLES["span"]))
    unnamed = spans["session_id"] == spans["trace_id"]
    if not unnamed.any():
        return frames, False
    named = spans.filter(~unnamed).unique("trace_id", keep="first", maintain_order=True)
    session = pl.col("session_id").replace(named["trace_id"], named["session_id"])
    left = not spans.filter(unnamed)["trace_id"].is_in(named["trace_id"].implode()).all()
    return {table: frame.with_columns(session) for table, frame in frames.items()}, left


def hash_key(table: str) -> tuple[pl.Expr, pl.Expr]:
    """Hash a row's key to 128 bits as two columns: two rows of one hash are one row.

    Among a billion rows two keys share a hash with a probability below 1e-20.
    """
    names = [name for name in KEYS[table] if name != "surface"]
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in names]
    forward = pl.concat_str(parts, separator="\x1f")
    backward = pl.concat_str(parts[::-1], separator="\x1e")
    return forward.hash(1).alias("h1"), backward.hash(2).alias("h2")


def _to_series(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    if name == "documents":
        return _join_documents(values, kind).cast(kind).alias(name)
    if isinstance(values, Written):
        return _cut_apart(values).alias(name)
    return pl.Series(name, values, dtype=kind, strict=True)


def _cut_apart(written: Written) -> pl.Series:
    """JSON texts one by one, without a Python text for each."""
    whole = BETWEEN.join(written)
    texts = pl.Series([whole], dtype=pl.Binary).cast(pl.String).str.split(BETWEEN.decode())
    texts = texts.explode()
    return texts.set(texts == "null", None)


def _join_documents(lists: Sequence[list[Any] | None], kind: pl.DataType) -> pl.Series:
    """Make a column of lists of documents, which Polars would take row by row."""
    import pyarrow

    documents = [document for each in lists if each for document in each]
    if documents and documents[0].__class__ is dict:
        documents = [(each.get("id"), each.get("content"), each.get("score")) for each in documents]
    values = zip(*documents, strict=True) if documents else ([], [], [])
    fields = kind.inner.fields  # type: ignore[attr-defined]
    flat = pl.DataFrame(
        [
            pl.Series(field.name, each, dtype=field.dtype, strict=True)
            for field, each in zip(fields, values, strict=True)
        ]
    ).to_struct()
    ends = np.cumsum([0, *(len(each) if each else 0 for each in lists)])
    # Not pyarrow.array: it imports pandas where there is one, half a second a worker.
    ends, missing = (
        pl.Series(each).to_arrow() for each in (ends, [each is None for each in lists])
    )
    held = flat.to_arrow(compat_level=pl.CompatLevel.newest())
    return pl.Series(pyarrow.LargeListArray.from_arrays(ends, held, mask=missing))


def _keep_typed(
    name: str,
    values: Sequence[Any],
    kind: pl.DataType,
    records: Iterable[int],
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
        if name in schema and schema[name] == pl.String and name not in ("surface", "mode"):
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
