"""What annotators gave, labels, ratings and notes, as flat records, and out to a file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
from sqlalchemy import Connection

from evalbench.pii import redact_identifier, redact_text
from evalbench.schema import BODIES, Body, Label, Note, Rating
from evalbench.store.ledger import GIVEN_BY
from evalbench.store.tabular import Record, write_table
from evalbench.store.workspace import Workspace

KINDS: dict[type[Body], str] = {Label: "label.set", Rating: "rating.set", Note: "note.added"}
TAKING = ("label.retracted", "note.changed")
# The fields of which one at least says something.
SAYING: dict[type[Body], set[str]] = {
    Label: {"verdict", "modes", "severity", "anchors"},
    Rating: {"value"},
    Note: {"text"},
}
# The fields of a record, in the order they are written, and the synonyms of each.
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
    "unblinded": "",
    "anchors": "",
    "criterion": "metric dimension",
    "value": "rating score",
    "note": "notes comment comments",
}


class Entry(NamedTuple):
    """What an annotator gave to a session; the time of a label or a rating is in UTC."""

    annotator: str
    body: Any

    @property
    def time(self) -> datetime | None:
        """When it was given, where that is known."""
        return getattr(self.body, "labelled_at", None)

    @property
    def content(self) -> tuple[str, type, str]:
        """All that it says but when, and in which queue."""
        text = self.body.model_dump_json(exclude={"labelled_at", "queue", "annotator"})
        return self.annotator, type(self.body), text


def export_labels(ws: Workspace, path: str | Path, *, surface: str | None = None) -> int:
    """Write every label, rating and note that was not taken back, and give how many.

    By surface, session and annotator, in the order given, as CSV where the path ends so, else as
    JSONL. What another ledger imports of them it writes again byte for byte.
    """
    entries = [each for each in read_entries(ws) if surface in (None, each.body.surface)]
    entries.sort(key=lambda each: (str(each.body.surface), each.body.session_id, each.annotator))
    write_table(Path(path), map(to_record, entries), FIELDS)
    return len(entries)


def read_entries(ws: Workspace, *, connection: Connection | None = None) -> Iterator[Entry]:
    """Read all that was given, in its order and with its time, in a transaction if one is given."""
    kinds = [*KINDS.values(), *TAKING]
    events = ws.ledger.events(kinds, connection=connection).with_columns(actor=GIVEN_BY)
    taken = events.filter(pl.col("kind").is_in(TAKING))["kind", "body"].rows()
    changes: list[Any] = [BODIES[kind].model_validate_json(text) for kind, text in taken]
    worded = {
        getattr(each, "note", None) or each.label: getattr(each, "text", "") for each in changes
    }
    given = events.filter(~pl.col("kind").is_in(TAKING))
    columns = ["seq", "at", "actor", "kind", "subject", "body"]
    for seq, at, actor, kind, session, text in given.select(columns).iter_rows():
        body: Any = BODIES[kind].model_validate_json(text)
        if seq in worded and not worded[seq]:
            continue
        if isinstance(body, Note):
            last = {"session_id": body.session_id or session, "text": worded.get(seq, body.text)}
            body = body.model_copy(update=last)
        yield Entry(actor, _set_time(body, at).model_copy(update={"annotator": None}))


def to_record(entry: Entry) -> Record:
    """Write an entry flat, leaving out what says nothing."""
    record = entry.body.model_dump(exclude_defaults=True) | {"annotator": entry.annotator}
    if isinstance(entry.body, Note):
        record["note"] = record.pop("text")
    if entry.time:
        record["labelled_at"] = entry.time.isoformat(timespec="microseconds")
    return record


def from_record(record: Record) -> list[Entry]:
    """Read the label, the rating and the note of a record; ValueError where a field is odd."""
    if "annotator" not in record:
        raise ValueError("annotator: there is none; --annotator names one for all rows")
    if "session_id" not in record:
        raise ValueError("session_id: there is none; --map session_id=COLUMN says where it is")
    given = record | ({"text": record["note"]} if "note" in record else {})
    annotator = str(given.pop("annotator"))
    for name in given.keys() & {"surface", "session_id", "criterion", "value", "text"}:
        given[name] = str(given[name])
    for name in given.keys() & {"modes", "anchors"}:
        given[name] = _read_list(name, given[name])
    if given.keys() & {"verdict", "modes"}:
        given["verdict"] = str(given.get("verdict", "fail")).strip().lower()
    bodies = [
        body.model_validate({name: given[name] for name in body.model_fields if name in given})
        for body, saying in SAYING.items()
        if given.keys() & saying
    ]
    if not bodies:
        raise ValueError("there is no verdict, no mode, no value and no note")
    return [Entry(annotator, _set_time(body)) for body in bodies]


def redact_note(ws: Workspace, text: str, session_id: str) -> str:
    """Replace personal data in what is noted of a session, as in its texts; settings may say no."""
    return redact_text(text, session_id, secret=ws.secret) if ws.settings.redact else text


def redact_record(ws: Workspace, record: Record) -> Record:
    """Replace personal data in the note of a record, and name its session as the lake does."""
    if not ws.settings.redact or "session_id" not in record:
        return record
    session = redact_identifier(str(record["session_id"]), secret=ws.secret)
    note = {"note": redact_note(ws, str(record["note"]), session)} if "note" in record else {}
    return record | {"session_id": session} | note


def _set_time(body: Any, at: datetime | None = None) -> Any:
    """Set the time of a label or a rating in UTC; one without a zone is taken as UTC."""
    time = getattr(body, "labelled_at", None) or at
    if isinstance(body, Note) or time is None:
        return body
    time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return body.model_copy(update={"labelled_at": time})


def _read_list(name: str, value: Any) -> Any:
    """Read a list from JSON, or from a cell that divides it by semicolons."""
    if isinstance(value, str) and name == "modes" and value[:1] not in ("[", "{"):
        return [part.strip() for part in value.split(";")]
    try:
        value = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    return value.get("choices") if isinstance(value, dict) else value  # as Label Studio has them
