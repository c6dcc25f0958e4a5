"""Verdicts that were given elsewhere, from a file into the verdict table."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt
from pathlib import Path

import polars as pl

from evalbench.errors import ReadError
from evalbench.schema import VERDICT
from evalbench.store.tabular import ImportReport, Record, attempt, read_flag, read_table
from evalbench.store.workspace import Workspace

Rule = Callable[[float], bool]
SIGNS: dict[str, Callable[[float, float], bool]]
SIGNS = {"<=": le, ">=": ge, "<": lt, ">": gt, "=": eq}
RULE = re.compile(rf"({'|'.join(SIGNS)})\s*(-?\d+(?:\.\d+)?)")
# What a row may say, and the synonyms of each.
FIELDS = {
    "session_id": "session conversation_id trace_id",
    "mode": "failure_mode",
    "fails": "failed",
    "rationale": "reason explanation",
    **dict.fromkeys(("score", "model", "model_fingerprint"), ""),
}
SAYING = ("fails", "score")


def import_verdicts(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str,
    evaluator: str,
    mode: str | None = None,
    version: str = "1",
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    fails_when: str = "",
) -> ImportReport:
    """Read the verdicts of one evaluator from a file into the lake; the ledger records who did.

    A row needs a ``session_id`` and a ``fails`` or ``score``. One that is no number, or neither
    true nor false, is an evaluator's silence and no bad row: a verdict with an error, counted as
    ``silent``.

    ``path`` and ``columns`` are as for ``import_labels``; ``mode`` is of rows that name none ("":
    the whole session); ``values`` say what to read in place of a word (``{"Tie": "0"}``);
    ``fails_when`` which scores fail (``"<0.5"``). ReadError where nothing says which fail or of
    which mode. The surface ``"shop@{model}"`` names of each row the run that it judges.
    """
    each = {"surface": surface} if "{" in surface else {}
    table = read_table(path, FIELDS | dict.fromkeys(each, ""), {**(columns or {}), **each})
    verdict, scores = "score", ""
    if not fails_when:
        verdict, scores = "fails", ", or --fails-when '<0.5' reads scores"
    if table.rows and verdict not in table.sources:
        raise ReadError(f"{path}: which fail? --map {verdict}=COLUMN names the column{scores}")
    if table.rows and mode is None and "mode" not in table.sources:
        raise ReadError(
            f"{path}: which failure mode do these verdicts speak of? --mode MODE says it, or "
            "--map mode=COLUMN; --mode '' is for verdicts on the session as a whole"
        )
    records, reasons = table.read(mode=mode)
    shared: Record = {"surface": surface, "evaluator_id": evaluator, "evaluator_version": version}
    shared |= {"repeat": 0, "judged_at": datetime.now(UTC), "run_id": table.sha256[:12]}
    rule = read_rule(fails_when) if fails_when else None

    def read_verdict(record: Record) -> Record:
        if missing := [name for name in ("session_id", "mode") if name not in record]:
            raise ValueError(f"{missing[0]}: there is none")
        said = {name: str(value) for name, value in record.items() if name not in SAYING}
        return shared | said | _read_outcome(record, values or {}, rule)

    verdicts, refused = attempt(records, read_verdict)
    frame = pl.DataFrame(list(verdicts.values()), schema=VERDICT)
    added = ws.lake.append("verdict", frame)
    about: Record = {"evaluator": evaluator, "version": version, "file": table.path.name}
    about["sha256"] = table.sha256
    # Not what was added: of an import that was killed in between the next one adds nothing.
    for place, n in frame["surface"].value_counts().sort("surface").iter_rows():
        body = about | {"surface": place, "verdicts": n}
        if body not in ws.ledger.bodies("verdicts.imported").select(*body).to_dicts():
            ws.ledger.append("verdicts.imported", evaluator, body)
    report = table.conclude(reasons | refused, added=added, folder=ws.rejected / "verdicts")
    surfaces = tuple(frame["surface"].unique().sort())
    return replace(report, silent=frame["error"].count(), surfaces=surfaces)


def read_rule(rule: str) -> Rule:
    """Read which numbers fail, such as "<0.5" or "=1"; ReadError where it is no rule."""
    found = RULE.fullmatch(rule.strip())
    if not found:
        raise ReadError(f"{rule!r} is no rule; write one such as '<0.5' or '=1'")
    compare, bound = SIGNS[found[1]], float(found[2])
    return lambda number: compare(number, bound)


def _read_outcome(record: Record, values: Mapping[str, str], rule: Rule | None) -> Record:
    """Read whether it fails, and the score; an ``error`` says that there is nothing to read."""
    written = str(record.get("score" if rule else "fails", ""))
    read = values.get(written, written)
    try:
        if rule:
            score = _read_score(read)
            return {"score": score, "fails": rule(score)}
        scored = {"score": _read_score(record["score"])} if "score" in record else {}
        return {"fails": read_flag(read), **scored}
    except ValueError:
        return {"error": f"says {written!r}" if written else "says nothing"}


def _read_score(written: object) -> float:
    number = float(str(written))
    if not math.isfinite(number):
        raise ValueError(f"{written} is no number")
    return number
