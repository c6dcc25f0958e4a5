"""Parquet files beside a Delta table that no reader sees before a transaction names them."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

if TYPE_CHECKING:
    from deltalake._internal import DeltaFileSystemHandler
    from deltalake.transaction import AddAction, RemoveAction

TIMES = {"span": "started_at", "session": "started_at", "verdict": "judged_at"}
"""The column of each table by which files are skipped and readers bound their reading."""


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


def write_file(
    rows: pl.LazyFrame,
    *,
    url: str,
    options: Mapping[str, str],
    table: str,
    surface: str,
    name: str,
) -> Staged:
    """Write rows (without the surface column) to a file called after ``name`` and its content.

    The file appears whole or not at all, in a folder as in an object store.
    """
    encoded = io.BytesIO()
    rows.sink_parquet(encoded)
    content = encoded.getvalue()
    digest = hashlib.blake2b(surface.encode() + content, digest_size=8).hexdigest()
    path = f"surface={quote(surface, safe='')}/{quote(name, safe='')}-{digest}.parquet"
    time_column = pl.col(TIMES[table])
    encoded.seek(0)
    count, earliest, latest = (
        pl.scan_parquet(encoded)
        .select(pl.len(), earliest=time_column.min(), latest=time_column.max())
        .collect()
        .row(0)
    )
    stream = open_files(url, options, table).open_output_stream(path)
    stream.write(content)
    stream.close()  # type: ignore[attr-defined]
    return Staged(table, name, surface, path, len(content), count, earliest, latest)


def scan_file(url: str, options: Mapping[str, str], table: str, path: str) -> pl.LazyFrame:
    """Read one file of a table, without the surface column."""
    return pl.scan_parquet(
        f"{url}/{table}/{path}",
        storage_options=dict(options),
        hive_partitioning=False,
        glob=False,
    )


def open_files(url: str, options: Mapping[str, str], table: str) -> DeltaFileSystemHandler:
    """Open the folder of a table, made if it is not there."""
    # The public wrapper hands pyarrow buffers to a stream that takes bytes alone.
    from deltalake._internal import DeltaFileSystemHandler

    if "://" not in url:
        Path(url, table).mkdir(parents=True, exist_ok=True)
    return DeltaFileSystemHandler(f"{url}/{table}", dict(options))


def describe_added(staged: Staged) -> AddAction:
    """Say to a transaction what is in a file, with the times by which readers skip it."""
    from deltalake.transaction import AddAction

    statistics: dict[str, object] = {"numRecords": staged.rows}
    if staged.earliest is not None and staged.latest is not None:
        column = TIMES[staged.table]
        statistics["minValues"] = {column: staged.earliest.isoformat(timespec="microseconds")}
        statistics["maxValues"] = {column: staged.latest.isoformat(timespec="microseconds")}
    return AddAction(
        path=staged.path,
        size=staged.size,
        partition_values={"surface": staged.surface},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=json.dumps(statistics),
    )


def describe_removed(path: str, *, size: int, surface: str) -> RemoveAction:
    """Say to a transaction that readers of later versions no longer see a file."""
    from deltalake.transaction import RemoveAction

    return RemoveAction(path, True, time.time_ns() // 1_000_000, size, {"surface": surface})
