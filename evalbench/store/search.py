"""Copies of sessions' texts, to be searched: they may be deleted at any time."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from evalbench.schema import TIME, columns
from evalbench.store.workspace import Workspace

# What a copy is of: a session that went on since is copied anew.
KEY = columns((pl.String, "session_id"), (pl.Int64, "n_spans"), (TIME, "ended_at"))
TEXT = pl.Schema([*KEY.items(), ("text", pl.String()), ("terms", pl.List(pl.UInt32()))])
FORM = 2  # of the columns above: copies of another form are made anew


@dataclass(frozen=True)
class TextIndex:
    """Copies of the texts of one surface in ``folder``: Arrow files, mapped to memory."""

    folder: Path

    def scan(self) -> pl.LazyFrame:
        """Read all copies, older ones of the same session too: the columns of :data:`TEXT`."""
        files = sorted(self.folder.glob("*.arrow"))
        return pl.scan_ipc(files) if files else TEXT.to_frame(eager=False)

    def add(self, rows: pl.DataFrame) -> None:
        """Add copies: the columns of :data:`TEXT`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.parent.chmod(0o700)
        unfinished = self.folder / uuid.uuid4().hex
        rows.select(list(TEXT)).cast(TEXT).write_ipc(unfinished)
        unfinished.rename(unfinished.with_suffix(".arrow"))


def open_index(ws: Workspace, surface: str, *, version: int) -> TextIndex:
    """Open the index of a surface, of this view; one from before rows were changed is deleted."""
    changed = ws.ledger.events(["traces.replaced", "sessions.forgotten"])
    state = f"{FORM}-{version}-{changed.height}"
    folder = ws.path / "search" / surface.encode().hex()
    for old in folder.glob("*"):
        if old.name != state:
            shutil.rmtree(old, ignore_errors=True)
    return TextIndex(folder / state)
