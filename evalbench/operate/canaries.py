"""What moved a failure rate: the judge, the product, its provider or the traffic.

Fixed cases that are replayed tell of the product, sessions that are judged again of the judge; what
moves in production alone is the traffic.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import orjson
import polars as pl

from evalbench import stats
from evalbench.operate.alerts import JUDGE_KEY, MODE_KEY
from evalbench.operate.windows import SESSION_KEY
from evalbench.schema import columns
from evalbench.stats import Estimate
from evalbench.stats.mix import difference, share_changes
from evalbench.stats.shift import find_cause

CANARY = "canary"
FEWEST = 30  # sessions judged again, or cases replayed, under which nothing is read from them
MOST_RUNS = 7  # runs of canaries on either side: a week of daily ones
PARTS = ("whole", "judge", "canary", "mix")
# Shifts of the share of sessions that the judge fails: the ``whole`` in production, on the same
# bytes judged again (``judge``), on cases replayed (``canary``), and by segments (``mix``).
CAUSES = columns(
    (pl.String, "surface mode name cause"),
    (pl.Float64, "before after"),
    (pl.Float64, " ".join(f"{part}{end}" for part in PARTS for end in ("", "_low", "_high"))),
    (pl.Int64, "n_before n_after n_again n_cases"),
)


def judged_again(verdicts: pl.DataFrame, judges: pl.DataFrame) -> pl.DataFrame:
    """Pair the ``first`` and last verdict, ``again``, on what a mode's judge judged twice."""
    own = verdicts.join(judges.select(JUDGE_KEY[:3]), on=JUDGE_KEY[:3], how="semi")
    said = own.drop_nulls("fails").sort("judged_at", "repeat")
    pairs = said.group_by(*MODE_KEY, "session_id", maintain_order=True).agg(
        first=pl.col("fails").first(), again=pl.col("fails").last(), n=pl.len()
    )
    return pairs.filter(pl.col("n") > 1).drop("n")


def split_runs(runs: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the canary runs to compare, in their order: those before, and as many last ones."""
    names = runs.filter(suite=CANARY).sort("seq")["run"].to_list()
    half = min(len(names) // 2, MOST_RUNS)
    return names[len(names) - 2 * half : len(names) - half], names[len(names) - half :]


def pair_replays(runs: pl.DataFrame, verdicts: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """Pair the cases of the last canary runs with those of the runs before, as often as replayed.

    Gives ``surface, mode, case, before, after``, whether the older one was judged ``again``, and
    whether all runs name one release: then what moved is the provider's.
    """
    old, new = split_runs(runs)
    key = [*MODE_KEY, "run", "case", "repeat"]
    last = verdicts.drop_nulls("fails").sort("judged_at", "again").unique(key, keep="last")
    place = {name: at for side in (old, new) for at, name in enumerate(side)}
    placed = last.with_columns(place=pl.col("run").replace_strict(place, default=None))
    both = [*MODE_KEY, "case", "repeat", "place"]
    before, after = (placed.filter(pl.col("run").is_in(side)) for side in (old, new))
    older = before.select(*both, before="fails", again=pl.col("again") > 0)
    pairs = older.join(after.select(*both, after="fails"), on=both)
    released = runs.filter(pl.col("run").is_in(old + new))["release"]
    return pairs.sort(both), released.n_unique() <= 1


def find_causes(
    before: pl.DataFrame,
    after: pl.DataFrame,
    again: pl.DataFrame,
    replays: tuple[pl.DataFrame, bool],
    modes: pl.DataFrame,
    *,
    steady: Collection[str],
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Say of each failure mode what moved the share that its judge fails, as :data:`CAUSES`.

    ``steady`` evaluators say the same of the same bytes. What moved on cases that were not judged
    again is less what moved with the judge. The intervals of the whole hold for all modes at once.
    """
    pairs, one_release = replays
    rows, at_once = [], 1 - (1 - level) / max(before.select(MODE_KEY).n_unique(), 1)
    for key, old in before.group_by(MODE_KEY, maintain_order=True):
        own = dict(zip(MODE_KEY, key, strict=True))
        new = after.filter(**own)
        if new.is_empty():
            continue
        twice, cases = again.filter(**own), pairs.filter(**own)
        sides = [{"segment": each["segment"], "fails": each["fails"]} for each in (old, new)]
        mix = stats.what_moved(*sides, level=level, rng=rng).mix
        [change] = share_changes(*map(_count_users, (old, new)), level=at_once)
        whole = change.shift
        judge = _paired(twice, "first", "again", "session_id", level, rng)
        if set(old["evaluator_id"]) <= set(steady):
            judge = Estimate(0.0, 0.0, 0.0, level, "same version", old.height)
        canary = _paired(cases, "before", "after", "case", level, rng)
        if judge and canary and not cases["again"].all():
            canary = difference(judge, canary)
        cause = find_cause(whole, judge, canary)
        if cause == "product":
            cause = "provider" if one_release else "release"
        row: dict[str, Any] = own | {"cause": cause, "n_before": old.height, "n_after": new.height}
        row |= {"before": change.before.estimate, "after": change.after.estimate}
        row |= {"n_again": twice.height, "n_cases": cases["case"].n_unique()}
        parts = zip(PARTS, (whole, judge, canary, mix), strict=True)
        rows.append(row.copy())
        for name, each in parts:
            rows[-1] |= each.cells(name) if each else {}
    names = modes.select(*MODE_KEY, "name")
    table = pl.DataFrame(rows, schema={k: v for k, v in CAUSES.items() if k != "name"})
    shown = table.join(names, on=MODE_KEY).select(list(CAUSES))
    return shown.sort(pl.col("cause") == "no move shown", -pl.col("whole").abs(), "name")


def with_segment(verdicts: pl.DataFrame, sessions: pl.DataFrame, segment: str) -> pl.DataFrame:
    """Put ``segment`` ("" where not recorded) and ``user`` of its session beside each verdict."""
    held = [orjson.loads(text or b"{}").get(segment, "") for text in sessions["segments"]]
    user, value = pl.coalesce("group_key", "session_id"), pl.Series(held, dtype=pl.String)
    known = sessions.select(*SESSION_KEY, user=user, segment=value)
    return verdicts.join(known, on=SESSION_KEY).sort(*MODE_KEY, "session_id")


def _count_users(verdicts: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    users = verdicts.group_by("user").agg(pl.len(), pl.col("fails").sum()).sort("user")
    return users["len"].to_numpy(), users.select("fails").to_numpy()


def _paired(
    pairs: pl.DataFrame, first: str, last: str, group: str, level: float, rng: np.random.Generator
) -> Estimate | None:
    if pairs[group].n_unique() < FEWEST:
        return None
    groups = pairs[group].to_numpy() if pairs[group].is_duplicated().any() else None
    sides = (pairs[name].cast(pl.Float64).to_numpy() for name in (first, last))
    return stats.paired_change(*sides, groups=groups, level=level, rng=rng).delta
