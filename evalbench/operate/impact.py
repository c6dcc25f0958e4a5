"""How often each failure mode occurs in each release, and what each release changed.

Frames in, frames out. A rate stands for the sessions that a draw could have picked: the strata of
the draws, split by a judge's verdict on the mode where there is one, are the cells that the labels
stand for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.schema import columns
from evalbench.stats import Change, Rate

SESSION_KEY = ["surface", "session_id"]
OUTCOME = "outcome_not_achieved"
OUTCOME_NAME = "Outcome not achieved (recorded)"
FEWEST = 30
"""Labelled sessions under which a rate is insufficient: most of its interval would be prior."""

RATES = columns(
    (pl.String, "surface quarter release mode name"),
    (pl.Float64, "estimate low high per_1000 low_per_1000 high_per_1000 level"),
    (pl.Int64, "n_labels n_sessions n_groups"),
    (pl.Float64, "design_effect"),
    (pl.String, "method status reason"),
)
"""Rates as reported; numbers are null where the status is "insufficient"."""

CHANGES = columns(
    (pl.String, "surface release previous_release mode name"),
    (pl.Float64, "before after delta low high p_value smallest_shown"),
    (pl.String, "reading"),
)


@dataclass(frozen=True)
class ModeRate:
    """The rate of one failure mode in one release of a surface.

    ``found`` is None where it is insufficient, and ``reason`` says why. ``n_groups`` are the users
    or tasks that the labelled sessions share; 0 where none is named.
    """

    surface: str
    release: str
    mode: str
    name: str
    n_labels: int
    n_sessions: int
    n_groups: int
    found: Rate | None
    reason: str


def mode_rates(
    frame: pl.DataFrame,
    labels: pl.DataFrame,
    verdicts: pl.DataFrame,
    modes: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> list[ModeRate]:
    """Estimate the rate of every mode in every release.

    ``frame`` are the sessions reported on, in the order of their releases: ``surface, session_id,
    release, group_key, outcome, stratum`` (null: in no draw's frame) and ``drawn``. ``labels`` are
    what annotators say together: ``surface, session_id, mode, fails`` (null: undecided). Of the
    ``verdicts`` the latest on a ``mode`` divides it. ``modes`` is
    the codebook: ``surface, mode, name``. Draws are taken in the order of the answer.

    Gives rates by surface, release and mode. Where nobody labelled any session of a surface but
    outcomes are recorded, one more a release: the share of them that is "not achieved".
    """
    judged = latest_verdicts(verdicts)
    read = frame.filter("drawn").join(labels, on=SESSION_KEY)
    labelled = set(labels.join(frame, on=SESSION_KEY, how="semi")["surface"])
    rates = []
    for (surface, release), part in frame.group_by("surface", "release", maintain_order=True):
        measured = []
        recorded = part.drop_nulls("outcome")
        if surface not in labelled and not recorded.is_empty():
            cells = recorded.with_columns(stratum=pl.lit("recorded"), fails=~pl.col("outcome"))
            measured.append((OUTCOME, OUTCOME_NAME, cells, cells))
        for mode, name in modes.filter(surface=surface).select("mode", "name").iter_rows():
            cells = part.join(judged.filter(mode=mode), on=SESSION_KEY, how="left")
            seen = read.filter(surface=surface, release=release, mode=mode)
            known = cells.join(seen.select(*SESSION_KEY, "fails"), on=SESSION_KEY)
            measured.append((mode, name, cells, known))
        for mode, name, cells, known in measured:
            rate = _estimate(cells.drop_nulls("stratum"), known, level=level, rng=rng)
            rates.append(ModeRate(str(surface), str(release), mode, name, *rate))
    return rates


def rates_table(rates: list[ModeRate], *, quarter: str) -> pl.DataFrame:
    """Set rates as a frame of :data:`RATES`."""
    return pl.DataFrame([_rate_row(rate, quarter) for rate in rates], schema=RATES)


def release_changes(rates: list[ModeRate], *, margin: float) -> pl.DataFrame:
    """Compare each release with the one before it, mode by mode.

    Readings are adjusted over the modes of each release (Benjamini-Hochberg).

    ``margin`` is the smallest change worth knowing of, as a share of sessions; where the labels
    could not show one of that size the reading is "insufficient".

    Gives columns of :data:`CHANGES`, one row a surface, mode and pair of consecutive releases;
    numbers are null where a rate is insufficient.
    """
    last: dict[tuple[str, str], ModeRate] = {}
    by_release: dict[tuple[str, str], list[tuple[ModeRate, ModeRate]]] = {}
    for new in rates:
        if old := last.get((new.surface, new.mode)):
            by_release.setdefault((new.surface, new.release), []).append((old, new))
        last[new.surface, new.mode] = new
    rows = []
    for pairs in by_release.values():
        known = [(old.found, new.found) for old, new in pairs if old.found and new.found]
        raw = [stats.rate_change(*each, margin=margin) for each in known]
        adjusted = iter(stats.adjust_readings(raw))
        rows += [
            _change_row(old, new, next(adjusted) if old.found and new.found else None)
            for old, new in pairs
        ]
    return pl.DataFrame(rows, schema=CHANGES)


def latest_verdicts(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Give the last verdict on each session and mode: ``surface, session_id, mode, verdict``."""
    return (
        verdicts.sort("judged_at", "evaluator_version", "repeat")
        .unique([*SESSION_KEY, "mode"], keep="last", maintain_order=True)
        .select(*SESSION_KEY, "mode", verdict=pl.col("fails").cast(pl.Float64), judged=True)
    )


def _estimate(
    cells: pl.DataFrame, known: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> tuple[int, int, int, Rate | None, str]:
    """Estimate one rate from sessions and those of them that were labelled, as in ModeRate."""
    decided, known = known.drop_nulls("fails"), known.sort(SESSION_KEY)
    counts = (decided.height, cells.height, decided["group_key"].drop_nulls().n_unique())
    if cells.is_empty():
        return *counts, None, "no draw covers these sessions"
    if decided.height < FEWEST:
        return *counts, None, f"{decided.height} labelled sessions; at least {FEWEST} are needed"
    judged = "judged" in cells.columns and cells["judged"].any()
    by = ["stratum", "verdict"] if judged else ["stratum"]
    population = cells.group_by(by).agg(n=pl.len()).sort(by)
    labels = known.select(*by, fails=pl.col("fails").cast(pl.Float64))
    if known["group_key"].drop_nulls().is_duplicated().any():
        # Sessions that name no group are groups of their own.
        own = "session " + known["session_id"]
        labels = labels.with_columns(group=known["group_key"].fill_null(own))
    found = stats.failure_rate(labels.to_dict(), population.to_dict(), level=level, rng=rng)
    return *counts, found if found.rate.is_defined else None, found.rate.reason


def _rate_row(rate: ModeRate, quarter: str) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(rate, name) for name in RATES if hasattr(rate, name)}
    row |= {"quarter": quarter, "status": "insufficient"}
    if rate.found is not None:
        one = rate.found.rate
        row |= {"estimate": one.estimate, "low": one.low, "high": one.high, "level": one.level}
        row |= {"method": one.method, "design_effect": rate.found.design_effect, "status": "ok"}
        row |= {"per_1000": 1000 * one.estimate}
        row |= {"low_per_1000": 1000 * one.low, "high_per_1000": 1000 * one.high}
    return row


def _change_row(old: ModeRate, new: ModeRate, change: Change | None) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(new, name) for name in CHANGES if hasattr(new, name)}
    row |= {"previous_release": old.release, "reading": "insufficient"}
    if change is not None:
        row |= {"before": change.before.estimate, "after": change.after.estimate}
        row |= {"delta": change.delta.estimate, "low": change.delta.low, "high": change.delta.high}
        row |= {"p_value": change.p_value, "smallest_shown": change.mde, "reading": change.reading}
    return row
