"""A ledger that somebody tampers with: the database refuses, and the chain tells."""

import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.exc import DBAPIError

from evalbench.errors import LedgerError, StoreError
from evalbench.schema import Label
from evalbench.store import database
from evalbench.store.chain import GENESIS, find_break, seal
from evalbench.store.database import connect_database, find_unguarded, guard, transact
from evalbench.store.ledger import Ledger
from evalbench.store.verification import verify

REPLACE = "INSERT OR REPLACE INTO event SELECT 1, at, 'eve', kind, subject, body, previous_hash, "


@pytest.fixture
def chained(ledger):
    ledger.extend([("note.added", f"s{n}", {"text": f"note {n}"}) for n in range(1, 8)])
    assert ledger.verify() is None
    return ledger


def test_the_database_refuses_to_change_an_event(chained, ledger_url):
    engine = create_engine(ledger_url, poolclass=NullPool)
    sqlite = engine.dialect.name == "sqlite"
    for statement in (
        "UPDATE event SET actor = 'eve' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        f"{REPLACE} hash FROM event WHERE seq = 1" if sqlite else "TRUNCATE event",
    ):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    assert chained.verify() is None


@pytest.fixture
def engine(ledger_url):
    engine = connect_database(ledger_url)
    yield engine
    engine.dispose()


def test_triggers_that_were_switched_off_are_found_and_made_again(
    chained, ledger_url, engine, tamper
):
    with transact(engine, reads=True) as connection:
        assert find_unguarded(connection) == []
    tamper("SELECT 1")
    with transact(engine) as connection:
        assert "event_" in find_unguarded(connection)[0]
        guard(connection)
        assert find_unguarded(connection) == []
    test_the_database_refuses_to_change_an_event(chained, ledger_url)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_trigger_function_without_teeth_is_found(chained, ledger_url, engine):
    with transact(engine) as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NULL; END $$"
        )
    assert "triggers were tampered with: event_change" in "".join(check(ledger_url))
    assert check(ledger_url) == []


def check(url):
    """Verify a workspace that has this ledger."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "evalbench.toml").write_text(f"ledger = {url!r}\n")
        return verify(folder).flaws


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("stuck", ["at work", "idle"])
def test_a_stuck_client_does_not_block_writers_for_good(ledger_url, monkeypatch, stuck):
    patience = {"lock_timeout": 300 if stuck == "at work" else 20_000}
    patience |= {"idle_in_transaction_session_timeout": 20_000 if stuck == "at work" else 300}
    monkeypatch.setattr(database, "PATIENCE", patience)
    ledger = Ledger(ledger_url, actor="ana")
    ledger.append("note.added", "s", {"text": "x"})
    engine = connect_database(ledger_url)
    with suppress(StoreError), transact(engine) as connection:
        connection.execute(select(database.HEAD).with_for_update())
        if stuck == "at work":
            with pytest.raises(StoreError, match="another client holds it for too long; try again"):
                ledger.append("note.added", "s", {"text": "x"})
        else:
            assert ledger.append("note.added", "s", {"text": "x"}) == 2
    engine.dispose()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_commit_is_on_disk_before_it_is_told(engine):
    with transact(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_hundred_thousand_events_verify_in_five_seconds(tmp_path):
    url, sealed, previous = f"sqlite:///{tmp_path}/l.sqlite", [], GENESIS
    label = Label(surface="shop", session_id="s", verdict="fail", modes=("rude", "slow"))
    fields = "2026-01-01T00:00:00.000000+00:00", "ana", "label.set", "s", label.model_dump_json()
    for seq in range(1, 100_001):
        sealed.append(seal(seq, *fields, previous_hash=previous))
        previous = sealed[-1].hash
    connect_database(url).dispose()
    with closing(sqlite3.connect(tmp_path / "l.sqlite", isolation_level=None)) as writing:
        writing.execute("BEGIN")
        writing.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", sealed)
        writing.execute("UPDATE event_head SET seq = ?, hash = ?", (seq, previous))
        writing.execute("COMMIT")
    start = time.process_time()
    assert check(url) == []
    assert time.process_time() - start < 5


CHANGED = [
    *((f"UPDATE event SET {field} = 'x' WHERE seq = 4", 4) for field in ("actor", "at", "hash")),
    *((f"UPDATE event SET body = 'x' WHERE seq = {seq}", seq) for seq in (1, 7)),
    ("DELETE FROM event WHERE seq = 1", 1),
    ("DELETE FROM event WHERE seq = 4", 4),
    ("DELETE FROM event WHERE seq > 5", 6),
    ("DELETE FROM event", 1),
    ("DELETE FROM event_head", 1),
]


@pytest.mark.parametrize(("statement", "first"), CHANGED)
def test_a_changed_or_deleted_event_is_found(chained, tamper, statement, first):
    tamper(statement)
    assert chained.verify() == first


@pytest.mark.parametrize("seq", [7, 8])
def test_a_last_event_that_no_ledger_sealed_is_found(chained, tamper, seq):
    previous = chained.events()["hash"][seq - 2]
    at = "2026-01-01T00:00:00.000000+00:00"
    foreign = seal(seq, at, "eve", "note.added", "s", "{}", previous_hash=previous)
    tamper(f"DELETE FROM event_text WHERE seq = {seq}")
    tamper(f"DELETE FROM event WHERE seq = {seq}")
    tamper(f"INSERT INTO event VALUES {tuple(foreign)}")
    assert chained.verify() == seq
    with pytest.raises(LedgerError, match=r"note\.added: text"):
        chained.bodies("note.added")


ROW = st.tuples(*[st.text(max_size=12)] * 5)


@given(rows=st.lists(ROW, min_size=1, max_size=6), place=st.integers(0, 5), field=st.integers(1, 6))
def test_any_change_breaks_the_chain_where_it_was_made(rows, place, field):
    events = []
    for row in rows:
        previous = events[-1].hash if events else GENESIS
        events.append(seal(len(events) + 1, *row, previous_hash=previous))
    head = (len(events), events[-1].hash)
    assert find_break(events, head=head) is None
    place %= len(events)
    changed = list(events[place])
    changed[field] += "!"
    events[place] = type(events[place])(*changed)
    assert find_break(events, head=head).seq == place + 1
