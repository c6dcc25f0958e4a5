"""What the first page says: a headline, three sentences, and what leadership is asked for.

Every sentence that says a rate moved gives its interval, and no share is called nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from evalbench.label.agreement.consensus import ANY
from evalbench.operate.evidence import WHOLE
from evalbench.operate.quarter import by_severity
from evalbench.report.glossary import VERDICTS
from evalbench.report.sentences import say_count, say_interval, say_surface

WORDS = "no one two three four five six seven eight nine ten".split()
NAMED = 2
"""Failures that one sentence names."""
RATE = ("per_1000", "low_per_1000", "high_per_1000")
Row = dict[str, Any]


def say_kicker(surfaces: Sequence[str], quarter: str, quarters: list[str]) -> str:
    """Say what the page is of: "AI quality, Q3 2026, three products"."""
    when = say_quarter(quarter)
    if quarter == WHOLE:
        ends = [say_quarter(name) for name in (*quarters[:1], *quarters[-1:])]
        when = " to ".join(ends) or "all sessions"
    if not surfaces:
        return f"AI quality, {when}, no sessions"
    one = say_surface(surfaces[0]) if len(surfaces) == 1 else ""
    return f"AI quality, {when}, {one or f'{count_in_words(len(surfaces))} products'}"


def say_headline(failures: pl.DataFrame, changes: pl.DataFrame) -> str:
    """State the finding: what became of the fixes, and whether anything is shown for safety."""
    aimed = changes.filter(target="yes")
    confirmed, likely = (
        aimed.filter(reading=f"{how} improvement").height for how in ("confirmed", "likely")
    )
    worse, perhaps = (
        changes.filter(reading=f"{how} regression").height for how in ("confirmed", "likely")
    )
    parts = []
    if aimed.height:
        fixes = f"{count_in_words(confirmed)} {'fixes' if confirmed > 1 else 'fix'} confirmed"
        open_ = aimed.height - confirmed - likely
        rest = [(likely, "likely"), (open_, "unproven")]
        parts.append(", ".join([fixes, *(f"{count_in_words(n)} {how}" for n, how in rest if n)]))
    elif changes.height:
        parts.append("the releases named no failure to fix")
    else:
        parts.append(_say_state(failures))
    if worse:
        parts.append(f"{say_few(worse, 'failure')} got worse")
    if perhaps:
        parts.append(f"{say_few(perhaps, 'failure')} probably got worse")
    if changes.filter(severity="safety").height:
        better = changes.filter(severity="safety", reading="confirmed improvement").height
        n = say_few(better, "safety improvement") if better else "no safety improvement"
        parts.append(f"{n} {'are' if better > 1 else 'is'} proven")
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def say_absence(started: pl.Series) -> str:
    """Say that a period has no session, and where those of the workspace are, by their times."""
    if started.is_empty():
        return "No session is in this workspace yet: bring traces in with evalbench ingest."
    undated = started.null_count()
    without = f", {undated:,} of them without a date" if undated else ""
    return (
        f"No session lies in this quarter, {started.len():,} outside it{without}."
        " With -p quarter all the report is of all of them."
    )


def _say_state(failures: pl.DataFrame) -> str:
    known = failures.drop_nulls("per_1000").sort("per_1000", descending=True)
    if failures.is_empty():
        return "nothing is known of this period: no session was read for a failure mode"
    if known.is_empty():
        return "too few sessions were labelled to say how often anything fails"
    row = known.row(0, named=True)
    if row["mode"] == ANY:
        return f"{_rate(row)} fail; no failure has a name yet"
    return f"{_quote(row)} is the most frequent failure, {_rate(row)}; nothing was released"


def say_gain(changes: pl.DataFrame) -> str:
    """Say what got better in the period, safety first."""
    for how, start in (("confirmed", "Proven better"), ("likely", "Likely better, not proven")):
        gains = changes.filter(reading=f"{how} improvement")
        if gains.height:
            ordered = by_severity(gains, -pl.col("delta").abs())
            named = [
                f"{_quote(row)} in {say_surface(row['surface'])},"
                f" {_delta(row)}{' per 1,000 sessions' if place == 0 else ''}"
                for place, row in enumerate(ordered.head(NAMED).iter_rows(named=True))
            ]
            more = gains.height - NAMED
            rest = f", and {count_in_words(more)} more" if more > 0 else ""
            return f"{start}: {'; '.join(named)}{rest}."
    aimed = changes.filter(target="yes").height
    if aimed:
        fixes = f"any of {say_few(aimed, 'fix', 'fixes')}" if aimed > 1 else "the one fix"
        return f"No gain is shown: the evidence does not settle {fixes}."
    return "No gain is shown: no release of this period aimed at a failure."


def say_risk(failures: pl.DataFrame, targets: pl.DataFrame, changes: pl.DataFrame) -> str:
    """Say what is most at risk, severity first, and which failure a release made worse."""
    if failures.is_empty():
        return "What is at risk is not known: no failure mode counts yet."
    row = rank_risks(failures).row(0, named=True)
    about = ", ".join(filter(None, (row["severity"], row["owner"] and f"owner {row['owner']}")))
    about = about and f" ({about})"
    rate = "its rate is not known" if row["per_1000"] is None else _rate(row)
    held = targets.filter(surface=row["surface"], mode=row["mode"])["target"].to_list()
    target = f", target {1000 * held[-1]:g}" if held else ""
    watched = "" if row["watched"] else "; no promoted evaluator watches it"
    where = say_surface(row["surface"])
    worst = f"Most at risk: {_quote(row)}{about} in {where}, {rate}{target}{watched}."
    return worst + _say_worse(changes)


def _say_worse(changes: pl.DataFrame) -> str:
    for how, start in (("confirmed", "Got worse"), ("likely", "Probably got worse")):
        losses = by_severity(changes.filter(reading=f"{how} regression"), -pl.col("delta").abs())
        if losses.height:
            row = losses.row(0, named=True)
            return (
                f" {start}: {_quote(row)} in {say_surface(row['surface'])},"
                f" {_delta(row)} per 1,000 sessions."
            )
    return ""


def rank_risks(failures: pl.DataFrame) -> pl.DataFrame:
    """Sort failures by severity, those that got worse first, then by how frequent they may be."""
    worse = pl.col("reading").str.ends_with("regression").fill_null(False)
    return by_severity(failures, ~worse, -pl.col("high_per_1000"))


def say_decision(decisions: pl.DataFrame, asked: Sequence[str]) -> str:
    """Say what leadership is to decide: what is on record and open, else what is proposed."""
    waiting = decisions.filter(pl.col("state") != "done")
    if waiting.height:
        row = waiting.row(0, named=True)
        more = waiting.height - 1
        rest = f", and {count_in_words(more)} more" if more else ""
        late = ", overdue" if row["state"] == "overdue" else ""
        text = row["text"].strip().rstrip(".")
        return f"To decide: “{text}” ({row['owner']}, by {say_day(row['due'])}{late}){rest}."
    return f"To decide: {asked[0][:1].lower()}{asked[0][1:]}" if asked else "Nothing to decide."


def propose_decisions(
    failures: pl.DataFrame, changes: pl.DataFrame, targets: pl.DataFrame
) -> list[str]:
    """Write what the findings ask of leadership, for as long as nothing is on record."""
    asked = []
    safety = failures.filter(severity="safety")
    blind = safety.filter(~pl.col("watched"))
    if blind.height:
        who = ", ".join(blind["owner"].filter(blind["owner"] != "").unique().sort())
        n = say_few(blind.height, "safety failure")
        asked.append(f"Who builds evaluators for {n} that none watches{f': {who}' if who else ''}?")
    open_ = changes.filter(
        pl.col("reading").is_in(["cannot tell", "no change shown"]), target="yes"
    )
    if open_.height:
        n = say_few(open_.height, "fix", "fixes")
        asked.append(f"Label more sessions, or live with not knowing whether {n} worked?")
    bare = safety.join(targets, on=["surface", "mode"], how="anti").height
    if bare:
        n = say_few(bare, "safety failure")
        asked.append(f"How often is too often? {n[:1].upper()}{n[1:]} without a target.")
    return asked


def say_step(row: Row) -> str:
    """Say what the evidence asks for next of one failure."""
    reading = row["reading"] or ""
    if reading.endswith("regression"):
        return "Find the cause, or roll back"
    if row["per_1000"] is None:
        return "Label more sessions"
    if not row["watched"]:
        return "Sort notes in 03_discover" if row["mode"] == ANY else "Build an evaluator"
    if reading.endswith("improvement"):
        return "Watch that it stays so"
    if row["target"] == "yes":
        return "Label more, to see whether the fix works"
    return "Choose a fix"


def say_change(row: Row) -> str:
    """Say what the newest release changed: how it reads, and by how much."""
    if row["reading"] is None:
        return "no release to compare"
    if row["delta"] is None:
        return row["reading"]
    return f"{_delta(row)}, {VERDICTS[row['reading']]}"


def say_quarter(quarter: str) -> str:
    """Write a quarter as people do: "Q3 2026"."""
    return f"{quarter[4:]} {quarter[:4]}"


def say_rate(value: float | None, low: float | None, high: float | None) -> str:
    """Write how many of 1,000 sessions fail; what was never seen is still called rare, not none."""
    if value is None or low is None or high is None:
        return VERDICTS["cannot tell"]
    return say_interval(value, low, high) if value >= 0.5 else f"under 1 (0 to {high:.0f})"


def say_share(value: float | None) -> str:
    """Write a share; what is nearly nothing or all is never called so."""
    if value is None:
        return "not recorded"
    if value <= 0 or value >= 1:
        return "none" if value <= 0 else "all"
    percent = 100 * value
    return "under 1%" if percent < 1 else "over 99%" if percent > 99 else f"{percent:.0f}%"


def say_day(moment: datetime) -> str:
    """Write a day: "14 October 2026"."""
    return f"{moment.day} {moment:%B %Y}"


def count_in_words(n: int) -> str:
    """Write a small number as a word."""
    return WORDS[n] if n < len(WORDS) else f"{n:,}"


def say_few(n: int, noun: str, plural: str = "") -> str:
    """Write how many in words: "one fix", "three safety failures"."""
    return f"{count_in_words(n)} {noun if n == 1 else plural or f'{noun}s'}"


def say_limits_line(rates: pl.DataFrame) -> str:
    """Say in one line what the page cannot tell."""
    unknown = rates.filter(status="insufficient").height
    told = f"{unknown} of {say_count(rates.height, 'rate')} cannot be told; " if unknown else ""
    return (
        f"Limits: {told}before and after a release are different weeks; what nobody has named yet"
        " is not counted. The end of the report lists them all."
    )


def _quote(row: Row) -> str:
    return f"“{row['name']}”"


def _rate(row: Row) -> str:
    return f"{say_rate(*(row[name] for name in RATE))} of 1,000 sessions"


def _delta(row: Row) -> str:
    return say_interval(*(1000 * row[name] for name in ("delta", "low", "high")), signed=True)
