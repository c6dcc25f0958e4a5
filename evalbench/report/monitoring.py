"""What 09 says and draws of production: alerts first, then budgets, then what moved."""

from __future__ import annotations

import textwrap
from typing import Any

import altair as alt
import polars as pl

from evalbench.label.annotation.markdown import escape_text
from evalbench.operate.alerts import OVER, UNKNOWN
from evalbench.operate.drift import MOVED
from evalbench.report.charts import LINE, MARK, SOFT
from evalbench.report.sentences import say_count, say_interval, say_number, say_surface

CAUSES = {
    "judge": "the evaluator",
    "provider": "the provider's model",
    "release": "the product's own release",
    "traffic": "the traffic",
    "several": "several at once",
}
DRAWN, NAMED = 6, 3  # failure modes that find room on a chart, and in a sentence
WIDTH, HEAD = 140, 24  # of one of two charts side by side on a phone, and letters over it


def monitor_headline(
    alerts: pl.DataFrame,
    budgets: pl.DataFrame,
    causes: pl.DataFrame,
    traffic: pl.DataFrame,
    *,
    sessions: int,
) -> str:
    """Say what is above its target, which budgets are spent, and what moved; if any came in."""
    over, unknown = alerts.filter(reading=OVER), alerts.filter(reading=UNKNOWN)
    since = pl.col("raised").dt.to_string("%e %B").str.strip_chars()
    named = over.select("name", since).iter_rows()
    told = "; ".join(f"*{escape_text(name)}*, seen on {day}" for name, day in named)
    watched = alerts.height - unknown.height
    if alerts.is_empty():
        lines = ["**No failure has a target**, so none can alert."]
    elif not sessions:
        lines = []
    elif over.height:
        lines = [f"**Above target: {say_count(over.height, 'failure')}**. {told}."]
    else:
        of = say_count(watched, "failure")
        lines = [f"**No alert**: of {of} with a target none is shown to be above it."]
    if not sessions:
        none = "**No session of this time came in**: nothing can be said of production."
        lines = [f"{none} `evalbench run 01_observe` shows what there is.", *lines]
    elif unknown.height:
        lines.append(f"{say_count(unknown.height, 'failure')} with a target cannot be watched.")
    single = budgets.drop_nulls("mode")
    if single.height:
        spent = single.filter(reading="exhausted")
        worst = ", ".join(f"*{escape_text(name)}*" for name in spent["name"].head(NAMED))
        said = f"{spent.height} of {say_count(single.height, 'error budget')} exhausted"
        lines.append(f"{said}, the most severe first: {worst}." if worst else f"{said}.")
    for name, cause in causes.select("name", "cause").iter_rows():
        if cause in CAUSES:
            lines.append(f"What moved *{escape_text(name)}* is {CAUSES[cause]}.")
    changed = traffic.filter(reading=MOVED).height
    if changed:
        what = say_count(changed, "share")
        lines.append(f"{what} of the traffic moved by more than the tolerance.")
    return "\n".join(f"- {line}" for line in lines)


def say_alerts(alerts: pl.DataFrame) -> pl.DataFrame:
    """Add ``evidence`` in words, and why where there is none."""
    said = [
        why
        or ("over a million" if highest > 1e6 else say_number(highest, decimals=int(highest < 10)))
        + f" of {say_number(threshold)}"
        for highest, threshold, why in alerts.select("highest", "threshold", "why").iter_rows()
    ]
    return alerts.with_columns(evidence=pl.Series(said, dtype=pl.String))


def say_causes(causes: pl.DataFrame) -> pl.DataFrame:
    """Write the cause in words."""
    return causes.with_columns(pl.col("cause").replace(CAUSES))


def rates_over_time(frame: pl.DataFrame) -> alt.FacetChart:
    """Draw the rates of a surface's first :data:`DRAWN` names by period; hollow: no labels."""
    names = frame["name"].unique(maintain_order=True).head(DRAWN).to_list()
    heads = {name: textwrap.fill(name, HEAD) for name in names}
    shown = frame.filter(pl.col("name").is_in(names)).with_columns(
        pl.col("often", "often_low", "often_high", "held_to") * 1000,
        read=pl.col("n_labels") > 0,
        head=pl.col("name").replace(heads),
    )
    title = f"{say_surface(frame['surface'][0])}: failures per 1,000 sessions"
    day = alt.X("start:T", title=None, axis=alt.Axis(format="%e %b", tickCount=3, grid=False))
    base = alt.Chart(shown, width=WIDTH, height=90).encode(x=day)
    value = alt.Y("often:Q", title=None, axis=alt.Axis(tickCount=3, gridColor=LINE))
    read: Any = alt.Scale(domain=[True, False], range=[MARK, "white"])
    layer = [
        base.mark_area(color=MARK, opacity=0.15).encode(y="often_low:Q", y2="often_high:Q"),
        base.mark_line(color=SOFT, strokeDash=[4, 3]).encode(y="held_to:Q"),
        base.mark_line(color=MARK, strokeWidth=1.5).encode(y=value),
        base.mark_point(size=36, stroke=MARK, opacity=1).encode(
            y=value, fill=alt.Fill("read:N", legend=None, scale=read)
        ),
    ]
    last = shown.unique("name", keep="last", maintain_order=True)
    rows = last.select("name", "start", "often", "often_low", "often_high").iter_rows()
    spoken = " ".join(f"{name}, from {day}: {say_interval(*ends)}." for name, day, *ends in rows)
    lines: Any = {"labelExpr": r"split(datum.label, '\n')", "labelLimit": 0, "labelAnchor": "start"}
    header = alt.Header(title=None, labelFontSize=12, **lines)
    facet = alt.Facet("head:N", sort=list(heads.values()), header=header)
    drawn = alt.layer(*layer, data=shown).facet(facet, columns=2)
    return drawn.properties(title=title, description=f"{title}. {spoken}")
