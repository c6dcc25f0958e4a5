"""The lake: spans, sessions and verdicts as Delta tables, in a folder or an object store.

``stage`` writes files aside, ``commit`` makes their new rows visible at once; a killed run leaves
only files that it replaces when done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from evalbench.schema import KEYS, RUN_SIGN, TABLES
from evalbench.store.delta import (
    commit_staged,
    delete_rows,
    merge_rows,
    open_table,
    replace_staged,
)
from evalbench.store.files import TIMES, Place, Staged, write_staged

BEFORE_FIRST = -1  # the version of a table before anything was written: pins a reading to no rows


@dataclass(frozen=True)
class Lake:
    """Delta tables of spans, sessions and verdicts by surface, in a folder or an object store.

    ``options`` go to delta-rs and Polars. It holds no open handle.
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

        Files of other surfaces are not opened; without a surface, runs of candidates are left out;
        a row without a time is in no bounded reading;
        ``version`` -1 is the table before it was written. ValueError where a time has no zone,
        StoreError where the version cannot be read.
        """
        for argument, value in (("start", start), ("end", end)):
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{argument}: must have a time zone, got {value.isoformat()}")
        empty = version == BEFORE_FIRST
        delta = None if empty else open_table(self.place(table), version=version)
        if delta is None:
            return TABLES[table].to_frame(eager=False)
        rows, moment = pl.scan_delta(delta), pl.col(TIMES[table])
        named, run = pl.col("surface"), pl.col("surface").str.contains(RUN_SIGN, literal=True)
        rows = rows.filter(~run if surface is None else named == surface)
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
        tables = {table: open_table(self.place(table)) for table in TABLES}
        return {table: delta.version() for table, delta in tables.items() if delta is not None}

    def pin(self, versions: Mapping[str, int] | None) -> dict[str, int]:
        """Return a version of each table: the one given, else the present; -1 where none is."""
        return dict.fromkeys(TABLES, BEFORE_FIRST) | self.versions() | dict(versions or {})

    def stage(self, table: str, frame: pl.DataFrame, *, folder: Path) -> Staged:
        """Write rows of one surface, else ValueError, to a file that :meth:`commit` adds."""
        frame = _conform(table, frame)
        surfaces = frame["surface"].unique().sort().to_list()
        if len(surfaces) != 1:
            raise ValueError(f"frame: must have rows of one surface, got {surfaces}")
        return write_staged(frame.lazy().drop("surface"), table, surfaces[0], folder)

    def commit(
        self, table: str, staged: Sequence[Staged], *, folder: Path, replaced: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Add the staged rows of one surface whose key is new, all in one transaction.

        Of two writers that bring a key at once one adds it. With ``replaced`` they stand for what
        the ingests of these ids brought. Gives and raises what
        :func:`evalbench.store.delta.commit_staged` does.
        """
        if replaced and staged:
            return replace_staged(self.place(table), staged, replaced, folder=folder)
        return commit_staged(self.place(table), staged, folder=folder)

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Add the rows whose key is neither in the lake nor before them in the frame; count them.

        ValueError where the columns are not the table's, or a key is null.
        """
        rows = _conform(table, frame).unique(subset=KEYS[table], keep="first", maintain_order=True)
        return merge_rows(self.place(table), rows, KEYS[table], update=False)

    def upsert(self, table: str, frame: pl.DataFrame) -> None:
        """Merge rows into a table by their key, at once; of equal keys the last counts."""
        rows = _conform(table, frame).unique(subset=KEYS[table], keep="last", maintain_order=True)
        merge_rows(self.place(table), rows, KEYS[table])

    def remove(self, table: str, keys: pl.DataFrame) -> None:
        """Remove the rows of these keys; earlier versions of the table still have them."""
        delete_rows(self.place(table), keys.select(KEYS[table]))

    def place(self, table: str) -> Place:
        """Tell where a table is."""
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
