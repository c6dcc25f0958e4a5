"""Parquet files: written aside, put into a Delta table, and seen once a transaction names them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import polars as pl

if TYPE_CHECKING:
    from deltalake.transaction import AddAction

DIGEST = "blake2b"  # the tag of a file that was written anew
# The column of each table by which files are skipped and readers bound their reading.
TIMES = {"span": "started_at", "session": "started_at", "verdict": "judged_at"}


@dataclass(frozen=True)
class Place:
    """Where a table is: the folder or URL of its lake, the store's options, and its name."""

    url: str
    options: Mapping[str, str] = field(repr=False)
    table: str

    def __str__(self) -> str:
        return f"{self.url}/{self.table}"


@dataclass(frozen=True)
class Staged:
    """A local file of rows of one surface (without its column) that waits for its transaction."""

    table: str
    surface: str
    file: Path
    rows: int

    def scan(self) -> pl.LazyFrame:
        """Read it."""
        return pl.scan_parquet(self.file, hive_partitioning=False, glob=False)


def write_staged(rows: pl.LazyFrame, table: str, surface: str, folder: Path) -> Staged:
    """Write rows (without the surface column) to a file that is called after its content.

    So the same rows, staged again after a kill, take the place of the same file.
    """
    encoded = io.BytesIO()
    rows.sink_parquet(encoded, compression_level=1)
    content = encoded.getvalue()
    file = folder / f"{digest_file(surface, content)}.parquet"
    if not file.exists():
        file.write_bytes(content)
    return Staged(table, surface, file, rows.select(pl.len()).collect().item())


def digest_file(surface: str, content: bytes) -> str:
    """Return the digest of a file: its name, or where that is older than it, a tag in the log."""
    return hashlib.blake2b(surface.encode() + content, digest_size=16).hexdigest()


def measure_rows(rows: pl.LazyFrame, table: str, n: int) -> str:
    """Return what the log says of the rows of a file: how many, and the bounds of their time."""
    time_column = pl.col(TIMES[table])
    bounds = rows.select(minValues=time_column.min(), maxValues=time_column.max())
    statistics: dict[str, object] = {"numRecords": n}
    for bound, moment in bounds.collect().row(0, named=True).items():
        if moment is not None:
            statistics[bound] = {TIMES[table]: moment.isoformat(timespec="microseconds")}
    return json.dumps(statistics)


def write_file(place: Place, path: str, content: bytes) -> None:
    """Write a file of a table through delta-rs, in the place of one that is there."""
    import pyarrow
    from deltalake.fs import DeltaStorageHandler

    # A buffer that holds all of the content hands it on as the bytes that delta-rs takes.
    store = DeltaStorageHandler(str(place), dict(place.options))
    with pyarrow.BufferedOutputStream(store.open_output_stream(path), len(content) + 1) as buffered:
        buffered.write(content)


def place_file(staged: Staged, place: Place) -> AddAction:
    """Put a staged file into its table, where no reader sees it before a transaction names it."""
    from deltalake.transaction import AddAction

    path = f"surface={quote(staged.surface, safe='')}/{staged.file.name}"
    if folder := _find_folder(place.url):
        file = folder / place.table / path
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            os.link(staged.file, unfinished)
        except OSError:  # another disk
            shutil.copyfile(staged.file, unfinished)
        unfinished.replace(file)
        unfinished.unlink(missing_ok=True)  # of two links to one file a rename keeps both
    else:
        write_file(place, path, staged.file.read_bytes())
    return AddAction(
        path=path,
        size=staged.file.stat().st_size,
        partition_values={"surface": staged.surface},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=measure_rows(staged.scan(), staged.table, staged.rows),
    )


def _find_folder(url: str) -> Path | None:
    """Give the folder that a lake is in; none where it is in an object store."""
    if url.startswith("file://"):
        return Path(unquote(url.removeprefix("file://")))
    return None if "://" in url else Path(url)
