"""How fast people label, from when they did and how long it took them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from evalbench.label.reservations import Standing
from evalbench.schema import TIME

BREAK = 5
"""A label that took this many times an annotator's median was not read all that time."""


@dataclass(frozen=True)
class Progress:
    """How far a queue is, and how fast one of its annotators.

    Attributes
    ----------
    done, left : int
        Items that have all their labels, and the others.
    by_me : int
        Items that the annotator labelled.
    sessions_per_hour, minutes_per_failure : float or None
        Their pace, and what a session that they found failing cost; None where nothing tells.
    minutes_left : float
        What is left of their slot this week, which begins on Monday, UTC.
    """

    done: int
    left: int
    by_me: int
    sessions_per_hour: float | None
    minutes_per_failure: float | None
    minutes_left: float


def measure_progress(
    standing: Standing, annotator: str, *, slot_minutes: float, now: datetime
) -> Progress:
    """Work out how far a queue is, and the pace of one annotator against their weekly slot."""
    places = standing.places.values()
    given = [place.labels[annotator] for place in places if annotator in place.labels]
    schema = pl.Schema({"at": TIME, "verdict": pl.String(), "seconds": pl.Float64()})
    labels = pl.DataFrame(given, schema=schema, orient="row")
    spent = add_minutes(labels.with_columns(actor=pl.lit(annotator)))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    this_week = spent.filter(pl.col("at") >= today - timedelta(days=today.weekday()))
    minutes, failures = float(spent["minutes"].sum()), spent.filter(verdict="fail").height
    done = sum(place.is_done() for place in places)
    return Progress(
        done=done,
        left=len(places) - done,
        by_me=len(given),
        sessions_per_hour=60 * len(given) / minutes if minutes else None,
        minutes_per_failure=minutes / failures if minutes and failures else None,
        minutes_left=max(0.0, slot_minutes - float(this_week["minutes"].sum())),
    )


def add_minutes(labels: pl.DataFrame) -> pl.DataFrame:
    """Work out the minutes that each label took.

    They are the ``seconds`` somebody measured, else the time since the annotator's label before;
    the first of these has no time. Over :data:`BREAK` times the annotator's median there was a
    break, and the median stands for it, as for a label without a time.

    Parameters
    ----------
    labels : polars.DataFrame
        ``actor``, ``at`` and ``seconds`` (null where nobody measured); other columns are kept.

    Returns
    -------
    polars.DataFrame
        Sorted by ``at``, with ``minutes``; null where an annotator has no time at all.
    """
    since = pl.col("at").diff().over("actor").dt.total_microseconds() / 1e6
    taken = pl.coalesce(pl.col("seconds"), since) / 60
    usual = taken.median().over("actor")
    minutes = pl.when(taken <= BREAK * usual).then(taken).otherwise(usual)
    return labels.sort("at").with_columns(minutes=minutes)
