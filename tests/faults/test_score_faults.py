"""Verdicts whatever the model's server does, and whenever the run is killed."""

import json
import os
import re
import signal
import time
from collections import Counter

import polars as pl
import pytest
from judged_sessions import (
    MODEL,
    fill_lake,
    make_judge_specification,
    preload,
    start_judging,
)
from model_server import PASS, ModelServer

import evalbench as eb
from evalbench import llm
from evalbench.errors import ModelError
from evalbench.evaluate.score import score
from evalbench.llm.client import load_litellm

CONCURRENCY = 16
SESSIONS = 300
LIMITS = llm.Limits(concurrency=CONCURRENCY, timeout_seconds=2)


def misbehave(key, attempt):
    """10% rate limits, 5% server errors, 5% broken JSON, 2% time-outs; some never answer well."""
    number = int(key.removeprefix("item-"))
    lasting = {7: "refusal", 57: "empty", 107: "broken", 207: "error"}
    if number in lasting:
        return lasting[number]
    share = number % 50
    if attempt == 1 and share in (1, 11, 21, 31, 41, 2, 12, 3, 13, 4, 14):
        return "error" if share in (2, 12) else "broken" if share in (3, 13) else "rate limit"
    return "hang" if attempt == 1 and share == 5 else "answer"


def reply(body):
    number = int(re.search(r"item-(\d+)", json.dumps(body["messages"]))[1])
    if number == 157:
        quote = {"span_id": "b", "quote": "words that nobody wrote"}
        return json.dumps({"rationale": "seen", "quotes": [quote], "fails": True})
    return PASS


@pytest.fixture(autouse=True, scope="module")
def preloaded():
    preload()  # while the first tests run


@pytest.fixture
def ws(tmp_path):
    return eb.open(tmp_path / "workspace")


@pytest.fixture
def server(monkeypatch):
    with ModelServer(misbehave, reply=reply, seconds=0.02, retry_after="0.1") as running:
        monkeypatch.setenv("OPENAI_API_BASE", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield running


def start(ws, processes=1):
    return start_judging(ws.path, SESSIONS, concurrency=CONCURRENCY, processes=processes)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_every_session_ends_with_one_verdict_or_one_recorded_error(ws, server):
    done = score(ws, [make_judge_specification()], fill_lake(ws, SESSIONS), limits=LIMITS)
    verdicts = ws.lake.verdicts().collect()
    assert (done.verdicts, done.errors, len(done.left)) == (SESSIONS - 5, 5, 0)
    assert verdicts["session_id"].sort().to_list() == sorted(f"s-{n}" for n in range(SESSIONS))
    errors = verdicts.filter(pl.col("error").is_not_null())
    kinds = {row["session_id"]: row["error"].split(":")[0] for row in errors.to_dicts()}
    assert kinds == {
        "s-7": "refusal",
        "s-57": "empty answer",
        "s-107": "broken JSON",
        "s-157": "fabricated quote",
        "s-207": "server error",
    }
    assert errors["fails"].null_count() == 5
    assert Counter(call.behaviour for call in server.calls)["rate limit"] == 42


def test_only_errors_are_tried_again(ws, server):
    sessions = fill_lake(ws, SESSIONS)
    judge = make_judge_specification()
    score(ws, [judge], sessions, limits=LIMITS)
    server.script = lambda key, attempt: "answer"
    server.reply = lambda body: PASS
    server.calls.clear()
    again = score(ws, [judge], sessions, limits=LIMITS)
    assert sorted(call.key for call in server.calls) == [
        f"item-{n}" for n in (107, 157, 207, 57, 7)
    ]
    assert (again.verdicts, again.errors, again.cached) == (5, 0, SESSIONS - 5)
    verdicts = ws.lake.verdicts().collect()
    assert (len(verdicts), verdicts["error"].null_count()) == (SESSIONS, SESSIONS)
    assert score(ws, [judge], sessions, limits=LIMITS).spent.calls == 0


def count_calls(n):
    """Calls of a session in a run that nobody disturbs."""
    lasting = {7: 1, 57: 2, 107: 3, 207: 4}
    return lasting.get(n, 1 + (misbehave(f"item-{n}", 1) != "answer"))


def test_a_killed_run_goes_on_where_it_stopped(ws, server):
    fill_lake(ws, SESSIONS)
    undisturbed = sum(map(count_calls, range(SESSIONS)))
    moments = (SESSIONS // 4, SESSIONS // 2)
    for moment, processes in zip(moments, (1, 2), strict=True):
        process = start(ws, processes)
        while len(server.calls) < moment and process.is_alive():
            time.sleep(0.005)
        kill(process)
        time.sleep(0.5)  # workers follow the process that was killed
    assert len(server.calls) < undisturbed
    process = start(ws, 2)
    process.join()
    assert process.exitcode == 0
    verdicts = ws.lake.verdicts().collect()
    assert verdicts["session_id"].sort().to_list() == sorted(f"s-{n}" for n in range(SESSIONS))
    assert verdicts["run_id"].n_unique() == 1
    assert undisturbed <= len(server.calls) <= undisturbed + len(moments) * CONCURRENCY
    assert not list((ws.path / "scoring").iterdir())


def test_a_budget_stops_and_says_what_is_left(ws, server):
    llm.register_price(MODEL, prompt=10, completion=20)
    try:
        server.script = lambda key, attempt: "answer"
        sessions = fill_lake(ws, SESSIONS)
        limits = llm.Limits(concurrency=CONCURRENCY, dollars=0.10, reply_tokens=50)
        done = score(ws, [make_judge_specification()], sessions, limits=limits)
        judged = ws.lake.verdicts().collect()
        assert 0.09 < done.spent.dollars <= 0.10
        assert len(judged) + len(done.left) == SESSIONS
        assert set(judged["session_id"]) | set(done.left["session_id"]) == set(sessions)
        assert f"{len(done.left)} left to do" in str(done)
        rest = score(ws, [make_judge_specification()], sessions, limits=LIMITS)
        assert rest.verdicts + rest.errors == len(done.left) + done.errors
        assert len(ws.lake.verdicts().collect()) == SESSIONS
    finally:
        load_litellm().model_cost.pop(MODEL)
        llm.PRICES.clear()


def test_a_refused_key_keeps_what_was_judged(ws, server):
    server.script = lambda key, attempt: "key" if key == "item-90" else "answer"
    sessions = fill_lake(ws, 100)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        score(ws, [make_judge_specification()], sessions, limits=LIMITS)
    kept = len(ws.lake.verdicts().collect())
    assert kept > 50
    server.script = lambda key, attempt: "answer"
    done = score(ws, [make_judge_specification()], sessions, limits=LIMITS)
    assert (done.verdicts, done.cached) == (100 - kept, kept)


def test_a_torn_line_of_the_journal_is_asked_again(ws, server):
    sessions = fill_lake(ws, 40)
    process = start(ws)
    while not list(ws.path.glob("scoring/*.jsonl")) or len(server.calls) < 30:
        time.sleep(0.005)
    kill(process)
    [journal] = ws.path.glob("scoring/*.jsonl")
    whole = journal.read_bytes().rstrip(b"\0")
    journal.write_bytes(whole[:-20])
    done = score(ws, [make_judge_specification()], sessions, limits=LIMITS)
    assert done.cached == max(whole.count(b"\n") - 1, 0)
    assert len(ws.lake.verdicts().collect()) == 40
