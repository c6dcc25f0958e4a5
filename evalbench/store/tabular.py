"""Tables from outside: the rows of a file, the column of each field, what became of the rows."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar
from zipfile import BadZipFile

import orjson
import polars as pl
from pydantic import ValidationError

from evalbench.errors import EvalbenchError, ReadError

Record = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)
Given = TypeVar("Given")
Read = TypeVar("Read")
UNREADABLE = (OSError, ImportError, ValueError, KeyError, BadZipFile, pl.exceptions.PolarsError)
REJECT = pl.Schema({"line": pl.Int64, "reason": pl.String})
# What a spreadsheet takes for a formula, quoted or not; a number is none.
FORMULA = re.compile(
    r"'*(?:[=@\t\r\n\uff1d\uff20\uff0b\uff0d]|[+-](?!\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\Z))"
)
FLAGS = dict.fromkeys("true 1 yes fail fails failed".split(), True)
FLAGS |= dict.fromkeys("false 0 no pass passes passed".split(), False)


class Row(NamedTuple):
    """A row of a file: the record it holds, or a ``flaw`` and the ``text`` that has it."""

    line: int
    record: Record
    flaw: str = ""
    text: str = ""


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of a file: ``added + duplicates + rejected`` are all it holds.

    ``unused`` columns were not read; ``rejects_path`` has line, reason and text of each rejected
    row, to be mended and imported again. ``silent`` rows were taken though they say nothing;
    ``surfaces`` are those that rows speak of.
    """

    added: int
    duplicates: int
    rejected: int
    unused: tuple[str, ...]
    rejects_path: Path | None
    silent: int = 0
    surfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The rows of a file, and which column, or template, each field is read from."""

    path: Path
    sha256: str
    rows: tuple[Row, ...]
    sources: Mapping[str, str]

    def read(self, **constants: Any) -> tuple[dict[int, Record], dict[int, str]]:
        """Read the filled fields of rows by index, else ``constants``; and why others are none."""
        given = {name: value for name, value in constants.items() if value is not None}

        def read_row(row: Row) -> Record:
            if row.flaw:
                raise ValueError(row.flaw)
            fields = {
                field: _find_value(row.record, source) for field, source in self.sources.items()
            }
            return given | {name: each for name, each in fields.items() if each not in (None, "")}

        return attempt(dict(enumerate(self.rows)), read_row)

    def conclude(self, reasons: Mapping[int, str], *, added: int, folder: Path) -> ImportReport:
        """Count the rows, and keep those that have a reason against them in a file."""
        path = folder / f"{self.path.stem}-{self.sha256[:12]}.jsonl"
        path.unlink(missing_ok=True)
        rejects = [
            {"line": row.line, "reason": reasons[index], "text": row.text or write_json(row.record)}
            for index, row in enumerate(self.rows)
            if index in reasons
        ]
        if rejects:
            with open_private(path) as file:
                file.writelines(f"{write_json(reject)}\n".encode() for reject in rejects)
        read = _find_read(self.sources.values())
        return ImportReport(
            added=added,
            duplicates=len(self.rows) - added - len(rejects),
            rejected=len(rejects),
            unused=tuple(name for name in _find_columns(self.rows) if name not in read),
            rejects_path=path if rejects else None,
        )


def open_private(path: Path) -> BinaryIO:
    """Open a file to write that nobody else may read, in a folder of that kind."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def read_table(path: str | Path, fields: Mapping[str, str], columns: Mapping[str, str]) -> Table:
    """Read CSV, JSONL, a JSON list, Parquet or XLSX, told by content, or rejects of an import.

    ``fields`` are what a row may have, with synonyms; ``columns`` gives a field its column, or a
    template ``{task}-{trial}``, by default that of its name. ReadError where the file cannot be
    read, or there is no such field or column.
    """
    path = Path(path)
    if unknown := [name for name in columns if name not in fields]:
        raise ReadError(f"no field is {unknown[0]!r}; there are {', '.join(fields)}")
    try:
        content = path.read_bytes()
        rows = tuple(map(_unwrap_reject, _read_rows(content)))
    except UNREADABLE as error:
        raise ReadError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise ReadError(f"{path}: there is no row in it; export it again")
    known, claimed = _find_columns(rows), _find_read(columns.values())
    if known and (missing := sorted(claimed - known.keys())):
        raise ReadError(f"{path}: no column is {missing[0]!r}; there are {', '.join(known)}")
    free = {_simplify(name): name for name in reversed(known) if name not in claimed}
    sources = dict(columns)
    for field, synonyms in fields.items():
        names = [free[word] for word in map(_simplify, [field, *synonyms.split()]) if word in free]
        if names:
            sources.setdefault(field, names[0])
    return Table(path, hashlib.sha256(content).hexdigest(), rows, sources)


def attempt(
    items: Mapping[Key, Given], read: Callable[[Given], Read]
) -> tuple[dict[Key, Read], dict[Key, str]]:
    """Read each item; give what was read, and why the others could not be."""
    done, reasons = dict[Key, Read](), dict[Key, str]()
    for key, item in items.items():
        try:
            done[key] = read(item)
        except ValidationError as error:
            first = error.errors()[0]
            reasons[key] = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (ValueError, EvalbenchError) as error:
            reasons[key] = str(error)
    return done, reasons


def read_flag(value: object) -> bool:
    """Read whether something fails; ValueError where it is no such word."""
    if (word := str(value).strip().lower()) not in FLAGS:
        raise ValueError(f"says {value!r}, neither true nor false")
    return FLAGS[word]


def read_rejects(folder: Path) -> pl.DataFrame:
    """Read every file of rejects of a folder, as ``file, line, reason``."""
    parts = [
        pl.read_ndjson(path, schema=REJECT).select(pl.lit(path.name).alias("file"), *REJECT)
        for path in sorted(folder.glob("*.jsonl"))
    ]
    return pl.concat([pl.DataFrame(schema={"file": pl.String, **REJECT}), *parts])


def write_table(path: Path, records: Iterable[Record], fields: Iterable[str]) -> None:
    """Write records as CSV, formulas quoted, where the name ends so, else as JSONL."""
    rows = [{name: record[name] for name in fields if name in record} for record in records]
    if path.suffix != ".csv":
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(fields))  # its CRLF makes it quote a lone CR too
        writer.writeheader()
        for row in rows:
            texts = {name: each for name, each in row.items() if isinstance(each, str)}
            cells = {name: quote_formula(each) for name, each in texts.items()}
            writer.writerow({name: write_json(each) for name, each in row.items()} | cells)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as Parquet where the name ends so, else as JSONL; nobody else may read it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)


def quote_formula(text: str) -> str:
    """Put a quote before what a spreadsheet would run, and before such quotes."""
    return f"'{text}" if FORMULA.match(text) else text


def _unquote_formula(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell


def write_json(value: object) -> str:
    """Write a value as JSON, and as text what JSON does not have."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _read_rows(content: bytes) -> Iterator[Row]:
    if content.startswith(b"PAR1"):
        frame = pl.read_parquet(io.BytesIO(content))
        yield from map(Row, range(1, frame.height + 1), frame.iter_rows(named=True))
    elif content.startswith(b"PK\x03\x04"):  # a spreadsheet is a ZIP archive
        import pandas

        sheet = pandas.read_excel(io.BytesIO(content), dtype=str, keep_default_na=False)
        records = enumerate(sheet.rename(columns=str).to_dict("records"), start=2)
        yield from (Row(line, record) for line, record in records if any(record.values()))
    elif (text := content.decode("utf-8-sig")).lstrip()[:1] == "[":
        yield from map(_read_object, enumerate(map(json.dumps, json.loads(text)), start=1))
    elif text.lstrip()[:1] == "{":
        lines = enumerate(io.StringIO(text, newline=""), start=1)
        yield from (_read_object(line) for line in lines if line[1].strip())
    else:
        yield from _read_csv(text)


def _read_csv(text: str) -> Iterator[Row]:
    """Read the rows under a header; a row of another length is none."""
    lines = list(io.StringIO(text, newline=""))
    delimiter = max(",;\t", key="".join(lines[:1]).count)
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # holds for all; never lower it
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(rows, [])
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise ValueError(f"two columns are named {twice[0]!r}")
    while (start := rows.line_num) < len(lines):
        try:
            cells = next(rows)
        except csv.Error as error:
            yield Row(start + 1, {}, str(error), "".join(lines[start : rows.line_num]))
            continue
        record: Record = dict(zip(header, map(_unquote_formula, cells), strict=False))
        if len(cells) == len(header):
            yield Row(start + 1, record)
        elif cells:
            flaw = f"{len(cells)} cells; the header has {len(header)}"
            text = write_json(record | {"": cells[len(header) :]})
            yield Row(start + 1, record, flaw, text)


def _read_object(numbered: tuple[int, str]) -> Row:
    line, text = numbered
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        record = None
    if isinstance(record, dict):
        return Row(line, record)
    return Row(line, {}, "no JSON object", text.rstrip("\r\n"))


def _unwrap_reject(row: Row) -> Row:
    """Read the text of a row that an earlier import rejected."""
    if row.record.keys() == {"line", "reason", "text"}:
        return _read_object((row.line, str(row.record["text"])))
    return row


def _find_value(record: Record, source: str) -> Any:
    """Give the value of a column, or a template such as ``{task}-{trial}`` that is filled in."""
    if "{" not in source:
        return record.get(source)
    try:
        return source.format_map(record)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"{source}: no column {error}") from error


def _find_columns(rows: Iterable[Row]) -> dict[str, None]:
    """Find the columns of all rows, in the order they come in."""
    return dict.fromkeys(name for row in rows for name in row.record if name)


def _find_read(sources: Iterable[str]) -> set[str]:
    """Find the columns that are read, which a template has in braces."""
    return {name for source in sources for name in re.findall(r"{([^}.\[!:]+)", source) or [source]}


def _simplify(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
