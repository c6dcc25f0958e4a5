"""Labels and population counts as cells: strata, or strata by a judge's verdict."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np

from ._arguments import Columns, Floats, binary_values, check_lengths, whole_numbers
from ._resampling import PRIOR, Units, ratio

SPARSE = 5
"""Labels that a cell needs to stand alone."""

Key = tuple[str, float | None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """Labels and population of every cell; (cells,) arrays but for the units."""

    keys: tuple[Key, ...]
    population: Floats
    labels: Floats
    fails: Floats
    units: Units
    unsure: int

    def plug_in(self, counts: Floats) -> Floats:
        """Return the stratified rate of (..., 2 x cells) counts: failing, then passing."""
        fails, passes = np.split(counts, 2, axis=-1)
        shares = self.population * (self.labels > 0)
        rate: Floats = ratio(fails, fails + passes, 0.0) @ (shares / shares.sum())
        return rate


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells after merging: what each stands for, its share and its effective counts.

    ``population`` sessions of a cell are the labelled, of which ``known_fails`` fail, and ``rest``.
    """

    members: tuple[tuple[Key, ...], ...]
    population: Floats
    labels: Floats
    fails: Floats
    rest: Floats
    known_fails: Floats

    @property
    def shares(self) -> Floats:
        """The part of the population that each cell is."""
        shares: Floats = self.population / self.population.sum()
        return shares

    def labelled(self) -> Cells:
        """Leave out the cells that nobody labelled."""
        kept = self.labels > 0
        members = tuple(each for each, keep in zip(self.members, kept, strict=True) if keep)
        columns = (self.population, self.labels, self.fails, self.rest, self.known_fails)
        return Cells(members, *(column[kept] for column in columns))


def tabulate(labels: Columns, population: Columns) -> Table:
    """Count the labels and the population of every cell; raise on labels nobody counted."""
    fails = binary_values("labels fails", labels["fails"])
    judged = "verdict" in labels and "verdict" in population
    groups = labels["group"] if "group" in labels else None
    check_lengths(**{"labels fails": fails, "labels group": groups})
    counts = whole_numbers("population n", population["n"])
    sizes: dict[Key, float] = {}
    for key, count in zip(
        _keys("population", population, len(counts), judged), counts, strict=True
    ):
        if count:
            sizes[key] = sizes.get(key, 0.0) + count
    if not sizes:
        raise ValueError(
            f"population n must count at least one session, got {counts.astype(int).tolist()}"
        )
    place = {key: position for position, key in enumerate(sizes)}
    drawn = _keys("labels", labels, len(fails), judged)
    for key in drawn:
        if key not in place:
            raise ValueError(f"labels must lie in cells that population counts, got {key!r}")
    known = ~np.isnan(fails)
    if not known.any():
        raise ValueError(f"labels fails must hold at least one 0 or 1, got {len(fails)} null")
    cell = np.array([place[key] for key in drawn]) + np.where(fails == 1, 0, len(sizes))
    units = Units.of(cell, 2 * len(sizes), groups, known)
    failed, passed = np.split(units.total, 2)
    size = np.array(list(sizes.values()))
    if (over := failed + passed > size).any():
        most = int(over.argmax())
        raise ValueError(
            f"population n must hold every labelled session, got {size[most]:g} in "
            f"{list(sizes)[most]} with {failed[most] + passed[most]:g} labels"
        )
    return Table(tuple(sizes), size, failed + passed, failed, units, int((~known).sum()))


def _keys(name: str, table: Columns, length: int, judged: bool) -> list[Key]:
    strata = np.asarray(table["stratum"]) if "stratum" in table else np.full(length, "all")
    verdicts = binary_values(f"{name} verdict", table["verdict"]) if judged else None
    check_lengths(**{f"{name} stratum": strata, f"{name} verdict": verdicts})
    if len(strata) != length:
        raise ValueError(f"{name} stratum must have {length} values, got {len(strata)} values")
    if verdicts is None:
        return [(str(stratum), None) for stratum in strata]
    # nan differs from itself, so an abstention is keyed by None.
    given = [None if np.isnan(verdict) else float(verdict) for verdict in verdicts]
    return list(zip(map(str, strata), given, strict=True))


def merge_sparse(table: Table) -> Cells:
    """Join strata with fewer than ``SPARSE`` labels, then a stratum's verdicts where one has fewer.

    Labels are a random draw of their stratum whatever the verdict, so that joining its verdicts
    costs width alone, where strata of one verdict fail at rates of their own. A stratum or verdict
    that nobody labelled stays apart: nothing speaks for it. Cells are weighted by their population;
    the labels of a merged cell are Kish's effective number.
    """
    stratum, verdict = zip(*table.keys, strict=True)
    labelled = np.flatnonzero(table.labels)
    strata_read, verdicts_read = {stratum[i] for i in labelled}, {verdict[i] for i in labelled}
    read = [one in strata_read and other in verdicts_read for one, other in table.keys]
    merged = [[i] for i, known in enumerate(read) if not known]
    strata = _group((i for i, known in enumerate(read) if known), stratum.__getitem__)
    crossed = any(len(cells) > 1 for cells in strata)
    # Strata that are verdicts join their like.
    for alike in _group(strata, lambda cells: None if crossed else verdict[cells[0]]):
        joined = join_sparse(table, alike)
        for cells in joined:
            parts = _group(cells, verdict.__getitem__)
            enough = all(table.labels[part].sum() >= SPARSE for part in parts)
            merged += parts if enough or len(joined) == 1 else [cells]
    merged.sort()
    labels, fails = np.array([_pool(table, cells) for cells in merged]).T
    sizes = np.array([table.population[cells].sum() for cells in merged])
    rest = sizes - np.array([table.labels[cells].sum() for cells in merged])
    known_fails = np.array([table.fails[cells].sum() for cells in merged])
    members = tuple(tuple(table.keys[i] for i in cells) for cells in merged)
    return Cells(members, sizes, labels, fails, rest, known_fails)


def _group(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def join_sparse(table: Table, strata: list[list[int]]) -> list[list[int]]:
    """Join all strata with too few labels, and as many more as it takes to have enough."""
    strata = sorted(strata, key=lambda cells: table.labels[cells].sum())
    totals = np.array([table.labels[cells].sum() for cells in strata])
    sparse, short = int((totals < SPARSE).sum()), int((totals.cumsum() < SPARSE).sum())
    if not sparse:
        return strata
    joined = max(sparse, short + 1)
    return [sorted(chain(*strata[:joined])), *strata[joined:]]


def _pool(table: Table, cells: list[int]) -> tuple[float, float]:
    """Return the labels and failures of cells weighted by their population."""
    known = [cell for cell in cells if table.labels[cell]]
    if not known:
        return 0.0, 0.0
    size, n = table.population[known], table.labels[known]
    labels = size.sum() ** 2 / (size**2 / n).sum()
    rate = (size * table.fails[known] / n).sum() / size.sum()
    return float(labels), float(labels * rate)


def posterior(shares: Floats, fails: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return the Beta parameters of every cell's failure rate, from (..., cells) counts."""
    prior, kept = share_prior(shares, labels)
    failing = ratio(fails * kept, labels, 0.0)
    return failing + prior, kept - failing + prior


def share_prior(shares: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return the prior counts of every outcome of a cell, and the labels that it keeps.

    One or two cells have Jeffreys' prior of 1/2 failure and 1/2 pass each. That much in every one
    of many cells would lift a rare rate by more than its width, so it is shared out; and since the
    variance of a sum of many small cells is then read too low by (n - 1) / (n + 1), each gives up
    as much of two labels as it lacks of the prior.
    """
    cells = shares.shape[-1]
    several = np.maximum(shares, 1 / cells) * PRIOR
    prior = several if cells > 2 else np.full_like(several, PRIOR)
    return prior, np.maximum(labels - 2 * (1 - prior / PRIOR), 0)


def beta_variance(a: Floats, b: Floats) -> Floats:
    """Return the variance of Beta(a, b)."""
    variance: Floats = a * b / ((a + b) ** 2 * (a + b + 1))
    return variance
