"""What a worker does with a chunk: parse, redact, check, stage, and tell what it did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import polars as pl

from evalbench.observe.decode import Record, decode, is_plain, load_formats
from evalbench.observe.redact import redact_columns
from evalbench.observe.source import LIMIT, Chunk, Flaw
from evalbench.schema import KEYS, SPAN_KINDS, TABLES

if TYPE_CHECKING:
    from evalbench.store.lake import Lake, Staged

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
TIMES = {"span": "started_at", "verdict": "judged_at"}
RECORD = "_record"
READABLE = "backslashreplace"
"""How bytes that are no UTF-8 are shown in a reject."""


class Reject(NamedTuple):
    """A record that cannot be used: where it is, why, and what it says."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Plan:
    """What every chunk of one ingest is read with."""

    lake: Lake
    surface: str
    ingest_id: str
    name: str
    formats: tuple[str, ...]
    columns: Mapping[str, str]
    redact: bool
    secret: str


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk. ``keys``: two 64-bit hashes of a row's key, and its record.

    Where the source is lines, ``lines`` are how many, and a reject's line counts from the first;
    elsewhere ``lines`` is 0 and a reject names its own line.
    """

    lines: int
    records: int
    rejects: list[Reject] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)
    keys: dict[str, pl.DataFrame] = field(default_factory=dict)


def process_part(part: Chunk | Flaw, plan: Plan) -> Outcome:
    """Read one part of a source into staged files that nobody sees before they are committed."""
    if isinstance(part, Flaw):
        reject = Reject(part.line or 0, part.reason, part.text.decode(errors=READABLE))
        return Outcome(0 if part.line else 1, 1, [reject])
    return _process_chunk(part, plan)


def _process_chunk(chunk: Chunk, plan: Plan) -> Outcome:
    lines = chunk.lines()
    batch = _parse(lines, plan)
    frames = {table: _build(table, rows, batch.flaws) for table, rows in batch.rows.items()}
    staged, keys = {}, {}
    for table, frame in frames.items():
        if batch.flaws:
            bad = pl.Series(list(batch.flaws), dtype=pl.UInt32)
            frame = frame.filter(~pl.col(RECORD).is_in(bad.implode()))
        if frame.is_empty():
            continue
        keys[table] = frame.select(*hash_key(table), RECORD)
        staged[table] = plan.lake.stage(
            table, _finish(table, frame, plan), name=f"{plan.name}-{chunk.number:06}"
        )
    rejects = [
        Reject(batch.records[index][0], flaw, batch.records[index][1].decode(errors=READABLE))
        for index, flaw in sorted(batch.flaws.items())
    ]
    return Outcome(0 if chunk.records else len(lines), len(batch.records), rejects, staged, keys)


@dataclass
class _Batch:
    """Records (line, text) of a chunk, the rows read from them, and by record why it is no use."""

    records: list[tuple[int, bytes]] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"span": [], "verdict": []}
    )
    flaws: dict[int, str] = field(default_factory=dict)


def _parse(lines: list[tuple[int, bytes]], plan: Plan) -> _Batch:
    modules = load_formats(plan.formats)
    module = modules[0]
    columns, loads = plan.columns, orjson.loads
    batch = _Batch()
    records, flaws = batch.records, batch.flaws
    spans, verdicts = batch.rows.values()
    for line, text in lines:
        try:
            value = loads(text)
        except orjson.JSONDecodeError:
            value = None
        quick = is_plain(value) and len(text) <= LIMIT
        for record in (Record(text, value),) if quick else decode(text):
            index = len(records)
            records.append((line, record.text))
            if record.value is None:
                flaws[index] = record.flaw
                continue
            try:
                if not module.matches(record.value):
                    module = next((m for m in modules if m.matches(record.value)), module)
                found = module.parse(record.value, columns)
            except ValueError as error:
                flaws[index] = str(error)
                continue
            except Exception as error:  # no record may stop an ingest
                flaws[index] = f"cannot be read: {type(error).__name__}: {error}"
                continue
            if not found.spans and not found.verdicts:
                flaws[index] = "neither a span nor a verdict is in it"
            for row in found.spans:
                row[RECORD] = index
            spans += found.spans
            for row in found.verdicts:
                row[RECORD] = index
            verdicts += found.verdicts
    return batch


def _build(table: str, rows: list[dict[str, Any]], rejects: dict[int, str]) -> pl.DataFrame:
    """Make a typed frame, and note every record that has a value out of its column's bounds."""
    loose = pl.Schema(TABLES[table])
    loose.update({RECORD: pl.UInt32(), TIMES[table]: pl.Int64()})
    try:
        frame = pl.DataFrame(rows, schema=loose, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        frame = pl.DataFrame(_drop_untyped(rows, loose, rejects), schema=loose, strict=True)
    checks = list(_checks(table))
    failed = frame.select(check.any().alias(str(i)) for i, (check, _) in enumerate(checks)).row(0)
    for check, reason in compress(checks, failed):
        for index, value in frame.filter(check).select(RECORD, reason).iter_rows():
            rejects.setdefault(index, value)
    return frame


def _drop_untyped(
    rows: list[dict[str, Any]], schema: pl.Schema, rejects: dict[int, str]
) -> list[dict[str, Any]]:
    kept = []
    for row in rows:
        try:
            pl.DataFrame([row], schema=schema, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            rejects.setdefault(row[RECORD], _name_untyped(row, schema))
        else:
            kept.append(row)
    return kept


def _name_untyped(row: dict[str, Any], schema: pl.Schema) -> str:
    for name, value in row.items():
        if name not in schema:
            continue
        try:
            pl.Series(name, [value], dtype=schema[name], strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            return f"{name} is no {schema[name]}: {str(value)[:80]!r}"
    return "a value is not of its column's type"


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


def _finish(table: str, frame: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    schema = TABLES[table]
    constants = {"surface": plan.surface, "ingest_id": plan.ingest_id}
    frame = frame.with_columns(
        pl.lit(value, pl.String).alias(name) for name, value in constants.items() if name in schema
    )
    if "user_key" in schema:
        frame = frame.with_columns(_hash_users(frame["user_key"], plan.secret))
    if plan.redact:
        frame = redact_columns(frame, secret=plan.secret)
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


def _hash_users(users: pl.Series, secret: str) -> pl.Series:
    key = secret.encode()[:64]
    unique = users.drop_nulls().unique()
    hashed = [
        hashlib.blake2b(user.encode(), key=key, digest_size=16).hexdigest() for user in unique
    ]
    return users.replace_strict(unique, hashed, default=None, return_dtype=pl.String)


def hash_key(table: str) -> tuple[pl.Expr, pl.Expr]:
    """Hash a row's key to 128 bits as two columns: two rows of one hash are one row.

    Among a billion rows two keys share a hash with a probability below 1e-20.
    """
    names = [name for name in KEYS[table] if name != "surface"]
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in names]
    forward = pl.concat_str(parts, separator="\x1f")
    backward = pl.concat_str(parts[::-1], separator="\x1e")
    return forward.hash(1).alias("h1"), backward.hash(2).alias("h2")
