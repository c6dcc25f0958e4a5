"""Labels, ratings and notes from a file into the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
from sqlalchemy import Connection

from evalbench.label.agreement.consensus import SESSION_KEY
from evalbench.label.annotation.queue import check_modes
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.modes import Codebook
from evalbench.label.entries import FIELDS, KINDS, Entry, from_record, read_entries, redact_record
from evalbench.schema import Label
from evalbench.store.ledger import Draft
from evalbench.store.tabular import ImportReport, Record, attempt, read_flag, read_table
from evalbench.store.workspace import Workspace

# Fields of rows that speak of one mode each, and the synonyms of these.
ONE_MODE = {"mode": "failure_mode", "fails": "failed"}
SAME_LABEL = ("surface", "session_id", "annotator", "labelled_at")


def import_labels(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str | None = None,
    annotator: str | None = None,
    criterion: str | None = None,
    columns: Mapping[str, str] | None = None,
    traces_elsewhere: bool = False,
) -> ImportReport:
    """Read the labels, ratings and notes of a file into the ledger, each with its annotator.

    A row with a verdict or modes is a label, one with a ``value`` a rating on a ``criterion`` (by
    default the value's column), one with a ``note`` a note; it may be all three. Rows of a ``mode``
    each are one label. What the ledger says already is a duplicate, where a row has no time,
    whatever its time; a row of an unknown session or mode is rejected. Who imports is the actor of
    the events.

    ``path`` is CSV, JSONL, a JSON list, Parquet, XLSX, or rejects of an earlier import;
    ``surface``, ``annotator`` and ``criterion`` are of rows that name none; ``columns`` gives a
    field's column, or template (``{"session_id": "{task}-{trial}"}``). With ``traces_elsewhere``
    sessions may be unknown to the lake. ReadError where the file cannot be read, or has no such
    column.
    """
    table = read_table(path, FIELDS | ONE_MODE, columns or {})
    criterion = criterion or table.sources.get("value")
    records, reasons = table.read(surface=surface, annotator=annotator, criterion=criterion)
    records = {row: redact_record(ws, record) for row, record in records.items()}
    codebook = read_codebook(ws.ledger)
    sessions = None if traces_elsewhere else _find_sessions(ws, records.values())

    def read_rows(rows: Sequence[int]) -> list[Entry]:
        entries = _read_together([records[row] for row in rows], codebook)
        for _, body in entries:
            if sessions is not None and (body.surface, body.session_id) not in sessions:
                place = f"{body.session_id!r} of {body.surface!r}"
                raise ValueError(f"session_id: no session {place} is in the lake")
            if isinstance(body, Label):
                check_modes(body, codebook.named)
        return entries

    read, refused = attempt({rows: rows for rows in _group_rows(records)}, read_rows)
    reasons |= {row: reason for rows, reason in refused.items() for row in rows}
    added = 0

    def choose(connection: Connection) -> list[Draft]:
        """Find what is new while nobody else writes, so that a killed import leaves nothing."""
        nonlocal added
        there = read_entries(ws, connection=connection)
        known = {(each.content, time) for each in there for time in (each.time, None)}
        new = list[Draft]()
        for rows, entries in read.items():
            fresh = [entry for entry in entries if (entry.content, entry.time) not in known]
            known |= {(each.content, time) for each in fresh for time in (each.time, None)}
            added += len(rows) if fresh else 0
            for name, body in fresh:
                named = body.model_copy(update={"annotator": name})
                new.append((KINDS[type(body)], body.session_id, named))
        about = {"file": table.path.name, "sha256": table.sha256, "added": added}
        return [("labels.imported", table.path.name, about), *new] if new else []

    ws.ledger.extend(choose)
    return table.conclude(reasons, added=added, folder=ws.rejected / "labels")


def _find_sessions(ws: Workspace, records: Iterable[Record]) -> set[tuple[str, str]]:
    """Find which of the sessions that are named the lake has."""
    named = [tuple(str(each.get(name)) for name in SESSION_KEY) for each in records]
    frame = pl.LazyFrame(named, schema=dict.fromkeys(SESSION_KEY, pl.String), orient="row")
    return set(frame.join(ws.lake.sessions(), on=SESSION_KEY, how="semi").collect().rows())


def _group_rows(records: Mapping[int, Record]) -> Iterable[tuple[int, ...]]:
    """Put rows together that speak of one mode each and make one label; others stand alone."""
    groups = dict[object, tuple[int, ...]]()
    for row, record in records.items():
        key = tuple(str(record.get(name)) for name in SAME_LABEL) if "mode" in record else row
        groups[key] = (*groups.get(key, ()), row)
    return groups.values()


def _read_together(records: Sequence[Record], codebook: Codebook) -> list[Entry]:
    """Read the entries of a row, or of rows of a mode each, which say it of all live modes."""
    whole = records[0]
    if "mode" in whole:
        shown = _read_modes(records, codebook)
        whole = whole | {"modes": shown, "verdict": "fail" if shown else "pass"}
    elif "fails" in whole:
        whole = {"verdict": "fail" if read_flag(whole["fails"]) else "pass"} | whole
    notes = [{name: row[name] for name in (*SAME_LABEL, "note") if name in row} for row in records]
    noted = [entry for row in notes[1:] if "note" in row for entry in from_record(row)]
    return from_record(whole) + noted


def _read_modes(records: Sequence[Record], codebook: Codebook) -> list[str]:
    """Read which modes fail; ValueError where one is said twice, or a live one is not said."""
    fails = dict[str, bool]()
    for record in records:
        flag = read_flag(record.get("fails", record.get("verdict", "fail")))
        if fails.setdefault(str(record["mode"]), flag) != flag:
            raise ValueError(f"mode: {record['mode']!r} both fails and passes")
    live = codebook.live.filter(surface=str(records[0].get("surface")))["mode"]
    if not all(fails.values()) and (unsaid := [mode for mode in live if mode not in fails]):
        raise ValueError(f"mode: no row says whether it shows {unsaid[0]!r}")
    return [mode for mode, flag in fails.items() if flag]
