"""What comes in, and what users and the product say of it, against what it was.

Input (length, language, segments such as the intent, tools, models) and signals, over all traffic:
none of it is a failure, and all of it is known before any session is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import orjson
import polars as pl

from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns
from evalbench.session.language import detect_language
from evalbench.stats.mix import share_changes

TRAITS = columns((pl.String, "surface session_id user kind trait value"))
SIDES = ("before", "after")
DRIFT = columns(
    (pl.String, "surface kind trait value"),
    (pl.Float64, " ".join(f"share_{side}{end}" for side in SIDES for end in ("", "_low", "_high"))),
    (pl.Float64, "delta low high"),
    (pl.Int64, "n_before n_after"),
    (pl.String, "reading"),
)
"""``delta`` is the change of the share of sessions; ``reading`` whether it passes tolerance."""
INPUT, SIGNAL = "input", "signal"
MOST_VALUES = 12
"""Values of a trait that are looked at by themselves; rarer ones are "another"."""
MOST_TEXTS = 5_000
"""Sessions of a surface whose language is told."""
MOVED, WITHIN, UNKNOWN = "moved", "within tolerance", "cannot tell"
_LENGTHS = {"characters": [50, 200, 800, 3200], "turns": [3, 5, 9, 17]}


class Raised(Protocol):
    """A sign of trouble: when it is raised, null where nobody recorded it; and its words."""

    @property
    def raised(self) -> pl.Expr:
        """When it is raised."""

    @property
    def words(self) -> str:
        """What to call it to a reader."""


def list_traits(
    sessions: pl.DataFrame, spans: pl.LazyFrame, signals: Mapping[str, Raised]
) -> pl.DataFrame:
    """List what is known of each session before it is judged, as :data:`TRAITS`.

    A session may have several values of one trait (the tools it called); what was not recorded has
    no row.
    """
    about = sessions.with_columns(user=pl.coalesce("group_key", "session_id"))
    own = spans.join(about.lazy().select(SESSION_KEY), on=SESSION_KEY, how="semi")
    tools = own.filter(kind="tool").select(*SESSION_KEY, value="tool_name").unique().collect()
    models = own.filter(kind="llm").select(*SESSION_KEY, value="model").unique().collect()
    toolless = about.filter(n_tool_calls=0).select(*SESSION_KEY, value=pl.lit("no tool"))
    some = about.filter(pl.int_range(pl.len()).shuffle(seed=0).over("surface") < MOST_TEXTS)
    texts = some.drop_nulls("first_input")
    spoken = [detect_language(text) for text in texts["first_input"]]
    held = [orjson.loads(text or b"{}") for text in about["segments"]]
    names = sorted({name for each in held for name in each})
    said = {name: pl.Series([each.get(name) for each in held], dtype=pl.String) for name in names}
    lengths = {"characters": pl.col("first_input").str.len_chars(), "turns": pl.col("n_turns")}
    parts = {
        (INPUT, "tool"): pl.concat([tools, toolless]),
        (INPUT, "model"): models,
        (INPUT, "language"): texts.with_columns(value=pl.Series(spoken, dtype=pl.String)),
        **{(INPUT, f"length in {unit}"): about.with_columns(value=_bin(unit, expression))
           for unit, expression in lengths.items()},
        **{(INPUT, name): about.with_columns(value=values) for name, values in said.items()},
        **{(SIGNAL, each.words): about.with_columns(value=_yes_or_no(each.raised))
           for each in signals.values()},
    }  # fmt: skip
    rows = [
        part.select(*SESSION_KEY, "value").with_columns(kind=pl.lit(kind), trait=pl.lit(trait))
        for (kind, trait), part in parts.items()
    ]
    users = about.select(*SESSION_KEY, "user")
    return pl.concat(rows).drop_nulls("value").join(users, on=SESSION_KEY).select(TRAITS.names())


def _bin(unit: str, length: pl.Expr) -> pl.Expr:
    breaks = _LENGTHS[unit]
    within = (f"{low} to {high - 1}" for low, high in pairwise(breaks))
    names = [f"under {breaks[0]}", *within, f"{breaks[-1]} or more"]
    place = sum((length >= each).cast(pl.Int64) for each in breaks)
    return pl.lit(0).add(place).replace_strict(dict(enumerate(names)), default=None)


def _yes_or_no(raised: pl.Expr) -> pl.Expr:
    return pl.when(raised).then(pl.lit("yes")).when(raised.not_()).then(pl.lit("no"))


def compare_mix(
    before: pl.DataFrame, after: pl.DataFrame, *, tolerance: float, level: float
) -> pl.DataFrame:
    """Compare two lists of :data:`TRAITS`, as :data:`DRIFT`: what moved first, the most first.

    A value moved where the whole interval of the change of its share lies beyond ``tolerance``;
    intervals of one trait hold at once. A trait that one side lacks is left out.

    Raises ValueError where ``tolerance`` is no share.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be in [0, 1), got {tolerance}")
    both = pl.concat([before.with_columns(now=pl.lit(False)), after.with_columns(now=pl.lit(True))])
    rows = list[dict[str, Any]]()
    for key, part in both.group_by("surface", "kind", "trait", maintain_order=True):
        named = dict(zip(("surface", "kind", "trait"), key, strict=True))
        if part["now"].n_unique() == 2:
            rows += [named | row for row in _compare_trait(part, tolerance, level)]
    moved = pl.col("reading") == MOVED
    table = pl.DataFrame(rows, schema=DRIFT)
    return table.sort("surface", ~moved, -pl.col("delta").abs(), "trait", maintain_order=True)


def _compare_trait(part: pl.DataFrame, tolerance: float, level: float) -> list[dict[str, Any]]:
    most = part["value"].value_counts(sort=True)["value"].head(MOST_VALUES).to_list()
    known = part.with_columns(
        value=pl.when(pl.col("value").is_in(most)).then("value").otherwise(pl.lit("another"))
    ).unique([*SESSION_KEY, "now", "value"])
    values = sorted(known["value"].unique())
    shown = [value for value in values if known["kind"][0] == INPUT or value == "yes"]
    if not shown:
        return []
    sides = [_count_users(known.filter(now=now), shown) for now in (False, True)]
    rows = []
    for value, change in zip(shown, share_changes(*sides, level=level), strict=True):
        delta = change.delta
        row: dict[str, Any] = {"value": value, "reading": _read(delta.low, delta.high, tolerance)}
        row |= {"n_before": change.before.n, "n_after": change.after.n}
        for side, each in zip(SIDES, (change.before, change.after), strict=True):
            ends = {"": each.estimate, "_low": each.low, "_high": each.high}
            row |= {f"share_{side}{end}": value for end, value in ends.items()}
        rows.append(row | {"delta": delta.estimate, "low": delta.low, "high": delta.high})
    return rows


def _count_users(side: pl.DataFrame, values: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Count the sessions of each user, and those of them with each value."""
    holding = [pl.col("value").eq(value).sum().alias(f"{at}") for at, value in enumerate(values)]
    users = side.group_by("user").agg(pl.col("session_id").n_unique().alias("n"), *holding)
    return users["n"].to_numpy(), users.select(f"{at}" for at in range(len(values))).to_numpy()


def _read(low: float, high: float, tolerance: float) -> str:
    if low > tolerance or high < -tolerance:
        return MOVED
    return WITHIN if -tolerance <= low and high <= tolerance else UNKNOWN
