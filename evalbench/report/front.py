"""The first page of a quarter's report: the finding, the tiles, three figures, ten rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from evalbench.evaluate import status
from evalbench.label.annotation.markdown import visible
from evalbench.operate import evidence, figures, impact, quarter
from evalbench.report import front_words, plots
from evalbench.report.examples import Example, choose_examples
from evalbench.report.operating_words import say_target, say_value
from evalbench.report.record import read_own
from evalbench.report.sentences import say_surface
from evalbench.snapshot import Snapshot

if TYPE_CHECKING:
    from jinja2 import Environment

ROWS = 10
TILES = {
    "coverage_all": "Failures watched, by severity",
    "catch_rate": "Failing sessions caught",
    "time_to_verified_fix": "Median days to a verified fix",
    "cost_per_success": "Cost per success",
}
"""The metrics of the scorecard that a board follows, and their headings."""


@dataclass(frozen=True)
class Front:
    """What the first page says and shows; ``tables`` are kept beside it, under their names."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    tiles: list[dict[str, Any]]
    figures: tuple[plots.Figure, ...]
    rows: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    asked: tuple[str, ...]
    limits: str
    level: float
    examples: tuple[Example, ...]
    tables: dict[str, pl.DataFrame]

    @property
    def anchors(self) -> dict[tuple[str, str], str]:
        """Where the page shows sessions with a failure, by its surface and mode."""
        return {(each.surface, each.mode): each.anchor for each in self.examples}

    def to_html(self, part: str = "front") -> str:
        """Write the first page, or its ``part`` "examples", which stands at the end."""
        return _templates().get_template(f"{part}.html.j2").render(page=self)


def make_front(view: Snapshot) -> Front:
    """Compose the first page of a report from what the snapshot holds."""
    last: Any = view.sessions["started_at"].max()
    quarters = quarter.list_quarters(view.quarter, last)
    start, end = evidence.quarter_window(view.quarter)
    modes = view.modes.select("surface", "mode", "severity", "owner")
    watching = view.statuses.filter(pl.col("status").is_in(status.COUNTING))
    failures = quarter.list_failures(view.rates, view.changes, modes, watching)
    changes = view.changes.join(modes, on=quarter.MODE_KEY, how="left", maintain_order="left")
    own_releases = figures.keep_within(view.whole.frame, "since", start, end)
    changes = changes.join(own_releases, on=impact.RELEASE_KEY, how="semi")
    held = read_own(view, "target.set").drop_nulls("mode")
    targets = held.unique(["surface", "mode"], keep="last", maintain_order=True)
    recorded = read_own(view, "decision.recorded")
    decisions = quarter.follow_decisions(recorded, start=start, now=view.now)
    everything = impact.rates_table(view.estimated, quarter=evidence.WHOLE)
    history = quarter.trace_history(everything, view.whole.frame, modes, quarters)
    examples = choose_examples(view, failures)
    anchors = {(each.surface, each.mode): each.anchor for each in examples}
    asked = tuple(front_words.propose_decisions(failures, changes, targets))
    aimed = changes.filter(target="yes")
    surfaces = view.sessions["surface"].unique().sort().to_list()
    tiles = view.scorecard.filter(pl.col("metric").is_in(list(TILES)))
    steps = quarter.find_steps(view.issues, decisions)
    ten = front_words.rank_risks(failures).head(ROWS)
    ten = ten.join(steps, on=quarter.MODE_KEY, how="left", maintain_order="left")
    return Front(
        title=front_words.say_kicker(surfaces, view.quarter, quarters),
        headline=front_words.say_headline(failures, changes)
        if surfaces
        else front_words.say_absence(view.whole.sessions["started_at"]),
        sentences=(
            front_words.say_gain(changes),
            front_words.say_risk(failures, targets, changes),
            front_words.say_decision(decisions, asked),
        ),
        tiles=[_say_tile(row) for row in tiles.iter_rows(named=True)],
        figures=(
            plots.draw_targets(aimed, anchors),
            plots.draw_coverage(view.scorecard, view.modes["severity"]),
            plots.draw_history(history, quarters, anchors),
        ),
        rows=[_say_row(row, anchors) for row in ten.iter_rows(named=True)],
        decisions=[
            row | {"day": front_words.say_day(row["due"])}
            for row in decisions.iter_rows(named=True)
        ],
        asked=asked,
        limits=front_words.say_limits_line(view.rates),
        level=view.ws.settings.level,
        examples=examples,
        tables={"failures": failures, "targets": aimed, "history": history, "decisions": decisions},
    )


def _say_tile(row: dict[str, Any]) -> dict[str, Any]:
    """Say one metric of the scorecard: its value, how sure that is, its target and its year."""
    known, unit = row["value"] is not None, row["unit"]
    write: Any = front_words.say_share if unit == "share" else partial(say_value, unit)
    unknown = "cannot tell yet" if row["n"] else "not recorded"
    ends = [write(row[name]) for name in ("low", "high") if row[name] is not None]
    if ends and not known:  # a median that is not reached yet has a low end alone
        unknown, ends = f"{ends[0]} or more", []
    held_to = say_target(unit, row["target"])
    target = f"target {held_to}" if held_to else "no target set"
    owner = f", {row['owner']}" if row["owner"] else ""
    return {
        "tile": TILES[row["metric"]],
        "value": write(row["value"]) if known else unknown,
        "said": " to ".join(ends) or ("counted in full" if known else row["reason"]),
        "target": f"{target}{owner}",
        "spark": _spark(row["history"]),
    }


def _say_row(row: dict[str, Any], anchors: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Say one of the ten rows; what people decided to do stands before what is proposed."""
    made = "external" if row["evaluator"] else "none"
    step = row["step"] or front_words.say_step(row)
    return {
        "name": row["name"],
        "surface": say_surface(row["surface"]),
        "severity": row["severity"] or "none",
        "owner": row["owner"] or "nobody",
        "now": front_words.say_rate(*(row[name] for name in plots.RATE)),
        "change": front_words.say_change(row),
        "verdict": plots.judge(row["reading"]),
        "evaluator": "promoted" if row["watched"] else made,
        "step": step[:1].upper() + step[1:],
        "day": front_words.say_day(row["due"]) if row["due"] else "no date",
        "anchor": anchors.get((row["surface"], row["mode"]), ""),
    }


def _spark(year: list[float | None] | None) -> str:
    """Write the year of a tile as points of a line, between its least and its greatest value."""
    known = [(at, value) for at, value in enumerate(year or ()) if value is not None]
    if len(known) < 2:
        return ""
    values = [value for _, value in known]
    low, high = min(values), max(values)
    width = 100 / (len(year or ()) - 1)
    return " ".join(
        f"{at * width:.1f},{17 - 14 * (value - low) / ((high - low) or 1):.1f}"
        for at, value in known
    )


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader

    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
