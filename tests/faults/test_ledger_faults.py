import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from evalbench.store.chain import GENESIS, find_break, seal

FIELDS = ("actor", "kind", "subject", "body", "at", "previous_hash", "hash")


@pytest.fixture
def chained(ledger):
    ledger.extend([("note.added", f"s{n}", {"text": f"note {n}"}) for n in range(1, 8)])
    assert ledger.verify() is None
    return ledger


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET actor = 'eve' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        "DELETE FROM event",
    ],
)
def test_the_database_refuses_to_change_an_event(chained, ledger_url, statement):
    engine = create_engine(ledger_url, poolclass=NullPool)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert chained.verify() is None


def test_postgresql_refuses_to_empty_the_table(postgresql_url):
    from evalbench.store.ledger import Ledger

    ledger = Ledger(postgresql_url, actor="ana")
    ledger.append("note.added", "s", {"text": "x"})
    engine = create_engine(postgresql_url, poolclass=NullPool)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE event")
    assert ledger.head() == len(ledger.events()) == 1


def test_sqlite_refuses_to_replace_an_event(workspace):
    workspace.ledger.append("note.added", "s", {"text": "x"})
    engine = create_engine(workspace.ledger.url, poolclass=NullPool)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO event SELECT 1, at, 'eve', kind, subject, body, "
            "previous_hash, hash FROM event"
        )


@pytest.mark.parametrize(
    ("field", "seq"), [*((field, 4) for field in FIELDS), ("body", 1), ("body", 7)]
)
def test_a_changed_event_is_found(chained, tamper, field, seq):
    tamper(f"UPDATE event SET {field} = 'x' WHERE seq = {seq}")
    assert chained.verify() == seq


@pytest.mark.parametrize(
    ("where", "first"), [("seq = 1", 1), ("seq = 4", 4), ("seq = 7", 7), ("seq > 5", 6), ("1=1", 1)]
)
def test_a_deleted_event_is_found(chained, tamper, where, first):
    tamper(f"DELETE FROM event WHERE {where}")
    assert chained.verify() == first


def test_two_exchanged_events_are_found(chained, tamper):
    tamper("UPDATE event SET seq = 90 WHERE seq = 3")
    tamper("UPDATE event SET seq = 3 WHERE seq = 5")
    tamper("UPDATE event SET seq = 5 WHERE seq = 90")
    assert chained.verify() == 3


def test_an_event_that_was_not_appended_by_a_ledger_is_found(chained, tamper):
    last = chained.events()["hash"][-1]
    foreign = seal(8, "2026-01-01T00:00:00.000000+00:00", "eve", "k", "s", "{}", previous_hash=last)
    tamper(f"INSERT INTO event VALUES {tuple(foreign)}")
    assert chained.verify() == 8


def test_a_last_event_that_was_sealed_anew_is_found(chained, tamper):
    row = chained.events()
    at = row["at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")[-1]
    new = seal(7, at, "eve", "note.added", "s7", "{}", previous_hash=row["previous_hash"][-1])
    tamper(f"UPDATE event SET actor = 'eve', body = '{{}}', hash = '{new.hash}' WHERE seq = 7")
    assert chained.verify() == 7


def test_a_lost_head_is_found(chained, tamper):
    tamper("DELETE FROM event_head")
    assert chained.verify() is not None


TEXT = st.text(max_size=12)
ROW = st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT)


@given(first=ROW, second=ROW)
def test_only_equal_events_have_equal_hashes(first, second):
    hashes = {seal(1, *row, previous_hash=GENESIS).hash for row in (first, second)}
    assert (len(hashes) == 1) == (first == second)


@given(rows=st.lists(ROW, min_size=1, max_size=6), place=st.integers(0, 5), field=st.integers(1, 5))
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


def test_a_broken_body_names_its_kind(chained, tamper):
    from evalbench.errors import LedgerError

    tamper(f"UPDATE event SET body = '{json.dumps({'note': 1})}' WHERE seq = 2")
    with pytest.raises(LedgerError, match=r"note\.added: text"):
        chained.bodies("note.added")
