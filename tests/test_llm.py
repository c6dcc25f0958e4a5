"""Every request one reply or left over, within the limits, whatever the server does."""

import asyncio
import hashlib
import random
import socket
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from model_server import ModelServer
from pydantic import BaseModel

from evalbench import llm
from evalbench.errors import ModelError
from evalbench.llm.budget import Budget, Estimate
from evalbench.llm.client import load_litellm, parse
from evalbench.llm.offline import judge_offline

MODEL = "hosted_vllm/judge-1"
QUICK = "aiohttp_openai/judge-1"
FORM = {
    "type": "object",
    "properties": {
        "fails": {"type": "boolean"},
        "rationale": {"type": "string"},
        "quotes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["fails", "rationale"],
}


class Verdict(BaseModel):
    fails: bool
    rationale: str


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), address
        return connect(self, address)

    def resolve(host, *arguments, **options):
        assert host in ("127.0.0.1", "::1", "localhost"), host
        return plain(host, *arguments, **options)

    plain = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)


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


def questions(n, schema=FORM):
    return [
        llm.Request(f"item-{i}", [{"role": "user", "content": f"Judge item-{i}."}], schema)
        for i in range(n)
    ]


def ask(server, monkeypatch, requests, progress=None, model=MODEL, **limits):
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    replies = []

    asking = llm.complete_many(
        requests,
        model=model,
        limits=llm.Limits(**limits),
        on_reply=lambda request, reply: replies.append((request.key, reply)),
        progress=progress,
    )
    return llm.run(asking), replies


def share_of(key, attempt):
    return int(hashlib.sha256(f"{key} {attempt}".encode()).hexdigest(), 16) % 1000 / 1000


def troubled(key, attempt):
    """Do what a bad day does: 10% 429, 5% 500, 5% broken, 2% time-outs, and three single cases."""
    single = {"item-3": "refusal", "item-4": "empty", "item-5": "invented"}
    if key in single:
        return single[key]
    share = share_of(key, attempt)
    bounds = {"rate limit": 0.10, "error": 0.15, "broken": 0.20, "hang": 0.22, "answer": 1.0}
    return next(name for name, bound in bounds.items() if share < bound)


def test_every_request_has_one_reply_on_a_bad_day(monkeypatch):
    with ModelServer(troubled, seconds=0.01) as server:
        spent, replies = ask(
            server, monkeypatch, questions(300), concurrency=32, timeout_seconds=0.5
        )
    seen = dict(replies)
    assert len(replies) == len(seen) == 300
    assert spent.left == ()
    assert spent.calls == len(server.calls)
    assert {"rate limit", "error", "broken", "hang"} <= {call.behaviour for call in server.calls}
    assert server.most_in_flight <= 32
    assert seen["item-3"].error == "refusal: I can't help with that."
    assert server.attempts["item-3"] == 1
    assert seen["item-4"].error.startswith("empty answer")
    assert server.attempts["item-4"] == 2
    assert seen["item-5"].parsed["quotes"] == ["words that nobody wrote"]
    good = [reply for reply in seen.values() if reply.error is None]
    assert spent.errors == 300 - len(good)
    assert len(good) >= 295
    assert all(reply.parsed for reply in good)
    assert all(reply.text == "" for reply in seen.values() if reply.error)


def test_a_budget_of_ten_cents_stops_at_ten_cents(monkeypatch, price):
    told = []
    with ModelServer(seconds=0.005) as server:
        spent, replies = ask(
            server,
            monkeypatch,
            questions(200),
            progress=told.append,
            dollars=0.10,
            reply_tokens=100,
        )
    assert spent.dollars == pytest.approx(len(server.calls) * price)
    assert 0.10 - 3 * price < spent.dollars <= 0.10
    assert sum(reply.cost_usd for _, reply in replies) == pytest.approx(spent.dollars)
    assert len(replies) + len(spent.left) == 200
    assert {key for key, _ in replies}.isdisjoint(spent.left)
    assert [each.replies for each in told] == list(range(1, len(replies) + 1))
    assert all(a.dollars <= b.dollars for a, b in pairwise(told))


@pytest.mark.parametrize(("limits", "calls"), [({"calls": 7}, 7), ({"tokens": 2000}, 14)])
def test_calls_and_tokens_are_bounded(monkeypatch, limits, calls):
    with ModelServer() as server:
        spent, replies = ask(server, monkeypatch, questions(40), reply_tokens=500, **limits)
    assert len(replies) == len(server.calls) == spent.calls == calls
    assert len(spent.left) == 40 - calls


def test_tries_count_against_the_budget(monkeypatch):
    with ModelServer(lambda key, attempt: "rate limit", retry_after="0.01") as server:
        spent, replies = ask(server, monkeypatch, questions(4), calls=3, concurrency=1)
    assert len(server.calls) == spent.calls == 3
    assert len(replies) + len(spent.left) == 4


def test_a_dollar_budget_needs_a_price(monkeypatch):
    with ModelServer() as server, pytest.raises(ModelError, match="register_price"):
        ask(server, monkeypatch, questions(1), model="hosted_vllm/unheard-of", dollars=1)
    assert server.calls == []


def test_an_unknown_price_costs_null(monkeypatch):
    with ModelServer() as server:
        spent, replies = ask(
            server, monkeypatch, questions(1, Verdict), model="hosted_vllm/unheard-of"
        )
    assert spent.dollars is None
    assert replies[0][1].cost_usd is None
    assert replies[0][1].prompt_tokens == 100
    assert replies[0][1].parsed == {"fails": False, "rationale": "as asked"}


@pytest.mark.parametrize("model", [MODEL, QUICK])
def test_retry_after_is_waited(monkeypatch, model):
    def first_refused(key, attempt):
        return "rate limit" if attempt == 1 else "answer"

    with ModelServer(first_refused, retry_after="0.7") as server:
        _, replies = ask(server, monkeypatch, questions(1), model=model)
    first, second = server.calls
    assert 0.7 <= second.at - first.at < 1.2
    assert replies[0][1].error is None


def test_a_server_that_asks_for_an_hour_gets_no_retry(monkeypatch):
    with ModelServer(lambda key, attempt: "rate limit", retry_after="3600") as server:
        _, replies = ask(server, monkeypatch, questions(1))
    assert len(server.calls) == 1
    assert replies[0][1].error.startswith("rate limit")


def test_calls_are_spaced(monkeypatch):
    with ModelServer() as server:
        ask(server, monkeypatch, questions(6), requests_per_minute=600)
    starts = [call.at for call in server.calls]
    assert starts[-1] - starts[0] >= 0.45


def test_the_quickest_route_keeps_the_tokens_that_the_server_counts(monkeypatch):
    llm.register_price(QUICK, prompt=10, completion=20)
    try:
        with ModelServer() as server:
            spent, pairs = ask(server, monkeypatch, questions(3), model=QUICK, concurrency=3)
        assert (spent.tokens, spent.dollars) == (330, pytest.approx(0.0036))
        assert [reply.cost_usd for _, reply in pairs] == pytest.approx([0.0012] * 3)
    finally:
        load_litellm().model_cost.pop(QUICK)


def test_half_a_surrogate_pair_is_sent(monkeypatch):
    request = llm.Request("item-0", [{"role": "user", "content": "Judge item-0: \ud83d"}], FORM)
    with ModelServer() as server:
        _, [(_, reply)] = ask(server, monkeypatch, [request], model=QUICK)
    assert reply.error is None
    assert server.calls[0].body["messages"][0]["content"].endswith("\ud83d")


@pytest.mark.parametrize("model", [MODEL, QUICK])
@pytest.mark.parametrize(
    ("behaviour", "kind", "attempts"),
    [
        ("rate limit", "rate limit", 2),
        ("error", "server error", 2),
        ("hang", "time-out", 2),
        ("broken", "broken JSON", 2),
        ("odd", "schema violated", 2),
        ("empty", "empty answer", 2),
        ("refusal", "refusal", 1),
        ("cut off", "cut off", 1),
        ("long", "context too long", 1),
    ],
)
def test_each_failure_has_its_kind(monkeypatch, behaviour, kind, attempts, model):
    random.seed(0)
    with ModelServer(lambda key, attempt: behaviour, retry_after="0.01") as server:
        limits = {"timeout_seconds": 0.1 if behaviour == "hang" else 5, "tries": 2}
        spent, [(_, reply)] = ask(server, monkeypatch, questions(1), model=model, **limits)
    assert reply.error.startswith(f"{kind}: ")
    assert len(server.calls) == attempts
    assert spent.errors == 1


@pytest.mark.parametrize(
    ("model", "name"), [(MODEL, "set HOSTED_VLLM_API_KEY"), (QUICK, "set OPENAI_API_KEY")]
)
def test_a_refused_key_stops_everything_and_names_the_variable(monkeypatch, model, name):
    with (
        ModelServer(lambda key, attempt: "key", seconds=0.02) as server,
        pytest.raises(ModelError, match=name),
    ):
        ask(server, monkeypatch, questions(100), model=model, concurrency=4)
    assert len(server.calls) <= 4


def test_a_missing_key_names_its_variable(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        llm.complete([{"role": "user", "content": "?"}], model="gpt-4o-mini")


def test_fingerprint_is_the_servers_else_its_model(monkeypatch):
    found = []
    for fingerprint in ("fp_7", None):
        with ModelServer(fingerprint=fingerprint) as server:
            found.append(ask(server, monkeypatch, questions(1))[1][0][1].fingerprint)
    assert found == ["fp_7", "judge-1"]


def test_what_on_reply_raises_ends_the_run(monkeypatch):
    def full(request, reply):
        raise OSError("disk full")

    with ModelServer() as server:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        with pytest.raises(OSError, match="disk full"):
            llm.run(
                llm.complete_many(
                    questions(50), model=MODEL, limits=llm.Limits(concurrency=2), on_reply=full
                )
            )
    assert len(server.calls) <= 4


def test_a_generator_is_read_as_calls_come_free(monkeypatch):
    read = []

    def source():
        for question in questions(50):
            read.append(question.key)
            yield question

    with ModelServer() as server:
        ahead = []
        ask(
            server,
            monkeypatch,
            source(),
            progress=lambda spent: ahead.append(len(read) - spent.replies),
            concurrency=4,
        )
    assert max(ahead) <= 4


def test_shares_add_up():
    shares = llm.Limits(concurrency=5, calls=7, tokens=None, dollars=0.1).share(2)
    assert [each.concurrency for each in shares] == [3, 2]
    assert [each.calls for each in shares] == [4, 3]
    assert [each.dollars for each in shares] == [0.05, 0.05]
    assert shares[0].tokens is None


def test_a_call_waits_for_those_in_flight_to_come_in_cheaper():
    async def run():
        budget = Budget(llm.Limits(tokens=100))
        first = await budget.admit(Estimate(80, 0))
        waiting = asyncio.create_task(budget.admit(Estimate(80, 0)))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle(first, Estimate(10, 0))
        assert await waiting is not None
        refused = asyncio.create_task(budget.admit(Estimate(80, 0)))
        await asyncio.sleep(0)
        budget.settle(2, Estimate(30, 0))
        assert await refused is None

    asyncio.run(run())


def test_forecast_bounds_what_is_used(monkeypatch, price):
    with ModelServer() as server:
        spent, _ = ask(server, monkeypatch, questions(5))
    limits = llm.Limits(reply_tokens=100)
    told = llm.forecast(questions(5), model=MODEL, limits=limits)
    assert told.calls == 5
    assert told.dollars == pytest.approx((22 * 10 + 100 * 20) * 5 / 1e6, rel=0.05)
    assert spent.dollars == pytest.approx(5 * price)


def test_words_around_the_object_are_let_pass():
    assert parse('Sure:\n```json\n{"fails": true, "rationale": "x"}\n```', FORM)["fails"]
    with pytest.raises(ValueError, match="fails: 'x' is not of type 'boolean'"):
        parse('{"fails": "x", "rationale": ""}', FORM)


def test_limits_name_what_is_wrong():
    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        llm.Limits(concurrency=0)
    with pytest.raises(ValueError, match="timeout_seconds must be above 0, got 0"):
        llm.Limits(timeout_seconds=0)


def test_embeddings_keep_their_order(monkeypatch):
    texts = ["a" * n for n in range(1, 301)]
    with ModelServer() as server:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        found = llm.embed(texts, model=MODEL)
    assert found.shape == (300, 2)
    assert np.array_equal(found[:, 0], np.arange(1, 301))


RUBRIC = "The assistant invents a tracking number for a parcel."
JUDGED = [
    {"role": "system", "content": f"<rubric>{RUBRIC}</rubric>"},
    {"role": "user", "content": "<trace-9>\nspan=s1 hello\nspan=s2 {}\n</trace-9>"},
]


@pytest.mark.parametrize(
    ("line", "fails"), [("I invented a tracking number: 7 (parcel)", True), ("Good day", False)]
)
def test_the_offline_stand_in_judges_by_shared_words(line, fails):
    system, user = JUDGED
    user = user | {"content": user["content"].replace("{}", line)}
    reply = llm.complete([system, user], model="offline/rubric", schema=FORM)
    assert reply.parsed["fails"] is fails
    assert "Offline stand-in" in reply.parsed["rationale"]
    assert "offline stand-in" in reply.fingerprint
    assert all(line in quote for quote in reply.parsed["quotes"])
    assert reply.cost_usd == 0
    again = llm.complete([system, user], model="offline/rubric", schema=FORM)
    assert again.text == reply.text


def test_the_offline_stand_in_names_the_span():
    form = {"$defs": {"Quote": {"type": "object", "properties": {"span_id": {"type": "string"}}}}}
    quotes = {"type": "array", "items": {"$ref": "#/$defs/Quote"}}
    form |= {"type": "object", "properties": {"quotes": quotes}}
    user = {"content": JUDGED[1]["content"].replace("{}", "tracking number invented")}
    text = judge_offline([JUDGED[0], user], {"json_schema": {"schema": form}})
    assert text == '{"quotes":[{"span_id":"s2"}]}'


def test_litellm_is_not_loaded_before_a_call():
    code = "import sys, evalbench.llm; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_complete_works_inside_a_running_loop():
    async def notebook():
        return llm.complete([{"role": "user", "content": "?"}], model="offline/rubric")

    start = time.monotonic()
    assert asyncio.run(notebook()).error is None
    assert time.monotonic() - start < 10
