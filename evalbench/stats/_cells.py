"""Labels and population counts as cells: strata, or strata by a judge's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, Integers, binary_values, check_lengths, codes, whole_numbers
from ._resampling import PRIOR, Units

Columns = Mapping[str, ArrayLike]
"""A column a name: a dict of arrays or a frame."""

SPARSE = 5
"""Labels that a cell needs to stand alone."""

Key = tuple[str, float | None]


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
        """Stratified rate of (..., 2 x cells) counts: failing, then passing, of every cell."""
        fails, passes = np.split(counts, 2, axis=-1)
        n = fails + passes
        shares = self.population * (self.labels > 0)
        rates = np.divide(fails, n, out=np.zeros_like(n), where=n > 0)
        rate: Floats = rates @ (shares / shares.sum())
        return rate


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells after merging: what each stands for, its share and its effective counts."""

    members: tuple[tuple[Key, ...], ...]
    shares: Floats
    labels: Floats
    fails: Floats


def tabulate(labels: Columns, population: Columns) -> Table:
    """Count the labels and the population of every cell; raise on labels nobody counted."""
    fails = binary_values("labels fails", labels["fails"])
    judged = "verdict" in labels and "verdict" in population
    group = np.asarray(labels["group"]) if "group" in labels else None
    check_lengths(**{"labels fails": fails, "labels group": group})
    sizes: dict[Key, float] = {}
    counts = whole_numbers("population n", population["n"])
    for key, count in zip(
        _keys("population", population, len(counts), judged), counts.tolist(), strict=True
    ):
        sizes[key] = sizes.get(key, 0) + count
    keys = tuple(key for key, size in sizes.items() if size > 0)
    if not keys:
        raise ValueError(
            f"population n must count at least one session, got {counts.astype(int).tolist()}"
        )
    place = {key: position for position, key in enumerate(keys)}
    known = ~np.isnan(fails)
    cell = np.zeros(len(fails), dtype=np.int64)
    for row, key in enumerate(_keys("labels", labels, len(fails), judged)):
        if key not in place:
            raise ValueError(f"labels must lie in cells that population counts, got {key!r}")
        cell[row] = place[key]
    if not known.any():
        raise ValueError(f"labels fails must hold at least one 0 or 1, got {len(fails)} null")
    passed = np.where(fails == 1, 0, len(keys)) + cell
    members = None if group is None else codes("labels group", group[known])[1]
    units = Units.of(passed[known], 2 * len(keys), members)
    failed, passing = np.split(units.total, 2)
    return Table(
        keys,
        np.array([sizes[key] for key in keys], dtype=np.float64),
        failed + passing,
        failed,
        units,
        int((~known).sum()),
    )


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
    costs width alone, where strata of one verdict fail at rates of their own. A verdict that nobody
    labelled stays apart: nothing speaks for it. Cells are weighted by their population; the labels
    of a merged cell are Kish's effective number.
    """
    labelled = {verdict for (_, verdict), n in zip(table.keys, table.labels, strict=True) if n}
    apart: dict[float | None, list[int]] = {}
    strata: dict[str, list[int]] = {}
    for i, (stratum, verdict) in enumerate(table.keys):
        if verdict in labelled:
            strata.setdefault(stratum, []).append(i)
        else:
            apart.setdefault(verdict, []).append(i)
    kinds: dict[float | None, list[list[int]]] = {}  # strata that are verdicts join their like
    crossed = any(len(cells) > 1 for cells in strata.values())
    for cells in strata.values():
        kinds.setdefault(None if crossed else table.keys[cells[0]][1], []).append(cells)
    merged = list(apart.values())
    for kind in kinds.values():
        joined = _join_sparse(table, kind)
        for cells in joined:
            verdicts: dict[float | None, list[int]] = {}
            for i in cells:
                verdicts.setdefault(table.keys[i][1], []).append(i)
            parts = list(verdicts.values())
            enough = all(table.labels[part].sum() >= SPARSE for part in parts)
            merged += parts if enough or len(joined) == 1 else [cells]
    merged.sort()
    labels, fails = zip(*(_pool(table, np.array(cells)) for cells in merged), strict=True)
    sizes = np.array([table.population[cells].sum() for cells in merged])
    return Cells(
        tuple(tuple(table.keys[i] for i in cells) for cells in merged),
        sizes / sizes.sum(),
        np.array(labels),
        np.array(fails),
    )


def _join_sparse(table: Table, strata: list[list[int]]) -> list[list[int]]:
    """Join all strata with too few labels, and as many more as it takes to have enough."""
    strata = sorted(strata, key=lambda cells: table.labels[cells].sum())
    totals = np.array([table.labels[cells].sum() for cells in strata])
    sparse, short = int((totals < SPARSE).sum()), int((totals.cumsum() < SPARSE).sum())
    if not sparse:
        return strata
    joined = max(sparse, short + 1)
    return [sorted(chain(*strata[:joined])), *strata[joined:]]


def _pool(table: Table, cells: Integers) -> tuple[float, float]:
    known = cells[table.labels[cells] > 0]
    if len(known) == 0:
        return 0.0, 0.0
    size, n = table.population[known], table.labels[known]
    labels = size.sum() ** 2 / (size**2 / n).sum()
    rate = (size * table.fails[known] / n).sum() / size.sum()
    return float(labels), float(labels * rate)


def posterior(shares: Floats, fails: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Beta parameters of every cell's failure rate, from (..., cells) counts.

    One or two cells have Jeffreys' prior of 1/2 failure and 1/2 pass each. That much in every one
    of many cells would lift a rare rate by more than its width, so it is shared out; and since the
    variance of a sum of many small cells is then read too low by (n - 1) / (n + 1), each gives up
    as much of two labels as it lacks of the prior.
    """
    prior = np.minimum(np.maximum(shares, 1 / shares.shape[-1]), PRIOR)
    kept = np.maximum(labels - 2 * (1 - prior / PRIOR), 0)
    failing = np.divide(fails * kept, labels, out=np.zeros_like(kept), where=labels > 0)
    return failing + prior, kept - failing + prior


def beta_variance(a: Floats, b: Floats) -> Floats:
    """Variance of Beta(a, b)."""
    variance: Floats = a * b / ((a + b) ** 2 * (a + b + 1))
    return variance
