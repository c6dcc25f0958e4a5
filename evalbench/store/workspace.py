"""A workspace: one folder with settings, a lake and a ledger, opened by whoever works in it."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from evalbench.errors import SettingsError, StoreError
from evalbench.settings import Settings, load_settings
from evalbench.store.database import find_user
from evalbench.store.lake import Lake
from evalbench.store.ledger import Ledger

SECRET = "secret"  # the file of a workspace's own secret, made with the workspace


@dataclass(frozen=True)
class Workspace:
    """What every stage is given: the absolute folder, who decides, settings, and the two stores."""

    path: Path
    user: str
    settings: Settings = field(repr=False)
    lake: Lake = field(repr=False)
    ledger: Ledger = field(repr=False)

    @property
    def rejected(self) -> Path:
        """The folder of input rows that could not be used; nobody else may read it."""
        return self.path / "rejected"

    @cached_property
    def secret(self) -> str:
        """The key of the hashes that stand for users; SettingsError where it was lost."""
        if self.settings.user_key_secret:
            return self.settings.user_key_secret
        try:
            return (self.path / SECRET).read_text("utf-8")
        except OSError as error:
            raise SettingsError(
                f"{self.path / SECRET}: {error.strerror}: put the workspace's secret back, or set "
                "user_key_secret in evalbench.toml (version 0.1.0 used 'evalbench')"
            ) from error

    @property
    def identity(self) -> str | None:
        """What tells this workspace from others wherever it is copied to."""
        return identify(self.path)


def open_workspace(path: str | Path | None = None, *, user: str | None = None) -> Workspace:
    """Open a workspace; its folder, its secret and a ledger in a file are made on first use.

    By default ``$EVALBENCH_WORKSPACE``, or ``data/workspace``, and whom PostgreSQL knows the user
    as, else the system's user. StoreError
    where it is no folder to write to, SettingsError where ``evalbench.toml`` cannot be used.
    """
    folder = find_folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"workspace {folder}: cannot make it: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"workspace {folder}: cannot write to it")
    settings = load_settings(folder / "evalbench.toml")
    url = locate_ledger(folder, settings)
    user = user or find_user(url) or getpass.getuser()
    workspace = Workspace(
        path=folder,
        user=user,
        settings=settings,
        lake=Lake(locate_lake(folder, settings), settings.lake_options),
        ledger=Ledger(url, actor=user),
    )
    own = [folder / SECRET, folder / settings.lake, workspace.rejected]
    # A lake or a ledger elsewhere is shared, and says nothing of this workspace.
    if not any(store.is_relative_to(folder) and store.exists() for store in own):
        n_events = 0 if "://" in settings.ledger else workspace.ledger.head()
        if not (n_events and (folder / settings.ledger).is_relative_to(folder)):
            _make_secret(folder)  # last: from now on, a ledger that is not there was deleted
    workspace.rejected.mkdir(exist_ok=True)
    workspace.rejected.chmod(0o700)
    return workspace


def find_folder(path: str | Path | None) -> Path:
    """Find the folder of a workspace, which need not be there; notebooks lie beside ``data``."""
    own = "../data/workspace" if Path.cwd().name == "notebooks" else "data/workspace"
    return Path(os.path.abspath(path or os.environ.get("EVALBENCH_WORKSPACE") or own))


def locate_lake(folder: Path, settings: Settings) -> str:
    """Tell where the lake of a workspace is: a folder or a URL."""
    return settings.lake if "://" in settings.lake else str(folder / settings.lake)


def locate_ledger(folder: Path, settings: Settings) -> str:
    """Tell the URL of the ledger of a workspace."""
    ledger = settings.ledger
    return ledger if "://" in ledger else f"sqlite:///{folder / ledger}"


def identify(folder: Path) -> str | None:
    """Identify a workspace by its secret, without giving it away; None where that is lost."""
    try:
        secret = (folder / SECRET).read_bytes()
    except OSError:
        return None
    return hashlib.sha256(b"evalbench workspace " + secret).hexdigest()[:16]


def _make_secret(folder: Path) -> None:
    """Make a secret; of two who open a new workspace at once, both use the first one's."""
    unfinished = folder / f"{SECRET}.{os.getpid()}"
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with suppress(FileExistsError):
        (folder / SECRET).hardlink_to(unfinished)
    unfinished.unlink()
