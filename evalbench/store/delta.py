"""Delta transactions that never overwrite each other's decision."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import TABLES
from evalbench.store.files import Place, Staged, place_file, write_staged

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake import Schema as DeltaSchema
    from deltalake.table import TableMerger


from evalbench.schema import KEYS

KEY = ["h1", "h2"]
SPILL = 128 << 20  # bytes of a merge that are held in memory before they go to disk
# What is no content of a row; the key of a user hangs on the secret of the workspace.
ASIDE = ("surface", "ingest_id", "user_key")
# Personal data taken out; its number hangs on what else of the session was read with it.
PLACEHOLDER = r"<([A-Z_]+)_\d+>"


def compare_rows(staged: Sequence[Staged], stored: pl.LazyFrame) -> pl.DataFrame:
    """Compare staged rows with those that a table has, and with those staged before them.

    Gives ``file, row, state`` in order: "new", or under a taken key "duplicate" or "collision".
    """
    table, stored = staged[0].table, stored.filter(surface=staged[0].surface)
    keys, content = hash_key(table), hash_content(table).alias("content")
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    files = [
        each.scan().with_columns(row, file=pl.lit(number, pl.UInt32))
        for number, each in enumerate(staged)
    ]
    listed = pl.concat(file.select("file", "row", *keys) for file in files)
    rows = listed.collect(engine="streaming").sort("file", "row")
    known = stored.select(keys).join(rows.lazy(), on=KEY, how="semi").collect(engine="streaming")
    taken = ~pl.struct(KEY).is_first_distinct() | pl.col("known").is_not_null()
    rows = rows.join(known.with_columns(known=True), on=KEY, how="left", maintain_order="left")
    rows = rows.with_columns(taken=taken)
    again = rows.filter("taken").select(KEY).unique().lazy()
    if rows["taken"].any():  # only then is all that rows say read
        says = pl.concat(file.select("file", "row", *keys, content) for file in files)
        says = says.join(again, on=KEY, how="semi").select("file", "row", "content")
        rows = rows.join(says.collect(engine="streaming"), on=["file", "row"], how="left")
        there = stored.select(*keys, first=content).join(again, on=KEY, how="semi").collect()
        first = rows.filter(~pl.col("taken")).select(*KEY, first="content")
        rows = rows.join(pl.concat([there, first]), on=KEY, how="left").sort("file", "row")
        same = pl.when(pl.col("content") == pl.col("first")).then(pl.lit("duplicate"))
        state = pl.when("taken").then(same.otherwise(pl.lit("collision")))
        return rows.select("file", "row", state=state.otherwise(pl.lit("new")))
    return rows.select("file", "row", state=pl.lit("new"))


def hash_key(table: str) -> list[pl.Expr]:
    """Hash a row's key to 128 bits as two columns: two rows of one hash are one row.

    Among a billion rows two keys share a hash with a probability below 1e-20.
    """
    names = [name for name in KEYS[table] if name != "surface"]
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in names]
    forward = pl.concat_str(parts, separator="\x1f")
    backward = pl.concat_str(parts[::-1], separator="\x1e")
    return [forward.hash(1).alias(KEY[0]), backward.hash(2).alias(KEY[1])]


def hash_content(table: str) -> pl.Expr:
    """Hash what a row says."""
    columns = [
        pl.col(name).str.replace_all(PLACEHOLDER, "<$1>") if kind == pl.String else pl.col(name)
        for name, kind in TABLES[table].items()
        if name not in ASIDE
    ]
    return pl.struct(columns).hash(3)


Written = TypeVar("Written")
ATTEMPTS = 100
WRITER = "evalbench"


def open_table(place: Place, *, version: int | None = None) -> DeltaTable | None:
    """Open a table, if it was ever written, at its latest or a version; StoreError if broken."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(str(place), version=version, storage_options=dict(place.options))
    except TableNotFoundError:
        if version is None:
            return None
        raise StoreError(f"{place}: no version {version}, for there is no table") from None
    except (DeltaError, OSError) as error:
        wanted = "latest version" if version is None else f"version {version}"
        raise StoreError(f"{place}: cannot read the {wanted}: {error}") from error


def commit_staged(place: Place, staged: Sequence[Staged], *, folder: Path) -> pl.DataFrame:
    """Make the rows of staged files visible whose key is not in the version that this follows.

    ``folder`` takes files of a part of the rows. Gives ``file, row, state`` of every row: "new",
    "duplicate", or "collision" with one that says something else under its key. StoreError where
    the store refuses, or other writers came first each time.
    """

    def commit(delta: DeltaTable) -> pl.DataFrame:
        states = compare_rows(staged, pl.scan_delta(delta))
        whole = [_keep_new(each, states.filter(file=n), folder) for n, each in enumerate(staged)]
        if added := [place_file(each, place) for each in whole if each.rows]:
            schema = _delta_schema(place.table)
            delta.create_write_transaction(
                [*added], "append", schema, ["surface"], commit_properties=_name(delta)
            )
        return states

    return _retry(place, commit) if staged else pl.DataFrame()


def replace_staged(
    place: Place, staged: Sequence[Staged], replaced: Sequence[str], *, folder: Path
) -> pl.DataFrame:
    """Put staged rows in the place of all that the ingests ``replaced`` brought, at once."""
    from deltalake import write_deltalake

    def commit(delta: DeltaTable) -> pl.DataFrame:
        others = pl.scan_delta(delta).filter(~pl.col("ingest_id").is_in(list(replaced)))
        states = compare_rows(staged, others)
        whole = [_keep_new(each, states.filter(file=n), folder) for n, each in enumerate(staged)]
        rows = pl.concat(each.scan().with_columns(surface=pl.lit(each.surface)) for each in whole)
        ids = ", ".join(f"'{each}'" for each in replaced)
        surface = staged[0].surface.replace("'", "''")
        write_deltalake(
            delta,
            rows.select(TABLES[place.table].names()).collect(engine="streaming"),
            mode="overwrite",
            predicate=f"surface = '{surface}' AND ingest_id IN ({ids})",
            commit_properties=_name(delta),
        )
        return states

    return _retry(place, commit)


def _keep_new(staged: Staged, states: pl.DataFrame, folder: Path) -> Staged:
    """Keep the new rows of a staged file."""
    new = states["state"] == "new"
    if new.all():
        return staged
    rows = staged.scan().collect().filter(new)
    return write_staged(rows.lazy(), staged.table, staged.surface, folder)


def merge_rows(
    place: Place, rows: pl.DataFrame, keys: Sequence[str], *, update: bool = True
) -> int:
    """Put rows in the place of those with the same key, or leave these; count those added."""

    def merge(delta: DeltaTable) -> int:
        merger = _merge(delta, rows, keys)
        merger = merger.when_matched_update_all() if update else merger
        return int(merger.when_not_matched_insert_all().execute()["num_target_rows_inserted"])

    return _retry(place, merge) if len(rows) else 0


def delete_rows(place: Place, keys: pl.DataFrame) -> None:
    """Delete the rows of these keys; raises StoreError as :func:`commit_staged` does."""

    def delete(delta: DeltaTable) -> None:
        _merge(delta, keys, keys.columns).when_matched_delete().execute()

    if len(keys):
        _retry(place, delete)


def _merge(delta: DeltaTable, rows: pl.DataFrame, keys: Sequence[str]) -> TableMerger:
    same = " AND ".join(f"target.{key} = source.{key}" for key in keys)
    # Without a stream of the source, files that cannot hold its keys are passed over.
    how: dict[str, Any] = {"streamed_exec": False, "max_spill_size": SPILL}
    how |= {"source_alias": "source", "target_alias": "target"}
    return delta.merge(rows, same, commit_properties=_name(delta), **how)


def _retry(place: Place, write: Callable[[DeltaTable], Written]) -> Written:
    """Write to the newest version until no other writer came first; give what writing gave.

    Every commit names the same Delta application, so that of two writers which read the same
    version one is refused, reads again and writes again.
    """
    from deltalake.exceptions import DeltaError

    for attempt in range(ATTEMPTS):
        delta = open_table(place)
        try:
            if delta is None:
                # Two first writers can both create a table, but only one can then add to it.
                _create(place)
                continue
            return write(delta)
        except (DeltaError, OSError) as error:
            newer = open_table(place)
            if newer is None or (delta is not None and newer.version() == delta.version()):
                raise StoreError(f"{place}: cannot write: {error}") from error
        time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 20)))
    raise StoreError(f"{place}: {ATTEMPTS} times other writers came first; try again")


def _name(delta: DeltaTable) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(WRITER, delta.version() + 1)])


def _create(place: Place) -> None:
    from deltalake import DeltaTable

    DeltaTable.create(
        str(place),
        _delta_schema(place.table),
        mode="ignore",
        partition_by=["surface"],
        # A report pins versions for good, so none may expire.
        configuration={"delta.enableExpiredLogCleanup": "false"},
        storage_options=dict(place.options),
    )


def _delta_schema(table: str) -> DeltaSchema:
    from deltalake import Schema

    return Schema.from_arrow(TABLES[table].to_frame().to_arrow().schema)
