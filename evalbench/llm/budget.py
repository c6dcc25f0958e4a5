"""What a run of calls may spend, what it has spent, and whether the next call still fits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Limits:
    """Bounds of a run of calls; None is no bound.

    Attributes
    ----------
    concurrency : int
        Calls in flight at once.
    calls, tokens, dollars : int, int, float or None
        The budget. Every try is a call, prompt and completion tokens count alike. A call is
        sent only where its estimate fits into what is left.
    requests_per_minute : float or None
        Calls are spaced evenly to keep to it.
    timeout_seconds : float
        Of one try.
    tries : int
        Of one request, the first included.
    reply_tokens : int
        Longest answer, told to the model; an estimate assumes that it is used up.
    """

    concurrency: int = 16
    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    requests_per_minute: float | None = None
    timeout_seconds: float = 60
    tries: int = 4
    reply_tokens: int = 1024

    def __post_init__(self) -> None:
        for name, least in {"concurrency": 1, "tries": 1, "reply_tokens": 1, "calls": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("timeout_seconds", "requests_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    def less(self, used: Spent) -> Limits:
        """Give what is left of the budget once ``used`` is spent."""
        left = {
            name: max(total - (getattr(used, name) or 0), 0)
            for name in ("calls", "tokens", "dollars")
            if (total := getattr(self, name)) is not None
        }
        return replace(self, **left)

    def share(self, workers: int) -> list[Limits]:
        """Split over ``workers`` processes; whole numbers add up to these limits."""

        def part(total: int | None, worker: int) -> int | None:
            return None if total is None else total // workers + (worker < total % workers)

        pace, dollars = self.requests_per_minute, self.dollars
        return [
            replace(
                self,
                concurrency=max(1, part(self.concurrency, worker) or 1),
                calls=part(self.calls, worker),
                tokens=part(self.tokens, worker),
                dollars=None if dollars is None else dollars / workers,
                requests_per_minute=None if pace is None else pace / workers,
            )
            for worker in range(workers)
        ]


@dataclass(frozen=True)
class Spent:
    """What a run has used so far.

    ``dollars`` is None where the model's price is unknown; ``left`` are the keys of requests that
    the budget did not reach, and that have no reply.
    """

    replies: int = 0
    errors: int = 0
    calls: int = 0
    tokens: int = 0
    dollars: float | None = 0.0
    left: tuple[str, ...] = ()


class Estimate(NamedTuple):
    """Upper guess of one call, or what it used."""

    tokens: int
    dollars: float


@dataclass
class Budget:
    """The account of one run, on one event loop."""

    limits: Limits
    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    closed: bool = False
    _held: dict[int, Estimate] = field(default_factory=dict)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    def _fits(self, wanted: Estimate) -> bool:
        limits, held = self.limits, self._held.values()
        return (
            (limits.calls is None or self.calls < limits.calls)
            and (
                limits.tokens is None
                or self.tokens + sum(each.tokens for each in held) + wanted.tokens <= limits.tokens
            )
            and (
                limits.dollars is None
                or self.dollars + sum(each.dollars for each in held) + wanted.dollars
                <= limits.dollars
            )
        )

    async def admit(self, wanted: Estimate) -> int | None:
        """Hold what the next call may use, and number it; None once the budget is spent.

        Where only calls in flight stand in the way, waits for them to come in cheaper.
        """
        while not self.closed and not self._fits(wanted):
            if not self._held:
                self.close()
            else:
                self._settled.clear()
                await self._settled.wait()
        if self.closed:
            return None
        self.calls += 1
        self._held[self.calls] = wanted
        return self.calls

    def close(self) -> None:
        """Admit no more calls; who waits for one is told so."""
        self.closed = True
        self._settled.set()

    def settle(self, call: int, used: Estimate) -> None:
        """Put what a call used in place of its estimate."""
        del self._held[call]
        self.tokens += used.tokens
        self.dollars += used.dollars
        self._settled.set()
