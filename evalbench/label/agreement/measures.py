"""How far annotators agree: by mode, by week and by pair."""

from itertools import combinations

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.label.agreement.consensus import ITEM_KEY, SESSION_KEY
from evalbench.schema import columns
from evalbench.stats import Estimate

FEWEST = 30  # sessions with two labels under which agreement is insufficient
RELIABLE = 2 / 3  # Krippendorff's least alpha for tentative conclusions
CROWD = 8  # annotators beyond which nobody reads a table of every pair
MEASURES = ("percent", "kappa", "alpha", "ac1")
ENDS = ("", "_low", "_high")
# Agreement as reported, after the columns that it is told apart by. Numbers are null where the
# status is "insufficient"; ``alpha_ordinal`` is null where the values are not all numbers.
AGREEMENT = columns(
    (pl.Int64, "n_items n_annotators"),
    (pl.Float64, " ".join(each + end for each in (*MEASURES, "alpha_ordinal") for end in ENDS)),
    (pl.Float64, "level"),
    (pl.String, "status reading reason"),
)


def latest_ratings(ratings: pl.DataFrame) -> pl.DataFrame:
    """Return the last rating of each session by each annotator, as judgements of the criterion.

    Takes ``rating.set`` events; gives ``surface, session_id, mode, annotator, value, at``.
    """
    key = [*SESSION_KEY, "criterion", "actor"]
    latest = ratings.sort("seq").unique(key, keep="last", maintain_order=True)
    at = pl.coalesce("labelled_at", "at")
    return latest.select(*SESSION_KEY, "value", mode="criterion", annotator="actor", at=at)


def with_week(judged: pl.DataFrame) -> pl.DataFrame:
    """Add ``week``, the Monday of the week in which a session's last label came."""
    last = pl.col("at").max().over(SESSION_KEY)
    return judged.with_columns(week=last.dt.truncate("1w").dt.date())


def measure_agreement(
    judged: pl.DataFrame, *, by: list[str], level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure agreement within each group of judgements: ``by``, then :data:`AGREEMENT`.

    Only sessions of two annotators or more can show it; fewer than :data:`FEWEST`, or all of one
    value, are insufficient. The reading goes by alpha's interval against :data:`RELIABLE`; where
    numbers read otherwise on the ordinal scale it "depends on the scale". Alpha and kappa fall
    where a mode is rare though people agree; AC1 does not.
    """
    rows = [
        dict(zip(by, key, strict=True)) | _measure(part, level, rng)
        for key, part in judged.sort(*by, *ITEM_KEY, "annotator").group_by(by, maintain_order=True)
    ]
    return pl.DataFrame(rows, schema={name: judged.schema[name] for name in by} | AGREEMENT)


def measure_pairs(judged: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Measure agreement of every two annotators of a surface and mode: kappa is Cohen's.

    Gives ``surface, mode, pair``, then :data:`AGREEMENT`, for modes of up to :data:`CROWD` people.
    """
    parts = [pl.DataFrame(schema=judged.schema | {"pair": pl.String})]
    for (_, _), part in judged.group_by("surface", "mode"):
        people = part["annotator"].unique().sort()
        for pair in combinations(people, 2) if len(people) <= CROWD else ():
            both = part.filter(pl.col("annotator").is_in(pair))
            shared = both.filter(pl.len().over(SESSION_KEY) > 1)
            parts.append(shared.with_columns(pair=pl.lit(", ".join(pair))))
    return measure_agreement(pl.concat(parts), by=["surface", "mode", "pair"], level=level, rng=rng)


def measure_repeats(
    labels: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure how far each annotator agrees with themselves: pass or fail, in two queues.

    Takes ``label.set`` events. Gives ``surface, annotator, n_items`` (sessions that one person was
    sure of twice), and ``same``, the share of which the verdict was the same, with its ends.
    """
    queued = labels.drop_nulls("queue").sort("seq")
    twice = (
        queued.unique([*SESSION_KEY, "actor", "queue"], keep="last")
        .filter(pl.col("verdict") != "unsure")
        .group_by("surface", "actor", "session_id", maintain_order=True)
        .agg(same=pl.col("verdict").n_unique() == 1, times=pl.len())
        .filter(pl.col("times") > 1)
    )
    rows = []
    for (surface, annotator), own in twice.sort("surface", "actor").group_by(
        "surface", "actor", maintain_order=True
    ):
        same = stats.proportion(own["same"].cast(pl.Float64).to_numpy(), level=level, rng=rng)
        rows.append((surface, annotator, own.height, same.estimate, same.low, same.high))
    schema = columns(
        (pl.String, "surface annotator"),
        (pl.Int64, "n_items"),
        (pl.Float64, "same same_low same_high"),
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


def _measure(part: pl.DataFrame, level: float, rng: np.random.Generator) -> dict[str, object]:
    """Measure one group; a row of :data:`AGREEMENT`."""
    shared = part.filter(pl.len().over(SESSION_KEY) > 1)
    n_items = shared.select(SESSION_KEY).n_unique()
    row: dict[str, object] = dict.fromkeys(("status", "reading"), "insufficient")
    row |= {"n_items": n_items, "n_annotators": shared["annotator"].n_unique(), "level": level}
    if n_items < FEWEST:
        return row | {"reason": f"{n_items} sessions with two labels; {FEWEST} are needed"}
    values = shared["value"]
    if values.n_unique() == 1:
        same = {False: "nobody saw it", True: "everybody saw it always"}
        return row | {"reason": same.get(values[0], f"every rating is {values[0]}")}
    who = shared["session_id"].to_numpy(), shared["annotator"].to_numpy()
    nominal = stats.agreement(*who, values.to_numpy(), level=level, rng=rng)
    estimates = {name: getattr(nominal, name) for name in MEASURES}
    readings = {_read(nominal.alpha)}
    numbers = values.cast(pl.Float64, strict=False).to_numpy()
    if values.dtype != pl.Boolean and not np.isnan(numbers).any():
        ordinal = stats.agreement(*who, numbers, measure="ordinal", level=level, rng=rng)
        estimates["alpha_ordinal"] = ordinal.alpha
        readings.add(_read(ordinal.alpha))
    for name, each in estimates.items():
        row |= {name: each.estimate, f"{name}_low": each.low, f"{name}_high": each.high}
    reading = readings.pop() if len(readings) == 1 else "depends on the scale"
    return row | {"status": "ok", "reading": reading, "reason": nominal.alpha.reason}


def _read(alpha: Estimate) -> str:
    if alpha.high < RELIABLE:
        return "ambiguous"
    return "people agree" if alpha.low >= RELIABLE else "not settled"
