"""Charts and tables of the reports: a tidy frame in, no statistic computed.

They are read on paper and without colour: what colour says, shape, dash or text says too, and every
chart carries a description that a screen reader speaks. Importing this module makes Altair draw
them as SVG, which needs no network.
"""

from __future__ import annotations

# isort: split
import hashlib
from html import escape
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from evalbench.report.tables import INK
from evalbench.report.tables import table as table

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
SOFT, LINE, MARK = "#57606a", "#d0d7de", "#0b5394"
WIDTH = 365
"""Of the plotting area; with the names of the modes beside it a chart fills an A4 page."""
NAME_WIDTH = 315
PAGE = 720
NAMED = 12
"""Clusters whose names find room on a map."""
UNIT = "failures per 1,000 sessions, with interval"
RATES = "Failures per 1,000 sessions with interval. "
POINT: dict[str, Any] = {"filled": True, "size": 60, "opacity": 1, "color": MARK}


@alt.theme.register("evalbench", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    text: Any = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": SOFT}
    return {
        "config": {
            "font": FONT,
            "background": "white",
            "view": {"stroke": None, "continuousWidth": WIDTH},
            "axis": {**text, "titleFontWeight": "normal", "gridColor": LINE, "domainColor": SOFT},
            "legend": {**text, "titleFontWeight": "normal", "orient": "top", "symbolSize": 90},
            "header": {**text, "titleFontWeight": "normal"},
            "title": {"fontSize": 14, "anchor": "start", "color": INK, "subtitleColor": SOFT},
        }
    }


def _render(specification: dict[str, Any], **_: object) -> dict[str, str]:
    """Draw as SVG within the page, so that a screen reader finds the description and the marks."""
    drawn = vl_convert.vegalite_to_svg(specification)
    # Charts of one page must not share the names of their clipping paths.
    own = "clip-" + hashlib.sha256(drawn.encode()).hexdigest()[:8] + "-"
    drawn = drawn.replace('"clip', f'"{own}').replace("(#clip", f"(#{own}")
    label = escape(str(specification.get("description", "")))
    return {"text/html": drawn.replace("<svg", f'<svg role="figure" aria-label="{label}"', 1)}


alt.renderers.register("evalbench", _render)
alt.renderers.enable("evalbench")


def before_after(frame: pl.DataFrame) -> alt.LayerChart:
    """Each failure mode before and after a release: a point with its interval for either.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface`` and ``release``; one row a mode and moment, in the order wanted:
        ``name, moment`` ("before 2.0", "after 2.0"; the first seen is drawn hollow), ``per_1000,
        low_per_1000, high_per_1000`` (null where insufficient) and ``reading``.
    """
    moments = frame["moment"].unique(maintain_order=True).to_list()
    first = f"datum.moment === {moments[0]!r}"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(11)).encode(
        y=_names(), yOffset=alt.YOffset("moment:N", sort=moments)
    )
    stroke = _code(alt.Stroke, moments, (SOFT, MARK))
    interval = shown.mark_rule(strokeWidth=2).encode(
        x=alt.X("low_per_1000:Q", title=UNIT, axis=_ticks()),
        x2="high_per_1000:Q",
        stroke=stroke,
        strokeDash=alt.condition(first, alt.value([4, 3]), alt.value([1, 0])),
    )
    point = shown.mark_point(size=60, strokeWidth=2, opacity=1).encode(
        x="per_1000:Q",
        stroke=stroke,
        fill=_code(alt.Fill, moments, ("white", MARK)),
        shape=_code(alt.Shape, moments, ("circle", "diamond")),
    )
    rate, low, high = (pl.col(f"{name}per_1000").round(1) for name in ("", "low_", "high_"))
    said = pl.format("{} ({} to {})", rate, low, high).fill_null("insufficient")
    spoken = frame.select(name=pl.format("{}, {}", "name", "moment"), said=said)
    title = _title(frame, f"before and after release {frame['release'][0]}")
    layer = [interval, point, _beside(frame.filter(moment=moments[-1]), "reading")]
    return _layered(layer, title, RATES + _spell(spoken))


def intervals(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw a forest plot: the rate of each failure mode with its interval.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface`` and ``release``, in the order wanted: ``name, per_1000, low_per_1000,
        high_per_1000`` (null where insufficient), and ``said``, the same in words.
    """
    release = frame["release"][0]
    layer = _forest(frame, "low_per_1000", "per_1000", "high_per_1000", axis=UNIT)
    title = _title(frame, "all sessions" if release == "all" else release)
    return _layered([*layer, _beside(frame, "said")], title, RATES + _spell(frame))


def agreements(frame: pl.DataFrame, *, least: float) -> alt.LayerChart:
    """Draw how far people agree on each failure mode: alpha with its interval, AC1 hollow.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``, in the order wanted: ``name, alpha, alpha_low, alpha_high, ac1`` (null
        where insufficient), ``alpha_said`` and ``reading``.
    least : float
        Alpha under which labels do not count, drawn as a line.
    """
    axis = "Krippendorff's alpha with interval; hollow: Gwet's AC1; dashed: least alpha"
    layer = _forest(frame, "alpha_low", "alpha", "alpha_high", axis=axis)
    layer = [_line(least), *layer, _hollow(frame, "ac1"), _beside(frame, "reading")]
    spoken = frame.select("name", said=pl.format("{}, {}", "alpha_said", "reading"))
    return _layered(layer, _title(frame, "agreement on each failure mode"), _spell(spoken))


def alignments(frame: pl.DataFrame, *, least: float) -> alt.LayerChart:
    """Draw how far evaluators agree with people: MCC with its interval, the human ceiling hollow.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``, in the order wanted: ``who, mcc, mcc_low, mcc_high, ceiling``
        (null where not defined), ``mcc_said`` and ``status``.
    least : float
        MCC from which an evaluator is aligned, drawn as a line.
    """
    named = frame.with_columns(name="who")
    axis = "MCC with interval; hollow: people against each other; dashed: aligned from"
    layer = _forest(named, "mcc_low", "mcc", "mcc_high", axis=axis)
    layer = [_line(least), *layer, _hollow(named, "ceiling"), _beside(named, "status")]
    spoken = named.select("name", said=pl.format("{}, {}", "mcc_said", "status"))
    return _layered(layer, _title(frame, "agreement of evaluators with people"), _spell(spoken))


def agreement_by_week(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw alpha with its interval, week by week.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``week`` (its Monday), ``alpha, alpha_low, alpha_high`` (null where
        insufficient) and ``alpha_said``.
    """
    shown = alt.Chart(frame, width=PAGE, height=110).encode(
        x=_weeks("week", scale=alt.Scale(padding=12))
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        y=alt.Y("alpha_low:Q", title="alpha", axis=alt.Axis(tickCount=4)), y2="alpha_high:Q"
    )
    point = shown.mark_point(**POINT).encode(y="alpha:Q")
    spoken = frame.select(name=pl.format("week of {}", "week"), said="alpha_said")
    title = _title(frame, "agreement on pass or fail, by week")
    return _layered([interval, point], title, _spell(spoken))


def over_time(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw sessions a week as bars.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``start`` (of the week) and ``sessions``.
    """
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

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``, in the order wanted: ``name, share`` and ``said``.
    title : str
        What the bars are shares of, shown after the surface.
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

    Parameters
    ----------
    frame : polars.DataFrame
        One row a text: ``x, y, cluster, name, sure``.
    title : str
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
    return _layered(layer, title, _spell(largest.select("name", said="n")))


def seen_by_reading(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw the kinds of failure seen against sessions read, and what more reading would show.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``sessions, modes, low, high`` (null where counted) and ``part``.
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


def _layered(layer: list[Any], title: str, spoken: str) -> alt.LayerChart:
    """Lay marks over one another, under a title, and say them in words."""
    return alt.LayerChart(layer=layer, title=title, description=f"{title}. {spoken}")


def _title(frame: pl.DataFrame, text: str) -> str:
    return f"{frame['surface'][0]}: {text}"


def _forest(frame: pl.DataFrame, low: str, value: str, high: str, *, axis: str) -> list[alt.Chart]:
    """Draw a row a name, with the value and its interval."""
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(22)).encode(y=_names())
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        x=alt.X(f"{low}:Q", title=axis, axis=_ticks()), x2=f"{high}:Q"
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
    place: Any = {"labelLimit": NAME_WIDTH, "minExtent": NAME_WIDTH, "labelPadding": 8}
    axis = alt.Axis(**place, ticks=False, domain=False, grid=grid)
    return alt.Y("name:N", sort=None, title=None, axis=axis)


def _weeks(column: str, **options: Any) -> alt.X:
    return alt.X(f"{column}:T", title=None, axis=_ticks(format="%e %b %Y", grid=False), **options)


def _ticks(**options: Any) -> alt.Axis:
    return alt.Axis(tickCount=6, labelFlush=False, **options)


def _code(channel: Any, moments: list[str], codes: tuple[str, str]) -> Any:
    """Encode the moments; channels of one field share one legend."""
    scale = alt.Scale(domain=moments, range=codes[: len(moments)])
    return channel("moment:N", sort=moments, title=None, scale=scale)


def _spell(frame: pl.DataFrame) -> str:
    return " ".join(f"{name}: {said}." for name, said in frame.select("name", "said").iter_rows())
