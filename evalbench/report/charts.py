"""Charts of the reports: a tidy frame in, no statistic computed.

They are read on paper and without colour: what colour says, shape, dash or text says too, and every
chart carries a description that a screen reader speaks. Importing this module makes Altair draw
them as SVG, which needs no network.
"""

import hashlib
import re
from html import escape
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from evalbench.label.annotation.markdown import visible
from evalbench.report.sentences import say_interval, say_surface

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
INK, SOFT, LINE, MARK = "#1b1f24", "#57606a", "#d0d7de", "#0b5394"
NAMED_COLORS = {INK: "ink", SOFT: "soft", LINE: "line", MARK: "mark", "white": "paper"}
"""What a report calls its colours, which are others in the dark."""
COLOR = re.compile(rf'(?<=fill="|roke=")({"|".join(NAMED_COLORS)})(?=")')
WIDTH = 335
"""Of the plotting area; with the names of the modes beside it a chart fills an A4 page."""
NAME_WIDTH = 315
PAGE = 720
NAMED = 12
"""Clusters whose names find room on a map."""
CLIPS = re.compile(r'(<clipPath id="|<\w+[^<>]* clip-path="url\(#)clip')
ENDS = ("", "_low", "_high")
POINT: dict[str, Any] = {"filled": True, "size": 60, "opacity": 1, "color": MARK}


@alt.theme.register("evalbench", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    text: Any = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": SOFT}
    return {
        "config": {
            "font": FONT,
            "background": "white",
            # Where Helvetica is not installed, text takes more room than was measured.
            "padding": {"left": 30, "top": 5, "bottom": 5, "right": 30},
            "view": {"stroke": None, "continuousWidth": WIDTH},
            "axis": {**text, "titleFontWeight": "normal", "gridColor": LINE, "domainColor": SOFT},
            "legend": {**text, "orient": "top", "symbolSize": 90, "columnPadding": 24},
            "header": {**text, "titleFontWeight": "normal"},
            "title": {"fontSize": 14, "anchor": "start", "color": INK, "limit": PAGE},
        }
    }


def _render(specification: dict[str, Any], **_: object) -> dict[str, str]:
    """Draw as SVG within the page, so that a screen reader finds the description and the marks."""
    specification = _show_hidden(specification)
    drawn = vl_convert.vegalite_to_svg(specification)
    # Charts of one page must not share the names of their clipping paths.
    own = "clip-" + hashlib.sha256(drawn.encode()).hexdigest()[:8] + "-"
    drawn = CLIPS.sub(rf"\g<1>{own}", drawn)
    drawn = COLOR.sub(lambda found: f"var(--{NAMED_COLORS[found[1]]}, {found[1]})", drawn)
    label = escape(str(specification.get("description", "")))
    return {"text/html": drawn.replace("<svg", f'<svg role="figure" aria-label="{label}"', 1)}


def _show_hidden(value: Any) -> Any:
    """Show the hidden characters of every text of a specification; SVG escapes the rest."""
    match value:
        case str():
            return visible(value)
        case dict():
            return {name: _show_hidden(each) for name, each in value.items()}
        case list():
            return [_show_hidden(each) for each in value]
    return value


alt.renderers.register("evalbench", _render)
alt.renderers.enable("evalbench")


def gate_rows(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw the change that each row of a gate shows, with its interval, and its limit dashed.

    Takes rows of one ``surface``, in the order wanted: ``row, estimate, low, high, limit`` as
    shares of cases, and ``said``.
    """
    ends = {"change": "estimate", "change_low": "low", "change_high": "high", "limit": "limit"}
    numbers = {name: 1000 * pl.col(column) for name, column in ends.items()}
    rows = frame.select("surface", "said", name="row", **numbers)
    limit = alt.Chart(rows).mark_tick(color=SOFT, thickness=2, height=16)
    layer = [
        alt.Chart().mark_rule(color=LINE).encode(x=alt.datum(0)),
        *_forest(rows, "change", axis="change per 1,000 cases, with interval; tick: limit"),
        limit.encode(y=_names(), x="limit:Q"),
        _beside(rows, "said"),
    ]
    return _layered(layer, _title(frame, "candidate beside baseline"), _say(rows, "change", "said"))


def agreements(frame: pl.DataFrame, *, least: float) -> alt.LayerChart:
    """Draw how far people agree on each failure mode: alpha with its interval, AC1 hollow.

    Takes rows of one ``surface``, in the order wanted: ``name, alpha, alpha_low, alpha_high, ac1``
    (null where insufficient) and ``reading``. Labels count from ``least``, drawn as a line.
    """
    axis = "Krippendorff's alpha with interval; hollow: Gwet's AC1; dashed: least alpha"
    layer = [_line(least), *_forest(frame, "alpha", axis=axis), _hollow(frame, "ac1")]
    title = _title(frame, "agreement on each failure mode")
    return _layered([*layer, _beside(frame, "reading")], title, _say(frame, "alpha", "reading"))


def alignments(frame: pl.DataFrame, *, least: float) -> alt.LayerChart:
    """Draw how far evaluators agree with people: MCC with its interval, the human ceiling hollow.

    Takes rows of one ``surface``, in the order wanted: ``who, mcc, mcc_low, mcc_high, ceiling``
    (null where not defined) and ``status``. Aligned starts at ``least``, drawn as a line.
    """
    named = frame.with_columns(name="who")
    axis = "MCC with interval; hollow: people against each other; dashed: aligned from"
    layer = [_line(least), *_forest(named, "mcc", axis=axis), _hollow(named, "ceiling")]
    title = _title(frame, "agreement of evaluators with people")
    return _layered([*layer, _beside(named, "status")], title, _say(named, "mcc", "status"))


def agreement_by_week(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw alpha with its interval, week by week.

    Takes rows of one ``surface``: ``week`` (its Monday), ``alpha, alpha_low, alpha_high`` (null
    where insufficient).
    """
    shown = alt.Chart(frame, width=PAGE, height=110).encode(
        x=_weeks("week", scale=alt.Scale(padding=12))
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        y=alt.Y("alpha_low:Q", title="alpha", axis=alt.Axis(tickCount=4)), y2="alpha_high:Q"
    )
    point = shown.mark_point(**POINT).encode(y="alpha:Q")
    spoken = _say(frame.with_columns(name=pl.format("week of {}", "week")), "alpha")
    return _layered([interval, point], _title(frame, "agreement on pass or fail, by week"), spoken)


def over_time(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw sessions a week as bars, of one ``surface``: ``start`` (of the week), ``sessions``."""
    weeks, counts = frame["start"], frame["sessions"]
    shown = alt.Chart(frame, width=PAGE, height=110).encode(
        x=_weeks("start"), y=alt.Y("sessions:Q", title=None, axis=alt.Axis(tickCount=4))
    )
    bars = shown.mark_bar(color=MARK, width=max(2, min(20, 0.7 * PAGE / frame.height)))
    spoken = (
        f"{counts.sum()!s} sessions from the week of {weeks.min()!s} to that of {weeks.max()!s},"
        f" {counts.min()!s} to {counts.max()!s} a week."
    )
    return _layered([bars], _title(frame, "sessions a week"), spoken)


def shares(frame: pl.DataFrame, *, title: str) -> alt.LayerChart:
    """Draw bars from 0% to 100%, each with its value in words at its end.

    Takes rows of one ``surface``, in the order wanted: ``name, share`` and ``said``; ``title`` says
    what they are shares of.
    """
    whole = alt.Scale(domain=[0, 1])
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(20)).encode(
        y=_names(grid=False),
        x=alt.X("share:Q", title=None, scale=whole, axis=_ticks(format=".0%")),
    )
    said = shown.mark_text(align="left", dx=5, fontSize=12, color=INK).encode(text="said:N")
    bars = shown.mark_bar(color=MARK, height=11)
    return _layered([bars, said], _title(frame, title), _spell(frame))


def cluster_map(frame: pl.DataFrame, *, title: str) -> alt.LayerChart:
    """Draw texts as points, those of one cluster together, unsure ones hollow, with its name.

    Takes rows of one ``surface``, one a text: ``x, y, cluster, name, sure``; ``title`` says what
    the texts are.
    """
    shown = alt.Chart(frame, width=PAGE, height=PAGE * 0.7).encode(
        x=alt.X("x:Q", axis=None),
        y=alt.Y("y:Q", axis=None, scale=alt.Scale(reverse=True)),
        color=alt.Color("cluster:N", legend=None, scale=alt.Scale(scheme="tableau10")),
    )
    sure = shown.transform_filter("datum.sure").mark_circle(size=36, opacity=0.8)
    unsure = shown.transform_filter("!datum.sure").mark_point(size=30, strokeWidth=1.2)
    top = pl.col("x").get(pl.col("y").arg_min())
    middle = frame.group_by("cluster", "name").agg(pl.col("y").min(), x=top, n=pl.len())
    largest = middle.sort("n", "cluster", descending=[True, False])
    said = alt.Chart(largest.head(NAMED)).encode(x="x:Q", y="y:Q", text="name:N")
    halo = said.mark_text(fontSize=12, dy=-10, stroke="white", strokeWidth=4, strokeJoin="round")
    layer = [sure, unsure, halo, said.mark_text(fontSize=12, dy=-10, color=INK)]
    return _layered(layer, _title(frame, title), _spell(largest.select("name", said="n")))


def seen_by_reading(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw the kinds of failure seen against sessions read, and what more reading would show.

    Takes rows of one ``surface``: ``sessions, modes, low, high`` (null where counted), ``part``.
    """
    shown = alt.Chart(frame, width=PAGE, height=150).encode(
        x=alt.X("sessions:Q", title="sessions read; dashed: to be expected", axis=_ticks())
    )
    line = shown.mark_line(color=MARK).encode(
        y=alt.Y("modes:Q", title=None, axis=alt.Axis(tickCount=4)),
        strokeDash=alt.StrokeDash("part:N", sort=["read", "expected"], legend=None),
    )
    band = shown.mark_area(color=MARK, opacity=0.15).encode(y="low:Q", y2="high:Q")
    last = frame.sort("sessions").row(-1, named=True)
    spoken = f"{last['modes']:.1f} after {last['sessions']} sessions."
    layer = [band.transform_filter("datum.low !== null"), line]
    return _layered(layer, _title(frame, "kinds of failure seen"), spoken)


def pareto(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw how often each run fails against what it costs, both with intervals.

    Takes rows of one ``surface``: ``run``, ``failing`` as a share and ``cost`` of a case, with
    their ends, and ``on_front``: hollow is a run that another one probably beats in both.
    """
    told = [f"{name}{end}" for name in ("failing", "cost") for end in ENDS]
    rows = frame.with_columns(pl.col(told) * 1000, front=pl.col("on_front") >= 0.5)
    shown = alt.Chart(rows, width=PAGE, height=300)
    x = alt.X("cost:Q", title="$ per 1,000 cases", scale=alt.Scale(zero=False), axis=_ticks())
    y = alt.Y("failing:Q", title="failing of 1,000 cases", axis=_ticks())
    across = shown.mark_rule(color=SOFT).encode(x="cost_low:Q", x2="cost_high:Q", y=y)
    along = shown.mark_rule(color=SOFT).encode(x=x, y="failing_low:Q", y2="failing_high:Q")
    point = shown.mark_point(size=80, strokeWidth=2, opacity=1, stroke=MARK).encode(
        x=x, y=y, fill=alt.condition("datum.front", alt.value(MARK), alt.value("white"))
    )
    said = shown.mark_text(align="left", dx=9, dy=-9, fontSize=12, color=INK)
    layer = [across, along, point, said.encode(x=x, y=y, text="run:N")]
    named = rows.rename({"run": "name"})
    spoken = _say(named, "failing", decimals=0) + " Cost: " + _say(named, "cost")
    return _layered(layer, _title(frame, "failures and cost of each run"), spoken)


def standings(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw how often each run fails, with interval; hollow as it was seen, luck included.

    Takes rows of one ``surface`` in the order wanted: ``run``, ``failing`` with its ends and
    ``seen``, as shares.
    """
    told = ["seen", *(f"failing{end}" for end in ENDS)]
    rows = frame.with_columns(pl.col(told) * 1000, name="run")
    axis = "failing of 1,000 cases, with interval; hollow: as seen"
    layer = [*_forest(rows, "failing", axis=axis), _hollow(rows, "seen")]
    return _layered(layer, _title(frame, "failures of each run"), _say(rows, "failing", decimals=0))


def _layered(layer: list[Any], title: str, spoken: str) -> alt.LayerChart:
    """Lay marks over one another, under a title, and say them in words."""
    return alt.LayerChart(layer=layer, title=title, description=f"{title}. {spoken}")


def _title(frame: pl.DataFrame, text: str) -> str:
    return f"{say_surface(frame['surface'][0])}: {text}"


def _forest(frame: pl.DataFrame, value: str, *, axis: str) -> list[alt.Chart]:
    """Draw a row a name, with the value and its interval."""
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(22)).encode(y=_names())
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        x=alt.X(f"{value}_low:Q", title=axis, axis=_ticks()), x2=f"{value}_high:Q"
    )
    return [interval, shown.mark_point(**POINT).encode(x=f"{value}:Q")]


def _hollow(frame: pl.DataFrame, column: str) -> alt.Chart:
    return alt.Chart(frame).mark_point(size=60, color=SOFT).encode(y=_names(), x=f"{column}:Q")


def _beside(frame: pl.DataFrame, column: str) -> alt.Chart:
    """Write at the right of each row what a column says."""
    text = alt.Chart(frame).mark_text(align="left", fontSize=12, color=INK)
    return text.encode(y=_names(), x=alt.value(WIDTH + 10), text=f"{column}:N")


def _line(at: float) -> alt.Chart:
    return alt.Chart().mark_rule(strokeDash=[4, 3], color=SOFT).encode(x=alt.datum(at))


def _names(*, grid: bool = True) -> alt.Y:
    place: Any = {"labelLimit": NAME_WIDTH - 45, "minExtent": NAME_WIDTH, "labelPadding": 8}
    axis = alt.Axis(**place, ticks=False, domain=False, grid=grid)
    return alt.Y("name:N", sort=None, title=None, axis=axis)


def _weeks(column: str, **options: Any) -> alt.X:
    return alt.X(f"{column}:T", title=None, axis=_ticks(format="%e %b %Y", grid=False), **options)


def _ticks(**options: Any) -> alt.Axis:
    return alt.Axis(tickCount=6, labelFlush=False, **options)


def _say(frame: pl.DataFrame, value: str, *after: str, decimals: int = 2) -> str:
    """Say the value of each name with its interval, and what other columns say of it."""
    rows = frame.select("name", *(value + end for end in ENDS), *after).iter_rows()
    return " ".join(
        f"{', '.join([f'{name}: {say_interval(*numbers[:3], decimals=decimals)}', *numbers[3:]])}."
        for name, *numbers in rows
    )


def _spell(frame: pl.DataFrame) -> str:
    return " ".join(f"{name}: {said}." for name, said in frame.select("name", "said").iter_rows())
