"""The ledger's tables and how SQLite and PostgreSQL are made to keep them append-only."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from evalbench.errors import StoreError
from evalbench.store import postgresql
from evalbench.store.chain import GENESIS, Event

METADATA = sa.MetaData()

# What happened. Who chooses what to append may read it through the connection they are given.
EVENT = sa.Table(
    "event",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    *(
        sa.Column(name, sa.Text, nullable=False, index=name in ("kind", "subject"))
        for name in Event._fields[1:]
    ),
)

# One row, the last event: it shows that events at the end are gone, and on PostgreSQL its lock lets
# one writer in at a time.
HEAD = sa.Table(
    "event_head",
    METADATA,
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# What a user said and may take back, as the event would have it: its hash stands in the chain.
TEXT = sa.Table(
    "event_text",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("salt", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
VERSION = sa.Table("event_version", METADATA, sa.Column("version", sa.Integer, nullable=False))
# The triggers that keep events from being changed, by database and name.
GUARDS = {
    "sqlite": {
        f"event_{name}": f"CREATE TRIGGER event_{name} BEFORE {action} ON event {condition} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for name, action, condition in (
            ("update", "UPDATE", ""),
            ("delete", "DELETE", ""),
            # INSERT OR REPLACE deletes without any DELETE trigger.
            ("replace", "INSERT", "WHEN NEW.seq <= (SELECT max(seq) FROM event)"),
        )
    },
    "postgresql": {
        name: f"CREATE TRIGGER {name} {when}" for name, when in postgresql.TRIGGERS.items()
    },
}
# Milliseconds that PostgreSQL grants: a stuck client does not hold up all others for good.
PATIENCE = {
    "lock_timeout": 30_000,
    "statement_timeout": 300_000,
    "idle_in_transaction_session_timeout": 60_000,
}
SQLITE_PATIENCE = 30_000
CREATION_LOCK = 0x65766C62
# Lets one writer in at a time, and gives the last event.
TAKE_TURN = {
    "sqlite": sa.text("SELECT seq, hash FROM event_head"),
    "postgresql": sa.text("SELECT seq, hash FROM lock_ledger()"),
}


def connect_database(url: str) -> sa.Engine:
    """Open a database of events, made on first use; its connections stay open until disposed of.

    StoreError where it is no URL of SQLite or PostgreSQL, or cannot be opened.
    """
    address = read_address(url)
    if address.get_backend_name() == "sqlite" and address.database:
        folder = Path(address.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"ledger: cannot make {folder}: {error.strerror}") from error
    engine = _make_engine(address)
    try:
        bring_up(engine)
    except StoreError:
        engine.dispose()
        raise
    return engine


@contextmanager
def inspect_database(url: str) -> Iterator[tuple[sa.Engine, bool]]:
    """Open a database that is there, else StoreError; tell whether it may be written to."""
    address = read_address(url)
    path = Path(address.database or "")
    writable, engine = True, _make_engine(address)
    with tempfile.TemporaryDirectory() as copy:
        if engine.dialect.name == "sqlite":
            if not path.is_file():
                raise StoreError(f"there is no ledger at {path}: it was moved or deleted")
            writable = is_writable(path) and is_writable(path.parent)
            if not writable:  # SQLite reads a log only where it may write beside it
                for file in path.parent.glob(f"{path.name}*"):
                    shutil.copyfile(file, Path(copy, file.name))
                path = Path(copy, path.name)
            uri = f"{path.absolute().as_uri()}?mode=rw"
            engine = _make_engine(address, creator=lambda: sqlite3.connect(uri, uri=True))
        try:
            if not _read_version(engine):
                raise StoreError(f"the ledger {describe(engine)} is empty: it has no events table")
            bring_up(engine)
            yield engine, writable
        finally:
            engine.dispose()


def is_writable(path: Path) -> bool:
    """Tell whether a file or folder may be written to; its mode counts for the superuser too."""
    return os.access(path, os.W_OK) and bool(path.stat().st_mode & 0o222)


def read_address(url: str) -> sa.URL:
    """Read the URL of a ledger; StoreError, without its secrets, where it is none."""
    try:
        address = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError("ledger: its setting is not a database URL, as postgresql://…") from None
    if address.get_backend_name() == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() != "sqlite":
        raise StoreError(
            f"ledger: must be a sqlite or a postgresql URL, got {address.drivername}://…"
        )
    return address


def find_user(url: str) -> str | None:
    """Return whom PostgreSQL will know the user of a URL as; None where that is the system's."""
    address = sa.make_url(url)
    postgresql_user = address.username or os.environ.get("PGUSER")
    return postgresql_user if address.get_backend_name() == "postgresql" else None


def describe(engine: sa.Engine) -> str:
    """Name a database without its password, or options that may hold one."""
    return str(engine.url.set(query={}))


def find_unguarded(connection: sa.Connection) -> list[str]:
    """Find the triggers that are missing, switched off, changed, or not the ledger's."""
    expected, query = postgresql.INSTALLED, postgresql.READ_TRIGGERS
    if connection.dialect.name == "sqlite":
        expected = GUARDS["sqlite"]
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    there = {name: text for name, text in connection.exec_driver_sql(query)}
    return sorted(name for name, _ in expected.items() ^ there.items())


def guard(connection: sa.Connection) -> None:
    """Make the triggers that keep events from being changed, in place of those of their names."""
    if connection.dialect.name == "postgresql":
        postgresql.make_functions(connection)
    unguard(connection)
    for statement in GUARDS[connection.dialect.name].values():
        connection.exec_driver_sql(statement)


def unguard(connection: sa.Connection) -> None:
    """Take the triggers away, for as long as a transaction that erases what must be erased."""
    for name, statement in GUARDS[connection.dialect.name].items():
        table = statement.partition(" ON ")[2].split()[0]
        on_table = f" ON {table}" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def vacuum(engine: sa.Engine) -> bool:
    """Write the database anew without what was deleted; False while another reads its log."""
    statements = "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"
    connection: Any = engine.raw_connection()
    if engine.dialect.name == "postgresql":
        statements = "VACUUM FULL event", "VACUUM FULL event_text"
        connection.driver_connection.autocommit = True
    try:
        done = [connection.cursor().execute(statement) for statement in statements]
        return engine.dialect.name == "postgresql" or not done[-1].fetchone()[0]
    finally:
        connection.invalidate()


@contextmanager
def transact(engine: sa.Engine, *, reads: bool = False) -> Iterator[sa.Connection]:
    """Open a transaction, to read a single moment or also to write; StoreError if refused."""
    try:
        with engine.connect().execution_options(reads=reads) as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        original = getattr(error, "orig", None) or error
        told = getattr(getattr(original, "diag", None), "message_primary", None)
        reason = str(told or original).strip()
        if "lock timeout" in reason or "is locked" in reason:
            reason += ": another client holds it for too long; try again, or end that client"
        if "permission denied" in reason or "no schema has been selected" in reason:
            reason += f"; ask its owner: evalbench grant {engine.url.username} ROLE"
        raise StoreError(f"ledger {describe(engine)}: {reason}") from error


def _make_engine(address: sa.URL, **options: Any) -> sa.Engine:
    engine = sa.create_engine(address, pool_pre_ping=True, **options)
    sqlite = engine.dialect.name == "sqlite"
    sa.event.listen(engine, "connect", _set_up_sqlite if sqlite else _set_up_postgresql)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _set_up_sqlite(connection: Any, record: object) -> None:
    # SQLAlchemy's "begin" event alone decides how a transaction begins.
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {SQLITE_PATIENCE}", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgresql(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        for name, milliseconds in PATIENCE.items():
            cursor.execute(f"SET {name} = {milliseconds}")
    connection.commit()


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options()["reads"]
    if connection.dialect.name == "sqlite":
        # A transaction that reads and then writes fails at once in WAL mode, unless it says
        # beforehand that it will write.
        connection.exec_driver_sql("BEGIN") if reads else _take_turn(connection)
    elif reads:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@retry(
    retry=retry_if_exception_message(match=".*is locked"),
    stop=stop_after_delay(60),
    wait=wait_random(0, 0.01),
    reraise=True,
)
def _take_turn(connection: sa.Connection) -> None:
    """Begin to write in SQLite, which lets those who wait longest try least often."""
    connection.exec_driver_sql("PRAGMA busy_timeout = 20")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_PATIENCE}")


def bring_up(engine: sa.Engine) -> None:
    """Bring a ledger of an older version up to this one; StoreError where it is of a newer."""
    version = _read_version(engine)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"ledger {describe(engine)}: it is of version {version}, and this program knows up to "
            f"{len(MIGRATIONS)}: install a newer evalbench (pip install -U evalbench)"
        )
    if version == len(MIGRATIONS):
        return
    with transact(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATION_LOCK)))
            if version:
                postgresql.require_owner(connection, "brings an older ledger up to this version")
        for migrate in MIGRATIONS[_find_version(connection) :]:
            migrate(connection)
        connection.execute(sa.delete(VERSION))
        connection.execute(sa.insert(VERSION).values(version=len(MIGRATIONS)))


def _read_version(engine: sa.Engine) -> int:
    with transact(engine, reads=True) as connection:
        return _find_version(connection)


def _find_version(connection: sa.Connection) -> int:
    """Return the version of a ledger: 0 is none, and 1 had no table of it."""
    there = sa.inspect(connection)
    if not there.has_table(EVENT.name):
        return 0
    named = there.has_table(VERSION.name)
    return connection.execute(sa.select(VERSION.c.version)).scalar_one() if named else 1


def _begin_chain(connection: sa.Connection) -> None:
    METADATA.create_all(connection, [EVENT, HEAD])
    connection.execute(sa.insert(HEAD).values(seq=0, hash=GENESIS))


def _add_texts_and_roles(connection: sa.Connection) -> None:
    METADATA.create_all(connection, [TEXT, VERSION])
    guard(connection)


# What each version has more than the one before. All of it is two tables more that stay empty, and
# triggers that are checked anyway: a tool of migrations would be longer than what it runs.
MIGRATIONS = (_begin_chain, _add_texts_and_roles)
