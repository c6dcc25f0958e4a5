"""What annotators gave, as flat records: labels, ratings and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from evalbench.label.annotation.answering import explain_invalid
from evalbench.schema import BODIES, Label, Note, Rating
from evalbench.store.ledger import Ledger

Record = dict[str, Any]
"""An entry, flat: names of :data:`FIELDS`, absent where it says nothing."""
KINDS = {Label: "label.set", Rating: "rating.set", Note: "note.added"}
FIELDS = {
    "surface": "",
    "session_id": "session conversation_id trace_id",
    "annotator": "annotator_id rater reviewer labeler labeller",
    "labelled_at": "labeled_at annotated_at created_at",
    "queue": "",
    "verdict": "label judgement judgment",
    "modes": "failure_modes",
    "severity": "",
    "seconds": "lead_time",
    "after_suggestion": "",
    "anchors": "",
    "criterion": "metric dimension",
    "value": "rating score",
    "note": "notes comment comments",
}
"""The fields of a record, in the order they are written, and the synonyms of each."""
LABEL = ("queue", "verdict", "modes", "severity", "seconds", "after_suggestion", "anchors")


class Entry(NamedTuple):
    """What an annotator gave to a session; the time of a label or rating is in UTC, if known."""

    annotator: str
    body: Label | Rating | Note

    @property
    def time(self) -> datetime | None:
        """When it was given."""
        return getattr(self.body, "labelled_at", None)

    @property
    def content(self) -> tuple[str, type, str]:
        """All that it says but when, and in which queue."""
        text = self.body.model_dump_json(exclude={"labelled_at", "queue"})
        return self.annotator, type(self.body), text


def read_entries(ledger: Ledger) -> Iterator[Entry]:
    """Read all that was given, in its order and with its time."""
    events = ledger.events(list(KINDS.values()))
    for at, actor, kind, text in events.select("at", "actor", "kind", "body").iter_rows():
        yield _make_entry(actor, BODIES[kind].model_validate_json(text), at)


def to_record(entry: Entry) -> Record:
    """Write an entry flat, leaving out what says nothing."""
    record = entry.body.model_dump(exclude_defaults=True)
    record |= {"annotator": entry.annotator, "note": record.pop("text", None)}
    if entry.time:
        record["labelled_at"] = entry.time.isoformat(timespec="microseconds")
    return {name: value for name, value in record.items() if value is not None}


def from_record(record: Mapping[str, Any]) -> list[Entry]:
    """Read the label, the rating and the note of a record; ValueError where a field is odd."""
    annotator = str(record.get("annotator", ""))
    if not annotator:
        raise ValueError("annotator: there is none; --annotator names one for all rows")
    if "session_id" not in record:
        raise ValueError("session_id: there is none; --map session_id=COLUMN says where it is")
    place = {name: str(record[name]) for name in ("surface", "session_id") if name in record}
    dated = place | {name: record[name] for name in ("labelled_at",) if name in record}
    label = {name: _read_list(name, record[name]) for name in LABEL if name in record}
    if "modes" in label:
        label.setdefault("verdict", "fail")
    bodies = list[Any]()
    try:
        if label.keys() & {"verdict", "severity", "anchors"}:
            label["verdict"] = str(label.get("verdict", "")).strip().lower()
            bodies.append(Label.model_validate(dated | label))
        if "value" in record:
            rating = {"criterion": record.get("criterion", "value"), "value": str(record["value"])}
            bodies.append(Rating.model_validate(dated | rating))
        if "note" in record:
            bodies.append(Note.model_validate(place | {"text": str(record["note"])}))
    except ValidationError as error:
        raise ValueError(explain_invalid(error)) from error
    if not bodies:
        raise ValueError("there is no verdict, no mode, no value and no note")
    return [_make_entry(annotator, body) for body in bodies]


def _make_entry(annotator: str, body: Any, at: datetime | None = None) -> Entry:
    """Set the time of a label or a rating in UTC; one without a zone is taken as UTC."""
    time = getattr(body, "labelled_at", None) or at
    if isinstance(body, Note) or time is None:
        return Entry(annotator, body)
    time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return Entry(annotator, body.model_copy(update={"labelled_at": time}))


def _read_list(name: str, value: Any) -> Any:
    """Read modes, which a cell may divide by semicolons, and anchors, from text."""
    if name not in ("modes", "anchors"):
        return value
    if isinstance(value, str) and value[0] not in "[{" and name == "modes":
        return [mode.strip() for mode in value.split(";")]
    try:
        read = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    return read.get("choices") if isinstance(read, dict) else read  # as Label Studio has them
