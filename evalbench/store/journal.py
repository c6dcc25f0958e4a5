"""A journal of verdicts: each is on disk at once, and in the lake by many.

A run appends to a file that it holds locked. Killed, it leaves the file; the next run puts its rows
into the lake, and knows by the file that the run was not finished. Beside it stands, in a file of
its own, how often what has no verdict yet was tried.
"""

from __future__ import annotations

import fcntl
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import polars as pl

from evalbench.schema import KEYS, VERDICT
from evalbench.store.lake import Lake

BATCH = 5_000
"""Verdicts in memory when they are put into the lake."""
ROOM = 1 << 22
"""Bytes by which the file grows; what is not written yet is zeros."""
TRIES = ".tries"
"""Ending of the file of tries, whose lines are a key and what :meth:`Journal.note_tries` got."""


class Journal:
    """The file of one run, or of one of its workers, locked until it is closed.

    Parameters
    ----------
    path : Path
        What it holds already is put into the lake first.
    """

    def __init__(self, path: Path, lake: Lake, *, wait: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lake, self.rows, self.end = lake, 0, 0
        self.map: mmap.mmap | None = None
        self.file = path.open("a+b", buffering=0)
        self.tries = path.with_suffix(TRIES)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            self.commit()
        except BaseException:
            self.file.close()
            raise

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a verdict; ``judged_at`` is in microseconds since the epoch."""
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        end = self.end + len(line)
        if self.map is None or end > len(self.map):
            self._unmap()
            self.file.truncate(end + ROOM)
            self.map = mmap.mmap(self.file.fileno(), end + ROOM)
        # In the page cache at once, and so safe from a kill, without a call of the system.
        self.map[self.end : end] = line
        self.end = end
        self.rows += 1
        if self.rows >= BATCH:
            self.commit()

    def note_tries(self, key: str, tries: Sequence[float]) -> None:
        """Keep how often ``key`` was tried in vain, and what that used."""
        with self.tries.open("ab") as file:
            file.write(orjson.dumps([key, [*tries]], option=orjson.OPT_APPEND_NEWLINE))

    def commit(self) -> None:
        """Put what the file holds into the lake, and empty it."""
        self._unmap()
        self.file.seek(0)
        lines = self.file.read().split(b"\n")
        rows = [orjson.loads(line) for line in lines[:-1]]  # a torn line has no end
        if rows:
            put_verdicts(self.lake, pl.DataFrame(rows, schema=VERDICT))
        self.file.truncate(0)
        self.rows = self.end = 0

    def _unmap(self) -> None:
        if self.map is not None:
            self.map.close()
            self.map = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.commit()
        finally:
            self.file.close()


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

    A file is called after job, run and worker. A live run of the same job is waited for; those of
    other jobs are let be.
    """
    unfinished = None
    for path in sorted(folder.glob("*.jsonl")):
        same, run, _ = path.stem.split(".")
        try:
            with Journal(path, lake, wait=same == job):
                pass
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
