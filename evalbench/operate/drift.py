"""What comes in, and what users and the product say of it, against what it was.

None of it is a failure, and all of it is known before any session is judged.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import polars as pl

from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns
from evalbench.session.language import detect_language
from evalbench.stats.mix import share_changes

INPUT, SIGNAL = "input", "signal"
MOVED = "moved"
FEWEST = 20  # users of either side under which no share is read
MOST_VALUES = 12  # of a trait that are looked at by themselves; rarer ones are "another"
MOST_TEXTS = 5_000  # sessions of a surface whose language is told
TRAITS = columns((pl.String, "surface session_id user kind trait value"))
DRIFT = columns(
    (pl.String, "surface kind trait value"),
    (pl.Float64, "share_before share_before_low share_before_high"),
    (pl.Float64, "share_after share_after_low share_after_high shift shift_low shift_high"),
    (pl.Int64, "n_before n_after"),
    (pl.String, "reading"),
)
_LENGTHS = {
    "characters": (pl.col("first_input").str.len_chars(), [50, 200, 800, 3200]),
    "turns": (pl.col("n_turns"), [3, 5, 9, 17]),
}


def list_traits(
    sessions: pl.DataFrame, spans: pl.LazyFrame, signals: Mapping[str, Any]
) -> pl.DataFrame:
    """List what is known of each session before it is judged, as :data:`TRAITS`.

    A session may have several values of one trait (the tools it called); what was not recorded has
    no row. ``signals`` have ``words`` and an expression, ``raised``; a ``request`` is the kind of
    what was asked for, where that is known.
    """
    about = sessions.with_columns(user=pl.coalesce("group_key", "session_id"))
    own = spans.join(about.lazy().select(SESSION_KEY), on=SESSION_KEY, how="semi")
    named = {"tool": pl.col("tool_name"), "llm": pl.col("model")}
    calls = {
        kind: own.filter(kind=kind).select(*SESSION_KEY, value=name).unique().collect()
        for kind, name in named.items()
    }
    none = about.filter(n_tool_calls=0).select(*SESSION_KEY, value=pl.lit("no tool"))
    some = about.filter(pl.int_range(pl.len()).shuffle(seed=0).over("surface") < MOST_TEXTS)
    texts = some.drop_nulls("first_input")
    spoken = pl.Series([detect_language(text) for text in texts["first_input"]], dtype=pl.String)
    parts = {
        (INPUT, "tool"): pl.concat([calls["tool"], none]),
        (INPUT, "model"): calls["llm"],
        (INPUT, "language"): texts.with_columns(value=spoken),
    }
    held = [orjson.loads(text or b"{}") for text in about["segments"]]
    values: dict[tuple[str, str], Any] = {
        (INPUT, name): pl.Series([each.get(name) for each in held], dtype=pl.String)
        for name in sorted({name for each in held for name in each})
    }
    values |= {(INPUT, f"length in {unit}"): _bin(*how) for unit, how in _LENGTHS.items()}
    if "request" in about.columns:
        values[INPUT, "kind of request"] = pl.col("request")
    values |= {(SIGNAL, each.words): _say(each.raised) for each in signals.values()}
    parts |= {key: about.with_columns(value=value) for key, value in values.items()}
    rows = [
        part.select(*SESSION_KEY, "value").with_columns(kind=pl.lit(kind), trait=pl.lit(trait))
        for (kind, trait), part in parts.items()
    ]
    users = about.select(*SESSION_KEY, "user")
    return pl.concat(rows).drop_nulls("value").join(users, on=SESSION_KEY).select(TRAITS.names())


def _bin(length: pl.Expr, breaks: list[int]) -> pl.Expr:
    within = (f"{low} to {high - 1}" for low, high in pairwise(breaks))
    names = [f"under {breaks[0]}", *within, f"{breaks[-1]} or more"]
    place = reduce(operator.add, ((length >= each).cast(pl.Int64) for each in breaks))
    return place.replace_strict(dict(enumerate(names)), default=None)


def _say(raised: pl.Expr) -> pl.Expr:
    return pl.when(raised).then(pl.lit("yes")).when(raised.not_()).then(pl.lit("no"))


def compare_mix(
    before: pl.DataFrame, after: pl.DataFrame, *, tolerance: float, level: float
) -> pl.DataFrame:
    """Compare two lists of :data:`TRAITS`, as :data:`DRIFT`: what moved first, the most first.

    A value moved where the whole interval of the ``shift`` of its share of sessions lies beyond
    ``tolerance``; intervals of one trait hold at once. A trait that one side lacks is left out.

    Raises ValueError where ``tolerance`` is no share.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be in [0, 1), got {tolerance}")
    both = pl.concat([before.with_columns(now=pl.lit(False)), after.with_columns(now=pl.lit(True))])
    rows, by = list[dict[str, Any]](), ["surface", "kind", "trait"]
    for key, part in both.group_by(by, maintain_order=True):
        if part["now"].n_unique() == 2:
            named = dict(zip(by, key, strict=True))
            rows += [named | row for row in _compare_trait(part, tolerance, level)]
    table = pl.DataFrame(rows, schema=DRIFT)
    most = pl.col("reading") != MOVED, -pl.col("shift").abs()
    return table.sort("surface", *most, "trait", maintain_order=True)


def _compare_trait(part: pl.DataFrame, tolerance: float, level: float) -> list[dict[str, Any]]:
    most = part["value"].value_counts(sort=True)["value"].head(MOST_VALUES).to_list()
    rarer = pl.when(pl.col("value").is_in(most)).then("value").otherwise(pl.lit("another"))
    known = part.with_columns(value=rarer).unique([*SESSION_KEY, "now", "value"])
    values = sorted(known["value"].unique()) if part["kind"][0] == INPUT else ["yes"]
    sides = [_count_users(known.filter(now=now), values) for now in (False, True)]
    rows, few = [], min(len(side[0]) for side in sides) < FEWEST
    for value, change in zip(values, share_changes(*sides, level=level), strict=True):
        low, high = change.shift.low, change.shift.high
        within = -tolerance <= low and high <= tolerance
        reading = "within tolerance" if within else "cannot tell"
        reading = MOVED if low > tolerance or high < -tolerance else reading
        reading = "cannot tell" if few else reading
        row = {"n_before": change.before.n, "n_after": change.after.n, "reading": reading}
        row |= change.before.cells("share_before") | change.after.cells("share_after")
        rows.append(row | change.shift.cells("shift") | {"value": value})
    return rows


def _count_users(side: pl.DataFrame, values: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Count the sessions of each user, and those of them with each value."""
    holding = [pl.col("value").eq(value).sum().alias(f"{at}") for at, value in enumerate(values)]
    counted = side.group_by("user").agg(pl.col("session_id").n_unique().alias("n"), *holding)
    users = counted.sort("user")  # sums of floats are the same in one order alone
    return users["n"].to_numpy(), users.drop("user", "n").to_numpy()
