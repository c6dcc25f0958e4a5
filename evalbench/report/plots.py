"""The figures of a report's first page: places on a plot, from tidy frames; no statistic.

Their words stand beside the plots as text of the page, so that no font can clip them and a phone
shows them at full size; the plots themselves hold lines alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from evalbench.operate.evidence import quarter_window
from evalbench.operate.quarter import SEVERITIES, by_severity
from evalbench.report.front_words import say_quarter, say_rate, say_share
from evalbench.report.glossary import VERDICTS
from evalbench.report.sentences import say_interval, say_number, say_surface

RATE = ("per_1000", "low_per_1000", "high_per_1000")
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
ROWS, PANELS = 9, 12
"""Targets, and failures over the year, that a page has room for."""


@dataclass(frozen=True)
class Pair:
    """A failure before and after a release: places in percent, and what is said of it."""

    name: str
    about: str
    anchor: str
    verdict: str
    said: str
    change: str
    before: tuple[float, float, float] | None
    after: tuple[float, float, float] | None


@dataclass(frozen=True)
class Panel:
    """A small chart over the year; steps are ``(start, end, value, low, high)`` in percent."""

    name: str
    about: str
    anchor: str
    said: str
    spoken: str
    steps: tuple[tuple[float, ...], ...]
    marks: tuple[float, ...] = ()
    line: float | None = None


@dataclass(frozen=True)
class Figure:
    """What stands in one figure, under its ``title``, and the ticks of its scale in percent."""

    key: str
    title: str
    note: str
    ticks: tuple[tuple[float, str], ...]
    pairs: tuple[Pair, ...] = ()
    panels: tuple[Panel, ...] = ()
    empty: str = ""


def draw_targets(changes: pl.DataFrame, anchors: dict[tuple[str, str], str]) -> Figure:
    """Draw what each release set out to fix: the rate before, and since, and how that reads.

    Takes changes of targets with ``severity``.
    """
    rows = by_severity(changes, -pl.col("before")).head(ROWS)
    ends = [f"{side}{end}" for side in ("before", "after") for end in ("", "_low", "_high")]
    top = find_top(1000 * value for name in ends for value in rows[name].drop_nulls())
    pairs = []
    for row in rows.iter_rows(named=True):
        sides = [[row[name] for name in ends[:3]], [row[name] for name in ends[3:]]]
        places = [
            None if None in side else (*(100 * min(1000 * each / top, 1) for each in side),)
            for side in sides
        ]
        said = VERDICTS[row["reading"]]
        if None not in places:
            said = (
                f"{say_number(1000 * row['before'])} to {say_number(1000 * row['after'])}, {said}"
            )
        delta = [
            None if row[name] is None else 1000 * row[name] for name in ("delta", "low", "high")
        ]
        change = "" if delta[0] is None else f"change {say_interval(*delta, signed=True)}"
        about = (
            f"{say_surface(row['surface'])} {row['release']}, {row['severity'] or 'no severity'}"
        )
        anchor = anchors.get((row["surface"], row["mode"]), "")
        pairs.append(Pair(row["name"], about, anchor, judge(row["reading"]), said, change, *places))
    title = "What the releases set out to fix"
    note = "Failures per 1,000 sessions: ring before, dot since the release; lines are intervals."
    more = changes.height - rows.height
    note += f" The other {more} stand in the appendix." if more else ""
    empty = "" if pairs else "No release of this quarter set out to fix a failure."
    return Figure("targets", title, note, _ticks(top), tuple(pairs), empty=empty)


def draw_history(
    history: pl.DataFrame, quarters: list[str], anchors: dict[tuple[str, str], str]
) -> Figure:
    """Draw the failures of safety and the most frequent over the year, on one scale.

    Takes :data:`~evalbench.operate.quarter.HISTORY`.
    """
    key = ["surface", "mode", "name", "severity"]
    last = history.group_by(key, maintain_order=True).agg(pl.col("per_1000").last())
    safety = by_severity(last.filter(severity="safety"), -pl.col("per_1000"))
    others = last.filter(pl.col("severity").ne_missing("safety"))
    frequent = others.drop_nulls("per_1000").sort("per_1000", descending=True, maintain_order=True)
    chosen = pl.concat([safety, frequent]).head(max(PANELS, min(safety.height, 2 * PANELS)))
    drawn = history.join(chosen, on=["surface", "mode"], how="semi")
    top = find_top(drawn["high_per_1000"].drop_nulls())
    panels = []
    for row in chosen.iter_rows(named=True):
        own = drawn.filter(surface=row["surface"], mode=row["mode"])
        rates = own.drop_nulls("per_1000")
        spans = [(_place(a, quarters), _place(b, quarters)) for a, b in own["start", "end"].rows()]
        known = own["per_1000"].is_not_null()
        steps = tuple(
            (start, end, *(100 * min(each / top, 1) for each in numbers))
            for (start, end), numbers, there in zip(
                spans, own.select(RATE).rows(), known, strict=True
            )
            if there
        )
        spoken = " ".join(
            f"Release {release}: {say_interval(*numbers)}."
            for release, *numbers in own.select("release", *RATE).iter_rows()
        )
        now = own.select(RATE).row(-1)
        said = say_rate(*now)
        about = f"{say_surface(row['surface'])}, {row['severity'] or 'no severity'}"
        panels.append(
            Panel(
                row["name"],
                about,
                anchors.get((row["surface"], row["mode"]), ""),
                said,
                spoken if rates.height else "No rate is known.",
                steps,
                tuple(start for start, _ in spans[1:]),
            )
        )
    title = "Safety failures and the most frequent, over four quarters"
    note = (
        f"Failures per 1,000 sessions, all from 0 to {say_number(top)}; bands are intervals, dashed"
        " lines releases. The number is that of the newest release."
    )
    empty = "" if panels else "No failure mode has a rate yet."
    return Figure("year", title, note, _quarter_ticks(quarters), panels=tuple(panels), empty=empty)


def draw_coverage(scorecard: pl.DataFrame, severities: pl.Series) -> Figure:
    """Draw by severity the share of failure modes that an evaluator which counts watches.

    Takes the scorecard, and the severity of every failure mode.
    """
    panels, quarters = [], list[str]()
    for severity in SEVERITIES:
        of = int((severities == severity).sum())
        [row] = scorecard.filter(metric=f"coverage_{severity}".replace(" ", "_")).to_dicts()
        if not of:
            continue
        quarters, width = row["quarters"], 100 / len(row["quarters"])
        shares = [(at * width, value) for at, value in enumerate(row["history"])]
        steps = tuple((at, at + width, *[100 * v] * 3) for at, v in shares if v is not None)
        now = row["value"] or 0.0
        spoken = ", ".join(
            f"{say_quarter(name)} {say_share(value)}"
            for name, value in zip(quarters, row["history"], strict=True)
        )
        aim = row["target"]
        about = f"target {say_share(aim)}" if aim else "no target"
        said = f"{round(now * of)} of {of}"
        line = 100 * aim if aim else None
        panels.append(Panel(severity.capitalize(), about, "", said, spoken, steps, line=line))
    note = "Failure modes with a promoted evaluator, of all; dotted: target."
    empty = "" if panels else "No failure mode counts yet."
    ticks = _quarter_ticks(quarters)
    return Figure(
        "coverage", "Failures watched, by severity", note, ticks, panels=tuple(panels), empty=empty
    )


def judge(reading: str | None) -> str:
    """Return the class that colours a verdict: "good", "bad", each "-likely", or "open"."""
    how, _, what = (reading or "").partition(" ")
    colour = {"improvement": "good", "regression": "bad"}.get(what)
    return "open" if colour is None else colour + ("" if how == "confirmed" else "-likely")


def find_top(values: Iterable[float]) -> float:
    """Return the end of a scale from zero: the next round number."""
    most = max(values, default=0.0)
    if not most > 0:
        return 10.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(
        step * power
        for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
        if step * power >= most * 0.999
    )


def _ticks(top: float) -> tuple[tuple[float, str], ...]:
    decimals = 0 if top >= 10 else 1
    return tuple((at, say_number(top * at / 100, decimals=decimals)) for at in (0, 50, 100))


def _quarter_ticks(quarters: list[str]) -> tuple[tuple[float, str], ...]:
    width = 100 / max(len(quarters), 1)
    return tuple((at * width, name[4:]) for at, name in enumerate(quarters))


def _place(moment: datetime, quarters: list[str]) -> float:
    start: Any = quarter_window(quarters[0])[0]
    end: Any = quarter_window(quarters[-1])[1]
    return float(100 * (moment - start) / (end - start))
