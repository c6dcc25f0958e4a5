"""Bytes of an export, whatever its container, as chunks of JSON records in bounded memory.

JSONL, a JSON list, an OTLP document, any other JSON document, CSV and Parquet, each told by its
content and never by its name; all but Parquet also as gzip or zstd.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from evalbench.errors import ReadError

CHUNK = 16 << 20
"""Bytes that one worker takes at a time."""
LIMIT = 64 << 20
"""A longer record is rejected: whole it would not fit the memory that is promised."""
PREFIX = 4 << 10
"""What is kept of the text of a record over the limit."""

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
LIST = re.compile(rb"\s*\[")
OTLP = re.compile(rb'\s*\{\s*"resourceSpans"\s*:\s*\[')
BRACKETS = (b"[", b"]", b"{", b"}")
NO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
BETWEEN_ITEMS = b" \t\r\n,"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


Text = bytes | memoryview


class Flaw(NamedTuple):
    """A part of the source that is no record; ``line`` is none where whoever reads counts."""

    line: int | None
    reason: str
    text: bytes


@dataclass(frozen=True)
class Chunk:
    """Some records of a source: a byte range of a JSONL file, JSONL text, or (line, JSON) pairs.

    ``position`` is how much of the file has been read with it. The line of a CSV row is where it
    ends; of a Parquet row, its number.
    """

    number: int
    position: int
    path: Path | None = None
    start: int = 0
    end: int = 0
    text: bytes = b""
    records: tuple[tuple[int, bytes], ...] | None = None

    def lines(self) -> list[tuple[int, Text]]:
        """Give the records with their lines, which for JSONL count from the chunk's first.

        Those of JSONL are views of one text: a copy of each would cost more than parsing it.
        """
        if self.records is not None:
            return list(self.records)
        text = self.text
        if self.path:
            with open(self.path, "rb") as file:
                file.seek(self.start)
                text = file.read(self.end - self.start)
        view, find = memoryview(text), text.find
        cut, start = [], 0
        while (end := find(b"\n", start)) >= 0:
            cut.append(view[start:end])
            start = end + 1
        if start < len(text):
            cut.append(view[start:])
        return list(enumerate(cut))


class _Stream:
    """The unpacked bytes of a file; ``broken`` says why they end early."""

    def __init__(self, path: Path):
        self.file: IO[bytes] = path.open("rb")
        compression = next(
            (c for m, c in COMPRESSED.items() if self.file.peek(4).startswith(m)), None
        )
        self.broken = ""
        self.unpacked: Any = self.file
        self._step = LIMIT
        if compression:
            import pyarrow

            self.unpacked = pyarrow.CompressedInputStream(self.file, compression)
            self._step = 16 << 10  # what a broken stream loses at most of its good part

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end."""
        parts = []
        while size > 0 and not self.broken:
            try:
                part = self.unpacked.read(min(size, self._step))
            except OSError as error:
                self.broken = f"the compressed data end or break here: {error}"
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    @property
    def position(self) -> int:
        return self.file.tell()


def read_chunks(path: Path) -> Iterator[Chunk | Flaw]:
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
    kind = _tell_kind(path)
    if kind == "parquet":
        yield from _number(_group(_read_parquet(path), path.stat().st_size))
        return
    with _Stream(path) as stream:
        if kind == "jsonl":
            plain = stream.unpacked is stream.file
            yield from _number(_cut_file(path) if plain else _cut_stream(stream))
        else:
            pairs = {"list": _read_list, "otlp": _read_otlp, "csv": _read_csv}.get(
                kind, _read_document
            )
            yield from _number(_group(pairs(stream), stream))


def _tell_kind(path: Path) -> str:
    with _Stream(path) as stream:
        head = stream.read(64 << 10)
        if head.startswith(b"PAR1"):
            if stream.unpacked is stream.file:
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


def _number(parts: Iterable[Chunk | Flaw]) -> Iterator[Chunk | Flaw]:
    number = 0
    for part in parts:
        if isinstance(part, Chunk):
            part = replace(part, number=number)
            number += 1
        yield part


def _group(
    pairs: Iterable[tuple[int, bytes] | Flaw], source: _Stream | int
) -> Iterator[Chunk | Flaw]:
    """Gather (line, JSON) pairs to chunks."""
    held: list[tuple[int, bytes]] = []
    size = 0

    def chunk() -> Chunk:
        position = source if isinstance(source, int) else source.position
        return Chunk(0, position, records=tuple(held))

    for pair in pairs:
        if isinstance(pair, Flaw):
            yield pair
            continue
        held.append(pair)
        size += len(pair[1])
        if size >= CHUNK:
            yield chunk()
            held, size = [], 0
    if held:
        yield chunk()


def _too_long(line: int | None, start: int, length: int, text: bytes) -> Flaw:
    reason = f"{length:,} bytes long from byte {start:,}, more than {LIMIT >> 20} MiB"
    return Flaw(line, reason, text[:PREFIX])


def _cut_file(path: Path) -> Iterator[Chunk | Flaw]:
    """Give byte ranges of whole lines, for workers to read themselves."""
    start, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while start < size:
            file.seek(min(start + CHUNK, size) - 1)
            while (block := file.read(1 << 16)) and b"\n" not in block:
                pass
            end = file.tell() - len(block) + block.find(b"\n") + 1 if block else size
            if end - start > CHUNK + LIMIT:
                file.seek(start)
                text = file.read(CHUNK)
                cut = text.rfind(b"\n") + 1
                if cut:
                    yield Chunk(0, start + cut, path, start, start + cut)
                yield _too_long(None, start + cut, end - start - cut, text[cut:])
            else:
                yield Chunk(0, end, path, start, end)
            start = end


def _cut_stream(stream: _Stream) -> Iterator[Chunk | Flaw]:
    rest, offset = b"", 0
    while block := stream.read(CHUNK):
        rest += block
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield Chunk(0, stream.position, text=rest[:cut])
        elif len(rest) > LIMIT:
            prefix, length = rest[:PREFIX], len(rest)
            while (block := stream.read(CHUNK)) and b"\n" not in block:
                length += len(block)
            cut = block.find(b"\n") + 1
            yield _too_long(None, offset, length + cut, prefix)
            offset += length
            rest = block
        rest, offset = rest[cut:], offset + cut
    if stream.broken:
        yield Flaw(None, stream.broken, rest)
    elif rest:
        yield Chunk(0, stream.position, text=rest)


def _read_list(
    stream: _Stream, opening: re.Pattern[bytes] = LIST
) -> Iterator[tuple[int, bytes] | Flaw]:
    """Cut the items out of a JSON list by its brackets: each stays as its author wrote it."""
    text = stream.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
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
        else:
            more = stream.read(CHUNK)
            if not more:
                reason = stream.broken or "the JSON list ends before it is closed"
                yield Flaw(line, reason, text[start:].strip(BETWEEN_ITEMS))
                return
            text, at, start = text[start:] + more, at - start, 0


def _read_otlp(stream: _Stream) -> Iterator[tuple[int, bytes] | Flaw]:
    for item in _read_list(stream, OTLP):
        if isinstance(item, Flaw):
            yield item
        else:
            yield item[0], b'{"resourceSpans":[' + item[1] + b"]}"


def _read_document(stream: _Stream) -> Iterator[tuple[int, bytes] | Flaw]:
    text = stream.read(LIMIT + 1)
    if len(text) > LIMIT:
        yield Flaw(1, f"a JSON document longer than {LIMIT >> 20} MiB", text[:PREFIX])
    else:
        yield 1, text.removeprefix(BYTE_ORDER_MARK)


def _read_csv(stream: _Stream) -> Iterator[tuple[int, bytes] | Flaw]:
    csv.field_size_limit(LIMIT)
    text = io.TextIOWrapper(stream.unpacked, "utf-8-sig", "surrogateescape", newline="")
    stream.unpacked = text  # or the file would be closed with its wrapper
    rows = csv.reader(text, strict=True)
    header: list[str] = []
    try:
        for row in rows:
            header = header or row
            if row is header or not row:
                continue
            if len(row) != len(header):
                reason = f"{len(row)} cells under {len(header)} column names"
                yield Flaw(rows.line_num, reason, orjson.dumps(row))
                continue
            record = {name: cell for name, cell in zip(header, row, strict=True) if cell}
            try:
                yield rows.line_num, orjson.dumps(record)
            except TypeError:  # bytes that are no UTF-8 came as surrogates
                cells = ",".join(row).encode(errors="surrogateescape")
                yield Flaw(rows.line_num, "not UTF-8", cells)
    except (csv.Error, OSError) as error:
        yield Flaw(rows.line_num, f"nothing can be read from here on: {error}", b"")


def _read_parquet(path: Path) -> Iterator[tuple[int, bytes]]:
    import pyarrow.parquet

    line = 0
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                line += 1
                record = {name: value for name, value in row.items() if value is not None}
                yield line, orjson.dumps(record, default=str, option=orjson.OPT_NAIVE_UTC)
