"""The scorecard: every metric with its owner, its target, and what is known of it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evalbench.errors import EvalbenchError
from evalbench.operate.evidence import WHOLE, quarter_window
from evalbench.operate.figures import keep_within
from evalbench.schema import TIME, columns
from evalbench.stats import Estimate
from evalbench.stats.amounts import undefined


class Metric(NamedTuple):
    """What a metric is called, its unit, and whether higher or lower is better."""

    name: str
    unit: str
    better: str


METRICS = {
    key: Metric(**given)
    for key, given in tomllib.loads(
        Path(__file__).with_name("metrics.toml").read_text(encoding="utf-8")
    ).items()
}
SCORECARD = columns(
    (pl.String, "metric name unit better owner"),
    (pl.Float64, "target value low high level"),
    (pl.Int64, "n"),
    (pl.String, "status trend"),
    (pl.List(pl.Float64), "history"),
    (pl.List(pl.String), "quarters"),
    (pl.String, "source reason"),
    (TIME, "observed_at"),
)
"""One row a metric. ``status`` is met, missed, cannot tell, no target, no owner or not recorded;
``trend`` rising, falling, no change shown, or empty without a value before; ``history`` the values
of four ``quarters``, null where there is none; ``low`` and ``high`` are null of what was counted in
full. ``source`` is "measured here", or where a recorded value comes from."""


def check_metric(metric: str, *values: float | None) -> str:
    """Return a metric's name.

    EvalbenchError where there is none, or its values are no shares or not in order.
    """
    if metric not in METRICS:
        raise EvalbenchError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}")
    known = [value for value in values if value is not None]
    odd = [value for value in known if METRICS[metric].unit == "share" and not 0 <= value <= 1]
    if odd:
        raise EvalbenchError(f"{metric} is a share, from 0 to 1, such as 0.4; got {odd[0]:g}")
    if known != sorted(known):
        raise EvalbenchError("low must be at most the value, and high at least")
    return metric


def make_scorecard(
    measured: Mapping[str, Mapping[str, Estimate]],
    observed: pl.DataFrame,
    targets: pl.DataFrame,
    *,
    quarter: str,
    surface: str | None,
    level: float,
    over: bool = True,
) -> pl.DataFrame:
    """Make the scorecard of a surface, or of the company, as :data:`SCORECARD`.

    ``measured`` are the figures by quarter, in order, and under ``quarter`` itself; they count
    before what was recorded. A surface without a target of its own is held to the company's. Until
    the quarter is ``over``, its counts are compared with none.
    """
    said = observed.filter(pl.col("surface").eq_missing(pl.lit(surface))).sort("observed_at", "seq")
    held = targets.filter(
        pl.col("mode").is_null(), pl.col("surface").is_null() | pl.col("surface").eq(surface or "")
    ).sort(pl.col("surface").is_not_null(), "seq")
    owned = {row["metric"]: row for row in held.iter_rows(named=True)}
    recorded = {each: _last(said, each) for each in measured}
    quarters = [each for each in measured if each != WHOLE]
    rows = []
    for key, metric in METRICS.items():
        known = {
            each: _find(measured[each].get(key), recorded[each].get(key), level)
            for each in measured
        }
        own, (found, about) = owned.get(key, {}), known[quarter]
        target = own.get("target")
        owner = own.get("owner") or about.get("owner", "")
        row = {"metric": key, **metric._asdict(), "owner": owner, "target": target, "level": level}
        row |= {"value": found.estimate, "low": found.low, "high": found.high, "n": found.n}
        row |= {"reason": found.reason, "observed_at": about.get("observed_at")}
        row["source"] = about.get("source", "measured here" if found.is_defined else "")
        row |= {"history": [_number(known[each][0].estimate) for each in quarters]}
        row |= {"quarters": quarters, "status": _read(found, target, owner, metric.better)}
        compared = over or metric.unit != "count"
        trend = _trend(found, quarter, quarters, known) if compared else ""
        rows.append(row | {"trend": trend})
    numbers = pl.col("value", "low", "high").fill_nan(None)
    return pl.DataFrame(rows, schema=SCORECARD).with_columns(numbers)


def _last(said: pl.DataFrame, quarter: str) -> dict[str, dict[str, Any]]:
    """Return what was recorded last of each metric in a quarter."""
    own = keep_within(said, "observed_at", *quarter_window(quarter))
    return {row["metric"]: row for row in own.iter_rows(named=True)}


def _find(
    measured: Estimate | None, recorded: dict[str, Any] | None, level: float
) -> tuple[Estimate, dict[str, Any]]:
    """Return what is known of a metric, and who recorded it where somebody did."""
    found = measured or undefined("nobody recorded it", level, 0)
    if found.is_defined or not recorded:
        return found, {}
    low, high = (np.nan if recorded[end] is None else recorded[end] for end in ("low", "high"))
    about = {"source": "recorded"} | {name: recorded[name] for name in recorded if recorded[name]}
    return Estimate(recorded["value"], low, high, level, "recorded", 1), about


def _read(found: Estimate, target: float | None, owner: str, better: str) -> str:
    """Say how a value stands to its target: by its whole interval, where it has one."""
    if not found.is_defined:
        return "not recorded"
    if not owner:
        return "no owner"
    if target is None:
        return "no target"
    sign = 1 if better == "higher" else -1
    ends = [found.estimate if math.isnan(end) else end for end in (found.low, found.high)]
    reached = [sign * (end - target) >= 0 for end in ends]
    return "met" if all(reached) else "cannot tell" if any(reached) else "missed"


def _trend(found: Estimate, quarter: str, quarters: list[str], known: Mapping[str, Any]) -> str:
    """Compare a value with that of the quarter before: the interval of the difference (MOVER)."""
    now, before = (found if quarter in quarters else known[quarters[-1]][0]), known[quarters[-2]][0]
    if not (now.is_defined and before.is_defined):
        return ""
    moved = now.estimate - before.estimate
    below = math.hypot(_gap(now, now.low), _gap(before, before.high))
    above = math.hypot(_gap(now, now.high), _gap(before, before.low))
    if moved - below > 0:
        return "rising"
    return "falling" if moved + above < 0 else "no change shown"


def _gap(estimate: Estimate, end: float) -> float:
    return 0.0 if math.isnan(end) else abs(end - estimate.estimate)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
