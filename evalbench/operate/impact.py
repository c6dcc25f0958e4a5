"""How often each failure mode occurs in each release, and what each release changed.

A rate stands for the sessions that a draw could have picked. All releases of a surface are
estimated together: labels of all of them tell how an evaluator errs, and what it says of all
sessions of a release tells the rate there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.operate.windows import SESSION_KEY, SurfaceWindows, count_windows
from evalbench.schema import columns
from evalbench.stats import Estimate
from evalbench.stats.pooled import PooledChange, PooledRates, pooled_rates, read_changes

RELEASE_KEY = ["surface", "release"]
OUTCOME = "outcome_not_achieved"
OUTCOME_NAME = "Outcome not achieved (recorded)"
FEWEST = 30
"""Labelled sessions of a release under which a rate is insufficient."""

RATES = columns(
    (pl.String, "surface quarter release mode name"),
    (pl.Float64, "estimate low high per_1000 low_per_1000 high_per_1000 level"),
    (pl.Float64, "process process_low process_high"),
    (pl.Int64, "n_labels n_sessions n_groups"),
    (pl.Float64, "design_effect"),
    (pl.String, "evaluator method status reason"),
)
"""``estimate`` is of the release's own sessions, ``process`` of many more like them."""
CHANGES = columns(
    (pl.String, "surface release previous_release mode name"),
    (pl.Float64, "before before_low before_high after after_low after_high"),
    (pl.Float64, "delta low high p_value loss_survived"),
    (pl.String, "reading target"),
)
"""``loss_survived`` is the loss of the evaluator's TPR that an improvement is shown in spite of."""
TRENDS = columns(
    (pl.String, "surface mode name first last"),
    (pl.Int64, "n_releases"),
    (pl.Float64, "times times_low times_high"),
    (pl.Boolean, "clear"),
)
"""``times`` is by how much the rate is multiplied from one release to the next."""
SHIFTED = columns((pl.String, "surface release"))
FIRM = {"confirmed": 0, "likely": 1, "no": 2}
"""The first word of a reading, and its place."""
_COUNTED = ("n_labels", "n_sessions", "n_groups")


@dataclass(frozen=True)
class SurfaceRates:
    """What was estimated of one surface, by mode and by those releases that were ``counted``."""

    surface: str
    releases: list[str]
    names: dict[str, str]
    counted: SurfaceWindows
    found: PooledRates | None

    def why_not(self, release: str, at: int) -> str:
        """Say why no rate can be given of a release and the mode at this place; empty if it can."""
        if self.found is None or release not in self.counted.releases:
            return "no draw covers these sessions"
        place = at, self.counted.releases.index(release)
        labels, sessions = self.counted.n_labels[place], self.counted.n_sessions[place]
        if labels < min(FEWEST, sessions):
            return f"{labels} labelled sessions; at least {FEWEST} are needed"
        if self.counted.unread[place] > stats.UNREAD:
            unread = self.counted.unread[place]
            return f"nobody read any session of strata that hold {unread:.0%} of the sessions"
        return ""


def estimate_surfaces(
    frame: pl.DataFrame,
    verdicts: pl.DataFrame,
    labels: pl.DataFrame,
    modes: pl.DataFrame,
    *,
    judged: float = 1.0,
    level: float,
    rng: np.random.Generator,
) -> list[SurfaceRates]:
    """Estimate all failure modes in all releases, surface by surface.

    Takes what :func:`count_windows` does. Where nobody labelled any session of a surface but
    outcomes are recorded, the one mode is "not achieved", and every recorded outcome a label; its
    rate is that of more sessions like these.
    """
    surfaces = []
    for (surface,), sessions in frame.group_by("surface", maintain_order=True):
        own = modes.filter(surface=surface)
        names = dict(own.select("mode", "name").iter_rows())
        covered = sessions.drop_nulls("stratum")
        known = labels.join(sessions, on=SESSION_KEY, how="semi").filter(
            pl.col("mode").is_in(list(names))
        )
        recorded = sessions.drop_nulls("outcome")
        if labels.join(sessions, on=SESSION_KEY, how="semi").is_empty() and recorded.height:
            names, mode = {OUTCOME: OUTCOME_NAME}, pl.lit(OUTCOME)
            covered = recorded.with_columns(stratum=pl.lit("recorded"), drawn=pl.lit(True))
            known = recorded.select(*SESSION_KEY, mode=mode, fails=~pl.col("outcome"))
        releases = sessions["release"].unique(maintain_order=True).to_list()
        counted = count_windows(
            covered, known, verdicts.filter(surface=surface), list(names), judged=judged, rng=rng
        )
        some = bool(names and counted.releases)
        found = pooled_rates(counted.counts, level=level, rng=rng) if some else None
        if found and OUTCOME in names:
            found = replace(found, rates=(_recorded_rates(recorded, level, rng),))
        surfaces.append(SurfaceRates(str(surface), releases, names, counted, found))
    return surfaces


def _recorded_rates(
    recorded: pl.DataFrame, level: float, rng: np.random.Generator
) -> tuple[Estimate, ...]:
    """Return the share of outcomes not achieved in each release, as runs of many more."""
    rates = []
    for (_,), own in recorded.group_by("release", maintain_order=True):
        groups = own["group_key"].fill_null("session " + own["session_id"])
        shared = groups.to_numpy() if groups.is_duplicated().any() else None
        fails = (~own["outcome"]).cast(pl.Float64).to_numpy()
        rates.append(stats.proportion(fails, groups=shared, level=level, rng=rng))
    return tuple(rates)


def rates_table(surfaces: list[SurfaceRates], *, quarter: str) -> pl.DataFrame:
    """Return rates as :data:`RATES`, the most frequent first; null where "insufficient"."""
    rows = [
        {
            "surface": each.surface,
            "quarter": quarter,
            "release": release,
            "mode": mode,
            "name": name,
        }
        | _rate_row(each, release, at)
        for each in surfaces
        for release in each.releases
        for at, (mode, name) in enumerate(each.names.items())
    ]
    table = pl.DataFrame(rows, schema=RATES)
    return _sort_within_release(table, -pl.col("estimate"), "mode")


def release_changes(
    surfaces: list[SurfaceRates],
    sessions: pl.DataFrame,
    shipped: pl.DataFrame,
    *,
    margin: float,
    level: float,
) -> pl.DataFrame:
    """Compare each release of these sessions with the one before it, as :data:`CHANGES`.

    The readings are of :func:`evalbench.stats.pooled.read_changes` over all changes given here;
    what ``shipped`` names as a release's targets is a family of its own. Firm readings come first.
    """
    named = shipped.select("surface", "release", "targets").explode("targets").drop_nulls()
    targets = set(named.unique().iter_rows())
    asked = set(sessions.select(RELEASE_KEY).unique().iter_rows())
    rows, changes = list[dict[str, Any]](), list[PooledChange]()
    for each in surfaces:
        for earlier, release in pairwise(each.releases):
            if (each.surface, release) not in asked:
                continue
            for at, (mode, name) in enumerate(each.names.items()):
                aimed = "yes" if (each.surface, release, mode) in targets else ""
                row = {"surface": each.surface, "release": release, "previous_release": earlier}
                row |= {"mode": mode, "name": name, "target": aimed, "reading": "cannot tell"}
                if each.found and not (each.why_not(earlier, at) or each.why_not(release, at)):
                    changes.append(each.found.changes[at][each.counted.releases.index(release) - 1])
                    row |= _change_numbers(changes[-1])
                rows.append(row)
    compared = [row for row in rows if "p_value" in row]
    families = [row["target"] and f"{row['surface']} {row['release']}" for row in compared]
    for row, reading in zip(
        compared, read_changes(changes, families, margin=margin, level=level), strict=True
    ):
        row["reading"] = reading
    firm = pl.col("reading").str.extract(r"^(\w+)").replace_strict(FIRM, default=len(FIRM))
    table = pl.DataFrame(rows, schema=CHANGES)
    return _sort_within_release(table, firm, -pl.col("delta").abs(), "mode")


def trends_table(surfaces: list[SurfaceRates]) -> pl.DataFrame:
    """Return how rates move over the releases as :data:`TRENDS`, the clear ones first."""
    rows = []
    for each in surfaces:
        for at, (mode, name) in enumerate(each.names.items()):
            if each.found is None or not each.found.trends[at].is_defined:
                continue
            slope = each.found.trends[at]
            covered = each.counted.releases
            ends = np.exp([slope.estimate, slope.low, slope.high]).tolist()
            clear = ends[1] > 1 or ends[2] < 1
            row = (each.surface, mode, name, covered[0], covered[-1], len(covered), *ends, clear)
            rows.append(row)
    steepest = pl.col("surface"), ~pl.col("clear"), -pl.col("times").log().abs()
    return pl.DataFrame(rows, schema=TRENDS, orient="row").sort(steepest, maintain_order=True)


def shifted_table(surfaces: list[SurfaceRates]) -> pl.DataFrame:
    """List the releases in which the evaluators err otherwise than in the others."""
    rows = [
        (each.surface, release)
        for each in surfaces
        if each.found
        for release, shifted in zip(each.counted.releases, each.found.shifted, strict=True)
        if shifted
    ]
    return pl.DataFrame(rows, schema=SHIFTED, orient="row")


def _rate_row(each: SurfaceRates, release: str, at: int) -> dict[str, Any]:
    row: dict[str, Any] = {"reason": each.why_not(release, at), "status": "insufficient"}
    if each.found is None or release not in each.counted.releases:
        return row | dict.fromkeys(_COUNTED, 0)
    window = each.counted.releases.index(release)
    row |= {name: int(getattr(each.counted, name)[at, window]) for name in _COUNTED}
    row["evaluator"] = each.counted.evaluators[at, window]
    if row["reason"]:
        return row
    rate, process = each.found.rates[at][window], each.found.processes[at][window]
    ends = {"low": rate.low, "high": rate.high}
    row |= {"estimate": rate.estimate, "per_1000": 1000 * rate.estimate, "status": "ok"}
    row |= ends | {f"{end}_per_1000": 1000 * value for end, value in ends.items()}
    row |= process.cells("process") | {"level": rate.level, "method": rate.method}
    return row | {"design_effect": each.counted.design_effect, "reason": rate.reason}


def _change_numbers(change: PooledChange) -> dict[str, Any]:
    lost = None if np.isnan(change.loss_survived) else change.loss_survived
    row: dict[str, Any] = {"p_value": change.p_value, "loss_survived": lost}
    row |= change.before.cells("before") | change.after.cells("after")
    moved = change.delta
    return row | {"delta": moved.estimate, "low": moved.low, "high": moved.high}


def _sort_within_release(rows: pl.DataFrame, *by: str | pl.Expr) -> pl.DataFrame:
    """Sort the rows of each surface and release; these keep the order they came in."""
    place = pl.col("place").min().over("surface", "release")
    numbered = rows.with_row_index("place").with_columns(place)
    return numbered.sort("place", *by, nulls_last=True).drop("place")
