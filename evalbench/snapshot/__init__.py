"""The workspace as of pinned versions: the one composition of the stages, asked by notebooks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from evalbench.errors import EvalbenchError
from evalbench.operate import evidence
from evalbench.snapshot.planning import Planning
from evalbench.store.engines import ENGINES
from evalbench.store.workspace import Workspace, open_workspace


class Snapshot(Planning):
    """Everything that notebooks ask for, at one pinned state."""


_LATEST: list[Any] = [None, {}]
"""The state that was last asked for, and what its snapshots share: reports of quarters in turn."""


def take_snapshot(
    ws: Workspace | str | Path,
    surface: str | None = None,
    quarter: str | None = None,
    lake_versions: Mapping[str, int] | None = None,
    ledger_seq: int | None = None,
    seed: int = 7,
    margin: float = 0.02,
    engine: str = "polars",
) -> Snapshot:
    """Pin a workspace, given or at a path: what is not pinned is taken as it is now.

    ``surface`` and ``quarter`` "all", or None, are every one. A ``ledger_seq`` of 0 is the empty
    ledger, a version of -1 no table.
    ``engine`` "spark" reads the lake with Spark, where one machine is not enough for "polars".
    """
    opened = ws if isinstance(ws, Workspace) else open_workspace(ws)
    scope = None if surface == "all" else surface, quarter or evidence.WHOLE
    evidence.quarter_window(scope[1])
    if engine not in ENGINES:
        raise EvalbenchError(f"engine must be {' or '.join(ENGINES)}, got {engine!r}")
    seq = opened.ledger.head() if ledger_seq is None else ledger_seq
    pins = opened.lake.pin(lake_versions), seq
    state = opened.path, opened.identity, opened.settings, pins
    known, kept = _LATEST
    if known != state:
        kept = {}
        _LATEST[:] = [state, kept]
    return Snapshot(opened, *scope, *pins, seed, margin, engine, kept)


class _Callable(ModuleType):
    """Lets ``eb.snapshot(...)`` take one, though ``evalbench.snapshot`` is this module."""

    __call__ = staticmethod(take_snapshot)


sys.modules[__name__].__class__ = _Callable
