"""What annotators said as flat records, and the rows of a file that may hold them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from evalbench.label.annotation.answering import explain_invalid
from evalbench.label.shapes import FIELDS, Record, from_argilla, from_label_studio
from evalbench.schema import Label, Rating
from evalbench.store.rows import Row, read_csv, read_lines


class Said(NamedTuple):
    """What an annotator said of a session; ``body.labelled_at`` is when, in UTC, where known."""

    annotator: str
    body: Label | Rating

    @property
    def kind(self) -> str:
        """The kind of its event."""
        return "label.set" if isinstance(self.body, Label) else "rating.set"

    def without_time(self) -> tuple[str, str]:
        """Tell it from everything else that was said, whenever."""
        return self.annotator, self.body.model_copy(update={"labelled_at": None}).model_dump_json()


def to_record(said: Said) -> Record:
    """Write flat what somebody said, leaving out what says nothing."""
    record = {"annotator": said.annotator, **said.body.model_dump(exclude_defaults=True)}
    if said.body.labelled_at:
        record["labelled_at"] = said.body.labelled_at.isoformat(timespec="microseconds")
    return {name: record[name] for name in FIELDS if name in record}


def from_record(record: Mapping[str, Any]) -> Said:
    """Read what somebody said; ``ValueError`` with the reason where a field is missing or odd."""
    given = {name: value for name, value in record.items() if value not in (None, "", [])}
    annotator = str(given.pop("annotator", ""))
    if not annotator:
        raise ValueError("annotator: it says not who")
    for name in ("modes", "anchors"):
        if isinstance(text := given.get(name), str):
            plain = name == "modes" and not text.startswith("[")
            given[name] = [part.strip() for part in text.split(";")] if plain else _load(name, text)
    for name in ("session_id", "value"):  # numbers in JSON, and in the tables of others
        given |= {name: str(given[name])} if name in given else {}
    if given.get("criterion") in FIELDS:
        raise ValueError(f"criterion: {given['criterion']!r} is the name of a field")
    try:
        body = (Rating if "value" in given else Label).model_validate(given)
    except ValidationError as error:
        raise ValueError(explain_invalid(error)) from error
    return Said(annotator, with_time(body, body.labelled_at))


def with_time(body: Label | Rating, time: datetime | None) -> Label | Rating:
    """Set when it was said, in UTC; a time without a zone is taken as UTC."""
    if time is not None:
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return body.model_copy(update={"labelled_at": time})


def read_rows(text: str) -> Iterator[Row]:
    """Read CSV, JSONL or a JSON list of records, tasks or items, told by the first character."""
    first = text.lstrip()[:1]
    if first not in ("[", "{"):
        yield from read_csv(text)
        return
    for row in _read_list(text) if first == "[" else read_lines(text):
        held, records = row.record, [row.record]
        if isinstance(held, dict) and isinstance(held.get("annotations"), list):
            records = [*from_label_studio(held)]
        elif isinstance(held, dict) and isinstance(held.get("responses"), dict):
            records = [*from_argilla(held)]
        yield from (row._replace(record=record) for record in records)


def write_csv(records: list[Record]) -> str:
    """Write records as CSV; lists are JSON."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, FIELDS)  # its CRLF makes it quote a lone CR too
    writer.writeheader()
    writer.writerows(
        {
            name: orjson.dumps(value).decode() if isinstance(value, list | tuple | bool) else value
            for name, value in record.items()
        }
        for record in records
    )
    return text.getvalue()


def _load(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error


def _read_list(text: str) -> Iterator[Row]:
    """Read the items of a JSON list; what follows one that is broken is one item without value."""
    decoder, line, seen = json.JSONDecoder(), 1, 0
    position = text.index("[") + 1
    while text[(start := _skip(text, position)) : start + 1] not in ("]", ""):
        line, seen = line + text.count("\n", seen, start), start
        try:
            value, position = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            value, position = None, len(text)
        record = value if isinstance(value, dict) else "not a JSON object"
        yield Row(line, text[start:position], record)


def _skip(text: str, position: int) -> int:
    """Find where the next item of a list begins."""
    while text[position : position + 1] in tuple(" \t\r\n,"):
        position += 1
    return position
