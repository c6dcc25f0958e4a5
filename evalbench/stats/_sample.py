"""A judge's cells in a sample whose strata were drawn with unlike chances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import Columns, Floats, Integers
from ._cells import SPARSE, join_sparse, share_prior, tabulate
from ._resampling import (
    Statistic,
    Units,
    dirichlet_weights,
    from_draws,
    inflations,
    join_reasons,
    ratio,
)
from .estimate import Estimate

TP, FN, FP, TN, QUIET = range(5)
"""What a labelled session is; quiet is a passing session on which the judge abstained."""
STRATIFIED = 2_000
"""Draws where strata make tens of columns: a report measures hundreds of evaluators and parts."""
BY_VERDICT = {1.0: (TP, FP), 0.0: (FN, TN), None: (FN, QUIET)}


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled sessions by column: one of ``classes`` of strata, and one of the five cells in it.

    ``counts`` are Kish's effective labels of each column; ``size`` the sessions of each class.
    """

    units: Units
    counts: Floats
    classes: Integers
    cells: Integers
    size: Floats
    unread: float

    def fold(self, counts: Floats) -> Floats:
        """Return the five cells (..., 5) of (..., columns), each class weighing its sessions."""
        if len(self.size) > 1:
            whole = counts @ np.eye(len(self.size))[self.classes]
            counts = counts * ratio(self.size, whole, 0.0)[..., self.classes]
        five: Floats = counts @ np.eye(5)[self.cells]
        return five

    def estimate(
        self, measures: Mapping[str, Statistic], *, level: float, rng: np.random.Generator, why: str
    ) -> dict[str, Estimate]:
        """Estimate measures of five cells: the plug-in, and a smoothed bootstrap's interval."""
        unread = f"{self.unread:.1%} of the sessions are of kinds that nobody labelled"
        why = join_reasons(why, unread if self.unread else "", self.units.caution)
        method = "smoothed bootstrap of the cells" + " within strata" * (len(self.size) > 1)
        method += ", design effect of groups" * self.units.grouped
        n, drawn, estimates = int(self.units.total.sum()), None, {}
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = inflations(measures, self.units, level, fold=self.fold)
            five = self.fold(self.counts)
            for name, measure in measures.items():
                value = float(measure(five))
                if drawn is None or self.units.grouped:  # every measure has its own design effect
                    drawn = self.fold(self._draw(self.counts / scales[name], rng))
                said = join_reasons(f"{name} is 0/0 in these counts" * (value != value), why)
                draws = measure(drawn)
                estimates[name] = from_draws(value, draws, level, method=method, n=n, reason=said)
        return estimates

    def _draw(self, counts: Floats, rng: np.random.Generator) -> Floats:
        """Draw weights of the columns."""
        labels = counts @ np.eye(len(self.size))[self.classes]
        prior, kept = share_prior(self.size / self.size.sum(), labels)
        kept_share = ratio(kept, labels, 0.0)[self.classes]
        many = {"resamples": STRATIFIED} if len(self.size) > 1 else {}
        return dirichlet_weights(counts * kept_share, rng, prior=prior[self.classes], **many)


def take_sample(
    truth: Floats,
    verdict: Floats,
    groups: ArrayLike | None,
    strata: ArrayLike | None,
    population: Columns | None,
) -> Sample:
    """Sort labelled sessions into classes of strata and cells.

    Strata drawn with equal chances are one class. Where ``population`` counts them by verdict, and
    each has labels enough, every verdict is a stratum of its own. Strata with too few labels join;
    in such a class a row counts by what it stands for.
    """
    known, silent = ~np.isnan(truth), np.isnan(verdict)
    cell = np.where(truth == 1, np.where(verdict == 1, TP, FN), np.where(verdict == 0, TN, FP))
    cell[silent & (truth != 1)] = QUIET
    possible = range(5 if (cell[known] == QUIET).any() else 4)
    if strata is None or population is None:
        if strata is not None or population is not None:
            raise ValueError("strata and population must be given together, got one of them")
        return _count(cell, known, groups, [possible])
    labels = {"stratum": np.asarray(strata), "fails": truth, "verdict": verdict}
    table, judged = tabulate(labels, population), "verdict" in population
    if judged and (table.labels < SPARSE).any():
        unlike = {name: population[name] for name in ("stratum", "n")}
        return take_sample(truth, verdict, groups, strata, unlike)
    fractions = table.labels / table.population
    if not judged and np.ptp(fractions) <= 1e-9:
        return take_sample(truth, verdict, groups, None, None)
    said = [None if value != value else float(value) for value in verdict]
    rows = zip(np.asarray(strata).astype(str), said if judged else [None] * len(said), strict=True)
    place = {key: position for position, key in enumerate(table.keys)}
    row_key = np.array([place[row] for row in rows])
    read = [[int(i)] for i in np.flatnonzero(table.labels)]
    classes = read if judged else join_sparse(table, read)
    cells = [BY_VERDICT[table.keys[i][1]] if judged else possible for i, *_ in classes]
    number = {key: number for number, members in enumerate(classes) for key in members}
    of_key = np.array([number.get(key, -1) for key in range(len(table.keys))])
    size = np.array([table.population[members].sum() for members in classes])
    unread = 1 - float(size.sum() / table.population.sum())
    weight = (1 / np.where(fractions > 0, fractions, 1.0))[row_key]
    return _count(cell, known, groups, cells, of_key[row_key], weight, size, unread)


def _count(
    cell: Integers,
    known: NDArray[np.bool_],
    groups: ArrayLike | None,
    possible: Sequence[Sequence[int]],
    of_class: ArrayLike = 0,
    weight: ArrayLike = 1.0,
    size: ArrayLike = (1.0,),
    unread: float = 0.0,
) -> Sample:
    """Count labelled rows by column, one of ``weight`` w as w sum(w) / sum(w^2)."""
    columns = [(number, each) for number, cells in enumerate(possible) for each in cells]
    classes, cells = np.array(columns).T
    of_column = np.zeros((len(possible), 5), np.int64)
    of_column[classes, cells] = np.arange(len(columns))
    row_class, weights = (np.broadcast_to(each, cell.shape)[known] for each in (of_class, weight))
    column = of_column[row_class, cell[known]]
    total, squares = (np.bincount(row_class, weights**power) for power in (1, 2))
    counting = weights * (total / np.maximum(squares, 1e-300))[row_class]
    effective = np.bincount(column, counting, minlength=len(columns)).astype(np.float64)
    used = None if groups is None else np.asarray(groups)[known]
    units = Units.of(column, len(columns), used)
    return Sample(units, effective, classes, cells, np.asarray(size, np.float64), unread)
