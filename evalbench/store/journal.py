"""A journal of verdicts: each is on disk at once, and in the lake by many.

A run appends to a file that it holds locked, and at its end puts the rows into the lake. Killed, it
leaves the file; the next run does that, and knows by it that the run was not finished. Beside it
stands, in a file of its own, how often what has no verdict yet was tried.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from evalbench.schema import KEYS, VERDICT
from evalbench.store.lake import Lake

BATCH = 5_000
"""Verdicts in the file when they are put into the lake."""
TRIES = ".tries"
"""Ending of the file of tries, whose lines are a key and what :meth:`Journal.note_tries` got."""


@dataclass
class Journal:
    """The open file of one run."""

    file: FileIO
    tries: Path
    lake: Lake
    rows: int = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a verdict; ``judged_at`` is in microseconds since the epoch."""
        self.file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self.rows += 1
        if self.rows % BATCH == 0:
            _commit(self.file, self.lake)

    def note_tries(self, key: str, tries: Sequence[float]) -> None:
        """Keep how often ``key`` was tried in vain, and what that used."""
        with self.tries.open("ab") as file:
            file.write(orjson.dumps([key, [*tries]], option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def open_journal(path: Path, lake: Lake) -> Iterator[Journal]:
    """Open a file of verdicts, locked until it is closed and all it holds is in the lake."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold(path, wait=True) as file:
        _commit(file, lake)
        try:
            yield Journal(file, path.with_suffix(TRIES), lake)
        finally:
            _commit(file, lake)


@contextmanager
def _hold(path: Path, *, wait: bool) -> Iterator[FileIO]:
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield file


def _commit(file: FileIO, lake: Lake) -> None:
    file.seek(0)
    lines = file.read().split(b"\n")[:-1]  # a torn line has no end
    if lines:
        put_verdicts(lake, pl.DataFrame(map(orjson.loads, lines), schema=VERDICT))
    file.truncate(0)


def put_verdicts(lake: Lake, verdicts: pl.DataFrame) -> None:
    """Put verdicts in the place of those with the same key; an error never replaces a verdict."""
    keys = KEYS["verdict"]
    errors = verdicts.filter(pl.col("error").is_not_null())
    for (surface,), some in errors.group_by("surface"):
        judged = lake.verdicts(surface=str(surface)).filter(pl.col("error").is_null()).select(keys)
        better = judged.join(some.lazy().select(keys), on=keys, how="semi").collect()
        verdicts = verdicts.join(better, on=keys, how="anti", maintain_order="left")
    if len(verdicts):
        lake.upsert("verdict", verdicts)


def recover(folder: Path, lake: Lake, job: str) -> str | None:
    """Put into the lake what killed runs left, and give the unfinished run of ``job``.

    A file is called after job and run. A live run of the same job is waited for; those of
    other jobs are let be.
    """
    unfinished = None
    for path in sorted(folder.glob("*.jsonl")):
        same, run = path.stem.split(".")
        try:
            with _hold(path, wait=same == job) as file:
                _commit(file, lake)
        except BlockingIOError:
            continue
        if same == job and path.exists():
            unfinished = run
    return unfinished


def read_tries(folder: Path, job: str) -> dict[str, list[Any]]:
    """Give what an unfinished run of ``job`` noted last of each key."""
    lines = [
        line
        for path in sorted(folder.glob(f"{job}.*{TRIES}"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return dict(sorted(map(orjson.loads, lines), key=lambda noted: noted[1]))
