"""Eight processes at one ledger, begun while its tables do not exist yet."""

import time
from contextlib import suppress
from itertools import chain

import pytest
from forked import CONTEXT
from sqlalchemy import select

from evalbench.errors import LedgerError
from evalbench.store.database import EVENT, connect_database, transact
from evalbench.store.ledger import Ledger

PROCESSES, EVENTS, ITEMS = 8, 200, 25


def write(number, url, begin):
    """Append events, then try for every item, read first and written then.

    Give the numbers of the events, and the items that were won.
    """
    ledger, won = Ledger(url, actor=f"process {number}"), []
    time.sleep(max(0, begin - time.time()))
    numbers = [ledger.append("note.added", f"s{n}", {"text": "x"}) for n in range(EVENTS)]
    for item in range(ITEMS):

        def choose(connection, subject=f"item {item}"):
            if ledger.events(subject=subject, connection=connection).height:
                raise LedgerError(f"{subject} is taken")
            return [("note.added", subject, {"text": "mine"})]

        with suppress(LedgerError):
            numbers.append(ledger.extend(choose))
            won.append(item)
    return numbers, won


def test_no_append_is_lost_and_a_reservation_has_one_winner(ledger_url):
    with CONTEXT.Pool(PROCESSES) as pool:
        work = [(number, ledger_url, time.time() + 1) for number in range(PROCESSES)]
        numbers, won = zip(*pool.starmap(write, work, 1), strict=True)
    ledger = Ledger(ledger_url, actor="tester")
    assert sorted(chain.from_iterable(numbers)) == list(range(1, PROCESSES * EVENTS + ITEMS + 1))
    assert sorted(chain.from_iterable(won)) == list(range(ITEMS))
    assert ledger.verify() is None
    counts = dict(ledger.events().group_by("actor").len().iter_rows())
    assert counts == {f"process {n}": EVENTS + len(each) for n, each in enumerate(won)}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_readers_and_writers_do_not_stop_each_other(ledger_url):
    ledger = Ledger(ledger_url, actor="tester")
    ledger.append("note.added", "s", {"text": "x"})
    with transact(connect_database(ledger_url), reads=True) as reading:
        reading.execute(select(EVENT)).all()
        assert ledger.append("note.added", "s", {"text": "y"}) == 2
        assert len(reading.execute(select(EVENT)).all()) == 1
    assert ledger.head() == 2
