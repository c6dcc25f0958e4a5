"""How often each failure mode occurs in each release, and what each release changed.

Frames in, frames out. A rate stands for the sessions that a draw could have picked: the strata of
the draws, split by a judge's verdict on the mode where there is one, are the cells that the labels
stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.stats import Change, Rate

SESSION_KEY = ["surface", "session_id"]
OUTCOME = "outcome_not_achieved"
OUTCOME_NAME = "Outcome not achieved (recorded)"
FEWEST = 30
"""Labelled sessions under which a rate is insufficient: most of its interval would be prior."""

RATES = pl.Schema(
    {
        "surface": pl.String,
        "quarter": pl.String,
        "release": pl.String,
        "mode": pl.String,
        "name": pl.String,
        "estimate": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "per_1000": pl.Float64,
        "low_per_1000": pl.Float64,
        "high_per_1000": pl.Float64,
        "level": pl.Float64,
        "n_labels": pl.Int64,
        "n_sessions": pl.Int64,
        "n_groups": pl.Int64,
        "design_effect": pl.Float64,
        "method": pl.String,
        "status": pl.String,
        "reason": pl.String,
    }
)
"""Rates as reported; numbers are null where the status is "insufficient"."""

CHANGES = pl.Schema(
    {
        "surface": pl.String,
        "release": pl.String,
        "previous_release": pl.String,
        "mode": pl.String,
        "name": pl.String,
        "before": pl.Float64,
        "after": pl.Float64,
        "delta": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "p_value": pl.Float64,
        "smallest_shown": pl.Float64,
        "reading": pl.String,
    }
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

    Parameters
    ----------
    frame : polars.DataFrame
        The sessions reported on, in the order of their releases: ``surface, session_id, release,
        group_key, outcome, stratum`` (null: in no draw's frame) and ``drawn``.
    labels : polars.DataFrame
        What annotators say together: ``surface, session_id, mode, fails`` (null: undecided).
    verdicts : polars.DataFrame
        Columns of a verdict; the latest whose ``evaluator_id`` ends in "/{mode}" divides that mode.
    modes : polars.DataFrame
        The codebook: ``surface, mode, name``.
    level : float
        Nominal coverage of the intervals.
    rng : numpy.random.Generator
        For the posterior draws, taken in the order of the answer.

    Returns
    -------
    list of ModeRate
        By surface, release and mode. Where nobody labelled any session of a surface but outcomes
        are recorded, one more a release: the share of them that is "not achieved".
    """
    judged = latest_verdicts(verdicts)
    read = frame.filter("drawn").join(labels, on=SESSION_KEY)
    labelled = set(labels.join(frame, on=SESSION_KEY, how="semi")["surface"])
    rates = []
    for (surface, release), part in frame.group_by("surface", "release", maintain_order=True):
        key = (str(surface), str(release))
        codebook = modes.filter(pl.col("surface") == surface).select("mode", "name")
        recorded = part.filter(pl.col("outcome").is_not_null())
        if surface not in labelled and not recorded.is_empty():
            cells = recorded.with_columns(stratum=pl.lit("recorded"), fails=~pl.col("outcome"))
            rates.append(_rate(*key, OUTCOME, OUTCOME_NAME, cells, cells, level=level, rng=rng))
        for mode, name in codebook.iter_rows():
            cells = part.join(judged.filter(mode=mode), on=SESSION_KEY, how="left")
            seen = read.filter(surface=surface, release=release, mode=mode)
            known = cells.join(seen.select(*SESSION_KEY, "fails"), on=SESSION_KEY)
            rates.append(_rate(*key, mode, name, cells, known, level=level, rng=rng))
    return rates


def rates_table(rates: list[ModeRate], *, quarter: str) -> pl.DataFrame:
    """Set rates as a frame of :data:`RATES`."""
    return pl.DataFrame([_rate_row(rate, quarter) for rate in rates], schema=RATES)


def release_changes(rates: list[ModeRate], *, margin: float) -> pl.DataFrame:
    """Compare each release with the one before it, mode by mode.

    Readings are adjusted over the modes of each release (Benjamini-Hochberg).

    Parameters
    ----------
    rates : list of ModeRate
        As :func:`mode_rates` gave them.
    margin : float
        Smallest change worth knowing of, as a share of sessions; where the labels could not show
        one of that size the reading is "insufficient".

    Returns
    -------
    polars.DataFrame
        Columns of :data:`CHANGES`, one row a surface, mode and pair of consecutive releases;
        numbers are null where a rate is insufficient.
    """
    by_mode: dict[tuple[str, str], list[ModeRate]] = {}
    for rate in rates:
        by_mode.setdefault((rate.surface, rate.mode), []).append(rate)
    by_release: dict[tuple[str, str], list[tuple[ModeRate, ModeRate]]] = {}
    for old, new in (pair for each in by_mode.values() for pair in pairwise(each)):
        by_release.setdefault((new.surface, new.release), []).append((old, new))
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
        verdicts.with_columns(mode=pl.col("evaluator_id").str.split("/").list.last())
        .sort("judged_at", "evaluator_version", "repeat")
        .unique([*SESSION_KEY, "mode"], keep="last", maintain_order=True)
        .select(*SESSION_KEY, "mode", verdict=pl.col("fails").cast(pl.Float64), judged=True)
    )


def _rate(
    surface: str,
    release: str,
    mode: str,
    name: str,
    cells: pl.DataFrame,
    known: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> ModeRate:
    """Estimate one rate from the sessions of a release and those of them that were labelled."""
    cells = cells.filter(pl.col("stratum").is_not_null())
    decided = known.filter(pl.col("fails").is_not_null())
    n_labels, n_groups = decided.height, decided["group_key"].drop_nulls().n_unique()
    found: Rate | None = None
    if cells.is_empty():
        reason = "no draw covers these sessions"
    elif n_labels < FEWEST:
        reason = f"{n_labels} labelled sessions; at least {FEWEST} are needed"
    else:
        found = _estimate(cells, known, level=level, rng=rng)
        reason = found.rate.reason
        found = found if found.rate.is_defined else None
    counts = (n_labels, cells.height, n_groups)
    return ModeRate(surface, release, mode, name, *counts, found, reason)


def _estimate(
    cells: pl.DataFrame, known: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> Rate:
    judged = "judged" in cells.columns and cells["judged"].any()
    by = ["stratum", "verdict"] if judged else ["stratum"]
    population = cells.group_by(by).agg(n=pl.len()).sort(by)
    labels = known.sort(SESSION_KEY).select(*by, fails=pl.col("fails").cast(pl.Float64))
    group = known.sort(SESSION_KEY)["group_key"]
    if group.drop_nulls().is_duplicated().any():
        # Sessions that name no group are groups of their own.
        own = known.sort(SESSION_KEY)["session_id"]
        labels = labels.with_columns(group=group.fill_null("session " + own))
    return stats.failure_rate(labels.to_dict(), population.to_dict(), level=level, rng=rng)


def _rate_row(rate: ModeRate, quarter: str) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(RATES)
    row |= {name: getattr(rate, name) for name in RATES if hasattr(rate, name)}
    row |= {"quarter": quarter, "status": "insufficient"}
    if rate.found is not None:
        one = rate.found.rate
        row |= {"estimate": one.estimate, "low": one.low, "high": one.high, "level": one.level}
        row |= {"method": one.method, "design_effect": rate.found.design_effect, "status": "ok"}
        row |= {"per_1000": 1000 * one.estimate}
        row |= {"low_per_1000": 1000 * one.low, "high_per_1000": 1000 * one.high}
    return row


def _change_row(old: ModeRate, new: ModeRate, change: Change | None) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(CHANGES)
    row |= {"surface": new.surface, "mode": new.mode, "name": new.name, "release": new.release}
    row |= {"previous_release": old.release, "reading": "insufficient"}
    if change is not None:
        row |= {"before": change.before.estimate, "after": change.after.estimate}
        row |= {"delta": change.delta.estimate, "low": change.delta.low, "high": change.delta.high}
        row |= {"p_value": change.p_value, "smallest_shown": change.mde, "reading": change.reading}
    return row
