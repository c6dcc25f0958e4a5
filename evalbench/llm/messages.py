"""What is asked of a model and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

Schema = Mapping[str, Any] | type[BaseModel] | None
"""The form an answer must have: a JSON schema, a pydantic class, or none."""


class Tries(NamedTuple):
    """Tries of a request that failed so far, and what they used."""

    made: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0


UNTRIED = Tries()


@dataclass(frozen=True)
class Request:
    """One question: ``key`` is the caller's own name for it.

    ``tries`` are those of a run that was killed; they count as this run's.
    """

    key: str
    messages: Sequence[Mapping[str, Any]]
    schema: Schema = None
    tries: Tries = UNTRIED


@dataclass(frozen=True)
class Reply:
    """One answer, or the recorded reason why there is none.

    Attributes
    ----------
    text : str
        The answer as it came; empty where ``error`` is set.
    parsed : dict or None
        The answer in the form of the request's schema; None without a schema or with an error.
    fingerprint : str
        The server's system fingerprint, else the name of the model it says it answered with.
    prompt_tokens, completion_tokens : int
        Of all tries together, as the server counted them.
    cost_usd : float or None
        Of all tries together, dollars; None where the model's price is unknown.
    latency_ms : float
        Of the last try.
    error : str or None
        ``"kind: reason"``; the kinds are those of :data:`evalbench.llm.client.ATTEMPTS`.
    """

    text: str
    parsed: dict[str, Any] | None
    model: str
    fingerprint: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    latency_ms: float
    error: str | None = None
