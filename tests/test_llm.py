"""Every request one reply or left over, within the limits, whatever the server does."""

import asyncio
import hashlib
import socket
import subprocess
import sys

import numpy as np
import pytest
from model_server import ModelServer
from pydantic import BaseModel

from evalbench import llm
from evalbench.errors import ModelError
from evalbench.llm import load_litellm

MODEL = "hosted_vllm/judge-1"


class Form(BaseModel):
    fails: bool
    rationale: str


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), address
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="module")
def warm():
    """Load what LiteLLM loads at its first calls, so that no time-out of a test falls on it."""
    with ModelServer() as server, pytest.MonkeyPatch.context() as patch:
        ask(server, patch, questions(4))


@pytest.fixture
def price():
    llm.register_price(MODEL, prompt=10, completion=20)  # 100 and 10 tokens: $0.0012 a call
    yield 0.0012
    load_litellm().model_cost.pop(MODEL)


def questions(n, schema=Form):
    return [
        llm.Request(f"item-{i}", [{"role": "user", "content": f"Judge item-{i}."}], schema)
        for i in range(n)
    ]


def ask(server, monkeypatch, requests, model=MODEL, on_reply=None, spent=None, **limits):
    """Give what was spent, and the replies by key, each key once."""
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
    replies = {}

    def keep(request, reply):
        assert request.key not in replies
        replies[request.key] = reply

    how = {"model": model, "limits": llm.Limits(**limits), "spent": spent}
    return llm.complete_many(requests, on_reply=on_reply or keep, **how), replies


def troubled(key, attempt):
    """Do what a bad day does: 10% 429, 5% 500, 5% broken, 2% time-outs, and three single cases."""
    single = {"item-3": "refusal", "item-4": "empty", "item-5": "odd"}
    if key in single:
        return single[key]
    digest = hashlib.sha256(f"{key} {attempt}".encode()).hexdigest()
    share = int(digest, 16) % 1000 / 1000
    bounds = {"rate limit": 0.10, "error": 0.15, "broken": 0.20, "hang": 0.22, "answer": 1.0}
    return next(name for name, bound in bounds.items() if share < bound)


def test_every_request_has_one_reply_on_a_bad_day(monkeypatch):
    with ModelServer(troubled, seconds=0.01) as server:
        limits = {"concurrency": 32, "timeout_seconds": 0.5}
        spent, seen = ask(server, monkeypatch, questions(300), **limits)
    assert len(seen) == 300
    assert not spent.exhausted
    assert spent.calls == len(server.calls)
    assert {"rate limit", "error", "broken", "hang"} <= {call.behaviour for call in server.calls}
    assert server.most_in_flight <= 32
    assert seen["item-3"].error == "refusal: I can't help with that."
    assert [server.attempts[f"item-{n}"] for n in (3, 4, 5)] == [1, 2, 3]
    good = [reply for reply in seen.values() if reply.error is None]
    assert len(good) >= 295
    assert all(reply.parsed for reply in good)
    assert all(reply.text == "" for reply in seen.values() if reply.error)


def test_a_budget_of_ten_cents_stops_at_ten_cents_however_many_runs(monkeypatch, price):
    with ModelServer(seconds=0.005) as server:
        limits = {"dollars": 0.10, "reply_tokens": 100}
        first, _ = ask(server, monkeypatch, questions(20), **limits)
        spent, replies = ask(server, monkeypatch, questions(200), spent=first, **limits)
    assert spent is first
    assert spent.exhausted
    assert spent.dollars == pytest.approx(len(server.calls) * price)
    assert spent.tokens == 110 * len(server.calls)
    assert 0.10 - 3 * price < spent.dollars <= 0.10
    assert [each.cost_usd for each in replies.values()] == pytest.approx([price] * len(replies))


@pytest.mark.parametrize(("limits", "calls"), [({"calls": 7}, 7), ({"tokens": 2000}, 14)])
def test_calls_and_tokens_are_bounded(monkeypatch, limits, calls):
    with ModelServer() as server:
        spent, replies = ask(server, monkeypatch, questions(40), reply_tokens=500, **limits)
    assert len(replies) == len(server.calls) == spent.calls == calls
    assert spent.exhausted


def test_a_call_waits_for_those_in_flight_to_come_in_cheaper(monkeypatch):
    with ModelServer(seconds=0.05) as server:
        limits = {"tokens": 1500, "reply_tokens": 1000}
        spent, replies = ask(server, monkeypatch, questions(4), **limits)
    assert server.most_in_flight == 1  # the estimates of two do not fit, 110 tokens each do
    assert (len(replies), spent.tokens, spent.exhausted) == (4, 440, False)


def test_tries_count_against_the_budget_and_go_on_from_a_killed_run(monkeypatch):
    with ModelServer(lambda key, attempt: "rate limit", retry_after="0.01") as server:
        spent, replies = ask(server, monkeypatch, questions(4), calls=3, concurrency=1)
        assert (spent.calls, len(server.calls), replies) == (3, 3, {})
        [question] = questions(1)
        killed = question._replace(tries=llm.Tries(3, 30, 20, 0.5))
        _, replies = ask(server, monkeypatch, [killed], tries=4)
    assert len(server.calls) == 4
    assert replies["item-0"].prompt_tokens == 30


def test_a_price_nobody_knows(monkeypatch):
    model = "hosted_vllm/unheard-of"
    with ModelServer() as server:
        with pytest.raises(ModelError, match="register_price"):
            ask(server, monkeypatch, questions(1), model=model, dollars=1)
        assert server.calls == []
        spent, replies = ask(server, monkeypatch, questions(1), model=model)
    assert spent.unpriced == 1
    assert replies["item-0"].cost_usd is None
    assert replies["item-0"].prompt_tokens == 100


def test_retry_after_is_waited_but_not_an_hour(monkeypatch):
    def first_refused(key, attempt):
        return "rate limit" if attempt == 1 else "answer"

    with ModelServer(first_refused, retry_after="0.7") as server:
        _, replies = ask(server, monkeypatch, questions(1))
        first, second = server.calls
        assert 0.7 <= second.at - first.at < 1.2
        assert replies["item-0"].error is None
    with ModelServer(first_refused, retry_after="3600") as server:
        _, replies = ask(server, monkeypatch, questions(1))
    assert len(server.calls) == 1
    assert replies["item-0"].error.startswith("rate limit")


@pytest.mark.parametrize(
    ("behaviour", "error", "attempts"),
    [
        ("rate limit", "rate limit: ", 2),
        ("error", "server error: ", 2),
        ("hang", "time-out: over 0.5 s", 2),
        ("broken", "broken JSON: ", 2),
        ("odd", "schema violated: ", 2),
        ("empty", "empty answer: no text", 2),
        ("refusal", "refusal: I can't help with that.", 1),
        ("cut off", "cut off: longer than reply_tokens = 1024", 1),
        ("long", "context too long: ", 1),
    ],
)
def test_each_failure_has_its_kind(monkeypatch, behaviour, error, attempts):
    with ModelServer(lambda key, attempt: behaviour, retry_after="0.01") as server:
        limits = {"timeout_seconds": 0.5 if behaviour == "hang" else 5, "tries": 2}
        _, replies = ask(server, monkeypatch, questions(1), **limits)
    assert replies["item-0"].error.startswith(error)
    assert len(server.calls) == attempts


@pytest.mark.parametrize(
    ("behaviour", "why"), [("key", "set HOSTED_VLLM_API_KEY"), ("missing", "no such model")]
)
def test_what_no_call_would_survive_stops_everything(monkeypatch, behaviour, why):
    with (
        ModelServer(lambda key, attempt: behaviour, seconds=0.02) as server,
        pytest.raises(ModelError, match=why),
    ):
        ask(server, monkeypatch, questions(100), concurrency=4)
    assert len(server.calls) <= 4


def test_a_missing_key_names_its_variable(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        llm.complete([{"role": "user", "content": "?"}], model="gpt-4o-mini")


def test_fingerprint_is_the_servers_else_its_model(monkeypatch):
    found = []
    for fingerprint in ("fp_7", None):
        with ModelServer(fingerprint=fingerprint) as server:
            found.append(ask(server, monkeypatch, questions(1))[1]["item-0"].fingerprint)
    assert found == ["fp_7", "judge-1"]


def test_what_on_reply_raises_ends_the_run(monkeypatch):
    def full(request, reply):
        raise OSError("disk full")

    with ModelServer() as server, pytest.raises(OSError, match="disk full"):
        ask(server, monkeypatch, questions(50), on_reply=full, concurrency=2)
    assert len(server.calls) <= 4


def test_a_generator_is_read_as_calls_come_free(monkeypatch):
    read, ahead, done = [], [], []

    def count(request, reply):
        done.append(request.key)
        ahead.append(len(read) - len(done))

    with ModelServer() as server:
        source = (read.append(each.key) or each for each in questions(50))
        ask(server, monkeypatch, source, on_reply=count, concurrency=4)
    assert len(done) == 50
    assert max(ahead) <= 4


def test_words_around_the_object_are_let_pass(monkeypatch):
    text = 'Sure:\n```json\n{"fails": true, "rationale": "x"}\n```'
    with ModelServer(reply=lambda body: text) as server:
        _, replies = ask(server, monkeypatch, questions(1))
    assert replies["item-0"].parsed == Form(fails=True, rationale="x")
    assert (
        server.calls[0].body["response_format"]["json_schema"]["schema"] == Form.model_json_schema()
    )


def test_limits_name_what_is_wrong():
    with pytest.raises(ValueError, match="concurrency must be above 0, got 0"):
        llm.Limits(concurrency=0)
    with pytest.raises(ValueError, match="timeout_seconds must be above 0, got 0"):
        llm.Limits(timeout_seconds=0)


def test_embeddings_keep_their_order(monkeypatch):
    with ModelServer() as server:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        found = llm.embed(["a" * n for n in range(1, 301)], model=MODEL)
    assert found.shape == (300, 2)
    assert np.array_equal(found[:, 0], np.arange(1, 301))


def test_litellm_is_not_loaded_before_a_call():
    code = "import sys, evalbench.llm; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_complete_works_inside_a_running_loop(monkeypatch):
    async def notebook():
        return llm.complete([{"role": "user", "content": "?"}], model=MODEL)

    with ModelServer() as server:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        assert asyncio.run(notebook()).error is None
