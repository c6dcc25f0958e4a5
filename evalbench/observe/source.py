"""Records of an export, whatever its container, as chunks of JSON texts in bounded memory.

JSONL, a JSON list, an OTLP document, any other JSON document, the messages of one conversation, CSV
and Parquet, each told by its
content and never by its name; all but Parquet also as gzip or zstd.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import IO, Any

import orjson

from evalbench.errors import ReadError
from evalbench.observe.json_values import LIMIT, Flaw, read_values, split_values
from evalbench.settings import Limits

CHUNK = 16 << 20  # bytes that one worker takes at a time
BUFFER = 16 << 10  # what a broken compressed file loses at most of its good part

OVERHEAD = 200  # bytes that a record takes beside its text: a chunk of empty lines has to end too
FREE = 256 << 20  # bytes that any compressed file may unpack to, however small it is

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
DEFAULT = Limits()
LOSSLESS = "surrogateescape"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What a message has that says who speaks, and what it may have beside that and its content.
MESSAGE_NAMES = frozenset(("role", "source"))
MESSAGE_FACTS = frozenset(
    "content name type id tool_calls tool_call_id function_call tool_responses refusal reasoning "
    "models_usage metadata created_at".split()
)
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Chunk:
    """Some records of a source, as pairs of line and JSON text, and how much was read with it."""

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
        self.opened = ExitStack()
        self.file: io.BufferedReader = self.opened.enter_context(path.open("rb"))
        magic = self.file.peek(4)
        compression = next((c for m, c in COMPRESSED.items() if magic.startswith(m)), None)
        self.buffer: Any = self.file
        self.at_once = BUFFER if compression else CHUNK
        self.broken = ""
        if compression:
            unpacked = Unpacked(self.file, compression, path.stat().st_size, limits)
            self.buffer = io.BufferedReader(unpacked, BUFFER)
        if self._begins() in UTF_16:
            text = io.TextIOWrapper(self.buffer, "utf-16", errors="replace", newline="")
            self.buffer = self.opened.enter_context(tempfile.TemporaryFile())
            while block := text.read(BUFFER):
                self.buffer.write(block.encode(errors="replace"))
            text.detach()
            self.buffer.seek(0)

    def _begins(self) -> bytes:
        try:
            return self.buffer.peek(2)[:2]
        except OSError:  # broken: the reading itself says so
            return b""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end."""
        parts = []
        while size > 0 and not self.broken:
            try:
                part = self.buffer.read1(min(size, self.at_once))
            except OSError as error:
                self.broken = f"the compressed data end or break here: {error}"
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def open_sources(path: str | Path, workspace: Path, options: Mapping[str, str]) -> Generator[Path]:
    """Give each file that a path or pattern names; one of an object store is copied meanwhile."""
    if "://" not in str(path):
        one = Path(path).exists() or not set("*?[") & set(str(path))
        files = [str(path)] if one else sorted(glob(str(path), recursive=True))
        if not files:
            raise ReadError(f"{path}: no file is called so; check the pattern")
        for file in map(Path, files):
            _require_file(file)
            yield file
        return
    from deltalake.fs import DeltaStorageHandler
    from pyarrow import fs

    place, _, pattern = str(path).rpartition("/")
    store = fs.PyFileSystem(DeltaStorageHandler(place, dict(options)))
    infos = store.get_file_info(fs.FileSelector("", recursive=False))
    names = sorted(info.path for info in infos if fnmatch(info.base_name, pattern))
    if not names:
        raise ReadError(f"{path}: the store has no such object; check the pattern")
    for name in names:
        with tempfile.TemporaryDirectory(dir=workspace) as folder:
            copy = Path(folder) / name
            with store.open_input_stream(name) as content, copy.open("wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
            yield copy


def read_chunks(path: Path, limits: Limits = DEFAULT) -> Generator[Chunk | Flaw]:
    """Cut a source into chunks, and what cannot be cut into flaws; ReadError if it is none."""
    _require_file(path)
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


def _require_file(path: Path) -> None:
    if not path.exists():
        raise ReadError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise ReadError(f"{path}: not a file; give the path of an export, or a pattern of several")


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
                f"{path}: neither text in UTF-8 or UTF-16 nor Parquet; give JSONL, JSON, CSV or "
                "Parquet, plain or as .gz or .zst"
            )
    head = head.removeprefix(BYTE_ORDER_MARK).lstrip(b" \t\r\n\x1e")
    if all(map(_is_message, (first := split_values(head.removeprefix(b"["))[:2]))) and first[1:]:
        return "chat"
    is_json = head[:1] in (b"{", b"[") or any(map(_is_object, head.split(b"\n", 20)))
    return "json" if is_json else "csv"


def _is_message(text: bytes) -> bool:
    """Tell whether a value is a message and no more: nothing says of which conversation."""
    try:
        held = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    named = isinstance(held, dict) and "content" in held and not MESSAGE_NAMES.isdisjoint(held)
    return named and MESSAGE_NAMES.union(MESSAGE_FACTS).issuperset(held)


def _is_object(line: bytes) -> bool:
    try:
        return line.startswith(b"{") and isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


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


def _read_chat(stream: Stream) -> Pairs:
    """Read one conversation: a list of its messages, or a line each."""
    text = stream.read(LIMIT + 1).strip()
    if len(text) > LIMIT or stream.broken:
        yield Flaw(1, stream.broken or f"one conversation of more than {LIMIT >> 20} MiB", b"")
    else:
        messages = split_values(text.removeprefix(b"[").removesuffix(b"]"))
        yield 1, b'{"messages": [%b]}' % b",".join(messages)


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


READERS = {"json": read_values, "csv": _read_csv, "parquet": _read_parquet, "chat": _read_chat}
