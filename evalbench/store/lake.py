"""The lake: spans, sessions and verdicts as Delta tables, in a folder or an object store.

Rows are written in two steps. ``stage`` puts a Parquet file beside the table, where no reader looks
yet; ``commit`` makes any number of staged files visible at once. A run that is killed in between
leaves nothing but files that the same run, done again, replaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from evalbench.schema import KEYS, TABLES
from evalbench.store.delta import add_files, merge_rows, open_table
from evalbench.store.files import (
    TIMES,
    Place,
    Staged,
    remove_file,
    scan_file,
    write_file,
)

BEFORE_FIRST = -1
"""The version of a table before anything was written: pins a reading to no rows."""


@dataclass(frozen=True)
class Lake:
    """Delta tables at ``{url}/span``, ``{url}/session`` and ``{url}/verdict``, by surface.

    ``url`` is a folder or that of an object store, whose ``options`` are handed to delta-rs and
    Polars as they are. Holds no open handle: it may be sent to worker processes.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def scan(
        self,
        table: str,
        *,
        surface: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """Read rows of ``start`` or later and before ``end``, verdicts by ``judged_at``.

        ``surface`` alone: files of others are not opened. ``start`` and ``end`` have a time zone; a
        row without a time is in no bounded reading. ``version`` is of Delta instead of the latest;
        -1 is the table before it was written. Gives the columns of the schema in their order,
        without rows where there is no table yet. Raises ValueError where a time has no zone,
        StoreError where the table or the version cannot be read.
        """
        for argument, value in (("start", start), ("end", end)):
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{argument}: must have a time zone, got {value.isoformat()}")
        empty = version == BEFORE_FIRST
        delta = None if empty else open_table(self._place(table), version=version)
        if delta is None:
            return TABLES[table].to_frame(eager=False)
        rows, moment = pl.scan_delta(delta), pl.col(TIMES[table])
        if surface is not None:
            rows = rows.filter(surface=surface)
        if start is not None:
            rows = rows.filter(moment >= start.astimezone(UTC))
        return rows if end is None else rows.filter(moment < end.astimezone(UTC))

    def spans(self, **part: Any) -> pl.LazyFrame:
        """Read spans: those of a ``surface``, a time or a version, as :meth:`scan` takes them."""
        return self.scan("span", **part)

    def sessions(self, **part: Any) -> pl.LazyFrame:
        """Read sessions; otherwise as :meth:`spans`."""
        return self.scan("session", **part)

    def verdicts(self, **part: Any) -> pl.LazyFrame:
        """Read verdicts, bounded by ``judged_at``; otherwise as :meth:`spans`."""
        return self.scan("verdict", **part)

    def versions(self) -> dict[str, int]:
        """Delta version of each table that exists; 0 is the empty table, before its first rows."""
        tables = {table: open_table(self._place(table)) for table in TABLES}
        return {table: delta.version() for table, delta in tables.items() if delta is not None}

    def stage(self, table: str, frame: pl.DataFrame, *, name: str) -> Staged:
        """Write the rows of one surface to a file that no reader sees before :meth:`commit`.

        The file is called after ``name`` and its content: the same rows staged again replace the
        file of a killed run, and other rows never replace one that was committed. Raises ValueError
        where the columns are not the table's, a key is null, or the rows are not of one surface.
        """
        frame = _conform(table, frame)
        surfaces = frame["surface"].unique().sort().to_list()
        if len(surfaces) != 1:
            raise ValueError(f"frame: must have rows of one surface, got {surfaces}")
        return write_file(frame.lazy().drop("surface"), self._place(table), surfaces[0], name)

    def scan_staged(self, staged: Staged) -> pl.LazyFrame:
        """Read a staged file, without the surface."""
        return scan_file(self._place(staged.table), staged.path)

    def restage(self, staged: Staged, rows: pl.DataFrame) -> Staged | None:
        """Put other rows in the place of a staged file; where there are none, the file goes."""
        place, changed = self._place(staged.table), None
        if len(rows):
            changed = write_file(rows.lazy(), place, staged.surface, staged.name)
        if changed is None or changed.path != staged.path:
            remove_file(place, staged.path)
        return changed

    def commit(self, table: str, staged: Sequence[Staged]) -> None:
        """Make staged files visible, all in one transaction. What is visible already stays so.

        As all that writes it raises StoreError where the store refuses, or other writers keep
        coming first.
        """
        add_files(self._place(table), staged)

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Add the rows whose key is neither in the lake nor before them in the frame; count them.

        Safe beside other appends: of two that bring the same key at once, one adds it.
        Raises ValueError where the columns are not the table's, or a key is null.
        """
        rows = _conform(table, frame).unique(subset=KEYS[table], keep="first", maintain_order=True)
        return merge_rows(self._place(table), rows, KEYS[table], update=False)

    def upsert(self, table: str, frame: pl.DataFrame) -> None:
        """Merge rows into a table by their key, in one transaction; of equal keys the last counts.

        It raises what :meth:`append` does.
        """
        rows = _conform(table, frame).unique(subset=KEYS[table], keep="last", maintain_order=True)
        merge_rows(self._place(table), rows, KEYS[table])

    def _place(self, table: str) -> Place:
        return Place(self.url, self.options, table)


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
