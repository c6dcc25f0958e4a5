"""Rates that borrow strength: all modes of a surface over windows that share evaluators."""

from .counts import FAILED, NO_EVALUATOR, PASSED, SILENT, Windows, effective_labels, relative_risk
from .rates import PooledChange, PooledRates, pooled_rates
from .readings import read_changes

__all__ = [
    "FAILED",
    "NO_EVALUATOR",
    "PASSED",
    "SILENT",
    "PooledChange",
    "PooledRates",
    "Windows",
    "effective_labels",
    "pooled_rates",
    "read_changes",
    "relative_risk",
]
