"""Parquet files beside a Delta table that no reader sees before a transaction names them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import polars as pl

if TYPE_CHECKING:
    from deltalake.fs import DeltaStorageHandler
    from deltalake.transaction import AddAction

TIMES = {"span": "started_at", "session": "started_at", "verdict": "judged_at"}
"""The column of each table by which files are skipped and readers bound their reading."""


@dataclass(frozen=True)
class Place:
    """Where a table is: the folder or URL of its lake, the store's options, and its name."""

    url: str
    options: Mapping[str, str]
    table: str

    def __str__(self) -> str:
        return f"{self.url}/{self.table}"


@dataclass(frozen=True)
class Staged:
    """A file of rows of one surface that waits for its transaction; ``path`` is in the table."""

    table: str
    name: str
    surface: str
    path: str
    size: int
    rows: int
    earliest: datetime | None
    latest: datetime | None


def write_file(rows: pl.LazyFrame, place: Place, surface: str, name: str) -> Staged:
    """Write rows (without the surface column) to a file called after ``name`` and its content.

    The file appears whole or not at all, in a folder as in an object store.
    """
    encoded = io.BytesIO()
    rows.sink_parquet(encoded, compression_level=1)
    content = encoded.getvalue()
    digest = hashlib.blake2b(surface.encode() + content, digest_size=8).hexdigest()
    path = f"surface={quote(surface, safe='')}/{quote(name, safe='')}-{digest}.parquet"
    time_column = pl.col(TIMES[place.table])
    bounds = rows.select(pl.len(), earliest=time_column.min(), latest=time_column.max())
    _save(content, place, path)
    return Staged(place.table, name, surface, path, len(content), *bounds.collect().row(0))


def _save(content: bytes, place: Place, path: str) -> None:
    if folder := _find_folder(place.url):
        file = folder / place.table / path
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(file)
    else:
        import pyarrow

        # A buffer that holds all of the content hands it on as the bytes that delta-rs takes.
        stream = _open_store(place).open_output_stream(path)
        with pyarrow.BufferedOutputStream(stream, len(content) + 1) as buffered:
            buffered.write(content)


def remove_file(place: Place, path: str) -> None:
    """Remove a file that no version of the table names."""
    if folder := _find_folder(place.url):
        (folder / place.table / path).unlink()
    else:
        _open_store(place).delete_file(path)


def scan_file(place: Place, path: str) -> pl.LazyFrame:
    """Read a file of a table, without the surface column."""
    folder = _find_folder(place.url) or place.url
    file, options = f"{folder}/{place.table}/{path}", dict(place.options)
    return pl.scan_parquet(file, storage_options=options, hive_partitioning=False, glob=False)


def _find_folder(url: str) -> Path | None:
    """Give the folder that a lake is in; none where it is in an object store."""
    if url.startswith("file://"):
        return Path(unquote(url.removeprefix("file://")))
    return None if "://" in url else Path(url)


def _open_store(place: Place) -> DeltaStorageHandler:
    from deltalake.fs import DeltaStorageHandler

    return DeltaStorageHandler(str(place), dict(place.options))


def describe_added(staged: Staged) -> AddAction:
    """Say to a transaction what is in a file, with the times by which readers skip it."""
    from deltalake.transaction import AddAction

    statistics: dict[str, object] = {"numRecords": staged.rows}
    for bound, moment in (("minValues", staged.earliest), ("maxValues", staged.latest)):
        if moment is not None:
            iso = moment.isoformat(timespec="microseconds")
            statistics[bound] = {TIMES[staged.table]: iso}
    return AddAction(
        path=staged.path,
        size=staged.size,
        partition_values={"surface": staged.surface},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=json.dumps(statistics),
    )
