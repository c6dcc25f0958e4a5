"""Records of an export, whatever its container, as chunks of JSON texts in bounded memory.

JSONL, a JSON list, an OTLP document, any other JSON document, CSV and Parquet, each told by its
content and never by its name; all but Parquet also as gzip or zstd.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from evalbench.errors import ReadError
from evalbench.settings import Limits

CHUNK = 16 << 20
"""Bytes that one worker takes at a time."""
LIMIT = 64 << 20
"""A longer record is rejected: whole it would not fit the memory that is promised."""
PREFIX = 4 << 10
"""What is kept of the text of a record over the limit."""
BUFFER = 16 << 10
"""What a broken compressed file loses at most of its good part."""

OVERHEAD = 200
"""Bytes that a record takes beside its text: a chunk of empty lines has to end too."""
FREE = 256 << 20
"""Bytes that any compressed file may unpack to, however small it is."""

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
LIST = re.compile(rb"\s*\[")
OTLP = re.compile(rb'\s*\{\s*"resourceSpans"\s*:\s*\[')
BRACKETS = (b"[", b"]", b"{", b"}")
NO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
DEFAULT = Limits()
BETWEEN_ITEMS = b" \t\r\n,"
LOSSLESS = "surrogateescape"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Flaw(NamedTuple):
    """A part of the source that is no record."""

    line: int
    reason: str
    text: bytes


@dataclass(frozen=True)
class Chunk:
    """Some records of a source, as pairs of line and JSON text.

    ``position`` is how much of the file has been read with it. The line of a CSV row is where it
    ends; of a Parquet row, its number.
    """

    number: int
    position: int
    records: list[tuple[int, bytes]]


Pairs = Iterator[tuple[int, bytes] | Flaw]


class Unpacked(io.RawIOBase):
    """The unpacked bytes of a compressed file, up to the limits; then OSError."""

    def __init__(self, file: IO[bytes], compression: str, packed: int, limits: Limits):
        import pyarrow

        self.stream = pyarrow.CompressedInputStream(file, compression)
        self.size = 0
        whole, share = limits.unpacked_gb * 1e9, max(limits.unpacked_times * packed, FREE)
        self.limit = min(whole, share)
        self.name = "unpacked_gb" if whole <= share else "unpacked_times"

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        size = int(self.stream.readinto(buffer))
        self.size += size
        if self.size > self.limit:
            raise OSError(
                f"they unpack to more than {self.limit / 1e9:,.3g} GB; if the file is sound, raise "
                f"{self.name} under [limits] in evalbench.toml"
            )
        return size


class Stream:
    """The unpacked bytes of a file in ``buffer``; ``broken`` says why :meth:`read` ended early."""

    def __init__(self, path: Path, limits: Limits):
        self.file: IO[bytes] = path.open("rb")
        magic = self.file.peek(4)
        compression = next((c for m, c in COMPRESSED.items() if magic.startswith(m)), None)
        self.buffer: Any = self.file
        self.broken = ""
        if compression:
            unpacked = Unpacked(self.file, compression, path.stat().st_size, limits)
            self.buffer = io.BufferedReader(unpacked, BUFFER)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end."""
        parts = []
        while size > 0 and not self.broken:
            try:
                part = self.buffer.read1(min(size, BUFFER))
            except OSError as error:
                self.broken = say_broken(error)
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def say_broken(error: OSError) -> str:
    """Return why nothing can be read from here on."""
    return f"the compressed data end or break here: {error}"


def read_chunks(path: Path, limits: Limits = DEFAULT) -> Iterator[Chunk | Flaw]:
    """Cut a source into chunks, in order, and what cannot be cut into flaws.

    Raises
    ------
    ReadError
        There is no such file, or it is a folder, empty, or neither text nor Parquet.
    """
    if not path.exists():
        raise ReadError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise ReadError(f"{path}: not a file; give the path of one export")
    kind = _tell_kind(path, limits)
    with Stream(path, limits) as stream:
        if stream.buffer.peek(3).startswith(BYTE_ORDER_MARK):
            stream.buffer.read(3)
        pairs = READERS[kind](stream)
        number, size = 0, 0
        held: list[tuple[int, bytes]] = []
        for pair in pairs:
            if isinstance(pair, Flaw):
                yield pair
                continue
            held.append(pair)
            size += len(pair[1]) + OVERHEAD
            if size >= CHUNK:
                yield Chunk(number, stream.file.tell(), held)
                number, size, held = number + 1, 0, []
        if held:
            yield Chunk(number, path.stat().st_size, held)


def _tell_kind(path: Path, limits: Limits) -> str:
    with Stream(path, limits) as stream:
        head = stream.read(64 << 10)
        if head.startswith(b"PAR1"):
            if stream.buffer is stream.file:
                return "parquet"
            raise ReadError(f"{path}: compressed Parquet; unpack it first")
        if not head.strip():
            why = stream.broken or "the file is empty"
            raise ReadError(f"{path}: {why}; export it again")
        if b"\0" in head:
            raise ReadError(
                f"{path}: neither text in UTF-8 nor Parquet; give JSONL, JSON, CSV or Parquet, "
                "plain or as .gz or .zst"
            )
        head = head.removeprefix(BYTE_ORDER_MARK).lstrip()
        if LIST.match(head):
            return "list"
        while b"\n" not in head and len(head) <= LIMIT and (block := stream.read(CHUNK)):
            head += block
    first, *others = head.split(b"\n", 20)
    others = [line for line in others if line.strip()]
    if _is_object(first):
        return "jsonl"
    if first.startswith(b"{"):
        if others and others[0].startswith(b"{"):
            return "jsonl"
        return "otlp" if OTLP.match(head) else "jsonl" if len(first) > LIMIT else "document"
    return "jsonl" if any(map(_is_object, others)) else "csv"


def _is_object(line: bytes) -> bool:
    try:
        return line.startswith(b"{") and isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _read_lines(stream: Stream) -> Pairs:
    read, number = partial(stream.buffer.readline, LIMIT + 1), 0
    try:
        for number, line in enumerate(iter(read, b""), 1):
            if len(line) <= LIMIT:
                yield number, line
                continue
            length, end = len(line), line
            while not end.endswith(b"\n") and (end := read()):
                length += len(end)
            reason = f"{length:,} bytes long, more than {LIMIT >> 20} MiB"
            yield Flaw(number, reason, line[:PREFIX])
    except OSError as error:
        yield Flaw(number + 1, say_broken(error), b"")


def _read_list(stream: Stream, opening: re.Pattern[bytes] = LIST) -> Pairs:
    """Cut the items out of a JSON list by its brackets: each stays as its author wrote it."""
    text = stream.read(CHUNK)
    head = opening.match(text)
    at = start = head.end() if head else 0
    line, depth = 1 + text.count(b"\n", 0, at), 0
    while True:
        at = NO_BRACKET.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] in BRACKETS:
            opens = text[at] in b"[{"
            if depth == 0:  # between items
                if between := text[start:at].strip(BETWEEN_ITEMS):
                    yield Flaw(line, "not a JSON object", between)
                line += text.count(b"\n", start, at)
                start = at
            depth += 1 if opens else -1
            at += 1
            if depth < 0:
                return
            if depth == 0:
                yield line, text[start:at]
                line += text.count(b"\n", start, at)
                start = at
        elif len(text) - start > LIMIT:
            reason = f"longer than {LIMIT >> 20} MiB; it and all that follows it is left out"
            yield Flaw(line, reason, text[start : start + PREFIX])
            return
        elif more := stream.read(CHUNK):
            text, at, start = text[start:] + more, at - start, 0
        else:
            reason = stream.broken or "the JSON list ends before it is closed"
            yield Flaw(line, reason, text[start:].strip(BETWEEN_ITEMS))
            return


def _read_otlp(stream: Stream) -> Pairs:
    for item in _read_list(stream, OTLP):
        if isinstance(item, Flaw):
            yield item
        else:
            yield item[0], b'{"resourceSpans":[' + item[1] + b"]}"


def _read_document(stream: Stream) -> Pairs:
    text = stream.read(LIMIT + 1)
    if len(text) > LIMIT:
        yield Flaw(1, f"a JSON document longer than {LIMIT >> 20} MiB", text[:PREFIX])
    elif stream.broken:
        yield Flaw(1, stream.broken, text[:PREFIX])
    else:
        yield 1, text


def _read_csv(stream: Stream) -> Pairs:
    csv.field_size_limit(LIMIT)
    text = io.TextIOWrapper(stream.buffer, "utf-8", LOSSLESS, newline="")
    stream.buffer = text  # or the file would be closed with its wrapper
    rows = csv.reader(text, strict=True)
    header: list[str] = []
    try:
        for row in rows:
            header = header or row
            if row is header or not row:
                continue
            fits = len(row) == len(header)
            cells: Any = (
                {name: cell for name, cell in zip(header, row, strict=fits) if cell}
                if fits
                else row
            )
            try:
                record = orjson.dumps(cells)
            except TypeError:  # bytes that are no UTF-8 came as surrogates
                yield Flaw(rows.line_num, "not UTF-8", ",".join(row).encode(errors=LOSSLESS))
                continue
            reason = f"{len(row)} cells under {len(header)} column names"
            yield (rows.line_num, record) if fits else Flaw(rows.line_num, reason, record)
    except (csv.Error, OSError) as error:
        yield Flaw(rows.line_num, f"nothing can be read from here on: {error}", b"")


def _read_parquet(stream: Stream) -> Pairs:
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(stream.file, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    record = {name: value for name, value in row.items() if value is not None}
                    yield number, orjson.dumps(record, default=str, option=orjson.OPT_NAIVE_UTC)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
        yield Flaw(number + 1, f"nothing can be read from here on: {reason}", b"")


READERS = {
    "jsonl": _read_lines,
    "list": _read_list,
    "otlp": _read_otlp,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "document": _read_document,
}
