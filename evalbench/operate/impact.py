"""How often each failure mode occurs in each release, and what each release changed.

A rate stands for the sessions that a draw could have picked. Its cells are the strata of the draws,
divided by what an evaluator says of the mode where one does.
"""

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
CHANGES = columns(
    (pl.String, "surface release previous_release mode name"),
    (pl.Float64, "before before_low before_high after after_low after_high"),
    (pl.Float64, "delta low high p_value smallest_shown"),
    (pl.String, "reading target"),
)


@dataclass(frozen=True)
class ModeRate:
    """The rate of one failure mode in one release; ``measured`` is None where it is insufficient.

    ``n_groups`` are the users or tasks that the labelled sessions share; 0 where none is named.
    """

    surface: str
    release: str
    mode: str
    name: str
    n_labels: int
    n_sessions: int
    n_groups: int
    measured: Rate | None
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
    """Estimate the rate of every mode in every release, in the order of the ``frame``.

    Its ``stratum`` is null where no draw covers a session; ``labels`` are what people decided, with
    ``fails`` null where undecided; the latest of the ``verdicts`` on a mode divides its strata.

    Where nobody labelled any session of a surface but outcomes are recorded, there is one rate more
    a release: the share of them that is "not achieved", among runs like these.
    """
    judged = latest_verdicts(verdicts)
    read = frame.filter("drawn").join(labels, on=SESSION_KEY)
    labelled = set(labels.join(frame, on=SESSION_KEY, how="semi")["surface"])
    rates = []
    for (surface, release), sessions in frame.group_by("surface", "release", maintain_order=True):
        cases = []
        recorded = sessions.drop_nulls("outcome")
        if surface not in labelled and not recorded.is_empty():
            cells = recorded.with_columns(stratum=pl.lit("recorded"), fails=~pl.col("outcome"))
            cases.append((OUTCOME, OUTCOME_NAME, cells, cells))
        for mode, name in modes.filter(surface=surface).select("mode", "name").iter_rows():
            cells = sessions.join(judged.filter(mode=mode), on=SESSION_KEY, how="left")
            labels_here = read.filter(surface=surface, release=release, mode=mode)
            known = cells.join(labels_here.select(*SESSION_KEY, "fails"), on=SESSION_KEY)
            cases.append((mode, name, cells, known))
        for mode, name, cells, known in cases:
            estimate = _estimate(cells.drop_nulls("stratum"), known, level=level, rng=rng)
            if mode == OUTCOME and (measured := estimate[3]):
                estimate = (*estimate[:3], measured.of_process(), estimate[4])
            rates.append(ModeRate(str(surface), str(release), mode, name, *estimate))
    return rates


def rates_table(rates: list[ModeRate], *, quarter: str) -> pl.DataFrame:
    """Return rates as :data:`RATES`, the most frequent mode of each release first.

    Numbers are null where the status is "insufficient".
    """
    table = pl.DataFrame([_rate_row(rate, quarter) for rate in rates], schema=RATES)
    return _sort_within_release(table, -pl.col("estimate"), "mode")


def release_changes(rates: list[ModeRate], shipped: pl.DataFrame, *, margin: float) -> pl.DataFrame:
    """Compare each release with the one before it, mode by mode; firm readings come first.

    Readings are adjusted over the modes of each release (Benjamini-Hochberg). ``margin`` is the
    smallest change worth knowing of, as a share of sessions; where the labels could not show one of
    that size the reading is "insufficient". ``target`` is "yes" where ``shipped`` names the mode.
    """
    last: dict[tuple[str, str], ModeRate] = {}
    by_release: dict[tuple[str, str], list[tuple[ModeRate, ModeRate]]] = {}
    for new in rates:
        if old := last.get((new.surface, new.mode)):
            by_release.setdefault((new.surface, new.release), []).append((old, new))
        last[new.surface, new.mode] = new
    rows = []
    for pairs in by_release.values():
        known = [
            (old.measured, new.measured) for old, new in pairs if old.measured and new.measured
        ]
        changes = [stats.rate_change(*each, margin=margin) for each in known]
        adjusted = iter(stats.adjust_readings(changes))
        rows += [
            _change_row(old, new, next(adjusted) if old.measured and new.measured else None)
            for old, new in pairs
        ]
    targets = shipped.select("surface", "release", mode="targets", target=pl.lit("yes"))
    named, key = targets.explode("mode").unique(), ["surface", "release", "mode"]
    table = pl.DataFrame(rows, schema=CHANGES).drop("target").join(named, on=key, how="left")
    firm = pl.col("reading").is_in(["regression", "improvement"])
    aimed = table.with_columns(pl.col("target").fill_null("")).select(*CHANGES)
    return _sort_within_release(aimed, ~firm, -pl.col("delta").abs(), "mode")


def latest_verdicts(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the last verdict on each session and mode: ``surface, session_id, mode, verdict``."""
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
    rate = stats.failure_rate(labels.to_dict(), population.to_dict(), level=level, rng=rng)
    return *counts, rate if rate.rate.is_defined else None, rate.rate.reason


def _rate_row(rate: ModeRate, quarter: str) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(rate, name) for name in RATES if hasattr(rate, name)}
    row |= {"quarter": quarter, "status": "insufficient"}
    if rate.measured is not None:
        share = rate.measured.rate
        row |= {name: getattr(share, name) for name in ("estimate", "low", "high", "level")}
        row |= {"per_1000": 1000 * share.estimate, "low_per_1000": 1000 * share.low}
        row |= {"high_per_1000": 1000 * share.high, "method": share.method}
        row |= {"design_effect": rate.measured.design_effect, "status": "ok"}
    return row


def _change_row(old: ModeRate, new: ModeRate, change: Change | None) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(new, name) for name in CHANGES if hasattr(new, name)}
    row |= {"previous_release": old.release, "reading": "insufficient"}
    for side, measured in (("before", old.measured), ("after", new.measured)):
        if measured is not None:
            ends = {f"{side}_{end}": getattr(measured.rate, end) for end in ("low", "high")}
            row |= {side: measured.rate.estimate} | ends
    if change is not None:
        row |= {"delta": change.delta.estimate, "low": change.delta.low, "high": change.delta.high}
        row |= {"p_value": change.p_value, "smallest_shown": change.mde, "reading": change.reading}
    return row


def _sort_within_release(rows: pl.DataFrame, *by: str | pl.Expr) -> pl.DataFrame:
    """Sort the rows of each surface and release; these keep the order they came in."""
    place = pl.col("place").min().over("surface", "release")
    numbered = rows.with_row_index("place").with_columns(place)
    return numbered.sort("place", *by, nulls_last=True).drop("place")
