"""What a worker does with a chunk: parse, redact, check, stage, and tell what it did."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import polars as pl

from evalbench.observe.decode import decode, is_plain, load_formats
from evalbench.observe.formats import opentelemetry
from evalbench.observe.frames import (
    OBJECTS,
    RECORD,
    Columns,
    Written,
    build_frame,
    hash_key,
    name_sessions,
    write_json,
)
from evalbench.observe.source import LIMIT, Chunk, Flaw, Text
from evalbench.pii import redact_columns
from evalbench.schema import TABLES

if TYPE_CHECKING:
    from evalbench.store.lake import Lake, Staged

READABLE = "backslashreplace"
"""How bytes that are no UTF-8 are shown in a reject."""


NOTHING: dict[str, Any] = {}
Alike = tuple[list[int], list[Any]]
"""Spans of the same names: their records, and their values one span after the other."""
STEP = 1000
"""Records after which spans of the same names are read: they are in the processor's cache then."""


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
    elsewhere ``lines`` is 0 and a reject names its own line. ``unnamed`` where a span still names
    no session but its trace.
    """

    lines: int
    records: int
    rejects: list[Reject] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)
    keys: dict[str, pl.DataFrame] = field(default_factory=dict)
    unnamed: bool = False


def process_part(part: Chunk | Flaw, plan: Plan) -> Outcome:
    """Read one part of a source into staged files that nobody sees before they are committed."""
    if isinstance(part, Flaw):
        reject = Reject(part.line or 0, part.reason, part.text.decode(errors=READABLE))
        return Outcome(0 if part.line else 1, 1, [reject])
    return _process_chunk(part, plan)


def _process_chunk(chunk: Chunk, plan: Plan) -> Outcome:
    lines = chunk.lines()
    batch = _parse(lines, plan)
    frames = {
        table: build_frame(table, groups, batch.flaws)
        for table, groups in batch.groups.items()
        if groups
    }
    staged, keys = {}, {}
    frames, unnamed = name_sessions(frames)
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
        Reject(batch.records[index][0], flaw, str(batch.records[index][1], errors=READABLE))
        for index, flaw in sorted(batch.flaws.items())
    ]
    n_lines = 0 if chunk.records else len(lines)
    return Outcome(n_lines, len(batch.records), rejects, staged, keys, unnamed)


@dataclass
class _Batch:
    """Records (line, text) of a chunk, the rows read from them, and by record why it is no use."""

    records: list[tuple[int, Text]] = field(default_factory=list)
    groups: dict[str, list[Columns]] = field(default_factory=lambda: {"span": [], "verdict": []})
    rows: dict[str, list[tuple[int, Any]]] = field(default_factory=lambda: defaultdict(list))
    flaws: dict[int, str] = field(default_factory=dict)
    merged: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def add_rows(self) -> None:
        """Make columns of the rows that were read one by one."""
        for table, rows in ((table, rows) for table, rows in self.rows.items() if rows):
            names = dict.fromkeys(name for _, row in rows for name in row)
            columns: Columns = {name: [row.get(name) for _, row in rows] for name in names}
            self.groups[table].append({**columns, RECORD: [record for record, _ in rows]})

    def add_alike(
        self,
        names: opentelemetry.Names,
        records: list[int],
        values: list[Any],
        columns: Mapping[str, str],
    ) -> None:
        """Add spans of the same names; one that cannot be used is sought by halving."""
        try:
            found, verdicts = opentelemetry.read_alike(names, values, columns)
            written = {name: write_json(found.pop(name)) for name in OBJECTS if name in found}
        except Exception as error:  # no record may stop an ingest
            if len(records) == 1:
                self.flaws[records[0]] = _tell(error)
                return
            half = len(records) // 2
            cut = len(values) // len(records) * half
            self.add_alike(names, records[:half], values[:cut], columns)
            self.add_alike(names, records[half:], values[cut:], columns)
        else:
            self._add_columns({**found, RECORD: records}, written)
            self.rows["verdict"] += ((records[place], row) for place, row in verdicts)

    def _add_columns(self, found: Columns, written: Mapping[str, bytes]) -> None:
        """Put spans behind those that have the same columns."""
        names = *found, *written
        if names not in self.merged:
            self.merged[names] = {name: [] for name in found} | {
                name: Written() for name in written
            }
            self.groups["span"].append(self.merged[names])
        merged = self.merged[names]
        for name, values in found.items():
            merged[name].extend(values)
        for name, piece in written.items():
            merged[name].append(piece)


def _parse(lines: list[tuple[int, Text]], plan: Plan) -> _Batch:
    modules = load_formats(plan.formats)
    module = modules[0]
    columns, loads = plan.columns, orjson.loads
    batch = _Batch()
    records, flaws = batch.records, batch.flaws
    alike: dict[opentelemetry.Names, Alike] = defaultdict(lambda: ([], []))
    known: dict[tuple[tuple[str, ...], ...], Alike] = {}

    def read_alike() -> None:
        for taken, (indices, values) in alike.items():
            if indices:
                batch.add_alike(taken, indices[:], values, columns)
                indices.clear()
                values.clear()

    for place in lines:
        text = place[1]
        value: Any = None
        names = same = None
        try:
            value = loads(text)
            names = tuple(value), tuple(value["attributes"]), tuple(value.get("context", ()))
            same = known.get(names)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            pass
        short = len(text) <= LIMIT
        if same is not None and short:  # most spans have the names of one before them
            same[0].append(len(records))
            records.append(place)
            keep = same[1].extend
            keep(value.pop("attributes").values())
            keep(value.pop("context", NOTHING).values())
            keep(value.values())
            if len(records) % STEP == 0:
                read_alike()
            continue
        quick = is_plain(value) and short
        for raw, record, flaw in ((text, value, ""),) if quick else decode(text):
            index = len(records)
            records.append(place if raw is text else (place[0], raw))
            if record is None:
                flaws[index] = flaw
                continue
            try:
                if not module.matches(record):
                    module = next((m for m in modules if m.matches(record)), module)
                if module is opentelemetry:
                    for span in opentelemetry.split_spans(record):
                        taken, values = opentelemetry.take_apart(span)
                        same = alike[taken]
                        same[0].append(index)
                        same[1].extend(values)
                        if quick and names and _is_flat(names, taken):
                            known[names] = same
                    continue
                found = module.parse(record, columns)
            except Exception as error:  # no record may stop an ingest
                flaws[index] = _tell(error)
                continue
            if not found.spans and not found.verdicts:
                flaws[index] = "neither a span nor a verdict is in it"
            batch.rows["span"] += ((index, row) for row in found.spans)
            batch.rows["verdict"] += ((index, row) for row in found.verdicts)
    read_alike()
    batch.add_rows()
    return batch


def _is_flat(names: tuple[tuple[str, ...], ...], taken: opentelemetry.Names) -> bool:
    """Whether a span was taken apart as it stands, with nothing unfolded or gathered."""
    shape, context, others = taken
    outer = tuple(name for name in names[0] if name not in ("attributes", "context"))
    return (outer, *names[1:]) == (others, shape.names, context)


def _tell(error: Exception) -> str:
    if isinstance(error, ValueError):
        return str(error)
    return f"cannot be read: {type(error).__name__}: {error}"


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
