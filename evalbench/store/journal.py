"""A journal of verdicts: each is on disk at once, and in the lake by many.

A run appends to a file that it holds locked, and its workers to one each; at its end it puts the
rows of all of them into the lake. Killed, it leaves the files; the next run does that, and knows by
them that the run was not finished. Beside each stands, in a file of its own, how often what has no
verdict yet was tried.
"""

from __future__ import annotations

import fcntl
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
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


@dataclass
class Journal:
    """The open file of one run, or of one of its workers."""

    file: FileIO
    tries: Path
    lake: Lake
    rows: int = 0
    end: int = 0
    map: mmap.mmap | None = None

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
            self._unmap()
            _commit([self.file], self.lake)
            self.rows = self.end = 0

    def note_tries(self, key: str, tries: Sequence[float]) -> None:
        """Keep how often ``key`` was tried in vain, and what that used."""
        with self.tries.open("ab") as file:
            file.write(orjson.dumps([key, [*tries]], option=orjson.OPT_APPEND_NEWLINE))

    def _unmap(self) -> None:
        if self.map is not None:
            self.map.close()
            self.map = None


@contextmanager
def open_journal(path: Path, lake: Lake) -> Iterator[Journal]:
    """Open a file of verdicts, locked until it is closed.

    What it holds, and later :data:`BATCH` rows at a time, goes into the lake at once; the last rows
    are for :func:`commit_journals`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold(path, wait=True) as file:
        _commit([file], lake)
        journal = Journal(file, path.with_suffix(TRIES), lake)
        try:
            yield journal
        finally:
            journal._unmap()


def commit_journals(paths: Sequence[Path], lake: Lake, *, wait: bool = True) -> None:
    """Put what the journals of a run hold into the lake; one still open is waited for, or left."""
    with ExitStack() as held:
        files = []
        for path in filter(Path.exists, paths):
            with suppress(BlockingIOError):
                files.append(held.enter_context(_hold(path, wait=wait)))
        _commit(files, lake)


@contextmanager
def _hold(path: Path, *, wait: bool) -> Iterator[FileIO]:
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield file


def _commit(files: Sequence[FileIO], lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    for file in files:
        file.seek(0)
        rows += map(orjson.loads, file.read().split(b"\n")[:-1])  # a torn line has no end
    if rows:
        put_verdicts(lake, pl.DataFrame(rows, schema=VERDICT))
    for file in files:
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

    A file is called after job, run and worker. A live run of the same job is waited for; those of
    other jobs are let be.
    """
    unfinished = None
    for path in sorted(folder.glob("*.jsonl")):
        same, run, _ = path.stem.split(".")
        try:
            with _hold(path, wait=same == job) as file:
                _commit([file], lake)
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
