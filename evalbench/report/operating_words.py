"""What reports say of issues, of how long they take, and of the scorecard's metrics."""

import math

import polars as pl

from evalbench.report.sentences import say_number

NOT_RECORDED = "not recorded"
UNITS = {
    "share": (100, 0, "{}%"),
    "dollars": (1, 2, "${}"),
    "number": (1, 2, "{}"),
    "count": (1, 0, "{}"),
    "days": (1, 1, "{}"),
    "hours": (1, 1, "{}"),
    "minutes": (1, 0, "{}"),
    "seconds": (1, 1, "{} s"),
}
"""By what a value of each unit is multiplied, its decimals, and how it is written."""


def say_scorecard(scorecard: pl.DataFrame) -> pl.DataFrame:
    """Write each metric's value with its interval (``value_said``) and its ``target_said``."""
    rows = scorecard.select("unit", "value", "low", "high", "target").iter_rows()
    said = [(_say_value(*row[:4]), say_target(row[0], row[4])) for row in rows]
    schema = {"value_said": pl.String, "target_said": pl.String}
    status = pl.when(pl.col("status") != NOT_RECORDED).then("status")
    told = scorecard.with_columns(status=status)
    return told.hstack(pl.DataFrame(said, schema=schema, orient="row"))


def say_resolution(resolution: pl.DataFrame) -> pl.DataFrame:
    """Write the median days with their interval (``days_said``); those of no issue are left out."""
    rows = resolution.select("days", "days_low", "days_high", "reason").iter_rows()
    said = [_say_days(*row) for row in rows]
    kept = resolution.with_columns(days_said=pl.Series(said, dtype=pl.String))
    return kept.filter(pl.col("n") > 0)


def say_value(unit: str, value: float) -> str:
    """Write the value of a metric in its unit."""
    scale, decimals, form = UNITS[unit]
    if unit == "dollars" and 0 < value < 1:
        decimals = 1 - math.floor(math.log10(value))
    return form.format(say_number(value * scale, decimals=decimals))


def say_target(unit: str, value: float | None) -> str:
    """Write what a metric is held to; empty of none."""
    scale, _, form = UNITS[unit]
    return "" if value is None else form.format(f"{value * scale:g}")


def _say_value(unit: str, value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NOT_RECORDED
    if low is None or high is None:
        return say_value(unit, value)
    top = "or more" if math.isinf(high) else f"to {say_value(unit, high)}"
    return f"{say_value(unit, value)} ({say_value(unit, low)} {top})"


def _say_days(days: float, low: float, high: float, reason: str) -> str:
    if math.isnan(low):
        return reason
    if math.isnan(days):
        return f"{reason}: {say_value('days', low)} days or more"
    return _say_value("days", days, low, high)
