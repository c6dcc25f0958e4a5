"""What may be said of changes: targets as a family of their own, the other modes as another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalbench.stats._arguments import Floats, check_level, check_margin

from .rates import PooledChange

IMPROVED, WORSENED = "improvement", "regression"
CONFIRMED, LIKELY = "confirmed", "likely"
STEADY, UNKNOWN = "no change shown", "cannot tell"


def read_changes(
    changes: Sequence[PooledChange], target_of: ArrayLike, *, margin: float, level: float = 0.95
) -> list[str]:
    """Say what each change is shown to be, so many being compared.

    The improvements that a release set out to make are tested one-sided, a family a release (Holm);
    all other changes two-sided, as one family (Benjamini-Hochberg). "confirmed improvement" and
    "confirmed regression" have passed that test, and their interval lies on one side of zero. An
    improvement must survive the losses of TPR that the labels do not exclude, too. "likely" ones
    have such an interval alone. "no change shown" lies within the ``margin`` on both sides, and
    nothing can be told of the rest.

    Parameters
    ----------
    changes : (n,) sequence
        All that a report compares.
    target_of : (n,) array of str
        The release that names the mode as a target; empty for the others.
    margin : float
        The smallest change worth knowing of, as a share of sessions.

    Source: Holm (1979) Scand. J. Statist. 6; Benjamini & Hochberg (1995) J. R. Statist. Soc. B 57.
    """
    from statsmodels.stats.multitest import fdrcorrection  # takes a second

    check_level(level)
    check_margin(margin)
    targets = np.asarray(target_of, dtype=str)
    if len(targets) != len(changes):
        raise ValueError(f"target_of must have {len(changes)} values, got {len(targets)}")
    passed = np.empty(len(changes), dtype=bool)
    for family in np.unique(targets):
        own = np.flatnonzero(targets == family).tolist()
        if family:
            passed[own] = _pass_holm(np.array([changes[i].p_improved for i in own]), 1 - level)
        else:
            passed[own] = fdrcorrection([changes[i].p_value for i in own], alpha=1 - level)[0]
    return [_read(*each, margin, level) for each in zip(changes, passed.tolist(), strict=True)]


def _pass_holm(p_values: Floats, alpha: float) -> NDArray[np.bool_]:
    """Holm's step-down test. That of statsmodels collects all garbage of the process each time."""
    order = np.argsort(p_values)
    least = alpha / np.arange(len(order), 0, -1)
    passed = np.empty(len(order), dtype=bool)
    passed[order] = np.logical_and.accumulate(p_values[order] <= least)
    return passed


def _read(change: PooledChange, passed: bool, margin: float, level: float) -> str:
    delta = change.delta
    if delta.high < 0:
        firm = passed and change.p_despite < 1 - level
        return f"{CONFIRMED if firm else LIKELY} {IMPROVED}"
    if delta.low > 0:
        return f"{CONFIRMED if passed else LIKELY} {WORSENED}"
    return STEADY if max(-delta.low, delta.high) <= margin else UNKNOWN
