"""Runs that are killed, and writers that come at once."""

import multiprocessing
import time
from itertools import chain

import polars as pl
import pytest

from evalbench.schema import SESSION
from evalbench.store.lake import Lake

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["evalbench.store.ledger", "deltalake", "pytest"])
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


def append_parts(number: int, url: str, begin: float, shared: bool) -> list[int]:
    lake = Lake(url)
    time.sleep(max(0, begin - time.time()))
    offset = 0 if shared else number * 100
    return [
        lake.append("session", make_sessions(range(offset + 10 * part, offset + 10 * part + 10)))
        for part in range(5)
    ]


@pytest.mark.parametrize("shared", [True, False])
def test_appends_at_once_lose_nothing_and_add_nothing_twice(tmp_path, shared):
    lake = Lake(str(tmp_path / "lake"))
    work = [(n, lake.url, time.time() + 1, shared) for n in range(PROCESSES)]
    with CONTEXT.Pool(PROCESSES) as pool:
        appended = list(chain.from_iterable(pool.starmap(append_parts, work, 1)))

    ids = read_ids(lake)
    expected = 50 if shared else 50 * PROCESSES
    assert len(set(ids)) == len(ids) == expected
    assert sum(appended) == expected


def upsert_all(number: int, url: str, begin: float) -> None:
    lake = Lake(url)
    time.sleep(max(0, begin - time.time()))
    for _ in range(3):
        lake.upsert("session", make_sessions(range(number, number + 20), n_turns=number + 2))


def test_upserts_at_once_keep_one_row_a_key(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.append("session", make_sessions(range(40)))
    with CONTEXT.Pool(PROCESSES) as pool:
        pool.starmap(upsert_all, [(n, lake.url, time.time() + 1) for n in range(PROCESSES)], 1)
    assert read_ids(lake) == list(range(40))
    turns = lake.sessions().collect().sort(pl.col("session_id").str.slice(1).cast(int))["n_turns"]
    assert turns[0] == 2
    assert turns[PROCESSES + 18] == PROCESSES + 1
    assert set(turns[PROCESSES + 19 :]) == {1}
