"""What a worker does with a chunk: parse, redact, check, stage, and tell what it did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.otlp import envelope_spans
from evalbench.observe.redact import redact_columns
from evalbench.observe.source import LIMIT, PREFIX, Chunk
from evalbench.schema import KEYS, SPAN_KINDS, TABLES

if TYPE_CHECKING:
    from evalbench.store.lake import Lake, Staged

FORMATS = ("opentelemetry", "langfuse", "langsmith", "openai_chat")
REJECT = {"line", "reason", "text"}
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
ROW = "_record"


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
    """What became of a chunk. ``keys``: two 64-bit hashes of a row's key, and its record."""

    lines: int
    records: int
    rejects: list[Reject] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)
    keys: dict[str, pl.DataFrame] = field(default_factory=dict)


class Record(NamedTuple):
    """One record of a chunk as it came; ``value`` is none where it is no JSON object."""

    line: int
    raw: bytes
    value: dict[str, Any] | None
    flaw: str = ""


def load_formats(names: tuple[str, ...]) -> list[ModuleType]:
    """Import format modules by file name."""
    return [import_module(f"evalbench.observe.{name}") for name in names]


def find_formats(name: str) -> tuple[str, ...]:
    """Name the modules that read a format; all of them for ``auto``.

    Raises
    ------
    ReadError
        No module reads this format; the message names those that are read.
    """
    if name == "auto":
        return FORMATS
    known = {each: file for file in FORMATS for each in load_formats((file,))[0].NAMES}
    if name not in known:
        raise ReadError(f"format {name!r} is not known; known are auto, {', '.join(known)}")
    return (known[name],)


def read_records(chunk: Chunk) -> Iterator[Record]:
    """Decode a chunk. An OTLP envelope gives one record a span, a rejects file what it holds."""
    for line, raw in chunk.lines():
        if not raw or raw.isspace():
            continue
        record = _decode(line, raw)
        if record.value is not None and record.value.keys() == REJECT:
            record = _decode(line, str(record.value["text"]).encode())
        if record.value is not None and "resourceSpans" in record.value:
            yield from _split_envelope(record)
        else:
            yield record


def _decode(line: int, raw: bytes) -> Record:
    if len(raw) > LIMIT:
        reason = f"{len(raw):,} bytes long, more than {LIMIT >> 20} MiB"
        return Record(line, raw[:PREFIX], None, reason)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            raw.decode()
        except UnicodeDecodeError as undecodable:
            return Record(line, raw, None, f"not UTF-8: {undecodable}")
        return Record(line, raw, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Record(line, raw, None, "not a JSON object")
    return Record(line, raw, value)


def _split_envelope(record: Record) -> Iterator[Record]:
    """Give one envelope a span, so that a bad span takes no good one with it."""
    try:
        parts = list(envelope_spans(record.value or {}))
    except ValueError as error:
        yield record._replace(value=None, flaw=str(error))
        return
    if not parts:
        yield record._replace(value=None, flaw="an OTLP envelope without spans")
    for part in parts:
        yield Record(record.line, b"", part)


def process_chunk(chunk: Chunk, plan: Plan) -> Outcome:
    """Read one chunk into staged files that nobody sees before they are committed."""
    lines = chunk.lines()
    records = list(read_records(chunk))
    rows, rejects = _parse(records, plan)
    frames = {table: _build(table, rows[table], rejects) for table in rows}
    for table, frame in frames.items():
        bad = pl.Series(list(rejects), dtype=pl.UInt32)
        frames[table] = frame.filter(~pl.col(ROW).is_in(bad.implode()))
    staged, keys = {}, {}
    for table, frame in frames.items():
        if frame.is_empty():
            continue
        keys[table] = frame.select(*hash_key(table), ROW)
        staged[table] = plan.lake.stage(
            table, _finish(table, frame, plan), name=f"{plan.name}-{chunk.number:06}"
        )
    told = [_tell(records[index], reason) for index, reason in sorted(rejects.items())]
    return Outcome(len(lines), len(records), told, staged, keys)


def _parse(
    records: list[Record], plan: Plan
) -> tuple[dict[str, list[dict[str, Any]]], dict[int, str]]:
    modules = load_formats(plan.formats)
    spans: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    rejects: dict[int, str] = {}
    module = modules[0]
    for index, (_, _, value, flaw) in enumerate(records):
        if value is None:
            rejects[index] = flaw
            continue
        try:
            if not module.matches(value):
                module = next((m for m in modules if m.matches(value)), module)
            parsed = module.parse(value, plan.columns)
        except ValueError as error:
            rejects[index] = str(error)
            continue
        except Exception as error:  # a record never stops an ingest
            rejects[index] = f"cannot be read: {type(error).__name__}: {error}"
            continue
        if not parsed.spans and not parsed.verdicts:
            rejects[index] = "neither a span nor a verdict is in it"
        for row in parsed.spans:
            row[ROW] = index
        for row in parsed.verdicts:
            row[ROW] = index
        spans += parsed.spans
        verdicts += parsed.verdicts
    return {"span": spans, "verdict": verdicts}, rejects


def _build(table: str, rows: list[dict[str, Any]], rejects: dict[int, str]) -> pl.DataFrame:
    """Make a typed frame, and note every record that has a value out of its column's bounds."""
    schema = {**TABLES[table], ROW: pl.UInt32}
    loose = {name: pl.Int64 if kind.is_temporal() else kind for name, kind in schema.items()}
    try:
        frame = pl.DataFrame(rows, schema=loose, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        frame = pl.DataFrame(_drop_untyped(rows, loose, rejects), schema=loose, strict=True)
    for check, reason in _checks(table):
        for index, value in frame.filter(check).select(ROW, reason).iter_rows():
            rejects.setdefault(index, value)
    return frame


def _drop_untyped(
    rows: list[dict[str, Any]], schema: dict[str, Any], rejects: dict[int, str]
) -> list[dict[str, Any]]:
    kept = []
    for row in rows:
        try:
            pl.DataFrame([row], schema=schema, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            rejects.setdefault(row[ROW], _name_untyped(row, schema))
        else:
            kept.append(row)
    return kept


def _name_untyped(row: dict[str, Any], schema: dict[str, Any]) -> str:
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
    for name in set(KEYS[table]) - {"surface", "repeat"} | (
        {"session_id"} if table == "span" else set()
    ):
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


def _tell(record: Record, reason: str) -> Reject:
    raw = record.raw or orjson.dumps(record.value)
    return Reject(record.line, reason, raw.decode(errors="backslashreplace"))
