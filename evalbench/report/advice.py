"""What 10 advises: which run to prefer, in words that say how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from evalbench.label.annotation.markdown import escape_text
from evalbench.release.compare import ANY
from evalbench.release.forecast import score_summary
from evalbench.release.replay import catch_rate
from evalbench.report.sentences import say_count, say_interval, say_number

FIRST = {
    "better": "Prefer {run}.** Of 1,000 cases {fewer} fewer fail than with *{baseline}*.",
    "cheaper": "Prefer {run}.** It costs {cost} times what {baseline} does, and does not fail"
    " more by {margin} of 1,000 cases: {change}.",
    "keep": "Keep {baseline}.** No other run is shown to fail less. The nearest is {run}:"
    " {change} of 1,000 cases.",
    "worse": "Keep {baseline}.** Every other run is shown to fail more, {run} the least:"
    " {change} of 1,000 cases.",
    "cannot tell": "These cases cannot tell *{run}* from *{baseline}*.** The change is {change} of"
    " 1,000 cases; {n} cases would show one of {mde}.",
}


def say_advice(
    advice: Mapping[str, Any], compared: pl.DataFrame, summary: pl.DataFrame, *, margin: float
) -> str:
    """Say which run to prefer, and which are shown to fail more."""
    run, baseline = (escape_text(advice[name]) for name in ("run", "baseline"))
    change = say_interval(*(1000 * advice[end] for end in ("delta", "low", "high")), signed=True)
    cost = say_interval(*(advice[f"cost_ratio{end}"] for end in ("", "_low", "_high")), decimals=2)
    mde = say_number(1000 * advice["mde"]) if advice["mde"] else "no size at all"
    words = {"run": run, "baseline": baseline, "change": change, "cost": cost, "mde": mde}
    words["fewer"] = say_interval(*(-1000 * advice[end] for end in ("delta", "high", "low")))
    words |= {"margin": say_number(1000 * margin), "n": f"{advice['n']:,}"}
    said = [f"**{FIRST[advice['kind']].format(**words)}"]
    if advice["kind"] == "better" and advice["cost_ratio"] is not None:
        said.append(f"It costs {cost} times as much.")
    if summary.height > 2 and advice["kind"] in ("better", "cheaper"):
        paid = (1000 * advice[f"failing{end}"] for end in ("", "_low", "_high"))
        runs = say_count(summary.height, "run")
        said.append(f"With the choice among {runs} paid for, {say_interval(*paid)} fail.")
    worse = compared.filter(mode=ANY, reading="regression")["run"]
    if len(worse) and advice["kind"] != "worse":
        said.append(f"Shown to fail more: {', '.join(map(escape_text, worse))}.")
    return " ".join(said)


def say_record(caught: pl.DataFrame, scored: pl.DataFrame, **measured: Any) -> str:
    """Say how often today's gate would have caught a regression, and how forecasts did."""
    found = pl.concat([catch_rate(caught, **measured), score_summary(scored, **measured)])
    rows = {row.pop("measure"): row for row in found.iter_rows(named=True)}
    said = []
    if rate := rows.get("catch rate"):
        share = _say_ends(rate, 100)
        said.append(
            f"After releases that can be asked again production showed"
            f" {say_count(rate['n'], 'regression')}. Today's gate would have blocked the release of"
            f" {share} of 100 such."
        )
    if held := rows.get("coverage"):
        bias = _say_ends(rows["bias"], 1, signed=True)
        said.append(
            f"Of {say_count(held['n'], 'forecast')} that can be judged, {_say_ends(held, 100)} of"
            f" 100 held; on average they were off by {bias} failing sessions a week."
        )
    return " ".join(said) or "No release of the past can be judged yet."


def _say_ends(row: Mapping[str, Any], scale: float, *, signed: bool = False) -> str:
    return say_interval(*(scale * row[end] for end in ("estimate", "low", "high")), signed=signed)
