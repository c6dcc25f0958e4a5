"""The ledger's tables and how SQLite and PostgreSQL are made to keep them append-only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from evalbench.errors import StoreError
from evalbench.store.chain import GENESIS, Event

METADATA = sa.MetaData()

EVENT = sa.Table(
    "event",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    *(
        sa.Column(name, sa.Text, nullable=False, index=name in ("kind", "subject"))
        for name in Event._fields[1:]
    ),
)
"""What happened. Who chooses what to append may read it through the connection they are given."""

HEAD = sa.Table(
    "event_head",
    METADATA,
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
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
        sa.event.listen(EVENT, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))

CREATION_LOCK = 0x65766C62


def connect_database(url: str) -> sa.Engine:
    """Open a database of events, made on first use.

    Its connections stay open between transactions until it is disposed of.

    Raises StoreError where it is no URL of SQLite or PostgreSQL, or cannot be opened.
    """
    try:
        address = sa.make_url(url)
    except ArgumentError as error:
        raise StoreError(f"ledger: {url!r} is not a database URL") from error
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    elif address.get_backend_name() != "sqlite":
        raise StoreError(f"ledger: {address} must be a sqlite or a postgresql URL")
    elif address.database:
        folder = Path(address.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"ledger: cannot make {folder}: {error.strerror}") from error
    engine = sa.create_engine(address, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin)
    with transact(engine, reads=True) as connection:
        exists = sa.inspect(connection).has_table(EVENT.name)
    if not exists:
        with transact(engine) as connection:
            _create_tables(connection)
    return engine


@contextmanager
def transact(engine: sa.Engine, *, reads: bool = False) -> Iterator[sa.Connection]:
    """Open a transaction: one that reads a single moment, or one that may also write.

    Raises StoreError where the database refuses.
    """
    try:
        with engine.connect().execution_options(reads=reads) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"ledger {engine.url}: {reason}") from error


def _set_up_sqlite(connection: Any, record: object) -> None:
    # SQLAlchemy's "begin" event alone decides how a transaction begins.
    connection.isolation_level = None
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options()["reads"]
    if connection.dialect.name == "sqlite":
        # A transaction that reads and then writes fails at once in WAL mode, unless it says
        # beforehand that it will write.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
    elif reads:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _create_tables(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATION_LOCK)))
    if not sa.inspect(connection).has_table(EVENT.name):
        METADATA.create_all(connection)
        connection.execute(sa.insert(HEAD).values(seq=0, hash=GENESIS))
