"""A judge against people on more than two categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import Floats, Integers, check_lengths, check_level, nulls
from ._resampling import Statistic, Units, estimate_all
from .estimate import Estimate


@dataclass(frozen=True, slots=True)
class TableAlignment:
    """How well a judge's categories follow people's.

    ``table`` counts sessions by people's category (row) and the judge's (column), in the order of
    ``categories``, abstentions apart. ``abstained`` and ``unlabelled`` are as in
    :class:`~evalbench.stats.binary.Alignment`.
    """

    mcc: Estimate
    kappa: Estimate
    accuracy: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    categories: tuple[object, ...]
    table: NDArray[np.int64]
    abstained: int
    unlabelled: int


def table_alignment(
    truth: ArrayLike,
    verdict: ArrayLike,
    *,
    categories: Sequence[object],
    groups: ArrayLike | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> TableAlignment:
    r"""Compare a judge's categories with people's on the same sessions.

    Estimand: each measure in the population that the sessions were drawn from. The estimate is the
    plug-in of the k x k table; the interval is the smoothed bootstrap of
    :func:`~evalbench.stats.binary.alignment` on its cells,
    :math:`\mathrm{Dirichlet}(\mathrm{counts} + 2 / k^2)`: as much prior as a table of two
    categories has. Assumes that the sessions (or groups) are a random draw.

    Parameters
    ----------
    truth, verdict : (n,) arrays of categories or null
        Null truth is left out and counted. Null verdicts (abstentions) are scored as wrong, in a
        category of their own, so that they cost no precision.
    categories : sequence
        All categories, in order where they have one; at least two.

    A measure that is 0/0, such as a macro mean over a category nobody used, is ``nan`` with a
    reason.

    Source: Gorodkin (2004), Comparing two K-category assignments by a K-category correlation
    coefficient. Cohen (1960), A coefficient of agreement for nominal scales.

    Examples
    --------
    >>> truth, verdict, rng = [1, 2, 3, 3, 2, 1], [1, 2, 3, 2, 2, 1], np.random.default_rng(1)
    >>> judge = table_alignment(truth, verdict, categories=(1, 2, 3), rng=rng)
    >>> round(judge.kappa.estimate, 4), judge.table.tolist()
    (0.75, [[2, 0, 0], [0, 2, 0], [0, 1, 1]])
    """
    check_level(level)
    k = len(categories)
    if k < 2 or len(set(categories)) < k:
        raise ValueError(f"categories must be at least two and differ, got {categories!r}")
    human, judge = _places("truth", truth, categories), _places("verdict", verdict, categories)
    check_lengths(truth=human, verdict=judge, groups=groups)
    known, silent = human >= 0, judge < 0
    if not known.any():
        raise ValueError(f"truth must hold at least one category, got {len(human)} null")
    said = k + bool((silent & known).any())
    units = Units.of(human * said + np.where(silent, k, judge), k * said, groups, known)
    measures = {name: _of_table(measure, k) for name, measure in MEASURES.items()}
    estimates = estimate_all(measures, units, level=level, rng=rng, prior=2 / (k * said))
    return TableAlignment(
        **estimates,
        categories=tuple(categories),
        table=units.total.astype(np.int64).reshape(k, said)[:, :k],
        abstained=int((silent & known).sum()),
        unlabelled=int((~known).sum()),
    )


def multiclass_mcc(table: Floats) -> Floats:
    """Gorodkin's correlation of (..., k, k) tables of weights, abstentions in a column more."""
    human, judge = table.sum(axis=-1), table.sum(axis=-2)
    total = human.sum(axis=-1)
    covariance = _hits(table).sum(axis=-1) * total - (human * _named(table)).sum(axis=-1)
    spread = (total**2 - (human**2).sum(axis=-1)) * (total**2 - (judge**2).sum(axis=-1))
    value: Floats = covariance / np.sqrt(spread)
    return value


def kappa(table: Floats) -> Floats:
    """Return Cohen's kappa of (..., k, k) tables of counts or weights."""
    human = table.sum(axis=-1)
    n = human.sum(axis=-1)
    missed = n - _hits(table).sum(axis=-1)
    value: Floats = 1 - missed * n / (n**2 - (human * _named(table)).sum(axis=-1))
    return value


def _named(table: Floats) -> Floats:
    """Count what the judge said of each category."""
    counts: Floats = table.sum(axis=-2)[..., : table.shape[-2]]
    return counts


def _hits(table: Floats) -> Floats:
    return np.diagonal(table, axis1=-2, axis2=-1)


MEASURES: dict[str, Statistic] = {
    "mcc": multiclass_mcc,
    "kappa": kappa,
    "accuracy": lambda table: _hits(table).sum(axis=-1) / table.sum(axis=(-2, -1)),
    "macro_precision": lambda table: (_hits(table) / _named(table)).mean(axis=-1),
    "macro_recall": lambda table: (_hits(table) / table.sum(axis=-1)).mean(axis=-1),
    "macro_f1": lambda table: (2 * _hits(table) / (_named(table) + table.sum(axis=-1))).mean(
        axis=-1
    ),
}
"""Every measure of such tables."""


def _of_table(measure: Statistic, k: int) -> Statistic:
    return lambda cells: measure(cells.reshape(*cells.shape[:-1], k, -1))


def _places(name: str, values: ArrayLike, categories: Sequence[object]) -> Integers:
    """Return the position of every value among the categories, -1 for null."""
    place = {category: position for position, category in enumerate(categories)}
    column = np.asarray(values)
    null = nulls(column)
    for value in column[~null].tolist():
        if value not in place:
            raise ValueError(f"{name} must hold {', '.join(map(str, categories))}, got {value!r}")
    positions = np.full(len(column), -1, dtype=np.int64)
    positions[~null] = [place[value] for value in column[~null].tolist()]
    return positions
