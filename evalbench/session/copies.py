"""The texts of a surface's sessions, copied on first use so that words can be sought in them."""

import multiprocessing
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from evalbench.session import VIEW_VERSION, read_sessions
from evalbench.store.search import KEY, open_index
from evalbench.store.workspace import Workspace, open_workspace

BATCH = 2048  # sessions that are copied at a time
TEXT = pl.Schema({"session_id": pl.String, "text": pl.String})
# A word, or a sign of a script that writes no spaces between words.
TERM = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
TERMS = 2**18  # numbers that terms are hashed to
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
        copies = part.join(said, on="session_id", how="left", maintain_order="left")
        texts = copies["text"].fill_null("")
        index.add(copies.with_columns(texts, _hash_terms(texts.to_list())))
        if asked is not None and not asked.is_alive():
            return


def _hash_terms(texts: list[str]) -> pl.Series:
    """Return the different terms of each text as numbers under :data:`TERMS`."""
    from sklearn.feature_extraction.text import HashingVectorizer

    counted = HashingVectorizer(
        token_pattern=TERM, n_features=TERMS, binary=True, norm=None, alternate_sign=False
    ).transform(texts)
    terms = [counted.indices[start:end] for start, end in pairwise(counted.indptr)]
    return pl.Series("terms", terms, pl.List(pl.UInt32))
