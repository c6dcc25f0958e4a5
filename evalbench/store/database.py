"""The ledger's tables and how SQLite and PostgreSQL are made to keep them append-only."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from evalbench.errors import StoreError
from evalbench.store.chain import GENESIS

METADATA = MetaData()

EVENT = Table(
    "event",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False, index=True),
    Column("subject", Text, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
"""What happened. A guard may read it through the connection it is given."""

HEAD = Table(
    "event_head",
    METADATA,
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row, the last event: it shows that events at the end are gone, and on PostgreSQL its lock
lets one writer in at a time."""

SQLITE_TRIGGERS = [
    f"CREATE TRIGGER event_{name} BEFORE {action} ON event {condition} "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for name, action, condition in (
        ("update", "UPDATE", ""),
        ("delete", "DELETE", ""),
        # INSERT OR REPLACE deletes without any DELETE trigger.
        ("replace", "INSERT", "WHEN NEW.seq <= (SELECT max(seq) FROM event)"),
    )
]
POSTGRESQL_TRIGGERS = [
    "CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
    "CREATE TRIGGER event_change BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()",
]
for _dialect, _statements in (("sqlite", SQLITE_TRIGGERS), ("postgresql", POSTGRESQL_TRIGGERS)):
    for _statement in _statements:
        event.listen(EVENT, "after_create", DDL(_statement).execute_if(dialect=_dialect))

CREATION_LOCK = 0x65766C62


def connect_database(url: str) -> Engine:
    """Open a database of events, made on first use.

    Its connections stay open between transactions until it is disposed of; a forked process makes
    its own.

    Raises
    ------
    StoreError
        Not a URL of SQLite or PostgreSQL, or the database cannot be opened.
    """
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"ledger: {url!r} is not a database URL") from error
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    elif address.get_backend_name() != "sqlite":
        raise StoreError(f"ledger: {address} must be a sqlite or a postgresql URL")
    elif address.database:
        _make_folder(Path(address.database).parent)
    engine = create_engine(address, pool_pre_ping=True)
    _forget_connections_in_forks(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin)
    with transact(engine, reads=True) as connection:
        exists = inspect(connection).has_table(EVENT.name)
    if not exists:
        with transact(engine) as connection:
            _create_tables(connection)
    return engine


@contextmanager
def transact(engine: Engine, *, reads: bool = False) -> Iterator[Connection]:
    """Open a transaction: one that reads a single moment, or one that may also write.

    Raises
    ------
    StoreError
        The database refuses.
    """
    try:
        with engine.connect().execution_options(reads=reads) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"ledger {engine.url}: {reason}") from error


def _forget_connections_in_forks(engine: Engine) -> None:
    reference = weakref.ref(engine)

    def forget() -> None:
        inherited = reference()
        if inherited is not None:
            inherited.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"ledger: cannot make the folder {folder}: {error.strerror}") from error


def _set_up_sqlite(connection: Any, record: object) -> None:
    # SQLAlchemy's "begin" event alone decides how a transaction begins.
    connection.isolation_level = None
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options()["reads"]
    if connection.dialect.name == "sqlite":
        # A transaction that reads and then writes fails at once in WAL mode, unless it says
        # beforehand that it will write.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
    elif reads:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _create_tables(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(CREATION_LOCK)))
    if not inspect(connection).has_table(EVENT.name):
        METADATA.create_all(connection)
        connection.execute(insert(HEAD).values(seq=0, hash=GENESIS))
