"""Eight processes at one ledger, begun while its tables do not exist yet."""

import multiprocessing
import time
from contextlib import suppress
from itertools import chain

import pytest
from sqlalchemy import Connection, select

from evalbench.errors import LedgerError
from evalbench.store.database import EVENT, connect_database, transact
from evalbench.store.ledger import Ledger

PROCESSES, EVENTS = 8, 500
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["evalbench.store.ledger", "pytest"])


def run_processes(work, *arguments):
    """Run ``work(number, *arguments)`` in every process and give what each returned."""
    with CONTEXT.Pool(PROCESSES) as pool:
        return pool.starmap(work, [(number, *arguments) for number in range(PROCESSES)], 1)


def append_many(number: int, url: str, barrier_at: float) -> list[int]:
    ledger = Ledger(url, actor=f"process {number}")
    time.sleep(max(0, barrier_at - time.time()))
    return [ledger.append("note.added", f"s{n}", {"text": "x"}) for n in range(EVENTS)]


def test_no_append_is_lost(ledger_url):
    numbers = run_processes(append_many, ledger_url, time.time() + 1)

    ledger = Ledger(ledger_url, actor="tester")
    assert sorted(chain.from_iterable(numbers)) == list(range(1, PROCESSES * EVENTS + 1))
    assert ledger.verify() is None
    counts = ledger.events().group_by("actor").len()
    assert counts.height == PROCESSES
    assert set(counts["len"]) == {EVENTS}


def reserve_each(number: int, url: str, barrier_at: float) -> list[str]:
    """Try for every item, read first and written then; give those that were won."""
    ledger = Ledger(url, actor=f"process {number}")
    won = []
    time.sleep(max(0, barrier_at - time.time()))
    for item in range(25):

        def choose(connection: Connection, subject: str = f"item {item}") -> list[tuple]:
            if ledger.events(subject=subject, connection=connection).height:
                raise LedgerError(f"{subject} is taken")
            return [("note.added", subject, {"text": "mine"})]

        with suppress(LedgerError):
            ledger.extend(choose)
            won.append(f"item {item}")
    return won


def test_a_reservation_has_one_winner(ledger_url):
    won = run_processes(reserve_each, ledger_url, time.time() + 1)

    assert sorted(chain.from_iterable(won)) == sorted(f"item {item}" for item in range(25))
    assert Ledger(ledger_url, actor="tester").head() == 25


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_readers_and_writers_do_not_stop_each_other(ledger_url):
    ledger = Ledger(ledger_url, actor="tester")
    ledger.append("note.added", "s", {"text": "x"})
    with transact(connect_database(ledger_url), reads=True) as reading:
        reading.execute(select(EVENT)).all()
        assert ledger.append("note.added", "s", {"text": "y"}) == 2
        assert len(reading.execute(select(EVENT)).all()) == 1
    assert ledger.head() == 2
