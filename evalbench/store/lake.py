"""The lake: spans, sessions and verdicts as Delta tables, in a folder or an object store.

Rows are written in two steps. ``stage`` puts a Parquet file beside the table, where no reader looks
yet; ``commit`` makes any number of staged files visible at once. A run that is killed in between
leaves nothing but files that the same run, done again, replaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from evalbench.schema import KEYS, TABLES
from evalbench.store.delta import list_files, open_table, transact
from evalbench.store.files import (
    TIMES,
    Staged,
    describe_added,
    describe_removed,
    remove_file,
    scan_file,
    write_file,
)

__all__ = ["Appended", "Lake", "Staged"]

if TYPE_CHECKING:
    import numpy as np
    from deltalake import DeltaTable

    from evalbench.store.delta import Actions


BEFORE_FIRST = -1
"""The version of a table before anything was written: pins a reading to no rows."""


@dataclass(frozen=True)
class Appended:
    """How many rows an append added, and how many the lake or the frame had already."""

    added: int
    duplicates: int


@dataclass(frozen=True)
class Lake:
    """Delta tables at ``{url}/span``, ``{url}/session`` and ``{url}/verdict``, by surface.

    Holds no open handle: it may be sent to worker processes.

    Attributes
    ----------
    url : str
        A folder, or the URL of an object store.
    options : mapping of str to str
        Object-store options, handed to delta-rs and Polars as they are.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict)

    def spans(
        self,
        *,
        surface: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """Read spans that started at or after ``start`` and before ``end``.

        Parameters
        ----------
        surface : str, optional
            Only this surface; files of others are not opened.
        start, end : datetime, optional
            With a time zone. A row without a time is in no bounded reading.
        version : int, optional
            This Delta version instead of the latest; -1 is the table before it was written.

        Returns
        -------
        polars.LazyFrame
            The columns of the schema in their order; without rows where there is no table yet.

        Raises
        ------
        ValueError
            A time has no zone.
        StoreError
            The table or the version cannot be read.
        """
        return self._scan("span", surface, start, end, version)

    def sessions(
        self,
        *,
        surface: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """Read sessions; otherwise as :meth:`spans`."""
        return self._scan("session", surface, start, end, version)

    def verdicts(
        self,
        *,
        surface: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """Read verdicts, bounded by ``judged_at``; otherwise as :meth:`spans`."""
        return self._scan("verdict", surface, start, end, version)

    def versions(self) -> dict[str, int]:
        """Delta version of each table that exists; 0 is the empty table, before its first rows."""
        tables = {table: open_table(self.url, self.options, table) for table in TABLES}
        return {table: delta.version() for table, delta in tables.items() if delta is not None}

    def stage(self, table: str, frame: pl.DataFrame, *, name: str) -> Staged:
        """Write the rows of one surface to a file that no reader sees before :meth:`commit`.

        The file is called after ``name`` and its content: the same rows staged again replace the
        file of a killed run, and other rows never replace one that was committed. Safe in worker
        processes.

        Raises
        ------
        ValueError
            The columns are not the table's, a key is null, or the rows are not of one surface.
        """
        frame = _conform(table, frame)
        surfaces = frame["surface"].unique().sort().to_list()
        if len(surfaces) != 1:
            raise ValueError(f"frame: must have rows of one surface, got {surfaces}")
        return self._write(table, frame.lazy().drop("surface"), surfaces[0], name)

    def restage(self, staged: Staged, *, keep: np.ndarray | pl.Series) -> Staged:
        """Replace a staged file by one of those rows for which ``keep`` is true."""
        rows = (
            scan_file(self.url, self.options, staged.table, staged.path)
            .collect()
            .filter(pl.Series(keep))
        )
        kept = self._write(staged.table, rows.lazy(), staged.surface, staged.name)
        if kept.path != staged.path:
            self.discard(staged)
        return kept

    def discard(self, staged: Staged) -> None:
        """Remove a staged file that shall not be committed."""
        remove_file(self.url, self.options, staged.table, staged.path)

    def commit(self, table: str, staged: Sequence[Staged]) -> None:
        """Make staged files visible, all in one transaction. What is visible already stays so.

        Raises
        ------
        StoreError
            The store refuses, or other writers keep coming first.
        """

        def prepare(delta: DeltaTable | None) -> Actions:
            there = set(list_files(delta)["path"])
            return [describe_added(each) for each in staged if each.path not in there]

        transact(self.url, self.options, table, prepare)

    def append(self, table: str, frame: pl.DataFrame) -> Appended:
        """Add the rows whose key is neither in the lake nor before them in the frame.

        Safe beside other appends: of two that bring the same key at once, one counts a duplicate.
        Memory is bounded by the frame, not by the lake.

        Raises
        ------
        ValueError
            The columns are not the table's, or a key is null.
        StoreError
            The store refuses, or other writers keep coming first.
        """
        keys = KEYS[table]
        rows = _conform(table, frame).unique(subset=keys, keep="first", maintain_order=True)
        added = 0

        def prepare(delta: DeltaTable | None) -> Actions:
            nonlocal added
            new = rows
            if delta is not None:
                there = pl.scan_delta(delta).filter(
                    pl.col("surface").is_in(rows["surface"].unique().implode())
                )
                # The frame is the smaller side: its keys are kept in memory, the lake's stream by.
                known = there.select(keys).join(rows.lazy().select(keys), on=keys, how="semi")
                new = rows.join(known.collect(engine="streaming"), on=keys, how="anti")
            added = len(new)
            parts = new.partition_by("surface", maintain_order=True)
            return [describe_added(self.stage(table, part, name="append")) for part in parts]

        transact(self.url, self.options, table, prepare)
        return Appended(added, len(frame) - added)

    def upsert(self, table: str, frame: pl.DataFrame) -> None:
        """Put rows in the place of those with the same key; of equal keys the last one counts.

        Files that hold such a key are written anew without it, in the same transaction.

        Raises
        ------
        ValueError
            The columns are not the table's, or a key is null.
        StoreError
            The store refuses, or other writers keep coming first.
        """
        rows = _conform(table, frame).unique(subset=KEYS[table], keep="last", maintain_order=True)
        parts = rows.partition_by("surface", maintain_order=True)

        def prepare(delta: DeltaTable | None) -> Actions:
            files = list_files(delta)
            return [action for part in parts for action in self._replace(table, part, files)]

        transact(self.url, self.options, table, prepare)

    def _replace(self, table: str, part: pl.DataFrame, files: pl.DataFrame) -> Actions:
        """Rewrite those files of one surface that hold a key of ``part``, with ``part`` added."""
        surface = part["surface"][0]
        keys = KEYS[table][1:]
        replaced = part.lazy().select(keys)
        kept, touched = [], []
        for path, size in files.filter(surface=surface).select("path", "size").iter_rows():
            rows = scan_file(self.url, self.options, table, path)
            held = rows.select(keys).join(replaced, on=keys, how="semi").select(pl.len())
            if held.collect(engine="streaming").item():
                kept.append(rows.join(replaced, on=keys, how="anti", maintain_order="left"))
                touched.append((path, size))
        merged = pl.concat([*kept, part.lazy().drop("surface")])
        staged = self._write(table, merged, surface, "upsert")
        if staged.path in dict(touched):
            return []
        return [
            describe_added(staged),
            *(describe_removed(path, size=size, surface=surface) for path, size in touched),
        ]

    def _write(self, table: str, rows: pl.LazyFrame, surface: str, name: str) -> Staged:
        return write_file(rows, self.url, self.options, table, surface, name)

    def _scan(
        self,
        table: str,
        surface: str | None,
        start: datetime | None,
        end: datetime | None,
        version: int | None,
    ) -> pl.LazyFrame:
        for argument, value in (("start", start), ("end", end)):
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{argument}: must have a time zone, got {value.isoformat()}")
        pinned_empty = version == BEFORE_FIRST
        delta = None if pinned_empty else open_table(self.url, self.options, table, version=version)
        if delta is None:
            return TABLES[table].to_frame(eager=False)
        rows = pl.scan_delta(delta)
        if surface is not None:
            rows = rows.filter(pl.col("surface") == surface)
        if start is not None:
            rows = rows.filter(pl.col(TIMES[table]) >= start.astimezone(UTC))
        if end is not None:
            rows = rows.filter(pl.col(TIMES[table]) < end.astimezone(UTC))
        return rows


def _conform(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Put the columns in the order of the table, and refuse what does not fit it."""
    schema = TABLES[table]
    try:
        frame = frame.match_to_schema(schema)
    except pl.exceptions.SchemaError as error:
        raise ValueError(f"frame: must have the columns of a {table}: {error}") from error
    for key in KEYS[table]:
        if frame[key].null_count():
            raise ValueError(f"frame: {key} must not be null, it is part of a {table}'s key")
    return frame
