"""Delta transactions that never overwrite each other's decision."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import TABLES, columns
from evalbench.store.files import Place

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake import Schema as DeltaSchema
    from deltalake.transaction import AddAction, RemoveAction

    Actions = list[AddAction | RemoveAction]

ATTEMPTS = 100
WRITER = "evalbench"
FILES = columns((pl.String, "path"), (pl.Int64, "size"), (pl.String, "surface"))


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


def list_files(delta: DeltaTable | None) -> pl.DataFrame:
    """List the files that readers of a table see: path in the table, size in bytes, surface."""
    if delta is None:
        return FILES.to_frame()
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    path = pl.col("path").map_elements(unquote, return_dtype=pl.String)
    return actions.select(path, size="size_bytes", surface="partition.surface")


def transact(place: Place, prepare: Callable[[DeltaTable | None], Actions]) -> None:
    """Commit what ``prepare`` makes of the table, or of another writer's newer state of it.

    Every commit names the same Delta application, so that of two writers which read the same
    version one is refused, reads again and prepares again. No action means no commit.

    Raises StoreError where the store refuses, or other writers came first each time.
    """
    from deltalake.exceptions import DeltaError

    for attempt in range(ATTEMPTS):
        delta = open_table(place)
        actions = prepare(delta)
        if not actions:
            return
        try:
            if delta is None:
                # Two first writers can both create a table, but only one can then add to it.
                _create(place)
                continue
            _commit(delta, place.table, actions)
            return
        except (DeltaError, OSError) as error:
            newer = open_table(place)
            if newer is None or (delta is not None and newer.version() == delta.version()):
                raise StoreError(f"{place}: cannot write: {error}") from error
        time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 20)))
    raise StoreError(f"{place}: {ATTEMPTS} times other writers came first; try again")


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


def _commit(delta: DeltaTable, table: str, actions: Actions) -> None:
    from deltalake import CommitProperties, Transaction

    marker = Transaction(WRITER, delta.version() + 1)
    delta.create_write_transaction(
        actions,
        "append",
        _delta_schema(table),
        ["surface"],
        commit_properties=CommitProperties(app_transactions=[marker]),
    )


def _delta_schema(table: str) -> DeltaSchema:
    from deltalake import Schema

    return Schema.from_arrow(TABLES[table].to_frame().to_arrow().schema)
