"""Delta transactions that never overwrite each other's decision."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import TABLES
from evalbench.store.files import Place, Staged, describe_added

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake import Schema as DeltaSchema

ATTEMPTS = 100
WRITER = "evalbench"


def open_table(place: Place, *, version: int | None = None) -> DeltaTable | None:
    """Open a table at its latest or at a given version; none where it was never written.

    Raises StoreError where it cannot be read, or has no such version.
    """
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


def add_files(place: Place, staged: Sequence[Staged]) -> None:
    """Make staged files visible, all in one transaction. What is visible already stays so.

    Raises StoreError where the store refuses, or other writers came first each time.
    """

    def commit(delta: DeltaTable) -> None:
        there = {unquote(path) for path in delta.get_add_actions()["path"].to_pylist()}
        if added := [describe_added(each) for each in staged if each.path not in there]:
            schema = _delta_schema(place.table)
            delta.create_write_transaction(
                [*added], "append", schema, ["surface"], commit_properties=_name(delta)
            )

    if staged:
        _retry(place, commit)


def merge_rows(
    place: Place, rows: pl.DataFrame, keys: Sequence[str], *, update: bool = True
) -> int:
    """Put rows in the place of those with the same key, or leave these; count those added.

    Raises StoreError as :func:`add_files` does.
    """
    added = 0

    def merge(delta: DeltaTable) -> None:
        nonlocal added
        same = " AND ".join(f"target.{key} = source.{key}" for key in keys)
        merger = delta.merge(
            rows, same, source_alias="source", target_alias="target", commit_properties=_name(delta)
        )
        merger = merger.when_matched_update_all() if update else merger
        added = merger.when_not_matched_insert_all().execute()["num_target_rows_inserted"]

    if len(rows):
        _retry(place, merge)
    return added


def _retry(place: Place, write: Callable[[DeltaTable], None]) -> None:
    """Write to the newest version until no other writer came first.

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
            write(delta)
            return
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
