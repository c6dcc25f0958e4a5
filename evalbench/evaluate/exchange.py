"""Verdicts that were given elsewhere, from a file into the verdict table."""

from __future__ import annotations

import hashlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from evalbench.errors import ReadError
from evalbench.schema import VERDICT
from evalbench.store.rejected import write_rejects
from evalbench.store.rows import find_value, read_csv, read_lines

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

WORDS = dict.fromkeys("true 1 fail fails yes".split(), True)
WORDS |= dict.fromkeys("false 0 pass passes no".split(), False)
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
RULE = re.compile(rf"({'|'.join(SIGNS)})\s*(-?\d+(?:\.\d+)?)")
COLUMNS = ("session_id", "mode", "fails", "score", "rationale", "model", "model_fingerprint")


@dataclass(frozen=True)
class VerdictReport:
    """What became of the rows of a file: ``added + rejected + duplicates`` are all it holds.

    ``silent`` are those not rejected that say nothing that could be read, such as "garbage": they
    are kept as verdicts with an error.
    """

    added: int
    rejected: int
    duplicates: int
    silent: int
    rejects_path: Path | None


def import_verdicts(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str,
    evaluator: str,
    version: str,
    columns: Mapping[str, str],
    mode: str | None = None,
    values: Mapping[str, str] | None = None,
    fails_when: str = "",
) -> VerdictReport:
    """Read the verdicts of one evaluator from a file into the lake.

    A row needs a ``session_id`` and a ``fails`` or a ``score``; a score that is no number, or
    ``fails`` that is neither true nor false, is an evaluator's silence and no bad row.

    Parameters
    ----------
    path : str or Path
        CSV or JSONL.
    columns : mapping of str to str
        Column of a verdict to column of the file, or to a template of columns.
    mode : str, optional
        The failure mode that all of them speak of, where no column says it; "" is the session as a
        whole.
    values : mapping of str to str, optional
        What to read in place of a score or verdict as written: ``{"Tie": "0"}``.
    fails_when : str, optional
        Scores that fail, such as ``"<0.5"`` or ``"=1"``; without it the file must say ``fails``.

    Raises ReadError where the file cannot be read, ``columns`` names no column of a verdict, no
    mode or no rule is given.
    """
    path = Path(path)
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise ReadError(f"no column of a verdict is {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    if ("score" if fails_when else "fails") not in columns or (fails_when and "fails" in columns):
        raise ReadError("say which fail: by a column for fails, or by fails_when and one for score")
    if ("mode" in columns) == (mode is not None):
        raise ReadError("say of which failure mode: by a column for mode, or by mode")
    rule = read_rule(fails_when) if fails_when else None
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not UTF-8 text: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    shared: dict[str, Any] = {"surface": surface, "mode": mode, "repeat": 0}
    shared |= {"evaluator_id": evaluator, "evaluator_version": version}
    shared |= {"judged_at": datetime.now(UTC), "run_id": digest[:12]}
    read, rejects = [], []
    for row in (read_lines if text.lstrip()[:1] == "{" else read_csv)(text):
        try:
            if isinstance(row.record, str):
                raise ValueError(row.record)
            given = {name: find_value(row.record, source) for name, source in columns.items()}
            read.append(shared | _read_verdict(given, values or {}, rule))
        except ValueError as error:
            rejects.append({"line": row.line, "reason": str(error), "text": row.text})
    frame = pl.DataFrame(read, schema=VERDICT)
    appended = ws.lake.append("verdict", frame)
    kept = ws.rejected / "verdicts" / f"{path.stem}-{digest[:12]}.jsonl"
    counts = (appended.added, len(rejects), appended.duplicates, frame["error"].count())
    return VerdictReport(*counts, write_rejects(kept, rejects))


def read_rule(rule: str) -> Callable[[float], bool]:
    """Read which numbers fail, such as "<0.5" or "=1"; ReadError where it is no rule."""
    found = RULE.fullmatch(rule.strip())
    if not found:
        raise ReadError(f"{rule!r} is no rule; write one such as '<0.5' or '=1'")
    compare, bound = SIGNS[found[1]], float(found[2])
    return lambda number: compare(number, bound)


def _read_verdict(
    given: Mapping[str, Any], values: Mapping[str, str], rule: Callable[[float], bool] | None
) -> dict[str, Any]:
    """Read the columns of a verdict; ValueError where it is of no session or holds no number."""
    row = {name: value for name, value in given.items() if value not in (None, "")}
    if "session_id" not in row:
        raise ValueError("session_id: there is none")
    row |= {name: str(row[name]) for name in ("session_id", "mode") if name in row}
    said = str(row.pop("score" if rule else "fails", ""))
    said = values.get(said, said)
    try:
        if rule:
            score = _read_score(said)
            return row | {"score": score, "fails": rule(score)}
        row["fails"] = WORDS[said.strip().lower()]
    except (KeyError, ValueError):
        return row | {"error": f"says {said!r}" if said else "says nothing", "score": None}
    return row | ({"score": _read_score(str(row["score"]))} if "score" in row else {})


def _read_score(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"score: {text} is no number")
    return number
