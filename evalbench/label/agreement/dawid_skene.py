"""How often each annotator errs, and what holds of each session, without anybody's word for truth.

Dawid and Skene's model: an annotator sees a mode that is there with one chance (sensitivity) and
does not see one that is absent with another (specificity), the same for all modes, and errs
independently of the others; each mode of each surface has a prevalence of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from evalbench.label.agreement.consensus import ITEM_KEY, SESSION_KEY
from evalbench.schema import columns

Floats = NDArray[np.float64]
FEWEST = 30
"""Sessions that an annotator must share with others; fewer say next to nothing of rare errors."""
FEWEST_FAILING = 10
"""Failures that the labels must hold, or a lapse and a false alarm cannot be told apart."""
PRIOR, NOTHING = 0.5, 1e-12
"""Of every share (Jeffreys): no estimate is exactly 0 or 1, and its interval has a width."""
STEPS, CLOSE = 2_000, 1e-9
DRAWS, WARM_UP = 4_000, 500

ERRORS = columns(
    (pl.String, "annotator"),
    (pl.Int64, "n_sessions n_shared"),
    (pl.Float64, "sensitivity sensitivity_low sensitivity_high"),
    (pl.Float64, "specificity specificity_low specificity_high level"),
    (pl.String, "status reason"),
)
"""Errors as reported; numbers are null where the status is "insufficient"."""


@dataclass(frozen=True)
class Fit:
    """The model at its most likely.

    Attributes
    ----------
    annotators : tuple of str
        Sorted; what follows is in their order.
    sensitivity, specificity : ndarray, shape (annotators,)
        Chances to judge right where the mode is there, and where it is not.
    items : polars.DataFrame
        ``surface, session_id, mode`` and ``p``, the chance that the mode is there; its mean is the
        prevalence among the sessions judged.
    """

    annotators: tuple[str, ...]
    sensitivity: Floats
    specificity: Floats
    items: pl.DataFrame


@dataclass(frozen=True)
class _Cells:
    """Items that nobody can tell apart: the same mode and the same judgements, counted."""

    times: NDArray[np.int64]
    group: NDArray[np.int64]
    yes: Floats
    no: Floats

    def vote(self) -> Floats:
        """Failing items of each cell, each annotator's word counting alike."""
        share = self.yes.sum(axis=1) / (self.yes + self.no).sum(axis=1)
        return np.asarray(self.times * share)

    def chance(self, sensitivity: Floats, specificity: Floats, prevalence: Floats) -> Floats:
        """Chance that the mode is there, cell by cell."""
        odds = np.log(prevalence / (1 - prevalence))[self.group]
        odds += self.yes @ np.log(sensitivity / (1 - specificity))
        odds += self.no @ np.log((1 - sensitivity) / specificity)
        return np.asarray(expit(odds))

    def counts(self, there: Floats) -> tuple[tuple[Floats, Floats], ...]:
        """(right, wrong) by annotator where the mode is there, where it is not; (there, not)."""
        absent = self.times - there
        groups = int(self.group.max()) + 1
        return (
            (self.yes.T @ there, self.no.T @ there),
            (self.no.T @ absent, self.yes.T @ absent),
            (
                np.bincount(self.group, there, groups).astype(float),
                np.bincount(self.group, absent, groups).astype(float),
            ),
        )


def fit(judged: pl.DataFrame) -> Fit:
    """Find the most likely errors and truths by expectation maximisation.

    Parameters
    ----------
    judged : polars.DataFrame
        From ``judgements``: ``surface, session_id, mode, annotator,
        value``.

    Raises
    ------
    ValueError
        Fewer than two annotators, or two and a single mode: such labels fit any errors.

    References
    ----------
    Dawid and Skene (1979) Journal of the Royal Statistical Society C 28; that two annotators are
    enough where modes differ in prevalence: Hui and Walter (1980) Biometrics 36.
    """
    annotators, items, cells, position = _count_cells(judged)
    there = _climb(cells)
    sensitivity, specificity, _ = _shares(cells.counts(there))
    p = (there / cells.times)[position]
    return Fit(annotators, sensitivity, specificity, items.with_columns(p=pl.Series(p)))


def annotator_errors(
    judged: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Say how well each annotator reads, with intervals that know that the truth is a guess too.

    The estimate is :func:`fit`'s. For the interval truths are drawn given errors and errors given
    truths, under Jeffreys priors (Gibbs sampling), and for each draw of truths the ends that an
    exact interval would have. All intervals of the answer hold together at ``level`` (Bonferroni),
    since whoever compares annotators looks at all. It misleads where they err together: a session
    that misleads everybody looks read right.

    Parameters
    ----------
    judged : polars.DataFrame
        As for :func:`fit`.
    level : float
        Coverage of all intervals together.
    rng : numpy.random.Generator
        For the draws.

    Returns
    -------
    polars.DataFrame
        Columns :data:`ERRORS`, a row an annotator, by name.
    """
    sessions = judged.select(*SESSION_KEY, "annotator").unique()
    shared = pl.len().over(SESSION_KEY) > 1
    read = (
        sessions.with_columns(shared=shared)
        .group_by("annotator")
        .agg(n_sessions=pl.len().cast(pl.Int64), n_shared=pl.col("shared").sum().cast(pl.Int64))
        .sort("annotator")
    )
    try:
        annotators, _, cells, _ = _count_cells(judged)
        seen = cells.vote().sum()
        if seen < FEWEST_FAILING:
            raise ValueError(f"about {seen:.0f} failures seen; {FEWEST_FAILING} are needed")
    except ValueError as error:
        said = {"status": pl.lit("insufficient"), "reason": pl.lit(str(error))}
        return _as_errors(read.with_columns(**said))
    there = _climb(cells)
    best = _shares(cells.counts(there))
    draws: list[list[tuple[Floats, Floats]]] = []
    chance = there / cells.times
    for _ in range(WARM_UP + DRAWS):
        counts = cells.counts(rng.binomial(cells.times, chance).astype(np.float64))
        drawn = [rng.beta(right + PRIOR, wrong + PRIOR) for right, wrong in counts]
        # Beta draws of nearly whole shares round to 0 or 1, whose odds do not exist.
        sensitivity, specificity, prevalence = (
            np.clip(each, NOTHING, 1 - NOTHING) for each in drawn
        )
        chance = cells.chance(sensitivity, specificity, prevalence)
        # The ends that an exact interval (Clopper-Pearson) has, were these truths known.
        draws.append(
            [
                (rng.beta(right + NOTHING, wrong + 1), rng.beta(right + 1, wrong + NOTHING))
                for right, wrong in counts[:2]
            ]
        )
    lows, highs = np.moveaxis(np.array(draws[WARM_UP:]), 2, 0)
    tail = (1 - level) / 2 / lows[0].size
    low, high = np.quantile(lows, tail, axis=0), np.quantile(highs, 1 - tail, axis=0)
    numbers: dict[str, Any] = {"annotator": annotators}
    for place, name in enumerate(("sensitivity", "specificity")):
        numbers[name] = best[place]
        numbers[f"{name}_low"] = np.minimum(low[place], best[place])
        numbers[f"{name}_high"] = np.maximum(high[place], best[place])
    few = pl.col("n_shared") < FEWEST
    lack = pl.format("{} sessions labelled by others too; {} are needed", "n_shared", FEWEST)
    found = read.join(pl.DataFrame(numbers), on="annotator", maintain_order="left").with_columns(
        pl.when(~few).then(pl.col([name for name in numbers if name != "annotator"])),
        level=pl.lit(level),
        status=pl.when(few).then(pl.lit("insufficient")).otherwise(pl.lit("ok")),
        reason=pl.when(few).then(lack).otherwise(pl.lit("")),
    )
    return _as_errors(found)


def _as_errors(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=ERRORS), rows], how="diagonal_relaxed").select(*ERRORS)


def _count_cells(
    judged: pl.DataFrame,
) -> tuple[tuple[str, ...], pl.DataFrame, _Cells, NDArray[np.int64]]:
    """Annotators, items, cells, and the cell of each item."""
    annotators = tuple(judged["annotator"].unique().sort())
    groups = judged.select("surface", "mode").unique().sort("surface", "mode")
    if len(annotators) < 2 or (len(annotators) == 2 and groups.height == 1):
        raise ValueError(
            "errors can be told apart with three annotators, or two and several modes;"
            f" there are {len(annotators)} and {groups.height}"
        )
    items = judged.select(ITEM_KEY).unique(maintain_order=True).with_row_index("item")
    coded = (
        judged.join(items, on=ITEM_KEY)
        .join(groups.with_row_index("group"), on=["surface", "mode"])
        .join(pl.DataFrame({"annotator": annotators}).with_row_index("place"), on="annotator")
    )
    table = np.full((items.height, len(annotators) + 1), -1)
    table[coded["item"], 0] = coded["group"]
    table[coded["item"], 1 + coded["place"].to_numpy()] = coded["value"].cast(pl.Int64)
    rows, position, times = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    said = rows[:, 1:]
    cells = _Cells(times, rows[:, 0], (said == 1).astype(float), (said == 0).astype(float))
    return annotators, items.drop("item"), cells, position


def _climb(cells: _Cells) -> Floats:
    """Find the failing items to expect in each cell, starting from the share of votes."""
    there = cells.vote()
    for _ in range(STEPS):
        before = there
        there = cells.times * cells.chance(*_shares(cells.counts(there)))
        if np.abs(there - before).max() < CLOSE * cells.times.sum():
            break
    return there


def _shares(counts: tuple[tuple[Floats, Floats], ...]) -> list[Floats]:
    return [(right + PRIOR) / (right + wrong + 2 * PRIOR) for right, wrong in counts]
