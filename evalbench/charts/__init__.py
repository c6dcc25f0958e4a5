"""Charts and tables of the reports: a tidy frame in, no statistic computed.

They are read on paper and without colour: what colour says, shape, dash or text says too, and every
chart carries a description that a screen reader speaks. Importing this module makes Altair draw
them as SVG, which needs no network.
"""

from __future__ import annotations

import hashlib
from html import escape
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from evalbench.charts.tables import INK
from evalbench.charts.tables import table as table

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
SOFT, LINE, MARK = "#57606a", "#d0d7de", "#0b5394"
WIDTH = 365
"""Of the plotting area; with the names of the modes beside it a chart fills an A4 page."""
NAME_WIDTH = 315
PAGE = 720
NAMED = 12
"""Clusters whose names find room on a map."""
UNIT = "failures per 1,000 sessions, with interval"


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
    title = f"{frame['surface'][0]}: before and after release {frame['release'][0]}"
    moments = frame["moment"].unique(maintain_order=True).to_list()
    first = f"datum.moment === {moments[0]!r}"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(11)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=_names()),
        yOffset=alt.YOffset("moment:N", sort=moments),
    )
    interval = shown.mark_rule(strokeWidth=2).encode(
        x=alt.X("low_per_1000:Q", title=UNIT, axis=_ticks()),
        x2="high_per_1000:Q",
        stroke=_code(alt.Stroke, "moment", moments, (SOFT, MARK)),
        strokeDash=alt.condition(first, alt.value([4, 3]), alt.value([1, 0])),
    )
    point = shown.mark_point(size=60, strokeWidth=2, opacity=1).encode(
        x="per_1000:Q",
        stroke=_code(alt.Stroke, "moment", moments, (SOFT, MARK)),
        fill=_code(alt.Fill, "moment", moments, ("white", MARK)),
        shape=_code(alt.Shape, "moment", moments, ("circle", "diamond")),
    )
    said = (
        alt.Chart(frame.filter(pl.col("moment") == moments[-1]))
        .mark_text(align="left", fontSize=12, color=INK)
        .encode(y=alt.Y("name:N", sort=None), x=alt.value(WIDTH + 10), text="reading:N")
    )
    return alt.LayerChart(
        layer=[interval, point, said],
        title=title,
        description=f"{title}. Failures per 1,000 sessions with interval. {_spell(frame)}",
    )


def intervals(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw a forest plot: the rate of each failure mode with its interval.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface`` and ``release``, in the order wanted: ``name, per_1000, low_per_1000,
        high_per_1000`` (null where insufficient), and ``said``, the same in words.
    """
    release = frame["release"][0]
    title = f"{frame['surface'][0]}: {'all sessions' if release == 'all' else release}"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(24)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=_names())
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        x=alt.X("low_per_1000:Q", title=UNIT, axis=_ticks(), scale=alt.Scale(zero=True)),
        x2="high_per_1000:Q",
    )
    point = shown.mark_point(filled=True, size=60, opacity=1, color=MARK).encode(x="per_1000:Q")
    said = shown.mark_text(align="left", fontSize=12, color=INK).encode(
        x=alt.value(WIDTH + 10), text="said:N"
    )
    return alt.LayerChart(
        layer=[interval, point, said],
        title=title,
        description=f"{title}. Failures per 1,000 sessions with interval. {_spell_pairs(frame)}",
    )


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
    title = f"{frame['surface'][0]}: agreement on each failure mode"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(20)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=_names())
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        x=alt.X(
            "alpha_low:Q",
            title="Krippendorff's alpha with interval; hollow: Gwet's AC1; dashed: least alpha",
            axis=_ticks(),
        ),
        x2="alpha_high:Q",
    )
    alpha = shown.mark_point(filled=True, size=60, opacity=1, color=MARK).encode(x="alpha:Q")
    ac1 = shown.mark_point(size=60, color=SOFT).encode(x="ac1:Q")
    line = alt.Chart().mark_rule(strokeDash=[4, 3], color=SOFT).encode(x=alt.datum(least))
    said = shown.mark_text(align="left", fontSize=12, color=INK).encode(
        x=alt.value(WIDTH + 10), text="reading:N"
    )
    spoken = frame.select("name", said=pl.format("{}, {}", "alpha_said", "reading"))
    return alt.LayerChart(
        layer=[line, interval, ac1, alpha, said],
        title=title,
        description=f"{title}. {_spell_pairs(spoken)}",
    )


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
    title = f"{frame['surface'][0]}: agreement of evaluators with people"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(22)).encode(
        y=alt.Y("who:N", sort=None, title=None, axis=_names())
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        x=alt.X(
            "mcc_low:Q",
            title="MCC with interval; hollow: people against each other; dashed: aligned from",
            axis=_ticks(),
        ),
        x2="mcc_high:Q",
    )
    point = shown.mark_point(filled=True, size=60, opacity=1, color=MARK).encode(x="mcc:Q")
    ceiling = shown.mark_point(size=60, color=SOFT).encode(x="ceiling:Q")
    line = alt.Chart().mark_rule(strokeDash=[4, 3], color=SOFT).encode(x=alt.datum(least))
    said = shown.mark_text(align="left", fontSize=12, color=INK).encode(
        x=alt.value(WIDTH + 10), text="status:N"
    )
    spoken = frame.select(name="who", said=pl.format("{}, {}", "mcc_said", "status"))
    return alt.LayerChart(
        layer=[line, interval, ceiling, point, said],
        title=title,
        description=f"{title}. {_spell_pairs(spoken)}",
    )


def agreement_by_week(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw alpha with its interval, week by week.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``week`` (its Monday), ``alpha, alpha_low, alpha_high`` (null where
        insufficient) and ``alpha_said``.
    """
    title = f"{frame['surface'][0]}: agreement on pass or fail, by week"
    shown = alt.Chart(frame, width=PAGE, height=110).encode(
        x=alt.X(
            "week:T",
            title=None,
            axis=_ticks(format="%e %b %Y", grid=False),
            scale=alt.Scale(padding=12),
        )
    )
    interval = shown.mark_rule(strokeWidth=2, color=MARK).encode(
        y=alt.Y("alpha_low:Q", title="alpha", axis=alt.Axis(tickCount=4)), y2="alpha_high:Q"
    )
    point = shown.mark_point(filled=True, size=60, opacity=1, color=MARK).encode(y="alpha:Q")
    spoken = frame.select(name=pl.format("week of {}", "week"), said="alpha_said")
    return alt.LayerChart(
        layer=[interval, point], title=title, description=f"{title}. {_spell_pairs(spoken)}"
    )


def over_time(frame: pl.DataFrame) -> alt.Chart:
    """Draw sessions a week as bars.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``start`` (of the week) and ``sessions``.
    """
    title = f"{frame['surface'][0]}: sessions a week"
    weeks, counts = frame["start"], frame["sessions"]
    spoken = (
        f"{counts.sum()!s} sessions from the week of {weeks.min()!s} to that of {weeks.max()!s},"
        f" {counts.min()!s} to {counts.max()!s} a week."
    )
    return (
        alt.Chart(frame, title=title, width=PAGE, height=110, description=f"{title}. {spoken}")
        .mark_bar(color=MARK, width=max(2, min(20, 0.7 * PAGE / frame.height)))
        .encode(
            x=alt.X("start:T", title=None, axis=_ticks(format="%e %b %Y", grid=False)),
            y=alt.Y("sessions:Q", title=None, axis=alt.Axis(tickCount=4)),
        )
    )


def shares(frame: pl.DataFrame, *, title: str) -> alt.LayerChart:
    """Draw bars from 0% to 100%, each with its value in words at its end.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``, in the order wanted: ``name, share`` and ``said``.
    title : str
        What the bars are shares of, shown after the surface.
    """
    title = f"{frame['surface'][0]}: {title}"
    shown = alt.Chart(frame, width=WIDTH, height=alt.Step(20)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=_names(grid=False)),
        x=alt.X("share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=_ticks(format=".0%")),
    )
    said = shown.mark_text(align="left", dx=5, fontSize=12, color=INK).encode(text="said:N")
    return alt.LayerChart(
        layer=[shown.mark_bar(color=MARK, height=11), said],
        title=title,
        description=f"{title}. {_spell_pairs(frame)}",
    )


def cluster_map(frame: pl.DataFrame, *, title: str) -> alt.LayerChart:
    """Draw texts as points, those of one cluster together, unsure ones hollow, with its name.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a text: ``x, y, cluster, name, sure``.
    title : str
    """
    shown = alt.Chart(frame, width=PAGE, height=PAGE * 0.7).encode(
        x=alt.X("x:Q", axis=None), y=alt.Y("y:Q", axis=None, scale=alt.Scale(reverse=True))
    )
    colour = alt.Color("cluster:N", legend=None, scale=alt.Scale(scheme="tableau10"))
    sure = shown.transform_filter("datum.sure").mark_circle(size=36, opacity=0.8)
    unsure = shown.transform_filter("!datum.sure").mark_point(size=30, strokeWidth=1.2)
    top = pl.col("x").get(pl.col("y").arg_min())
    middle = frame.group_by("cluster", "name").agg(pl.col("y").min(), x=top, n=pl.len())
    largest = middle.sort("n", "cluster", descending=[True, False])
    said = alt.Chart(largest.head(NAMED)).encode(x="x:Q", y="y:Q", text="name:N")
    halo = said.mark_text(fontSize=12, dy=-10, stroke="white", strokeWidth=4, strokeJoin="round")
    names = largest.select("name", said=pl.format("{}", "n"))
    return alt.LayerChart(
        layer=[
            sure.encode(color=colour),
            unsure.encode(color=colour),
            halo,
            said.mark_text(fontSize=12, dy=-10, color=INK),
        ],
        title=title,
        description=f"{title}. {_spell_pairs(names)}",
    )


def seen_by_reading(frame: pl.DataFrame) -> alt.LayerChart:
    """Draw the kinds of failure seen against sessions read, and what more reading would show.

    Parameters
    ----------
    frame : polars.DataFrame
        Of one ``surface``: ``sessions, modes, low, high`` (null where counted) and ``part``.
    """
    title = f"{frame['surface'][0]}: kinds of failure seen"
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
    return alt.LayerChart(
        layer=[band.transform_filter("datum.low !== null"), line],
        title=title,
        description=f"{title}. {spoken}",
    )


def _names(*, grid: bool = True) -> alt.Axis:
    return alt.Axis(
        labelLimit=NAME_WIDTH,
        minExtent=NAME_WIDTH,
        labelPadding=8,
        ticks=False,
        domain=False,
        grid=grid,
    )


def _code(channel: Any, field: str, values: list[str], codes: tuple[Any, ...]) -> Any:
    """Encode the values of a field; channels of one field share one legend."""
    scale = alt.Scale(domain=values, range=[codes[i % len(codes)] for i in range(len(values))])
    return channel(f"{field}:N", sort=values, title=None, scale=scale)


def _ticks(**options: Any) -> alt.Axis:
    return alt.Axis(tickCount=6, labelFlush=False, **options)


def _spell_pairs(frame: pl.DataFrame) -> str:
    return " ".join(f"{name}: {said}." for name, said in frame.select("name", "said").iter_rows())


def _spell(frame: pl.DataFrame) -> str:
    """Say the rows in words."""
    return " ".join(
        f"{row['name']}, {row['moment']}: "
        + (
            "insufficient."
            if row["per_1000"] is None
            else f"{row['per_1000']:.1f} ({row['low_per_1000']:.1f} to {row['high_per_1000']:.1f})."
        )
        for row in frame.iter_rows(named=True)
    )
