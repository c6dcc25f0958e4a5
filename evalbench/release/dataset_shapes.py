"""Golden cases to a file and from one: our own rows, and the data sets of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.release.golden import add_cases, live, name_case, read_cases, read_words, redact_case
from evalbench.release.leakage import list_objections
from evalbench.schema import GoldenAdded
from evalbench.session.messages import read_value
from evalbench.store.tabular import (
    ImportReport,
    Record,
    attempt,
    read_table,
    write_json,
    write_table,
)
from evalbench.store.workspace import Workspace

ABOUT = ("surface", "suite", "mode", "severity", "session_id", "release", "segments")
FIELDS = {
    "case": "",
    "messages": "conversation",
    "input": "question query prompt",
    "expected": "expected_output expected_behaviour target ideal reference",
    **dict.fromkeys(ABOUT, ""),
}
"""The fields of a row, and the synonyms of each; ``input`` is a lone message of the user."""
SHAPES = {
    "promptfoo": ("input", "expected", "metadata"),
    "inspect": ("input", "target", "metadata"),
    "deepeval": ("input", "expected_output", "additional_metadata"),
    "langfuse": ("input", "expectedOutput", "metadata"),
    "braintrust": ("input", "expected", "metadata"),
}
"""What the data sets of other tools call the input, what is expected, and all that is known."""


def export_cases(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str | None = None,
    suite: str | None = None,
    shape: str | None = None,
) -> int:
    """Write the live cases, in the order they were added, and give how many.

    Rows of :data:`FIELDS`, CSV where the path ends so and else JSONL, or one of :data:`SHAPES`.
    """
    cases = live(read_cases(ws.ledger))
    for name, value in (("surface", surface), ("suite", suite)):
        cases = cases if value is None else cases.filter(pl.col(name) == value)
    records = [_to_record(row) for row in cases.iter_rows(named=True)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if shape is None:
        write_table(Path(path), records, FIELDS)
        return len(records)
    check_shape(shape)
    shaped = [_write_shape(record, shape) for record in records]
    lines = b"".join(orjson.dumps(each) + b"\n" for each in shaped)
    Path(path).write_bytes(orjson.dumps(shaped) if shape == "deepeval" else lines)
    return len(records)


def import_cases(
    ws: Workspace,
    path: str | Path,
    *,
    places: pl.DataFrame,
    surface: str | None = None,
    suite: str = "golden",
    shape: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImportReport:
    """Add the cases of a file: rows of :data:`FIELDS`, or the data set of another tool.

    ``surface`` and ``suite`` are of rows that name none; one that leaks into ``places`` is
    rejected.
    """
    if shape is None:
        table = read_table(path, FIELDS, columns or {})
    else:
        check_shape(shape)
        table = read_table(path, {}, {})
        rows = tuple(row._replace(record=_read_shape(row.record, shape)) for row in table.rows)
        table = replace(table, rows=rows, sources={name: name for name in FIELDS})
    records, reasons = table.read(surface=surface, suite=suite, severity="user impact")
    read, refused = attempt(records, lambda record: redact_case(ws, _from_record(record)))
    wanted = list(read.values())
    why = list_objections(wanted, read_cases(ws.ledger), places)
    leaking = {row: why[number] for number, row in enumerate(read) if number in why}
    added = add_cases(ws, [case for row, case in read.items() if row not in leaking])
    reasons |= refused | leaking
    return table.conclude(reasons, added=added, folder=ws.rejected / "golden")


def check_shape(name: str) -> None:
    """Raise ReadError where no tool of this name is known."""
    if name not in SHAPES:
        raise ReadError(f"no shape is {name!r}; there are {', '.join(SHAPES)}")


def _to_record(row: Mapping[str, Any]) -> Record:
    """Write a case flat, leaving out what says nothing."""
    messages = [orjson.loads(text) for text in row["messages"]]
    filled = {name: row[name] for name in ("case", "expected", *ABOUT) if row[name]}
    return filled | {"messages": messages, "segments": orjson.loads(row["segments"])}


def _from_record(record: Record) -> GoldenAdded:
    given = {name: record[name] for name in record.keys() - {"case", "input"}}
    for name in given.keys() & {"messages", "segments"}:
        given[name] = orjson.loads(given[name]) if isinstance(given[name], str) else given[name]
    given.setdefault("messages", [{"role": "user", "content": str(record.get("input", ""))}])
    if "messages" not in record and "input" not in record:
        raise ValueError("messages: there is none; --map input=COLUMN says where the input is")
    if "surface" not in given:
        raise ValueError("surface: there is none; --surface names one for all rows")
    return name_case(given)


def _write_shape(record: Record, shape: str) -> Record:
    """Write a row as another tool has it."""
    case, messages, expected = (record[name] for name in ("case", "messages", "expected"))
    about = {name: record[name] for name in ABOUT if name in record}
    last = (read_words(messages) or [""])[-1]
    if shape == "promptfoo":  # it would make a test of each value of a list
        given = {"messages": write_json(messages), "input": last}
        grader = {"type": "llm-rubric", "value": expected}
        return {"description": case, "vars": given, "assert": [grader], "metadata": about}
    given_as, expected_as, about_as = SHAPES[shape]
    made = {"id": case, given_as: messages, expected_as: expected, about_as: about}
    own = {"inspect": [*map(_name_calls, messages)], "deepeval": last}.get(shape, messages)
    if own != messages:
        made |= {given_as: own, about_as: about | {"messages": messages}}
    return made


def _name_calls(message: Record) -> Record:
    """Write the tool calls of a message as Inspect has them: arguments are no text."""
    calls = [
        {**each, "function": each["function"]["name"]}
        | {"arguments": read_value(each["function"]["arguments"]) or {}}
        for each in message.get("tool_calls") or ()
    ]
    return message | ({"tool_calls": calls} if calls else {})


def _read_shape(record: Record, shape: str) -> Record:
    """Read a row of another tool; what it says in words of its own is left."""
    if shape == "promptfoo":
        asked, graders = _mapping(record.get("vars")), record.get("assert")
        first = graders[0] if graders and isinstance(graders, list) else None
        rest = {"expected": _mapping(first).get("value"), "metadata": record.get("metadata")}
        record = {"input": asked.get("messages") or asked.get("input")} | rest
    given_as, expected_as, about_as = SHAPES[shape]
    about = _mapping(record.get(about_as))
    given = about.get("messages") or record.get(given_as) or ""
    lone = isinstance(given, str) and given.lstrip()[:1] != "["
    made = {name: about[name] for name in ABOUT if name in about}
    return made | {"input" if lone else "messages": given, "expected": record.get(expected_as)}


def _mapping(value: object) -> Record:
    return value if isinstance(value, dict) else {}
