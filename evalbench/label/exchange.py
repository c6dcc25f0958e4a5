"""Labels out to a file and in from one: CSV, JSONL, Label Studio and Argilla.

What :func:`export_labels` writes and :func:`import_labels` reads into another ledger is written
again byte for byte. The number of a queue means something in its own ledger alone and stays there:
imported labels count for no queue. Argilla keeps one answer a person and question, so only what
each person said last goes there, with one time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from evalbench.errors import LabelError, ReadError
from evalbench.label.agreement.consensus import SESSION_KEY
from evalbench.label.annotation.queue import check_modes
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.records import Said, from_record, read_rows, to_record, with_time, write_csv
from evalbench.label.shapes import FIELDS, TEXTS, Record, to_argilla, to_label_studio
from evalbench.schema import BODIES, Label, LabelsImported
from evalbench.store.rejected import write_rejects
from evalbench.store.rows import Row, find_value

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

FORMATS = ("csv", "jsonl", "label-studio", "argilla")


@dataclass(frozen=True)
class ImportReport:
    """What became of the labels and ratings of a file; together they are all it holds.

    ``rejects_path`` is a file with line, reason and text of each that was rejected, or None.
    """

    added: int
    rejected: int
    duplicates: int
    rejects_path: Path | None


def export_labels(
    ws: Workspace, path: str | Path, *, format: str = "jsonl", surface: str | None = None
) -> int:
    """Write every label and rating of a ledger, those replaced later too, and give how many.

    They come by surface, session and annotator, each one's in the order they were given. Label
    Studio and Argilla also get what the session begins and ends with, as the lake has it.
    ``format`` is one of :data:`FORMATS`; only labels of ``surface`` are written where it is given.
    """
    if format not in FORMATS:
        raise LabelError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    said = [each for each in _read_ledger(ws) if surface in (None, each.body.surface)]
    said.sort(key=lambda each: (each.body.surface, each.body.session_id, each.annotator))
    records = [to_record(each) for each in said]
    if format == "csv":
        written = write_csv(records).encode()
    elif format == "jsonl":
        written = b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in records)
    else:
        write = to_label_studio if format == "label-studio" else to_argilla
        written = b"[\n" + b",\n".join(_write_items(ws, records, write)) + b"\n]\n"
    Path(path).write_bytes(written)
    return len(records)


def import_labels(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str | None = None,
    columns: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    traces_elsewhere: bool = False,
) -> ImportReport:
    """Read the labels and ratings of a file into the ledger, each in the name of its annotator.

    The format is told by the content. A row with a ``value`` is a rating on a ``criterion``, by
    default the name of the value's column. What the ledger says already is a duplicate; where a row
    has no time, whatever its time. A row of an unknown session or mode, or that is no label, goes
    to a file of rejects with its line and reason. The ledger notes who imported what.

    Parameters
    ----------
    path : str or Path
        CSV, JSONL, or a JSON list of Label Studio tasks or Argilla records.
    surface : str, optional
        Of rows that name none.
    columns : mapping of str to str, optional
        Field of a label to column of the file where they differ, or to a template of columns:
        ``{"session_id": "{task}-{trial}"}``.
    constants : mapping of str to str, optional
        Field of a label to its value in rows that name none: ``{"annotator": "ana"}``.
    traces_elsewhere : bool
        Whether sessions may be unknown to the lake, as those of a published set of labels.

    Raises
    ------
    ReadError
        The file cannot be read, or ``columns`` or ``constants`` name no field.
    """
    path, columns = Path(path), dict(columns or {})
    if unknown := [name for name in (*columns, *(constants or ())) if name not in FIELDS]:
        raise ReadError(f"no field of a label is {unknown[0]!r}; there are {', '.join(FIELDS)}")
    try:
        content = path.read_bytes()
        rows = list(read_rows(content.decode("utf-8-sig")))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not UTF-8 text: {error}") from error
    constant = {"criterion": columns.get("value", "value")} | dict(constants or {})
    constant |= {"surface": surface} if surface else {}
    given = [(row, _read_said(row, columns, constant)) for row in rows]
    refuse = _make_refusal(ws, given, traces_elsewhere)
    times: dict[tuple[str, str], set[datetime | None]] = {}
    for old in _read_ledger(ws):
        times.setdefault(old.without_time(), set()).add(old.body.labelled_at)
    new: dict[str, list[Said]] = {}
    rejects, duplicates = [], 0
    for row, said in given:
        reason = said if isinstance(said, str) else refuse(said)
        if isinstance(said, str) or reason:
            rejects.append({"line": row.line, "reason": reason, "text": row.text})
            continue
        known, time = times.setdefault(said.without_time(), set()), said.body.labelled_at
        if time in known or (known and time is None):
            duplicates += 1
        else:
            known.add(time)
            new.setdefault(said.annotator, []).append(said)
    digest, added = hashlib.sha256(content).hexdigest(), sum(map(len, new.values()))
    if added:
        note = LabelsImported(file=path.name, sha256=digest, added=added)
        ws.ledger.append("labels.imported", path.name, note)
    for annotator, labels in new.items():
        events = [(said.kind, said.body.session_id, said.body) for said in labels]
        ws.ledger.extend(events, actor=annotator)
    rejects_path = ws.rejected / "labels" / f"{path.stem}-{digest[:12]}.jsonl"
    return ImportReport(added, len(rejects), duplicates, write_rejects(rejects_path, rejects))


def _read_ledger(ws: Workspace) -> Iterator[Said]:
    """Read what was said, in its order and with its time, and without the number of a queue."""
    events = ws.ledger.events(["label.set", "rating.set"])
    for at, actor, kind, text in events.select("at", "actor", "kind", "body").iter_rows():
        body: Any = BODIES[kind].model_validate_json(text)
        if isinstance(body, Label):
            body = body.model_copy(update={"queue": None})
        yield Said(actor, with_time(body, body.labelled_at or at))


def _read_said(row: Row, columns: Mapping[str, str], constant: Mapping[str, object]) -> Said | str:
    """Read what a row says, or why it says nothing."""
    if isinstance(row.record, str):
        return row.record
    try:
        fields = {name: find_value(row.record, columns.get(name, name)) for name in FIELDS}
        fields |= {name: value for name, value in constant.items() if fields[name] in (None, "")}
        if fields["value"] in (None, ""):
            fields["criterion"] = None
        return from_record(fields)
    except ValueError as error:
        return str(error)


def _make_refusal(
    ws: Workspace, given: Iterable[tuple[Row, Said | str]], traces_elsewhere: bool
) -> Callable[[Said], str]:
    """Look up the sessions and modes there are; what it gives says why a label is refused."""
    bodies = [said.body for _, said in given if not isinstance(said, str)]
    named = _name_sessions((body.surface, body.session_id) for body in bodies)
    if not traces_elsewhere:
        named = named.join(ws.lake.sessions(), on=SESSION_KEY, how="semi")
    sessions = set(named.collect().iter_rows())
    codebook = read_codebook(ws.ledger).named

    def refuse(said: Said) -> str:
        body = said.body
        if (body.surface, body.session_id) not in sessions:
            return f"session_id: no session {body.session_id!r} of {body.surface!r} is in the lake"
        try:
            if isinstance(body, Label):
                check_modes(body, codebook)
        except LabelError as error:
            return str(error)
        return ""

    return refuse


def _name_sessions(keys: Iterable[tuple[str, str]]) -> pl.LazyFrame:
    return pl.LazyFrame(list(keys), schema=dict.fromkeys(SESSION_KEY, pl.String), orient="row")


def _write_items(
    ws: Workspace, records: list[Record], write: Callable[[Record, Iterable[Record]], Record]
) -> Iterator[bytes]:
    """Write the records of each session as one item, with its texts."""
    named = _name_sessions((record["surface"], record["session_id"]) for record in records)
    found = named.unique().join(ws.lake.sessions(), on=SESSION_KEY)
    texts = {
        (surface, name): dict(zip(TEXTS, rest, strict=True))
        for surface, name, *rest in found.select(*SESSION_KEY, *TEXTS).collect().iter_rows()
    }
    for key, part in groupby(records, key=itemgetter(*SESSION_KEY)):
        session = dict(zip(SESSION_KEY, key, strict=True))
        yield orjson.dumps(write(session | texts.get(key, dict.fromkeys(TEXTS)), part))
