"""What a worker does with a part of a source: parse, redact, check, stage, and tell what it did."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import polars as pl

from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.formats.opentelemetry import envelope_spans
from evalbench.observe.frames import RECORD, build_frame, keep_usable, name_sessions
from evalbench.observe.json_values import Flaw, split_values
from evalbench.observe.record import Row
from evalbench.observe.rejects import READABLE, Reject, make_reject
from evalbench.observe.sessions import outline_sessions
from evalbench.observe.source import Chunk
from evalbench.pii import redact_columns
from evalbench.schema import TABLES

if TYPE_CHECKING:
    from evalbench.store.files import Staged
    from evalbench.store.lake import Lake

REJECT = {"line", "reason", "text"}


class Record(NamedTuple):
    """A record and the text it came as; ``value`` is none where it is no object, ``flaw`` why."""

    text: bytes
    value: Row | None
    flaw: str = ""


def decode(line: bytes) -> list[Record]:
    """Return the records of one line: none of a blank one, of an OTLP envelope one a span."""
    record = _load(line)
    value = record.value
    if value is None:
        values = split_values(line)
        return [each for text in values for each in decode(text)] if values[1:] else [record]
    if value.keys() == REJECT:
        record = _load(str(value["text"]).encode())
        value = record.value
    if value is not None and "resourceSpans" in value:
        return _split_envelope(value, record.text)
    return [record]


def _load(text: bytes) -> Record:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode()
        except UnicodeDecodeError as undecodable:
            return Record(text, None, f"not UTF-8: {undecodable}")
        return Record(text, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Record(text, None, "not a JSON object")
    return Record(text, value)


def _split_envelope(envelope: Row, text: bytes) -> list[Record]:
    """Make one envelope a span, so that a bad span takes no good one with it."""
    try:
        spans = list(envelope_spans(envelope))
    except ValueError as error:
        return [Record(text, None, str(error))]
    if not spans:
        return [Record(text, None, "an OTLP envelope without spans")]
    if len(spans) == 1:
        return [Record(text, envelope)]
    return [Record(orjson.dumps(span), span) for span in spans]


AT_ONCE = 500  # rows that become columns at once, while the processor's cache still holds them


@dataclass(frozen=True)
class Plan:
    """What every chunk of one ingest is read with."""

    lake: Lake
    folder: Path
    surface: str
    ingest_id: str
    format: str
    columns: Mapping[str, str]
    redact: bool
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a part; ``unnamed``: a span names no session but its trace."""

    records: int
    rejects: list[Reject] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)
    read_from: dict[str, pl.Series] = field(default_factory=dict)
    outlines: pl.DataFrame = field(default_factory=pl.DataFrame)
    unnamed: bool = False
    position: int | None = None


def process_part(part: Chunk | Flaw, plan: Plan) -> Outcome:
    """Read one part of a source into staged files that nobody sees before they are committed."""
    if isinstance(part, Flaw):
        return Outcome(1, [Reject(*part[:2], part.text.decode(errors=READABLE))])
    gc.disable()  # rows are trees: what is freed is freed by its count
    try:
        return _process_chunk(part, plan)
    finally:
        gc.enable()


def _process_chunk(chunk: Chunk, plan: Plan) -> Outcome:
    records, frames, flaws = _parse(chunk.records, plan)
    if flaws:  # of a record with a bad verdict the spans are no use either
        good = ~pl.col(RECORD).is_in(list(flaws))
        frames = {table: frame.filter(good) for table, frame in frames.items()}
    frames, unnamed = name_sessions(frames)
    staged, read_from, outlines = {}, {}, pl.DataFrame()
    for table, frame in frames.items():
        if not frame.is_empty():
            read_from[table], rows = frame[RECORD], _finish(table, frame, plan)
            staged[table] = plan.lake.stage(table, rows, folder=plan.folder)
            outlines = outline_sessions(rows) if table == "span" else outlines
    rejects = [make_reject(*records[index], reason=flaw) for index, flaw in sorted(flaws.items())]
    done = len(records), rejects, staged, read_from, outlines, unnamed
    return Outcome(*done, position=chunk.position)


Records = list[tuple[int, bytes]]


def _parse(lines: Records, plan: Plan) -> tuple[Records, dict[str, pl.DataFrame], dict[int, str]]:
    """Return the records (line, text) of a chunk, the rows read from them, and what flaws which."""
    modules = load_formats(plan.format)
    records: Records = []
    rows: dict[str, list[tuple[int, Row]]] = {"span": [], "verdict": []}
    frames: dict[str, list[pl.DataFrame]] = {"span": [], "verdict": []}
    flaws: dict[int, str] = {}
    for index, (line, (raw, record, flaw)) in enumerate(read_records(lines)):
        records.append((line, raw))
        if record is None:
            flaws[index] = flaw
            continue
        module = find_format(record, modules, plan.columns) or modules[0]
        try:
            parsed = module.parse(record, plan.columns)
        except ValueError as error:
            flaws[index] = str(error)
            continue
        except Exception as error:  # no record may stop an ingest
            flaws[index] = f"cannot be read: {type(error).__name__}: {error}"
            continue
        if not parsed.spans and not parsed.verdicts:
            flaws[index] = "neither a span nor a verdict is in it"
        rows["span"] += [(index, row) for row in parsed.spans]
        rows["verdict"] += [(index, row) for row in parsed.verdicts]
        for table, held in rows.items():
            if len(held) >= AT_ONCE:
                frames[table].append(build_frame(table, held, flaws))
                held.clear()
    for table, held in rows.items():
        if held:
            frames[table].append(build_frame(table, held, flaws))
    whole = {
        table: keep_usable(table, pl.concat(parts), flaws)
        for table, parts in frames.items()
        if parts
    }
    return records, whole, flaws


def read_records(lines: Records) -> Iterator[tuple[int, Record]]:
    """Give the records of lines, each with its line."""
    return ((line, record) for line, text in lines for record in decode(text))


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


def hash_user(user: str, secret: str) -> str:
    """Return the key that stands for a user id of the source."""
    return hashlib.blake2b(user.encode(), key=secret.encode()[:64], digest_size=16).hexdigest()


def _hash_users(users: pl.Series, secret: str) -> pl.Series:
    unique = users.drop_nulls().unique()
    hashed = [hash_user(user, secret) for user in unique]
    return users.replace_strict(unique, hashed, default=None, return_dtype=pl.String)
