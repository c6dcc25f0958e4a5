"""The texts of a surface's sessions, copied on first use so that words can be sought in them."""

import multiprocessing
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from evalbench.session import VIEW_VERSION, read_sessions
from evalbench.store.search import KEY, open_index
from evalbench.store.workspace import Workspace, open_workspace

BATCH = 2048  # sessions that are copied at a time
TEXT = pl.Schema({"session_id": pl.String, "text": pl.String})
_COPYING: dict[Path, Any] = {}


def find_copies(ws: Workspace, surface: str, sessions: pl.DataFrame) -> tuple[pl.LazyFrame, int]:
    """Give the copies there are, and of how many sessions; a process makes those that lack."""
    index = open_index(ws, surface, version=VIEW_VERSION)
    copied = sessions.join(
        index.scan().select(list(KEY)).collect(), on=list(KEY), how="semi", nulls_equal=True
    )
    running = _COPYING.get(index.folder)
    if copied.height < sessions.height and not (running and running.is_alive()):
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=_copy_aside, args=(ws.path, surface), daemon=True)
        _COPYING[index.folder] = process
        process.start()
    return index.scan(), copied.height


def _copy_aside(path: Path, surface: str) -> None:
    """Copy texts while nobody else needs the processor."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    copy_texts(path, surface)


def copy_texts(path: Path, surface: str) -> None:
    """Copy the text of every session of a surface that has no copy."""
    ws, asked = open_workspace(path), multiprocessing.parent_process()
    index = open_index(ws, surface, version=VIEW_VERSION)
    sessions = ws.lake.sessions(surface=surface).select(list(KEY)).collect()
    known = index.scan().select(list(KEY)).collect()
    missing = sessions.join(known, on=list(KEY), how="anti", nulls_equal=True)
    for part in missing.iter_slices(BATCH):
        held = read_sessions(ws.lake, surface, part["session_id"].to_list())
        said = pl.DataFrame([(each.session_id, each.text()) for each in held], TEXT, orient="row")
        index.add(
            part.join(said, on="session_id", how="left").with_columns(pl.col("text").fill_null(""))
        )
        if asked is not None and not asked.is_alive():
            return
