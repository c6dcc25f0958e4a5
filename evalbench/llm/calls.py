"""Many calls at once, each to exactly one reply, within the limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from threading import Thread
from typing import Any, TypeVar

import numpy as np

from evalbench.errors import ModelError
from evalbench.llm.budget import Budget, Estimate, Limits, Spent
from evalbench.llm.client import AT_ONCE, ATTEMPTS, LONGEST_WAIT, Client, Outcome, load_litellm
from evalbench.llm.messages import Reply, Request, Schema, Tries

OnReply = Callable[[Request, Reply], Awaitable[None] | None]
OnRetry = Callable[[Request, Tries], None]
Result = TypeVar("Result")
BATCH = 256


async def complete_many(
    requests: Iterable[Request],
    *,
    model: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_reply: OnReply,
    on_retry: OnRetry | None = None,
    progress: Callable[[Spent], None] | None = None,
) -> Spent:
    """Ask every request; each ends with exactly one reply or is left when the budget is spent.

    Rate limits, server errors and time-outs are tried again, after the time that the server asks
    for or a jittered doubling pause; broken or empty answers once or twice. What then still fails
    is a reply with an ``error``.

    Parameters
    ----------
    requests : iterable of Request
        Read one by one as calls come free, so a generator keeps memory flat.
    limits : Limits
        For two processes give each its part, ``limits.share(2)``.
    on_reply : callable of (Request, Reply)
        Called, and awaited where it is async, as soon as each reply is there: the place to store
        it. What it raises ends the run.
    on_retry : callable of (Request, Tries), optional
        Called before a request is tried again; a later run may go on from there.
    progress : callable of Spent, optional
        Called after each reply with the sums so far.

    Raises
    ------
    ModelError
        The key is missing or refused, there is no such model, or a dollar budget meets an unknown
        price. Replies handed over before stay.
    """
    async with Client(model, limits) as client:
        run = _Run(client, limits, on_reply, on_retry, progress)
        return await run.complete(iter(requests))


class _Run:
    def __init__(
        self,
        client: Client,
        limits: Limits,
        on_reply: OnReply,
        on_retry: OnRetry | None,
        progress: Callable[[Spent], None] | None,
    ) -> None:
        self.client = client
        self.budget = Budget(limits)
        self.limits, self.progress = limits, progress
        self.on_reply, self.on_retry = on_reply, on_retry
        self.replies = self.errors = 0
        self.left: list[str] = []
        self.next_start = 0.0
        self.stopped = asyncio.Event()

    def spent(self) -> Spent:
        budget = self.budget
        dollars = budget.dollars if self.client.price else None
        return Spent(self.replies, self.errors, budget.calls, budget.tokens, dollars)

    async def complete(self, source: Iterable[Request]) -> Spent:
        workers = []
        try:
            for _ in range(self.limits.concurrency):
                workers.append(asyncio.create_task(self._work(source)))
                await asyncio.sleep(0)  # else all prepare their first call before one is sent
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:  # no new call; what is in flight is paid for, its replies are still handed over
            self.budget.close()
            self.stopped.set()
            failures = await asyncio.gather(*workers, return_exceptions=True)
        for failure in filter(None, failures):
            raise failure
        return replace(self.spent(), left=(*self.left, *(request.key for request in source)))

    async def _work(self, source: Iterable[Request]) -> None:
        self.client.keep_quiet()
        for request in source:
            reply = await self._answer(request)
            if reply is None:
                self.left.append(request.key)
                return
            self.replies += 1
            self.errors += reply.error is not None
            waiting = self.on_reply(request, reply)
            if waiting is not None:
                await waiting
            if self.progress:
                self.progress(self.spent())

    async def _answer(self, request: Request) -> Reply | None:
        """Give None where the budget does not reach a reply."""
        attempt, prompt, completion, dollars = request.tries
        while True:
            attempt += 1
            estimate = self.client.estimate(request)
            call = await self.budget.admit(estimate)
            if call is None:
                return None
            used = estimate  # where no count comes back, a provider may have charged all of it
            try:
                await self._pace()
                start = time.perf_counter()
                outcome = await self.client.ask(request)
                milliseconds = (time.perf_counter() - start) * 1e3
                if outcome.kind != "time-out":
                    tokens = outcome.prompt_tokens + outcome.completion_tokens
                    used = Estimate(tokens, outcome.dollars)
            finally:
                self.budget.settle(call, used)
            prompt += outcome.prompt_tokens
            completion += outcome.completion_tokens
            dollars += used.dollars
            if outcome.kind and attempt < min(self.limits.tries, ATTEMPTS[outcome.kind]):
                if (outcome.retry_after or 0.0) <= LONGEST_WAIT:
                    if self.on_retry:
                        self.on_retry(request, Tries(attempt, prompt, completion, dollars))
                    await self._sleep(_pause(outcome, attempt))
                    continue
            return Reply(
                text=outcome.text,
                parsed=outcome.parsed,
                model=self.client.model,
                fingerprint=outcome.fingerprint,
                prompt_tokens=prompt,
                completion_tokens=completion,
                cost_usd=dollars if self.client.price else None,
                latency_ms=milliseconds,
                error=f"{outcome.kind}: {outcome.reason}" if outcome.kind else None,
            )

    async def _pace(self) -> None:
        if self.limits.requests_per_minute is not None:
            now = time.monotonic()
            start = max(now, self.next_start)
            self.next_start = start + 60 / self.limits.requests_per_minute
            await self._sleep(start - now)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but wake when the run stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)


def _pause(outcome: Outcome, attempt: int) -> float:
    """Seconds before the next try: what the server asks for and a little, else a jittered pause."""
    if outcome.retry_after is not None:
        return outcome.retry_after * random.uniform(1, 1.1)
    if outcome.kind in ("rate limit", "server error", "time-out"):
        return min(30.0, 0.25 * 2**attempt) * random.uniform(0.5, 1)
    return 0.0


def complete(
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str,
    schema: Schema = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Reply:
    """Ask once and wait; works inside a notebook, whose event loop is already running.

    Raises
    ------
    ModelError
        As :func:`complete_many`, and where the budget does not reach this one call.
    """
    replies: list[Reply] = []
    asking = complete_many(
        [Request("", messages, schema)],
        model=model,
        limits=replace(limits, concurrency=1),
        on_reply=lambda request, reply: replies.append(reply),
    )
    run(asking)
    if not replies:
        raise ModelError(f"the budget does not reach one call of {model}: {limits}")
    return replies[0]


def run(asking: Coroutine[Any, Any, Result]) -> Result:
    """Wait for a coroutine on the one event loop of this process that talks to models.

    Connections belong to an event loop; on this one they stay open from call to call. Works inside
    a notebook, whose own loop is already running. What the coroutine calls back runs in a thread.
    """
    future = asyncio.run_coroutine_threadsafe(asking, _loop(os.getpid()))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class _Loop(asyncio.SelectorEventLoop):
    """Does at once what is over sooner than it could be handed to a thread.

    Its future is done when it is awaited, so that a task goes from one answer to its next call
    without a turn of the loop: else all tasks prepare first and send together, and wait together.
    """

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        if not (AT_ONCE.get() and isinstance(func, partial)):
            return super().run_in_executor(executor, func, *args)
        done = self.create_future()
        done.set_result(func(*args))
        return done


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    loop = _Loop()
    Thread(target=loop.run_forever, name="evalbench-llm", daemon=True).start()
    return loop


def forecast(requests: Iterable[Request], *, model: str, limits: Limits = Limits()) -> Spent:  # noqa: B008
    """Say before a run what it would use at most, were every call to succeed at once."""
    client = Client(model, limits)
    estimates = [client.estimate(request) for request in requests]
    tokens = sum(each.tokens for each in estimates)
    dollars = sum(each.dollars for each in estimates) if client.price else None
    return Spent(calls=len(estimates), tokens=tokens, dollars=dollars)


def embed(texts: Sequence[str], *, model: str) -> np.ndarray:
    """Embed texts, in batches of 256.

    Returns
    -------
    ndarray of float32, shape (len(texts), dimensions)

    Raises
    ------
    ModelError
        The provider refused or could not be reached after three tries.
    """
    litellm = load_litellm()
    rows: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        try:
            answer = litellm.embedding(model=model, input=batch, max_retries=2)
        except Exception as error:
            raise ModelError(f"{model}: no embeddings: {error}") from error
        rows += [row["embedding"] for row in answer.data]
    return np.array(rows, dtype=np.float32)
