"""Tables from outside: the rows of a file, the column of each field, what became of the rows."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import orjson
import polars as pl

from evalbench.errors import ReadError

REJECT = pl.Schema({"line": pl.Int64, "reason": pl.String})
FLAGS = dict.fromkeys("true 1 yes fail fails failed".split(), True)
FLAGS |= dict.fromkeys("false 0 no pass passes passed".split(), False)


class Row(NamedTuple):
    """A row of a file: the record it holds, or a ``flaw`` and the ``text`` that has it."""

    line: int
    record: dict[str, Any]
    flaw: str = ""
    text: str = ""


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of a file: ``added + duplicates + rejected`` are all it holds.

    ``unused`` are the columns that nothing was read from. ``rejects_path`` is a file with line,
    reason and text of each rejected row, which can be mended and imported again, or None.
    """

    added: int
    duplicates: int
    rejected: int
    unused: tuple[str, ...]
    rejects_path: Path | None


@dataclass(frozen=True)
class Table:
    """The rows of a file, and which column, or template, each field is read from."""

    path: Path
    sha256: str
    rows: tuple[Row, ...]
    sources: Mapping[str, str]

    def read(
        self, constants: Mapping[str, Any]
    ) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        """Read the filled fields of each row, and the reasons of rows that are none, by index.

        ``constants`` are the values of fields that a row leaves empty.
        """
        records, reasons = dict[int, dict[str, Any]](), dict[int, str]()
        for index, (_, record, flaw, _) in enumerate(self.rows):
            try:
                values = {
                    field: source.format_map(record) if "{" in source else record.get(source)
                    for field, source in self.sources.items()
                }
            except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
                flaw = flaw or f"no column {error}"
            if flaw:
                reasons[index] = flaw
            else:
                filled = {name: each for name, each in values.items() if each not in (None, "")}
                records[index] = {**constants, **filled}
        return records, reasons

    def conclude(self, reasons: Mapping[int, str], *, added: int, folder: Path) -> ImportReport:
        """Count the rows, and keep those with a reason to be rejected in a file."""
        path = folder / f"{self.path.stem}-{self.sha256[:12]}.jsonl"
        path.unlink(missing_ok=True)
        rejects = [
            {"line": row.line, "reason": reasons[index], "text": row.text or write_json(row.record)}
            for index, row in enumerate(self.rows)
            if index in reasons
        ]
        if rejects:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(write_json(reject) + "\n" for reject in rejects), "utf-8")
        read = _find_read(self.sources.values())
        return ImportReport(
            added=added,
            duplicates=len(self.rows) - added - len(rejects),
            rejected=len(rejects),
            unused=tuple(name for name in _find_columns(self.rows) if name not in read),
            rejects_path=path if rejects else None,
        )


def read_table(path: str | Path, fields: Mapping[str, str], columns: Mapping[str, str]) -> Table:
    """Read CSV, JSONL, a JSON list, Parquet or XLSX, or the rejects of an earlier import.

    The format is told by the content.

    Parameters
    ----------
    fields : mapping of str to str
        Each field that a row may have, and the words that are synonyms of it.
    columns : mapping of str to str
        Field to column of the file, or to a template of columns: ``{task}-{trial}``. A field that
        is not in it is read from the column of its name, or of a synonym.

    Raises
    ------
    ReadError
        The file cannot be read, or ``columns`` names a field or a column that there is not.
    """
    path = Path(path)
    if unknown := [name for name in columns if name not in fields]:
        raise ReadError(f"no field is {unknown[0]!r}; there are {', '.join(fields)}")
    try:
        content = path.read_bytes()
        rows = tuple(map(_unwrap_reject, _read_rows(content)))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not UTF-8 text: {error}") from error
    except (ValueError, KeyError, BadZipFile, pl.exceptions.PolarsError) as error:
        raise ReadError(f"{path}: {error}") from error
    known, claimed = _find_columns(rows), _find_read(columns.values())
    if known and (missing := sorted(claimed - known.keys())):
        raise ReadError(f"{path}: no column is {missing[0]!r}; there are {', '.join(known)}")
    free = {_simplify(name): name for name in reversed(known) if name not in claimed}
    sources = dict(columns)
    for field, synonyms in fields.items():
        named = [_simplify(name) for name in (field, *synonyms.split()) if _simplify(name) in free]
        if field not in columns and named:
            sources[field] = free[named[0]]
    return Table(path, hashlib.sha256(content).hexdigest(), rows, sources)


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


def write_table(path: Path, records: Iterable[Mapping[str, Any]], fields: Iterable[str]) -> None:
    """Write records as CSV where the name ends so, else as JSONL; a list in CSV is JSON."""
    rows = [{name: record[name] for name in fields if name in record} for record in records]
    if path.suffix != ".csv":
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(fields))  # its CRLF makes it quote a lone CR too
        writer.writeheader()
        for row in rows:
            cells = {name: each for name, each in row.items() if isinstance(each, str)}
            writer.writerow({name: write_json(each) for name, each in row.items()} | cells)


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
        yield from map(Row, range(2, len(sheet) + 2), sheet.to_dict("records"))
    elif (text := content.decode("utf-8-sig")).lstrip()[:1] == "[":
        items = map(orjson.dumps, orjson.loads(text))
        yield from (_read_object(line, item.decode()) for line, item in enumerate(items, start=1))
    elif text.lstrip()[:1] == "{":
        lines = enumerate(io.StringIO(text, newline=""), start=1)
        yield from (_read_object(line, part) for line, part in lines if part.strip())
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
        record: dict[str, Any] = dict(zip(header, cells, strict=False))
        if len(cells) == len(header):
            yield Row(start + 1, record)
        elif cells:
            surplus = {"": cells[len(header) :]}
            flaw = f"{len(cells)} cells; the header has {len(header)}"
            yield Row(start + 1, record, flaw, write_json(record | surplus))


def _read_object(line: int, text: str) -> Row:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        record = None
    text = text.rstrip("\r\n")
    return Row(line, record) if isinstance(record, dict) else Row(line, {}, "no JSON object", text)


def _unwrap_reject(row: Row) -> Row:
    """Read the text of a row that an earlier import rejected."""
    if row.record.keys() == {"line", "reason", "text"}:
        return _read_object(row.line, str(row.record["text"]))
    return row


def _find_columns(rows: Iterable[Row]) -> dict[str, None]:
    """Find the columns of all rows, in the order they come in."""
    return dict.fromkeys(name for row in rows for name in row.record if name)


def _find_read(sources: Iterable[str]) -> set[str]:
    """Find the columns that are read, which a template has in braces."""
    return {name for source in sources for name in re.findall(r"{([^}.\[!:]+)", source) or [source]}


def _simplify(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
