"""Many calls at once, each to exactly one reply, within the limits."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Thread
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from evalbench.errors import ModelError
from evalbench.llm.models import load_litellm

ATTEMPTS = dict.fromkeys(("rate limit", "server error", "time-out"), 1_000)
# How often a failure of each kind is tried at most, within the limits; others are not again.
ATTEMPTS |= {"broken JSON": 3, "schema violated": 3, "empty answer": 2}
FAILURES = {"TimeoutError": "time-out", "Timeout": "time-out", "RateLimitError": "rate limit"}
FAILURES |= {"ContextWindowExceededError": "context too long"}
# What a failed call is by the name of LiteLLM's error; others by their status.
FAILURES |= {"ContentPolicyViolationError": "refusal"}
FATAL = dict.fromkeys(("AuthenticationError", "PermissionDeniedError"), "key refused; set {}")
# Errors after which no other call would fare better; {} is the variable of the key.
FATAL |= dict.fromkeys(("NotFoundError", "LiteLLMUnknownProvider"), "no such model")
# Seconds of Retry-After that a request waits for; a server that asks for more gets no retry. And
# those of the longest pause where the server does not say.
LONGEST_WAIT, LONGEST_PAUSE = 120.0, 30.0
# First guess, above English prose (about 0.25) and JSON; raised by what the server counts.
TOKENS_A_CHARACTER = 0.35


@dataclass(frozen=True)
class Limits:
    """Bounds of calls; None is no bound.

    At most ``concurrency`` calls are in flight. Every try is one of ``calls``, ``tokens`` are of
    prompts and answers; a call is sent only where an upper guess of it fits into what is left.
    ``timeout_seconds`` is of one try; ``reply_tokens`` the longest answer, told to the model.
    """

    concurrency: int = 16
    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    timeout_seconds: float = 60
    tries: int = 4
    reply_tokens: int = 1024

    def __post_init__(self) -> None:
        for name in ("concurrency", "tries", "reply_tokens", "timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


UNLIMITED = Limits()


@dataclass
class Spent:
    """The account of runs of calls; ``unpriced`` ones count no dollars."""

    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0
    exhausted: bool = False


class Tries(NamedTuple):
    """Tries of a request so far, and what they used."""

    made: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0


class Request(NamedTuple):
    """One question, by the caller's ``key``, with the ``tries`` of a run that was killed."""

    key: str
    messages: Sequence[Mapping[str, Any]]
    schema: type[BaseModel] | None = None
    tries: Tries = Tries()


@dataclass(frozen=True)
class Reply:
    """One answer, or the recorded reason why there is none: ``error``, as "kind: reason".

    ``parsed`` is the answer in the form of the request's schema, ``fingerprint`` the server's, else
    the name of the model it says it answered with. Tokens and ``cost_usd`` (None where the price is
    unknown) are of all tries together, ``latency_ms`` and ``retry_after`` (seconds) of the last.
    """

    text: str = ""
    parsed: Any = None
    fingerprint: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    latency_ms: float = 0.0
    error: str | None = None
    retry_after: float | None = None

    def fail(self, kind: str, reason: str, retry_after: float | None = None) -> Reply:
        """Return the reply as a failure, with what was used."""
        return replace(self, text="", error=f"{kind}: {reason}", retry_after=retry_after)

    @property
    def kind(self) -> str:
        """The kind of failure, "" where there is none."""
        return (self.error or "").partition(":")[0]


def complete_many(
    requests: Iterable[Request],
    *,
    model: str,
    limits: Limits,
    on_reply: Callable[[Request, Reply], None],
    on_retry: Callable[[Request, Tries], None] = lambda request, tries: None,
    spent: Spent | None = None,
) -> Spent:
    """Ask requests until all have a reply or the budget is spent, and wait; none has two.

    What fails is tried again after the time the server asks for, or a jittered doubling pause, and
    is then a reply with an ``error``. A request is read once a call is free; ``on_reply`` and
    ``on_retry`` end the run where they raise; ``spent`` is what other runs used. ModelError where
    the key is missing or refused, there is no such model, or a dollar budget meets an unknown
    price: earlier replies stay.
    """
    asking = _Asking(model, limits, Spent() if spent is None else spent, on_reply, on_retry)
    future = asyncio.run_coroutine_threadsafe(asking.answer_all(requests), _start_loop(os.getpid()))
    try:
        future.result()
    except BaseException:
        future.cancel()
        raise
    return asking.spent


@cache
def _start_loop(process: int) -> asyncio.AbstractEventLoop:
    """Start the one loop of this process that talks to models; connections stay open on it."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="evalbench-llm", daemon=True).start()
    return loop


class _Exhausted(Exception):
    """The budget does not reach this call, or the run was stopped."""


@dataclass
class _Asking:
    """What the calls of one run share."""

    model: str
    limits: Limits
    spent: Spent
    on_reply: Callable[[Request, Reply], None]
    on_retry: Callable[[Request, Tries], None]
    tokens_a_character: float = TOKENS_A_CHARACTER
    in_flight: dict[int, tuple[int, float]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.rates, self.free = None, asyncio.Semaphore(self.limits.concurrency)
        with suppress(Exception):  # LiteLLM raises bare exceptions for a model it does not know
            self.rates = load_litellm().cost_per_token(self.model, 1, 1)
        if self.limits.dollars is not None and self.rates is None:
            raise ModelError(
                f"the price of {self.model} is unknown, so no budget of dollars can be kept. Tell "
                "it in dollars per million tokens, 0 for a model of your own: "
                "evalbench.llm.register_price(model, prompt=..., completion=...)"
            )
        missing = load_litellm().validate_environment(self.model)["missing_keys"]
        if keys := [name for name in missing if name.endswith("_API_KEY")]:
            raise ModelError(f"{self.model}: no key; set {' and '.join(keys)} in the environment")

    async def answer_all(self, requests: Iterable[Request]) -> None:
        """Ask, and raise what stopped the run."""
        tasks = set[asyncio.Task[None]]()
        try:
            for request in requests:
                await self.free.acquire()
                if self.stopped.is_set():
                    self.spent.exhausted = True
                    break
                tasks.add(task := asyncio.create_task(self.answer(request)))
                task.add_done_callback(tasks.discard)
                await asyncio.sleep(0)  # else all prepare their first call before one is sent
            while tasks:
                await asyncio.wait(tasks)
        finally:  # no new call; what is in flight is paid for, its replies are still handed over
            self.stopped.set()
            while tasks:
                await asyncio.wait(tasks)
        for failure in self.failures:
            raise failure

    async def answer(self, request: Request) -> None:
        """Ask until there is a reply or nothing more to try, and hand it over."""
        load_litellm().utils.is_internal_call.set(True)  # without a record for callbacks
        made, prompt, completion, dollars = request.tries
        try:
            while True:
                reply = await self._ask_within_budget(request)
                made, prompt = made + 1, prompt + reply.prompt_tokens
                completion += reply.completion_tokens
                dollars += reply.cost_usd or 0.0
                most, wanted = (
                    min(self.limits.tries, ATTEMPTS.get(reply.kind, 1)),
                    reply.retry_after,
                )
                if made >= most or (wanted or 0.0) > LONGEST_WAIT:
                    break
                self.on_retry(request, Tries(made, prompt, completion, dollars))
                pause = random.uniform(0, min(LONGEST_PAUSE, 2.0 ** (made - 2)))
                with suppress(TimeoutError):  # but wake when the run stops
                    seconds = pause if wanted is None else 1.05 * wanted
                    await asyncio.wait_for(self.stopped.wait(), seconds)
            cost = None if self.rates is None else dollars
            used: Any = {"prompt_tokens": prompt, "completion_tokens": completion, "cost_usd": cost}
            self.on_reply(request, replace(reply, **used))
        except _Exhausted:
            self.spent.exhausted = True
        except Exception as error:
            self.failures.append(error)
            self.stopped.set()
        finally:
            self.free.release()

    async def _ask_within_budget(self, request: Request) -> Reply:
        """Hold what a call may use, ask, and put what it used in the place of that.

        Where only calls in flight stand in the way, waits for them to come in cheaper.
        """
        characters = sum(len(str(each.get("content"))) for each in request.messages)
        prompt = round(characters * self.tokens_a_character) + 16 * len(request.messages)
        completion, rates = self.limits.reply_tokens, self.rates or (0.0, 0.0)
        used = most = (prompt + completion, prompt * rates[0] + completion * rates[1])
        async with self.settled:
            await self.settled.wait_for(lambda: not self.in_flight or self._fits(*most))
        if self.stopped.is_set() or not self._fits(*most):
            self.stopped.set()
            raise _Exhausted
        self.spent.calls += 1
        self.spent.unpriced += self.rates is None
        call, start = self.spent.calls, time.perf_counter()
        self.in_flight[call] = most
        try:
            reply = await self._ask(request)
            if reply.kind == "time-out":  # its provider may have charged all of it
                reply = replace(reply, cost_usd=most[1])
            else:
                used = reply.prompt_tokens + reply.completion_tokens, reply.cost_usd or 0.0
        finally:
            del self.in_flight[call]
            self.spent.tokens += used[0]
            self.spent.dollars += used[1]
            async with self.settled:
                self.settled.notify_all()
        counted = reply.prompt_tokens / (characters + 64)
        self.tokens_a_character = max(self.tokens_a_character, counted)
        return replace(reply, latency_ms=(time.perf_counter() - start) * 1e3)

    def _fits(self, tokens: int, dollars: float) -> bool:
        limits, spent, held = self.limits, self.spent, self.in_flight.values()
        tokens += spent.tokens + sum(each[0] for each in held)
        dollars += spent.dollars + sum(each[1] for each in held)
        return (
            (limits.calls is None or spent.calls < limits.calls)
            and (limits.tokens is None or tokens <= limits.tokens)
            and (limits.dollars is None or dollars <= limits.dollars)
        )

    async def _ask(self, request: Request) -> Reply:
        """Try once; a ModelError where no other call would fare better."""
        try:
            async with asyncio.timeout(self.limits.timeout_seconds):
                answer = await load_litellm().acompletion(
                    model=self.model,
                    messages=request.messages,
                    max_tokens=self.limits.reply_tokens,
                    max_retries=0,
                    timeout=self.limits.timeout_seconds,
                    response_format=request.schema and _write_form(request.schema),
                )
        except Exception as error:
            return self._read_error(error)
        choice, usage = answer.choices[0], answer.usage
        reply = Reply(
            text=choice.message.content or "",
            fingerprint=getattr(answer, "system_fingerprint", None) or answer.model or self.model,
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            cost_usd=(answer._hidden_params.get("response_cost") or 0.0) if self.rates else 0.0,
        )
        extra = getattr(choice.message, "provider_specific_fields", None) or {}
        refusal = extra.get("refusal") or getattr(choice.message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            return reply.fail("refusal", refusal or "stopped by a content filter")
        if choice.finish_reason == "length":
            return reply.fail("cut off", f"longer than reply_tokens = {self.limits.reply_tokens}")
        return _parse(reply, request.schema)

    def _read_error(self, error: Exception) -> Reply:
        name, reason = type(error).__name__, " ".join(str(error).split())[:300]
        if name in FATAL:
            why = FATAL[name].format(f"{self.model.partition('/')[0].upper()}_API_KEY")
            raise ModelError(f"{self.model}: {why}: {reason}") from error
        status = getattr(error, "status_code", None)
        if name not in FAILURES and status is None and not isinstance(error, OSError):
            raise error
        kind = "bad request" if status is not None and 400 <= status < 500 else "server error"
        if FAILURES.get(name) == "time-out":
            reason = f"over {self.limits.timeout_seconds:g} s"
        told = (getattr(error, "litellm_response_headers", None) or {}).get("retry-after") or ""
        wait = float(told) if told.replace(".", "", 1).isdecimal() else None
        return Reply().fail(FAILURES.get(name, kind), reason or name, wait)


@cache
def _write_form(schema: type[BaseModel]) -> dict[str, Any]:
    """Ask for answers of a form, as providers of OpenAI's interface take it."""
    form = {"name": "answer", "schema": schema.model_json_schema(), "strict": True}
    return {"type": "json_schema", "json_schema": form}


def _parse(reply: Reply, schema: type[BaseModel] | None) -> Reply:
    """Read an answer in the form of its schema; words around the JSON object are let pass."""
    text = reply.text
    if schema is None or not text.strip():
        return reply if text.strip() else reply.fail("empty answer", "no text")
    found = text[max(text.find("{"), 0) : text.rfind("}") + 1 or None]
    try:
        return replace(reply, parsed=schema.model_validate_json(found, strict=True))
    except ValidationError as error:
        fault = error.errors()[0]
        broken = fault["type"] == "json_invalid"
        where = ".".join(map(str, fault["loc"])) or "answer"
        said = f"{fault['msg']}: {text[:200]!r}" if broken else f"{where}: {fault['msg']}"
        return reply.fail("broken JSON" if broken else "schema violated", said[:500])


def complete(
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str,
    schema: type[BaseModel] | None = None,
    limits: Limits = UNLIMITED,
) -> Reply:
    """Ask once and wait; raises as :func:`complete_many`."""
    replies: list[Reply] = []
    how: Any = {"limits": limits, "on_reply": lambda request, reply: replies.append(reply)}
    complete_many([Request("", messages, schema)], model=model, **how)
    if not replies:
        raise ModelError(f"the budget does not reach one call of {model}: {limits}")
    return replies[0]
