"""How often each annotator errs, without anybody's word for truth.

Dawid and Skene's model: an annotator sees a mode that is there with one chance (sensitivity) and
does not see one that is absent with another (specificity), the same for all modes, and errs
independently of the others; each mode of each surface has a prevalence of its own.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit, logit

from evalbench.label.agreement.consensus import ITEM_KEY, SESSION_KEY
from evalbench.schema import columns

FEWEST = 30
"""Sessions that an annotator must share with others; fewer say next to nothing of rare errors."""
FEWEST_FAILING = 10
"""Failures that the labels must hold, or a lapse and a false alarm cannot be told apart."""
PRIOR, NOTHING = 0.5, 1e-12
"""Of every share (Jeffreys): no draw is exactly 0 or 1, and its interval has a width."""
DRAWS, WARM_UP = 4_000, 500

ERRORS = columns(
    (pl.String, "annotator"),
    (pl.Int64, "n_sessions n_shared"),
    (pl.Float64, "sensitivity sensitivity_low sensitivity_high"),
    (pl.Float64, "specificity specificity_low specificity_high level"),
    (pl.String, "status reason"),
)
"""Errors as reported; numbers are null where the status is "insufficient"."""


def annotator_errors(
    judged: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Estimate how well each annotator reads.

    Truths are drawn given errors, and errors given truths, under Jeffreys priors (Gibbs sampling).
    The estimate is the median of the drawn errors; the interval spans, over the draws of truths,
    the ends that an exact interval (Clopper-Pearson) would have. All intervals hold together at
    ``level`` (Bonferroni), since whoever compares annotators looks at all. It misleads where they
    err together: a session that misleads everybody looks read right.

    Takes what ``judgements`` returns. Returns :data:`ERRORS`, a row an annotator, by name;
    insufficient are fewer than three annotators (two where there are several modes), 30 sessions
    shared or 10 failures.

    References
    ----------
    Dawid and Skene (1979) Journal of the Royal Statistical Society C 28; that two annotators are
    enough where modes differ in prevalence: Hui and Walter (1980) Biometrics 36.
    """
    sessions = judged.select(*SESSION_KEY, "annotator").unique()
    shared = pl.col("shared").sum().cast(pl.Int64)
    read = (
        sessions.with_columns(shared=pl.len().over(SESSION_KEY) > 1)
        .group_by("annotator")
        .agg(n_sessions=pl.len().cast(pl.Int64), n_shared=shared)
        .sort("annotator")
    )
    groups = judged.select("surface", "mode").n_unique()
    failures = float(judged.group_by(ITEM_KEY).agg(pl.col("value").mean())["value"].sum())
    few = pl.format("{} sessions labelled by others too; {} are needed", "n_shared", FEWEST)
    reason = pl.when(pl.col("n_shared") < FEWEST).then(few).otherwise(pl.lit(""))
    if read.height < 2 or (read.height == 2 and groups == 1):
        seen = f"there are {read.height} and {groups}"
        reason = pl.lit(f"it takes three annotators, or two and several modes; {seen}")
    elif failures < FEWEST_FAILING:
        reason = pl.lit(f"about {failures:.0f} failures seen; {FEWEST_FAILING} are needed")
    else:
        read = read.hstack(_sample_errors(judged, level, rng))
    rows = pl.concat([pl.DataFrame(schema=ERRORS), read], how="diagonal_relaxed")
    rows = rows.with_columns(reason=reason, level=pl.lit(level))
    numbers = [name for name in ERRORS if name.startswith(("sensitivity", "specificity"))]
    told = pl.col("reason") == ""
    status = pl.when(told).then(pl.lit("ok")).otherwise(pl.lit("insufficient"))
    return rows.with_columns(pl.when(told).then(pl.col(numbers)), status=status).select(*ERRORS)


def _sample_errors(judged: pl.DataFrame, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Draw the errors of the annotators, in the order of their names."""
    place = (pl.col("annotator").rank("dense") - 1).cast(pl.String)
    coded = judged.with_columns(place=place).sort("annotator", *ITEM_KEY)
    wide = coded.pivot(on="place", index=ITEM_KEY, values="value")
    places = wide.columns[len(ITEM_KEY) :]
    # Items of one mode that got the same judgements cannot be told apart: they are drawn together.
    cells = wide.group_by("surface", "mode", *places).len().sort("surface", "mode", *places)
    times = cells["len"].to_numpy()
    group = cells.select(pl.struct("surface", "mode").rank("dense") - 1).to_series().to_numpy()
    said = cells.select(pl.col(places).cast(pl.Float64)).to_numpy()
    yes, no = (said == 1).astype(float), (said == 0).astype(float)
    chance = yes.sum(axis=1) / (yes + no).sum(axis=1)
    draws = []
    for _ in range(WARM_UP + DRAWS):
        there = rng.binomial(times, chance)
        absent = times - there
        right = np.stack([yes.T @ there, no.T @ absent])
        wrong = np.stack([no.T @ there, yes.T @ absent])
        sensitivity, specificity = drawn = _draw_shares(right, wrong, rng)
        prevalence = _draw_shares(np.bincount(group, there), np.bincount(group, absent), rng)
        odds = logit(prevalence)[group] + yes @ np.log(sensitivity / (1 - specificity))
        chance = expit(odds + no @ np.log((1 - sensitivity) / specificity))
        low, high = rng.beta(right + NOTHING, wrong + 1), rng.beta(right + 1, wrong + NOTHING)
        draws.append((drawn, low, high))
    drawn, lows, highs = np.moveaxis(np.array(draws[WARM_UP:]), 1, 0)
    tail = (1 - level) / 2 / drawn[0].size
    ends = np.quantile(lows, tail, axis=0), np.quantile(highs, 1 - tail, axis=0)
    estimates = zip(("", "_low", "_high"), (np.median(drawn, axis=0), *ends), strict=True)
    return pl.DataFrame(
        {
            f"{name}{end}": numbers[row]
            for end, numbers in estimates
            for row, name in enumerate(("sensitivity", "specificity"))
        }
    )


def _draw_shares(right: np.ndarray, wrong: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Draws of nearly whole shares round to 0 or 1, whose odds do not exist.
    return np.clip(rng.beta(right + PRIOR, wrong + PRIOR), NOTHING, 1 - NOTHING)
