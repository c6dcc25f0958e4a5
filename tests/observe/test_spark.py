"""Spark on this machine and Polars see the same lake, row for row."""

import os

import make
import polars as pl
import pytest
import shop
from polars.testing import assert_frame_equal
from test_sessions import make_many

import evalbench as eb
from evalbench.errors import EvalbenchError
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.observe.sessions import KEY, collect_signals, fold_sessions, session_signals
from evalbench.operate import coverage
from evalbench.store.engines import collect, start_spark

pytestmark = pytest.mark.filterwarnings("default")  # PySpark's own, of pandas and of its sockets
OWN = ("repeat", "run_id", "latency_ms", "judged_at")
COUNTS = {
    "session": (coverage.release_table, coverage.weekly_sessions, coverage.signal_table),
    "span": (coverage.format_table,),
}


@pytest.fixture(scope="module", autouse=True)
def spark():
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
        session = start_spark()
        yield session
        session.stop()


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    ws = make.workspace(tmp_path_factory.mktemp("spark"))
    for spans in make_many().partition_by("surface"):
        ws.lake.append("span", spans)
        ws.lake.append("session", fold_sessions(spans.lazy()))
    return ws


def test_spark_folds_the_same_sessions_signals_and_counts(ws):
    ours, theirs = eb.snapshot(ws), eb.snapshot(ws, engine="spark")
    assert_frame_equal(theirs.sessions, ours.sessions.sort(KEY))
    folded = collect(session_signals(theirs.scan("span"))).sort(KEY)
    assert_frame_equal(folded, collect_signals(ws.lake.spans()).sort(KEY), check_exact=False)
    for table, folds in COUNTS.items():
        for fold in folds:
            assert_frame_equal(fold(theirs.scan(table)), fold(ours.scan(table)))
    tables = [coverage.surface_table(v.scan("session"), v.scan("span")) for v in (ours, theirs)]
    assert_frame_equal(*tables)


def test_evaluators_find_the_same_on_spark_s_executors(ws):
    own = {"surface": "support", "owner": "ana"}
    check = {"check": "pattern_found", "pattern": "Grüße|no", "place": "assistant"}
    rubric = {"kind": "judge", "prompt": "It says hello.", "model": "offline/rubric"}
    evaluators = [
        Specification(mode="word", kind="check", parameters=check, **own),
        Specification(mode="hello", **rubric, **own),
    ]
    named = [f"s{number}" for number in range(301)]  # the last is not there
    done = [
        score(ws, evaluators, named, repeat=n, engine=e) for n, e in enumerate(("polars", "spark"))
    ]
    assert done[0].verdicts == done[1].verdicts > 500
    assert done[0].errors == done[1].errors > 0
    verdicts = ws.lake.verdicts().collect().sort("session_id", "mode", "repeat")
    assert set(verdicts["fails"]) == {True, False, None}
    sides = [verdicts.filter(repeat=n).drop(OWN) for n in (0, 1)]
    assert_frame_equal(*sides)


def test_rates_are_the_same(tmp_path):
    ws = shop.fill(tmp_path)
    ours, theirs = (eb.snapshot(ws, surface="shop", engine=e) for e in ("polars", "spark"))
    assert theirs.verdicts.height == ours.verdicts.height > 0
    assert_frame_equal(theirs.rates, ours.rates)
    assert ours.rates.filter(pl.col("estimate").is_finite()).height
    with pytest.raises(EvalbenchError, match="polars or spark"):
        eb.snapshot(ws, engine="sparc")
