"""A workspace: one folder with settings, a lake and a ledger, opened by whoever works in it."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from evalbench.errors import StoreError
from evalbench.settings import Settings, load_settings
from evalbench.store.lake import Lake
from evalbench.store.ledger import Ledger


@dataclass(frozen=True)
class Workspace:
    """What every stage is given.

    ``path`` is the folder, absolute; ``user`` who decides, the actor of the ledger's events;
    ``settings`` are from ``evalbench.toml``, ``lake`` and ``ledger`` the two stores.
    """

    path: Path
    user: str
    settings: Settings
    lake: Lake
    ledger: Ledger

    @property
    def rejected(self) -> Path:
        """The folder of input rows that could not be used."""
        return self.path / "rejected"


def open_workspace(path: str | Path | None = None, *, user: str | None = None) -> Workspace:
    """Open a workspace; its folder is made on first use.

    The path is by default ``$EVALBENCH_WORKSPACE``, or ``data/workspace``; the user, who decides,
    that of the operating system. Raises StoreError where the path is not a folder that can be
    written to, SettingsError where ``evalbench.toml`` cannot be used.
    """
    folder = Path(path or os.environ.get("EVALBENCH_WORKSPACE") or "data/workspace").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"workspace {folder}: cannot make it: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"workspace {folder}: cannot write to it")
    settings = load_settings(folder / "evalbench.toml")
    user = user or getpass.getuser()
    lake, ledger = settings.lake, settings.ledger
    return Workspace(
        path=folder,
        user=user,
        settings=settings,
        lake=Lake(lake if "://" in lake else str(folder / lake), settings.lake_options),
        ledger=Ledger(ledger if "://" in ledger else f"sqlite:///{folder / ledger}", actor=user),
    )
