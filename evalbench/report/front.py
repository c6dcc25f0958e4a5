"""The first page of a quarter's report: the finding, the tiles, three figures, ten rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from evalbench.evaluate import status
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.codebook import acts
from evalbench.operate import evidence, impact, quarter
from evalbench.report import front_words, plots
from evalbench.report.examples import Example, choose_examples
from evalbench.report.sentences import say_surface
from evalbench.schema import columns
from evalbench.snapshot import Snapshot

if TYPE_CHECKING:
    from jinja2 import Environment

CLOSED_AFTER = timedelta(days=30)
"""A quarter's labels and promotions are made in the weeks after it: they count until then."""
ROWS = 10
TILES = columns(
    (pl.String, "tile value said target owner"), (pl.Float64, "estimate low high target_value")
)
TILES["year"] = pl.List(pl.Float64)
COVERAGE = columns((pl.String, "quarter severity"), (pl.Int64, "covered of"))
METRICS = {
    "coverage": "Failures watched, by severity",
    "catch_rate": "Failing sessions caught",
    "days_to_fix": "Median days to a verified fix",
    "cost_per_success": "Cost per success",
}
"""The metrics on the tiles, as ``target.set`` names them, and their headings."""


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
    now = view.now
    quarters = quarter.list_quarters(view.sessions, view.quarter)
    start = evidence.quarter_window(quarters[-1] if view.quarter != evidence.WHOLE else "all")[0]
    modes = view.modes.select("surface", "mode", "severity", "owner")
    watching = view.statuses.filter(pl.col("status").is_in(status.COUNTING))
    failures = quarter.list_failures(view.rates, view.changes, modes, watching)
    changes = view.changes.join(modes, on=quarter.MODE_KEY, how="left", maintain_order="left")
    changes = changes.join(_own_releases(view, start), on=impact.RELEASE_KEY, how="semi")
    targets = read_targets(view)
    decisions = quarter.follow_decisions(_recorded(view, "decision.recorded"), start=start, now=now)
    coverage = measure_coverage(view, quarters, now)
    everything = impact.rates_table(view.estimated, quarter=evidence.WHOLE)
    history = quarter.trace_history(everything, view.whole.frame, modes, quarters)
    learnt = pl.col("evaluator_id").is_in(list(view.specifications))
    judging = view.verdicts.with_columns(learnt=learnt)
    caught = quarter.catch_rates(view.whole.frame, judging, view.truth, quarters, **view.measured)
    tiles = make_tiles(coverage, caught, targets, quarters)
    examples = choose_examples(view, failures)
    anchors = {(each.surface, each.mode): each.anchor for each in examples}
    aim = targets.filter(pl.col("mode").is_null(), metric="coverage")["target"].to_list()
    asked = tuple(front_words.propose_decisions(failures, changes, targets))
    top = front_words.rank_risks(failures).head(ROWS)
    aimed = changes.filter(target="yes")
    return Front(
        title=front_words.say_kicker(
            view.sessions["surface"].unique().sort().to_list(), view.quarter, quarters
        ),
        headline=front_words.say_headline(failures, changes),
        sentences=(
            front_words.say_gain(changes),
            front_words.say_risk(failures, targets),
            front_words.say_decision(decisions, asked),
        ),
        tiles=[row | {"spark": _spark(row["year"])} for row in tiles.iter_rows(named=True)],
        figures=(
            plots.draw_targets(aimed, anchors),
            plots.draw_coverage(coverage, quarters, aim[-1] if aim else None),
            plots.draw_history(history, quarters, anchors),
        ),
        rows=[_say_row(row, decisions, anchors) for row in top.iter_rows(named=True)],
        decisions=[
            row | {"day": front_words.say_day(row["due"])}
            for row in decisions.iter_rows(named=True)
        ],
        asked=asked,
        limits=front_words.say_limits_line(view.rates),
        level=view.ws.settings.level,
        examples=examples,
        tables={
            "tiles": tiles,
            "failures": failures,
            "targets": aimed,
            "history": history,
            "coverage": coverage,
            "caught": caught,
            "decisions": decisions,
        },
    )


def read_targets(view: Snapshot) -> pl.DataFrame:
    """Read what owners hold metrics and failures to, the last word of each."""
    known = _recorded(view, "target.set").sort("seq")
    return known.unique(["surface", "metric", "mode"], keep="last", maintain_order=True)


def measure_coverage(view: Snapshot, quarters: list[str], now: datetime) -> pl.DataFrame:
    """Count by quarter and severity the failure modes, and those that an evaluator watched.

    At the close of each quarter, and of one that is not closed yet at the last event.
    """
    events, rows = view.ws.ledger.events(until=view.ledger_seq).select("seq", "at"), list[Any]()
    for name in quarters:
        end: Any = evidence.quarter_window(name)[1]
        close = min(end + CLOSED_AFTER, now)
        seq = events.filter(pl.col("at") <= close)["seq"].max() or 0
        modes, statuses = _as_of(view, int(seq), close)  # type: ignore[arg-type]
        counting = statuses.filter(pl.col("status").is_in(status.COUNTING))
        held = counting.select(*quarter.MODE_KEY, covered=True).unique()
        counted = (
            modes.join(held, on=quarter.MODE_KEY, how="left")
            .group_by(pl.col("severity").fill_null("none"))
            .agg(covered=pl.col("covered").sum().cast(pl.Int64), of=pl.len().cast(pl.Int64))
        )
        rows += [(name, *row) for row in counted.iter_rows()]
    return quarter.by_severity(pl.DataFrame(rows, schema=COVERAGE, orient="row"))


def _as_of(view: Snapshot, seq: int, close: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the modes that counted as of an event, and where the evaluators stood."""
    if seq == view.ledger_seq:
        return view.modes, view.statuses
    modes = acts.read_codebook(view.ws.ledger, until=seq).live
    own = modes if view.surface is None else modes.filter(surface=view.surface)
    if not view.specifications:
        return own, view.statuses
    verdicts = view.every_verdict.filter(pl.col("judged_at") <= close)
    aged: Any = {"settings": view.ws.settings.evaluators, "now": close, "until": seq}
    return own, status.read_statuses(view.ws.ledger, verdicts, **aged)


def make_tiles(
    coverage: pl.DataFrame, caught: pl.DataFrame, targets: pl.DataFrame, quarters: list[str]
) -> pl.DataFrame:
    """Return :data:`TILES`: value, target and the year of the four metrics a board follows."""
    weight = pl.col("severity").replace_strict(status.SEVERITIES, default=1)
    weighed = coverage.group_by("quarter", maintain_order=True).agg(
        share=(pl.col("covered") * weight).sum() / (pl.col("of") * weight).sum(),
        covered=pl.col("covered").sum(),
        of=pl.col("of").sum(),
    )
    year = dict(weighed.select("quarter", "share").iter_rows())
    rows: dict[str, dict[str, Any]]
    rows = {name: {"tile": heading, "value": "not recorded"} for name, heading in METRICS.items()}
    if quarters and quarters[-1] in year:
        last = weighed.filter(quarter=quarters[-1]).row(0, named=True)
        said = f"{last['covered']} of {last['of']} failures; safety weighs most"
        rows["coverage"] |= {"value": front_words.say_share(last["share"]), "said": said}
        rows["coverage"] |= {"estimate": last["share"], "year": [year.get(q) for q in quarters]}
    if caught.height:
        last = caught.row(-1, named=True)
        rows["catch_rate"] |= {"year": caught["estimate"].to_list(), "said": last["reason"]}
        if last["estimate"] is not None:
            ends = [front_words.say_share(last[name]) for name in ("low", "high")]
            said = f"{' to '.join(ends)}; {last['n']} failing sessions read"
            rows["catch_rate"] |= {name: last[name] for name in ("estimate", "low", "high")}
            rows["catch_rate"] |= {"value": front_words.say_share(last["estimate"]), "said": said}
    for row in targets.filter(pl.col("mode").is_null()).iter_rows(named=True):
        if tile := rows.get(row["metric"]):
            aim = row["target"] if "day" in row["metric"] or "cost" in row["metric"] else None
            said = f"{aim:g}" if aim is not None else front_words.say_share(row["target"])
            tile |= {"target": said, "target_value": row["target"], "owner": row["owner"]}
    return pl.DataFrame(list(rows.values()), schema=TILES)


def _say_row(
    row: dict[str, Any], decisions: pl.DataFrame, anchors: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """Say one of the ten rows; what was decided of a failure stands before what is proposed."""
    rate = [row[name] for name in plots.RATE]
    return {
        "name": row["name"],
        "surface": say_surface(row["surface"]),
        "severity": row["severity"] or "none",
        "owner": row["owner"] or "nobody",
        "now": front_words.say_rate(*rate),
        "change": front_words.say_change(row),
        "verdict": plots.judge(row["reading"]),
        "evaluator": "promoted"
        if row["watched"]
        else "made elsewhere"
        if row["evaluator"]
        else "none",
        "step": front_words.say_step(row),
        "anchor": anchors.get((row["surface"], row["mode"]), ""),
    }


def _own_releases(view: Snapshot, start: datetime | None) -> pl.DataFrame:
    """List the releases that came in the period."""
    since = view.frame.select(*impact.RELEASE_KEY, "since").unique()
    return since if start is None else since.filter(pl.col("since") >= start)


def _recorded(view: Snapshot, kind: str) -> pl.DataFrame:
    """Read events of a kind, of the snapshot's surface or of all."""
    bodies = read_bodies(view.ws.ledger, kind, until=view.ledger_seq)
    own = pl.col("surface").is_null() | (pl.col("surface") == (view.surface or pl.col("surface")))
    return bodies.filter(own)


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
