"""A journal of verdicts: each is on disk at once, and in the lake by many.

A run appends to a file that it holds locked; killed, it leaves it to the next. A file beside it
tells how often what has no verdict yet was tried.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import KEYS, VERDICT
from evalbench.store.lake import Lake

BATCH = 5_000  # verdicts in the file when they are put into the lake
# Ending of the file of tries, whose lines are a key and what :meth:`Journal.note_tries` got.
TRIES = ".tries"


@dataclass
class Journal:
    """The open file of one run."""

    file: FileIO
    tries: Path
    lake: Lake
    rows: int = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a verdict; ``judged_at`` is in microseconds since the epoch.

        Raises StoreError where the disk is full: what was written before is kept.
        """
        _append(self.file, orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self.rows += 1
        if self.rows % BATCH == 0:
            _commit(self.file, self.lake)

    def note_tries(self, key: str, tries: Sequence[float]) -> None:
        """Keep how often ``key`` was tried in vain, and what that used."""
        with self.tries.open("ab", buffering=0) as file:
            _append(file, orjson.dumps([key, [*tries]], option=orjson.OPT_APPEND_NEWLINE))


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


def _append(file: FileIO, line: bytes) -> None:
    """Write a whole line or none."""
    size = file.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[file.write(line) :]
    except OSError as error:
        file.truncate(size)
        raise StoreError(
            f"{file.name}: cannot write: {error.strerror}; make room and run the same again, which "
            "goes on from here"
        ) from error


def _commit(file: FileIO, lake: Lake) -> None:
    file.seek(0)
    lines = file.read().split(b"\n")[:-1]  # a torn line has no end
    verdicts = _parse(lines)
    if damaged := len(lines) - len(verdicts):
        message = f"{file.name}: {damaged} of {len(lines)} lines are damaged and were left out"
        warnings.warn(f"{message}: their sessions are judged again", stacklevel=2)
    put_verdicts(lake, verdicts)
    file.truncate(0)


def _parse(lines: Sequence[bytes]) -> pl.DataFrame:
    """Parse verdicts; of damaged lines, which halving finds, each costs itself alone."""
    try:
        rows = [dict(orjson.loads(line)) for line in lines]
        return pl.DataFrame(rows, schema=VERDICT).drop_nulls(KEYS["verdict"])
    except (ValueError, TypeError, pl.exceptions.PolarsError):
        half = len(lines) // 2
        parts = (lines[:half], lines[half:]) if half else ()
        return pl.concat([VERDICT.to_frame(), *map(_parse, parts)])


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
    """Put into the lake what killed runs left, and give the unfinished run of ``job``."""
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
    noted = []
    for path in sorted(folder.glob(f"{job}.*{TRIES}")):
        for line in path.read_bytes().split(b"\n"):
            with suppress(orjson.JSONDecodeError):  # torn, or damaged: one try is not counted
                noted.append(orjson.loads(line))
    return dict(sorted(noted, key=lambda each: each[1]))
