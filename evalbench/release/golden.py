"""Golden cases: failures that must not come back, in suites that are frozen by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError
from sqlalchemy import Connection

from evalbench.errors import ReleaseError
from evalbench.pii import redact_text
from evalbench.schema import TIME, GoldenAdded, columns
from evalbench.session import Session, Turn
from evalbench.session.messages import plain
from evalbench.settings import say_invalid
from evalbench.store.ledger import Draft, Ledger
from evalbench.store.workspace import Workspace

KINDS = ("golden.added", "golden.retired")
SUITE_KEY = ["surface", "suite"]
CASE_KEY = [*SUITE_KEY, "case"]
CASES = columns(
    (pl.String, "surface suite case"),
    (pl.List(pl.String), "messages"),
    (pl.String, "expected mode severity session_id release segments"),
    (TIME, "added_at"),
    (pl.String, "added_by"),
    (TIME, "retired_at"),
    (pl.String, "reason"),
)
"""A row a case that ever was; ``messages`` are JSON texts, ``retired_at`` is null while it is live,
``reason`` says why it was retired."""


def read_cases(ledger: Ledger, *, until: int | None = None) -> pl.DataFrame:
    """Read every case as of event ``until``, as :data:`CASES` has them."""
    return fold_cases(*(ledger.bodies(kind, until=until) for kind in KINDS))


def fold_cases(added: pl.DataFrame, retired: pl.DataFrame) -> pl.DataFrame:
    """Fold events into cases in the order they were added; one may be retired and added again."""
    last = added.unique(CASE_KEY, keep="last", maintain_order=True)
    cases = last.rename({"at": "added_at", "actor": "added_by"})
    ended = retired.unique(CASE_KEY, keep="last").select(
        *CASE_KEY, "reason", retired_at="at", ended="seq"
    )
    joined = cases.join(ended, on=CASE_KEY, how="left", maintain_order="left")
    holds = pl.col("ended") > pl.col("seq")
    again = [pl.when(holds).then(name).alias(name) for name in ("retired_at", "reason")]
    return joined.with_columns(again).select(*CASES).cast(CASES)


def live(cases: pl.DataFrame) -> pl.DataFrame:
    """Return the cases that are not retired."""
    return cases.filter(pl.col("retired_at").is_null())


def drop_retired(rows: pl.DataFrame, cases: pl.DataFrame, suite: str) -> pl.DataFrame:
    """Leave out rows of cases that a suite has retired."""
    retired = cases.filter(suite=suite).drop_nulls("retired_at").select("case")
    return rows.join(retired, on="case", how="anti")


def list_suites(cases: pl.DataFrame) -> pl.DataFrame:
    """Return ``surface, suite, version, cases, retired``; a suite of no case has no version."""
    standing = pl.col("retired_at").is_null()
    counted = cases.group_by(SUITE_KEY).agg(
        pl.col("case").filter(standing).sort().alias("held"),
        cases=standing.sum(),
        retired=(~standing).sum(),
    )
    versions = [hash_suite(held) if len(held) else None for held in counted["held"]]
    named = counted.with_columns(version=pl.Series(versions, dtype=pl.String))
    return named.drop("held").sort(SUITE_KEY)


def hash_suite(held: Iterable[str]) -> str:
    """Return the version of a suite: the same for the same live cases, whatever their order."""
    return _hash(sorted(held))


def hash_case(content: Mapping[str, Any]) -> str:
    """Return the name of a case, by all that it asks: who found it, and where, is no part of it."""
    return _hash({name: content[name] for name in ("messages", "expected", "mode", "severity")})


def make_case(
    session: Session,
    expected: str,
    *,
    mode: Mapping[str, Any],
    suite: str = "golden",
    span_id: str | None = None,
) -> GoldenAdded:
    """Make a case of a session that failed at the turn of ``span_id``, else the last answer.

    Its input ends with the user's last word before that: what the product did from there on, tools
    too, a candidate has to do itself. ``mode`` has ``mode, severity``.
    """
    turns = [turn for turn in session.turns if turn.thread in session.line]
    answers = [turn for turn in turns if turn.role == "assistant" and (turn.text or turn.calls)]
    shown = [turn for turn in answers if turn.span_id == span_id] or answers[-1:]
    before = [turn for turn in turns if not shown or turn.number < shown[0].number]
    asked = [turn.number for turn in before if turn.role == "user"]
    given = [turn for turn in before if turn.number <= max(asked, default=turn.number)]
    messages = [message for turn in given for message in _write_turn(turn)]
    if not messages:
        raise ReleaseError(
            f"session {session.session_id} has no turn before the answer: nothing could be asked"
        )
    segments = orjson.loads(session.row.get("segments") or "{}")
    return name_case(
        {
            "surface": session.surface,
            "suite": suite,
            "messages": messages,
            "expected": expected,
            "mode": mode["mode"],
            "severity": mode["severity"],
            "session_id": session.session_id,
            "release": session.row.get("release"),
            "segments": {name: str(value) for name, value in segments.items()},
        }
    )


def read_words(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Read what the user says, a text a message."""
    said = [plain(each.get("content")) for each in messages if each.get("role") == "user"]
    return [text for text in said if text]


def name_case(fields: Mapping[str, Any]) -> GoldenAdded:
    """Make a case of its fields, named by its content; ReleaseError where a field does not fit."""
    try:
        made = GoldenAdded.model_validate({**fields, "case": "-"})
    except ValidationError as error:
        raise ReleaseError(f"no case: {say_invalid(error)}") from error
    return made.model_copy(update={"case": hash_case(made.model_dump(mode="json"))})


def write_row(case: GoldenAdded) -> dict[str, Any]:
    """Write a case that is not added yet as a row of :data:`CASES`."""
    fields = case.model_dump(mode="json")
    texts = [orjson.dumps(message).decode() for message in fields["messages"]]
    segments = orjson.dumps(fields["segments"]).decode()
    empty = dict.fromkeys(CASES.names()[10:])
    return fields | {"messages": texts, "segments": segments} | empty


def redact_case(ws: Workspace, case: GoldenAdded) -> GoldenAdded:
    """Replace personal data in the texts of a case, unless settings say no, and name it anew."""
    if not ws.settings.redact:
        return case
    clean = partial(redact_text, session_id=case.session_id or case.case, secret=ws.secret)
    messages = orjson.loads(clean(orjson.dumps(case.messages).decode()))
    texts = {"messages": messages, "expected": clean(case.expected)}
    return name_case(case.model_dump() | texts)


def add_cases(ws: Workspace, cases: Iterable[GoldenAdded]) -> int:
    """Write cases, redacted, that their suites do not hold yet, all or none; give how many."""
    clean = (redact_case(ws, case) for case in cases)
    wanted = {(case.surface, case.suite, case.case): case for case in clean}
    new: list[Draft] = []

    def choose(connection: Connection) -> list[Draft]:
        held = _find_held(ws.ledger, connection)
        new[:] = [("golden.added", key[2], wanted[key]) for key in wanted if key not in held]
        return new

    ws.ledger.extend(choose)
    return len(new)


def retire_case(ledger: Ledger, surface: str, case: str, *, reason: str) -> int:
    """Retire a case from every suite of a surface; ``case`` may be the beginning of its name."""

    def choose(connection: Connection) -> list[Draft]:
        held = [key for key in _find_held(ledger, connection) if key[0] == surface]
        meant = [key for key in held if key[2].startswith(case)]
        if not case or len({key[2] for key in meant}) != 1:
            raise ReleaseError(
                f"{len(meant)} live cases of {surface} begin with {case!r}: "
                "`evalbench golden list` names them"
            )
        return [
            ("golden.retired", key[2], dict(zip(CASE_KEY, key, strict=True)) | {"reason": reason})
            for key in meant
        ]

    return ledger.extend(choose)


def _find_held(ledger: Ledger, connection: Connection) -> dict[tuple[str, str, str], None]:
    """Find the live cases through the connection of a transaction."""
    held = dict[tuple[str, str, str], None]()
    for kind, text in ledger.events(KINDS, connection=connection)["kind", "body"].iter_rows():
        body = orjson.loads(text)
        key = body["surface"], body["suite"], body["case"]
        held.update({key: None}) if kind == KINDS[0] else held.pop(key, None)
    return held


def _write_turn(turn: Turn) -> Iterator[dict[str, Any]]:
    """Write a turn as chat messages, its tool calls and their results after it."""
    calls = [call for call in turn.calls if call.kind == "tool"]
    asked = [
        {
            "id": call.call_id or call.span_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]
    role = "user" if turn.role == "other" else turn.role
    named = {"name": turn.name} if turn.name else {}
    yield {"role": role, "content": turn.text, **named} | ({"tool_calls": asked} if asked else {})
    for call, each in zip(calls, asked, strict=True):
        yield {"role": "tool", "tool_call_id": each["id"], "content": call.result or call.error}


def _hash(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
