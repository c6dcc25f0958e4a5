"""A ledger that somebody tampers with: the database refuses, and the chain tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from evalbench.errors import LedgerError
from evalbench.store.chain import GENESIS, find_break, seal

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
    assert find_break(events, head=head) == place + 1
