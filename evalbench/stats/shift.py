"""What moved? The shift of a judged rate, split into the judge, the traffic and the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import Floats, Integers, binary_values, check_lengths, check_level, codes
from ._resampling import RESAMPLES, dirichlet_weights, from_draws
from .estimate import Estimate

FEW_RESCORED = 5


@dataclass(frozen=True, slots=True)
class Moved:
    """The shift of a judged failure rate, and its three parts, which add up to it exactly."""

    whole: Estimate
    judge: Estimate
    mix: Estimate
    system: Estimate


def what_moved(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Moved:
    """Split the shift of a judged rate into the judge, the traffic mix and the system itself.

    The judge's part is what its new version says of the old outputs less what the old version said.
    The rest is split by segment with the average of both periods as the weight: mix is the change
    of shares times the mean rate, system the mean share times the change of the rate (Kitagawa
    1955). A segment seen in one period alone counts as mix. The intervals are Bayesian bootstraps
    of both periods with one pseudo-session a cell of verdicts, spread over the segments by their
    share. A segment with fewer than 5 rescored outputs takes the judge's shift of all of them. It
    misleads where the outputs rescored are not a fair sample of their segment.

    Parameters
    ----------
    before : mapping of columns
        ``segment``; ``fails``, the old judge's 0 or 1; and, where the judge changed, ``rescored``,
        the new judge's 0 or 1 on the same bytes, null where it was not run, but not throughout.
    after : mapping of columns
        ``segment`` and ``fails``, the new judge's.

    ``whole`` = ``judge`` + ``mix`` + ``system``, each an Estimate.

    Source: Kitagawa (1955) Journal of the American Statistical Association 50:1168.

    Examples
    --------
    >>> before = {"segment": ["a", "b"] * 50, "fails": [0, 1] * 50}
    >>> after = {"segment": ["a", "b", "b", "b"] * 25, "fails": [0, 1, 1, 1] * 25}
    >>> moved = what_moved(before, after, rng=np.random.default_rng(0))
    >>> moved.whole.estimate, moved.mix.estimate, moved.system.estimate
    (0.25, 0.25, 0.0)
    """
    check_level(level)
    old_cells, new_cells, rescored = _segment_cells(before, after)
    n_old, n_new = int(old_cells.sum()), int(new_cells.sum())

    def draw(cells: Floats) -> Floats:
        """Dirichlet draws (draws, segments, cells); a cell that was never used stays empty."""
        shares = cells.sum(axis=1, keepdims=True) / cells.sum()
        prior = 0.5 * shares * (cells.sum(axis=0) > 0)
        flat = dirichlet_weights((cells + prior).ravel(), rng, prior=0.0)
        return flat.reshape(RESAMPLES, *cells.shape)

    merge = (old_cells[:, 2:].sum(axis=1) < FEW_RESCORED) if rescored else None
    plug_in = _decompose(old_cells[None] / n_old, new_cells[None] / n_new, merge)
    draws = _decompose(draw(old_cells), draw(new_cells), merge)
    method, n = "Kitagawa, Bayesian bootstrap", n_old + n_new
    parts = {
        name: from_draws(float(value[0]), draws[name], level, method=method, n=n)
        for name, value in plug_in.items()
    }
    return Moved(**parts)


def _segment_cells(
    before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]
) -> tuple[Floats, Floats, bool]:
    """Count sessions by segment: (segments, 6) before, (segments, 2) after; was any rescored."""
    old, new = binary_values("fails", before["fails"]), binary_values("fails", after["fails"])
    segments_old, segments_new = np.asarray(before["segment"]), np.asarray(after["segment"])
    check_lengths(fails=old, segment=segments_old)
    check_lengths(fails=new, segment=segments_new)
    for name, column in (("before", old), ("after", new)):
        if np.isnan(column).any():
            raise ValueError(f"fails of {name} must be 0 or 1, got null")
    any_rescored = "rescored" in before
    given = before["rescored"] if any_rescored else np.full(len(old), np.nan)
    rescored = binary_values("rescored", given)
    check_lengths(fails=old, rescored=rescored)
    if any_rescored and np.isnan(rescored).all():
        raise ValueError(f"rescored must hold a verdict, got {len(rescored)} nulls")
    names, position = codes("segment", np.concatenate([segments_old, segments_new]))
    # Cells 0 and 1: seen by the old judge alone; 2 to 5: (old, new) verdicts 00, 01, 10, 11.
    cell = np.where(np.isnan(rescored), old, 2 + 2 * old + np.nan_to_num(rescored))
    return (
        _table(position[: len(old)], cell, len(names), 6),
        _table(position[len(old) :], new, len(names), 2),
        any_rescored,
    )


def _table(rows: Integers, columns: Floats, n_rows: int, n_columns: int) -> Floats:
    index = rows * n_columns + columns.astype(np.int64)
    counts = np.bincount(index, minlength=n_rows * n_columns)
    return counts.reshape(n_rows, n_columns).astype(np.float64)


def _decompose(old: Floats, new: Floats, merge: NDArray[np.bool_] | None) -> dict[str, Floats]:
    """Parts of the shift for shares (draws, segments, cells) that sum to one a draw."""
    share_old, share_new = old.sum(axis=2), new.sum(axis=2)
    with np.errstate(invalid="ignore"):
        judged_old = old[:, :, [1, 4, 5]].sum(axis=2) / share_old
        rate_new = new[:, :, 1] / share_new
        shift = np.zeros_like(share_old)
        if merge is not None:
            own = (old[:, :, 3] - old[:, :, 4]) / old[:, :, 2:].sum(axis=2)
            pooled = old[:, :, 3].sum(axis=1) - old[:, :, 4].sum(axis=1)
            shift = np.where(merge, (pooled / old[:, :, 2:].sum(axis=(1, 2)))[:, None], own)
    rate_old = judged_old + shift
    rate_old, rate_new = (
        np.where(share_old > 0, rate_old, rate_new),
        np.where(share_new > 0, rate_new, rate_old),
    )
    judge = np.where(share_old > 0, share_old * shift, 0.0).sum(axis=1)
    mix = ((share_new - share_old) * (rate_old + rate_new) / 2).sum(axis=1)
    system = ((share_old + share_new) / 2 * (rate_new - rate_old)).sum(axis=1)
    return {"whole": judge + mix + system, "judge": judge, "mix": mix, "system": system}


def find_cause(whole: Estimate, judge: Estimate | None, canary: Estimate | None) -> str:
    """Name what moved a judged failure rate: "judge", "product", "traffic", or that none can be.

    ``whole`` is the shift of the rate in production; ``judge`` that of its verdicts on the same
    bytes, judged again; ``canary`` that of fixed cases, replayed and judged by one judge. None was
    not looked at. A cause moved where its interval excludes 0 and it makes up half of the whole; it
    is still where its interval excludes that half. Traffic is what remains where both are still;
    one of the two is named where it moved and the other is still. "several" moved together;
    "cannot tell" is anything else, and "no move shown" where nothing moved.

    Assumes that the cases replayed, and the sessions judged again, are like the traffic: a change
    that spares them reads as traffic.

    Examples
    --------
    >>> whole, still = (Estimate(x, x - 0.01, x + 0.01, 0.95, "", 100) for x in (0.08, 0.0))
    >>> find_cause(whole, still, still), find_cause(whole, still, whole)
    ('traffic', 'product')
    """
    looked = {"judge": judge, "product": canary}
    shown = _excludes_zero(whole)
    half = abs(whole.estimate) / 2 if shown else 0.0
    side = np.sign(whole.estimate) if shown else 0
    moved, still = list[str](), list[str]()
    for name, each in looked.items():
        if each is None:
            continue
        if _excludes_zero(each) and (not shown or side * each.estimate >= half):
            moved.append(name)
        elif max(side * each.low, side * each.high) < half:
            still.append(name)
    if len(moved) > 1:
        return "several"
    if not shown:
        return moved[0] if moved else "no move shown"
    if len(moved) + len(still) < len(looked):
        return "cannot tell"
    return moved[0] if moved else "traffic"


def _excludes_zero(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0
