"""Pure mathematics: arrays in, an :class:`~evalbench.stats.estimate.Estimate` out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "estimate": ("Estimate",),
    "binary": ("Alignment", "Counts", "alignment", "proportion"),
    "multiclass": ("TableAlignment", "table_alignment"),
    "rates": ("Cell", "Rate", "corrected_rate", "failure_rate"),
    "agreement": ("Agreement", "agreement"),
    "change": ("Change", "paired_change", "rate_change", "what_moved", "adjust_readings"),
    "planning": ("labels_for_rate", "labels_for_mcc", "cases_for_change", "labels_next"),
    "sequential": ("confidence_sequence",),
    "richness": ("unseen_modes",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
