"""The memo of a gate: for people in words, for a pull request, and for continuous integration."""

import re

import orjson
import polars as pl
from junitparser import Error, Failure, TestCase, TestSuite

from evalbench.label.annotation.markdown import visible
from evalbench.release.compare import ANY
from evalbench.report.sentences import say_count, say_interval, say_number
from evalbench.schema import GateDecided, GateRow
from evalbench.settings import Decision

VERDICTS = {"pass": "Yes", "block": "No", "insufficient": "Not enough evidence"}
READINGS = {"pass": "passes", "block": "blocks", "insufficient": "insufficient"}
SIGNS = re.compile(r"[\\`*_\[\]<>|#~&@$]")
"""What Markdown, or GitHub, would take for more than itself within a line."""
NAMED = 50
"""Cases of a failure that a comment of GitHub, of 65,536 characters, has room for."""
UNITS = {"change": (1000, " per 1,000"), "rate": (1000, " per 1,000"), "relative": (100, "%")}


def rows_table(decided: GateDecided) -> pl.DataFrame:
    """Return all rows of a gate with what they show in words, those that do not pass first."""
    order = {"block": 0, "insufficient": 1, "pass": 2}
    rows = [
        row.model_dump()
        | {"surface": decided.surface, "limit": _sign(row) * row.limit, "at_most": _say_limit(row)}
        | {"shows": _say(row), "told": _tell(row), "said": READINGS[row.reading]}
        for row in sorted(decided.rows, key=lambda row: order[row.reading])
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def gate_headline(decided: GateDecided, decision: Decision) -> str:
    """Say whether the candidate may ship, which rows are open, and how sure that is."""
    rows, lines = decided.rows, [f"## {_escape(decision.title)} {VERDICTS[decided.verdict]}."]
    n = max(row.n for row in rows)
    lines.append(
        f"Candidate {_escape(decided.candidate)} beside {_escape(decided.baseline)}, on"
        f" {say_count(n, 'case')} of the {decided.suite} suite"
        f" (version {_escape(decided.suite_version)})."
    )
    for reading in ("block", "insufficient"):
        for row in [row for row in rows if row.reading == reading]:
            why = ", ".join(dict.fromkeys([_say(row), _tell(row)]))
            lines.append(f"- *{_escape(row.row)}* {READINGS[reading]}: {why}.")
    passed = sum(row.reading == "pass" for row in rows)
    lines.append(f"- {passed} of {len(rows)} rows pass.")
    if decided.unasked:
        more = say_count(decided.unasked, "newer case")
        lines.append(f"- {more} of the suite were not asked: run both on them.")
    ends = (decided.false_block, decided.false_block_low, decided.false_block_high)
    said = say_interval(*(1000 * each for each in ends))
    untested = any(row.unit == "rate" and row.role == "watch" for row in rows)
    attacks = ", those on attacks among them: one that succeeds now and then is enough" * untested
    lines.append(
        f"\nOf 1,000 releases that change nothing, these rows would have blocked {said}{attacks}."
        f" {_escape(decision.rollback)}"
    )
    return "\n".join(lines)


def write_files(
    decided: GateDecided, decision: Decision, number: int, **asked: pl.DataFrame
) -> dict[str, str]:
    """Write the memo for other programs; ``number`` is that of its event, 0 where it has none."""
    fields = {"gate": number, **decided.model_dump()}
    return {
        "memo_md": pull_request(decided, decision, **asked),
        "junit_xml": write_junit(decided),
        "gate_json": orjson.dumps(fields, option=orjson.OPT_INDENT_2).decode(),
    }


def pull_request(
    decided: GateDecided,
    decision: Decision,
    *,
    failing: pl.DataFrame,
    overrides: pl.DataFrame,
    coming: pl.DataFrame,
) -> str:
    """Write the memo as Markdown for a pull request."""
    head = ["Row", "Role", "Owner", "Shows", "Limit", "Power", "Reading"]
    table = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in decided.rows:
        power = "–" if row.power is None else f"{row.power:.0%}"
        reading = f"**{READINGS[row.reading]}**" if row.reading != "pass" else READINGS["pass"]
        cells = [row.row, row.role, row.owner, _say(row), _say_limit(row), power]
        table.append(f"| {' | '.join([*map(_escape, cells), reading])} |")
    by_mode = failing.group_by("name", maintain_order=True).agg("case", n=pl.len())
    cases = [
        f"- *{_escape(name)}* ({n}): {', '.join(map(_escape, those[:NAMED]))}"
        + (f" and {n - NAMED:,} more" if n > NAMED else "")
        for name, those, n in by_mode.iter_rows()
    ]
    listed = f"{failing.height:,} newly failing"
    folded = ["<details>", f"<summary>{listed}</summary>", "", *cases, "", "</details>"]
    standing = [
        f"- {_escape(row['actor'])} ({_escape(row['role'])}) overrides"
        f" {_escape('; '.join(row['rows']))} until {row['expires_at']:%Y-%m-%d}"
        f" ({row['standing']}): {_escape(row['reason'])}"
        for row in overrides.filter(pl.col("standing") != "closed").iter_rows(named=True)
    ]
    ahead = [
        f"In production, by the forecast, {say_interval(*row[:3], signed=True)} failing sessions a"
        f" week ({row[3]:.0%} interval); now {say_number(row[4])}."
        for row in coming.filter(mode=ANY).select("change", "low", "high", "level", "now").rows()
    ]
    parts = [gate_headline(decided, decision), *ahead, "\n".join(table)]
    parts += ["\n".join(folded)] if cases else []
    parts += ["### Overrides that stand\n\n" + "\n".join(standing)] if standing else []
    return "\n\n".join(parts) + "\n"


def write_junit(decided: GateDecided) -> str:
    """Write the rows as JUnit: one that blocks fails, an insufficient one is an error."""
    decision = visible(decided.decision)
    suite = TestSuite(visible(f"{decision}: {decided.candidate} beside {decided.baseline}"))
    for row in decided.rows:
        case = TestCase(visible(row.row), classname=f"{decision}.{row.role}", time=0)
        told = dict.fromkeys([_say(row), _tell(row), f"limit {_say_limit(row)}"])
        said = visible("; ".join(told))
        if row.reading != "pass":
            case.result = [(Failure if row.reading == "block" else Error)(said, row.reading)]
        suite.add_testcase(case)
    suite.update_statistics()
    return str(suite.tostring(), "utf-8")


def _say(row: GateRow) -> str:
    numbers = (row.estimate, row.low, row.high)
    if None in numbers:
        return row.reason
    scale, unit = UNITS[row.unit]
    shown = say_interval(*(scale * (each or 0) for each in numbers), signed=row.unit != "rate")
    turned = f", {row.newly_failing} newly failing and {row.fixed} fixed"
    return shown + unit + turned * (row.newly_failing is not None)


def _say_limit(row: GateRow) -> str:
    scale, unit = UNITS[row.unit]
    return say_number(_sign(row) * row.limit * scale, signed=row.unit != "rate") + unit


def _sign(row: GateRow) -> int:
    return -1 if row.role == "primary" else 1


def _tell(row: GateRow) -> str:
    """Say why a row reads as it does, and what would settle it."""
    if row.reading != "insufficient":
        return row.reason
    more = f"{row.more:,} more cases would settle it" if row.more else "no number would settle it"
    return row.reason if row.estimate is None else f"{row.reason}: {more}"


def _escape(text: object) -> str:
    """Write text so that Markdown shows it as it is, and a person can still read its source."""
    line = " ".join(visible(str(text)).split())
    return SIGNS.sub(lambda found: f"&#{ord(found[0])};", line)
