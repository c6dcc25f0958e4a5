"""What a worker does with a part of a source: parse, redact, check, stage, and tell what it did."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from evalbench.observe.decode import decode
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.frames import RECORD, build_frame, hash_key, name_sessions
from evalbench.observe.record import Row
from evalbench.observe.source import Chunk, Flaw
from evalbench.pii import redact_columns
from evalbench.schema import TABLES

if TYPE_CHECKING:
    from evalbench.store.files import Staged
    from evalbench.store.lake import Lake

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
    name: str
    ingest_id: str
    format: str
    columns: Mapping[str, str]
    redact: bool
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a part. ``keys``: two 64-bit hashes of a row's key, and its record.

    ``unnamed`` where a span still names no session but its trace. ``position`` is how much of the
    source has been read with it.
    """

    records: int
    rejects: list[Reject] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)
    keys: dict[str, pl.DataFrame] = field(default_factory=dict)
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
    records, rows, flaws = _parse(chunk.records, plan)
    frames = {table: build_frame(table, rows[table], flaws) for table in rows if rows[table]}
    if flaws:  # of a record with a bad verdict the spans are no use either
        good = ~pl.col(RECORD).is_in(list(flaws))
        frames = {table: frame.filter(good) for table, frame in frames.items()}
    frames, unnamed = name_sessions(frames)
    staged, keys = {}, {}
    for table, frame in frames.items():
        if not frame.is_empty():
            keys[table] = frame.select(*hash_key(table), RECORD)
            name = f"{plan.name}-{chunk.number:06}"
            staged[table] = plan.lake.stage(table, _finish(table, frame, plan), name=name)
    rejects = [
        Reject(records[index][0], flaw, records[index][1].decode(errors=READABLE).rstrip("\r\n"))
        for index, flaw in sorted(flaws.items())
    ]
    return Outcome(len(records), rejects, staged, keys, unnamed, chunk.position)


Records = list[tuple[int, bytes]]
Rows = dict[str, list[tuple[int, Row]]]


def _parse(lines: Records, plan: Plan) -> tuple[Records, Rows, dict[int, str]]:
    """Return the records (line, text) of a chunk, the rows read from them, and what flaws which."""
    modules = load_formats(plan.format)
    records: Records = []
    rows: Rows = {"span": [], "verdict": []}
    flaws: dict[int, str] = {}
    for line, text in lines:
        for raw, record, flaw in decode(text):
            index = len(records)
            records.append((line, raw))
            if record is None:
                flaws[index] = flaw
                continue
            module = find_format(record, modules) or modules[0]
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
    return records, rows, flaws


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
