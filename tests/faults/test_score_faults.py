"""Verdicts whatever the model's server does, and whenever the run is killed."""

import json
import re
import time

import pytest
from judged_sessions import MODEL, fill_lake, make_judge_specification, start_judging
from model_server import PASS, ModelServer

import evalbench as eb
from evalbench import llm
from evalbench.errors import ModelError
from evalbench.evaluate.score import score

CONCURRENCY = 16
SESSIONS = 300
LIMITS = llm.Limits(concurrency=CONCURRENCY, timeout_seconds=2)
LASTING = {7: "refusal", 57: "empty", 107: "broken", 207: "error"}


def misbehave(key, attempt):
    """10% rate limits, 5% server errors, 5% broken JSON, 2% time-outs; some never answer well."""
    number = int(key.removeprefix("item-"))
    if number in LASTING:
        return LASTING[number]
    share = number % 50
    if attempt == 1 and share in (1, 11, 21, 31, 41, 2, 12, 3, 13, 4, 14):
        return "error" if share in (2, 12) else "broken" if share in (3, 13) else "rate limit"
    return "hang" if attempt == 1 and share == 5 else "answer"


def count_calls(n):
    """Count the calls of a session in a run that nobody disturbs."""
    lasting = {7: 1, 57: 2, 107: 3, 207: 4}
    return lasting.get(n, 1 + (misbehave(f"item-{n}", 1) != "answer"))


def reply(body):
    if re.search(r"item-157\b", json.dumps(body["messages"])):
        quote = {"turn": 1, "quote": "words that nobody wrote"}
        return json.dumps({"rationale": "seen", "quotes": [quote], "fails": True})
    return PASS


@pytest.fixture
def ws(tmp_path):
    return eb.open(tmp_path / "workspace")


@pytest.fixture
def server(monkeypatch):
    with ModelServer(misbehave, reply=reply, seconds=0.02, retry_after="0.1") as running:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", running.url)
        yield running


def test_every_session_ends_with_one_verdict_or_one_error_and_only_errors_are_tried_again(
    ws, server
):
    sessions, judge = fill_lake(ws, SESSIONS), make_judge_specification()
    done = score(ws, [judge], sessions, limits=LIMITS)
    verdicts = ws.lake.verdicts().collect()
    assert (done.verdicts, done.errors, len(done.left)) == (SESSIONS - 5, 5, 0)
    assert verdicts["session_id"].sort().to_list() == sorted(sessions)
    told = verdicts.drop_nulls("error").select("session_id", "error", "fails").rows()
    kinds = {"s-7": "refusal", "s-57": "empty answer", "s-107": "broken JSON"}
    kinds |= {"s-157": "fabricated quote", "s-207": "server error"}
    assert {(name, error.split(":")[0], fails) for name, error, fails in told} == {
        (name, kind, None) for name, kind in kinds.items()
    }
    server.script, server.reply = lambda key, attempt: "answer", lambda body: PASS
    server.calls.clear()
    again = score(ws, [judge], sessions, limits=LIMITS)
    assert {call.key.replace("item", "s") for call in server.calls} == kinds.keys()
    assert (again.verdicts, again.errors, again.cached) == (5, 0, SESSIONS - 5)
    assert ws.lake.verdicts().collect().height == SESSIONS


def test_a_killed_run_goes_on_where_it_stopped(ws, server):
    fill_lake(ws, SESSIONS)
    undisturbed = sum(map(count_calls, range(SESSIONS)))
    moments = (SESSIONS // 4, SESSIONS // 2)
    for moment in moments:
        process = start_judging(ws.path, SESSIONS, server.url, concurrency=CONCURRENCY)
        while len(server.calls) < moment and process.is_alive():
            time.sleep(0.005)
        process.kill()
        process.join()
    assert len(server.calls) < undisturbed
    [journal] = ws.path.glob("scoring/*.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])  # a torn line is asked again
    torn = json.loads(whole.splitlines()[-1])["session_id"]
    process = start_judging(ws.path, SESSIONS, server.url, concurrency=CONCURRENCY)
    process.join()
    assert process.exitcode == 0
    verdicts = ws.lake.verdicts().collect()
    assert verdicts["session_id"].sort().to_list() == sorted(f"s-{n}" for n in range(SESSIONS))
    assert verdicts["run_id"].n_unique() == 1
    lost = len(moments) * CONCURRENCY + count_calls(int(torn.removeprefix("s-")))
    assert undisturbed <= len(server.calls) <= undisturbed + lost
    assert not list((ws.path / "scoring").iterdir())


def test_a_budget_stops_and_a_refused_key_keeps_what_was_judged(ws, server):
    sessions, judge = fill_lake(ws, SESSIONS), make_judge_specification()
    server.script = lambda key, attempt: "key" if key == "item-290" else "answer"
    llm.register_price(MODEL, prompt=10, completion=20)
    try:
        limits = llm.Limits(concurrency=CONCURRENCY, dollars=0.10, reply_tokens=50)
        done = score(ws, [judge], sessions, limits=limits)
    finally:
        llm.load_litellm().model_cost.pop(MODEL)
    judged = set(ws.lake.verdicts().collect()["session_id"])
    assert 0.09 < done.spent.dollars <= 0.10
    assert judged | set(done.left["session_id"]) == set(sessions)
    assert len(judged) + len(done.left) == SESSIONS
    with pytest.raises(ModelError, match="HOSTED_VLLM_API_KEY"):
        score(ws, [judge], sessions, limits=LIMITS)
    kept = ws.lake.verdicts().collect().height
    assert len(judged) < kept < SESSIONS
    server.script, server.reply = lambda key, attempt: "answer", lambda body: PASS
    assert score(ws, [judge], sessions, limits=LIMITS).cached == kept
    assert ws.lake.verdicts().collect().height == SESSIONS
