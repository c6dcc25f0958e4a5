"""Runs that are killed, and writers that come at once."""

import time
from itertools import chain

import polars as pl
from forked import CONTEXT

from evalbench.schema import SESSION
from evalbench.store.lake import Lake

PROCESSES = 4


def make_sessions(ids: range, n_turns: int = 1) -> pl.DataFrame:
    frame = SESSION.to_frame().clear(len(ids))
    return frame.with_columns(
        surface=pl.lit("airline"),
        session_id=pl.Series([f"s{n}" for n in ids], dtype=pl.String),
        n_turns=pl.lit(n_turns, pl.Int64),
    )


def read_ids(lake: Lake) -> list[int]:
    return sorted(int(each[1:]) for each in lake.sessions().collect()["session_id"])


def write_all(number: int, url: str, begin: float) -> tuple[list[int], list[int]]:
    """Append rows of one's own and rows that all bring, then upsert; count what was added."""
    lake, added = Lake(url), ([], [])
    time.sleep(max(0, begin - time.time()))
    for part in range(5):
        for counts, first in zip(added, (1_000 * (number + 1), 0), strict=True):
            ids = range(first + 10 * part, first + 10 * part + 10)
            counts.append(lake.append("session", make_sessions(ids)))
    for _ in range(3):
        lake.upsert("session", make_sessions(range(500 + number, 520 + number), number + 2))
    return added


def test_writers_at_once_lose_nothing_add_nothing_twice_and_keep_one_row_a_key(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    work = [(number, lake.url, time.time() + 1) for number in range(PROCESSES)]
    with CONTEXT.Pool(PROCESSES) as pool:
        own, shared = zip(*pool.starmap(write_all, work, 1), strict=True)
    assert sum(chain.from_iterable(own)) == 50 * PROCESSES
    assert sum(chain.from_iterable(shared)) == 50
    ids = read_ids(lake)
    assert ids[:50] == list(range(50))
    assert ids[50 : 69 + PROCESSES] == list(range(500, 519 + PROCESSES))
    assert len(set(ids)) == len(ids) == 69 + PROCESSES + 50 * PROCESSES
    rows = lake.sessions().collect()["session_id", "n_turns"].rows()
    turns = {int(name[1:]): n for name, n in rows}
    assert (turns[500], turns[518 + PROCESSES]) == (2, PROCESSES + 1)
