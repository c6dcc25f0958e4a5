"""How fast people label, and how much of the experts' hours it takes."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from evalbench.label.annotation.reservations import Standing
from evalbench.schema import TIME

BREAK = 5  # A label that took this many times an annotator's median was not read all that time


def measure_progress(standing: Standing, annotator: str, *, now: datetime) -> dict[str, Any]:
    """Measure how far a queue is, in items, and how fast one annotator (None: unknown)."""
    places = standing.places.values()
    given = [place.labels[annotator] for place in places if annotator in place.labels]
    schema = pl.Schema({"at": TIME, "seconds": pl.Float64()})
    labels = pl.DataFrame([(each.at, each.seconds) for each in given], schema=schema, orient="row")
    spent = add_minutes(labels.with_columns(actor=pl.lit(annotator)))["minutes"].drop_nulls()
    minutes, usual = spent.sum(), float(np.median(spent)) if len(spent) else 0.0
    done = sum(place.is_done() for place in places)
    mine = sum(place.is_free(annotator, now) for place in places)
    return {
        "done": done,
        "left": len(places) - done,
        "by_me": len(given),
        "failures": sum(each.verdict == "fail" for each in given),
        "sessions_per_hour": 60 * len(given) / minutes if minutes else None,
        "minutes_left": mine * usual if minutes else None,
    }


def add_minutes(labels: pl.DataFrame) -> pl.DataFrame:
    """Sort labels by ``at`` and add the ``minutes`` each took; null where an annotator has no time.

    They are the ``seconds`` measured, else the time since the annotator's label before. Their
    median stands for what took :data:`BREAK` times as long, and for a label without a time.
    """
    since = pl.col("at").diff().over("actor").dt.total_microseconds() / 1e6
    taken = pl.coalesce(pl.col("seconds"), since) / 60
    usual = taken.median().over("actor")
    minutes = pl.when(taken <= BREAK * usual).then(taken).otherwise(usual)
    return labels.sort("at").with_columns(minutes=minutes)


def measure_cadence(labels: pl.DataFrame, *, slot_minutes: float) -> pl.DataFrame:
    """Count labels and minutes by surface and week against the ``slot_minutes`` that experts have.

    Takes ``label.set`` events. Gives ``surface, week`` (its Monday), ``annotators, labels,
    minutes`` (null: unknown), ``sessions_an_hour`` of one expert, and ``slot_percent``.
    """
    at = pl.coalesce("labelled_at", "at")
    return (
        add_minutes(labels.with_columns(at=at))
        .group_by("surface", week=pl.col("at").dt.truncate("1w").dt.date())
        .agg(
            annotators=pl.col("actor").n_unique().cast(pl.Int64),
            labels=pl.len().cast(pl.Int64),
            minutes=pl.when(pl.col("minutes").count() > 0).then(pl.col("minutes").sum()),
            sessions_an_hour=60 / pl.col("minutes").mean(),
        )
        .with_columns(slot_percent=100 * pl.col("minutes") / pl.col("annotators") / slot_minutes)
        .sort("surface", "week")
    )
