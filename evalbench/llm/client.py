"""One call to LiteLLM, and what its answer or its error means."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from evalbench.errors import ModelError
from evalbench.llm.budget import Estimate, Limits
from evalbench.llm.messages import Request, Schema

ATTEMPTS = {
    "rate limit": 1_000,
    "server error": 1_000,
    "time-out": 1_000,
    "broken JSON": 3,
    "schema violated": 3,
    "empty answer": 2,
    "cut off": 1,
    "refusal": 1,
    "context too long": 1,
    "bad request": 1,
}
"""How often each kind of failure is tried at most; ``Limits.tries`` may be fewer."""

TOKENS_A_CHARACTER = 0.35
"""First guess, above English prose (about 0.25) and JSON; raised by what the server counts."""

LONGEST_WAIT = 120.0
"""Seconds of Retry-After that a request waits for; a server that asks for more gets no retry."""

PRICES: dict[str, dict[str, float]] = {}
"""What :func:`register_price` was told, to be told again in worker processes."""

AT_ONCE: ContextVar[bool] = ContextVar("AT_ONCE", default=False)
"""Whether LiteLLM may prepare this task's calls on the event loop. It does so in a thread, for some
routes look for credentials meanwhile; where none does, threads only take turns at the interpreter.
"""

GRACE = 1.0
"""Seconds over its time-out after which a call is given up; none where LiteLLM has no time-out."""


class Outcome(NamedTuple):
    """What one try came to."""

    text: str = ""
    parsed: dict[str, Any] | None = None
    fingerprint: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    kind: str = ""
    reason: str = ""
    retry_after: float | None = None


@cache
def load_litellm() -> ModuleType:
    """Import LiteLLM with its local price table, without telemetry, ``.env`` or callbacks."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    from evalbench.llm.offline import offline_stand_in

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # a model without structured output is held to the schema by us
    litellm.custom_provider_map = [
        {"provider": "offline", "custom_handler": offline_stand_in(litellm)}
    ]
    gc.freeze()  # else every full collection walks all of LiteLLM: a tenth of a run's time
    return litellm


def register_price(model: str, *, prompt: float, completion: float) -> None:
    """Tell the price of a model that LiteLLM's table lacks, in dollars per million tokens."""
    litellm = load_litellm()
    PRICES[model] = {"prompt": prompt, "completion": completion}
    prices = {"input_cost_per_token": prompt / 1e6, "output_cost_per_token": completion / 1e6}
    provider = litellm.get_llm_provider(model)[1]
    cached = {  # else LiteLLM warns that they are missing
        "cache_creation_input_token_cost": prompt / 1e6,
        "cache_read_input_token_cost": prompt / 1e6,
    }
    about = {"litellm_provider": provider, "mode": "chat"}
    litellm.register_model({model: {**prices, **cached, **about}})


def find_price(model: str) -> Callable[[int, int], float] | None:
    """Give the function of (prompt, completion) tokens to dollars; None for an unknown price."""
    if model.startswith("offline/"):
        return lambda prompt, completion: 0.0
    litellm = load_litellm()
    try:
        each = litellm.cost_per_token(model=model, prompt_tokens=1, completion_tokens=1)
    except Exception:  # LiteLLM raises bare exceptions for a model it does not know
        return None
    return lambda prompt, completion: prompt * each[0] + completion * each[1]


def find_window(model: str) -> int | None:
    """Give the tokens that a model reads at most; None where LiteLLM's table does not say."""
    try:
        return load_litellm().get_model_info(model).get("max_input_tokens")
    except Exception:  # LiteLLM raises bare exceptions for a model it does not know
        return None


class Client:
    """Asks one model, one try at a time."""

    def __init__(self, model: str, limits: Limits) -> None:
        self.litellm = load_litellm()
        self.model = model
        self.limits = limits
        self.price = find_price(model)
        if limits.dollars is not None and self.price is None:
            raise ModelError(
                f"a budget of ${limits.dollars:g} cannot be kept: the price of {model} is unknown. "
                "Tell it with evalbench.llm.register_price(model, prompt=..., completion=...), in "
                "dollars per million tokens (0 for a model of your own), or bound calls or tokens"
            )
        if missing := self._missing_keys():
            raise ModelError(f"{model}: no key; set {missing} in the environment")
        self._ratio = TOKENS_A_CHARACTER
        self._session: Any = None
        self._log: Any = None
        self._forms: dict[int, tuple[Schema, dict[str, Any]]] = {}

    async def __aenter__(self) -> Client:
        if self.model.startswith("aiohttp_openai/"):
            from evalbench.llm.session import make_log, open_session

            self._session, self._log = open_session(), make_log(self.model)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    def estimate(self, request: Request) -> Estimate:
        """Guess from above what one try uses."""
        prompt = round(_characters(request) * self._ratio) + 16 * len(request.messages)
        return self._used(prompt, self.limits.reply_tokens)

    def _used(self, prompt: int, completion: int) -> Estimate:
        return Estimate(prompt + completion, self.price(prompt, completion) if self.price else 0.0)

    def keep_quiet(self) -> None:
        """Mark this task's calls as LiteLLM's internal ones: without a record for callbacks."""
        from litellm.utils import is_internal_call

        is_internal_call.set(True)
        AT_ONCE.set(self._session is not None)

    async def ask(self, request: Request) -> Outcome:
        """Try once.

        Raises
        ------
        ModelError
            The key is missing or refused, or there is no such model: no other call would fare
            better.
        """
        options = {} if request.schema is None else {"response_format": self._form(request.schema)}
        usage: dict[str, int] = {}
        grace = GRACE
        if self._session is not None:
            from evalbench.llm.session import USAGE

            options |= {"client": self._session, "litellm_logging_obj": self._log(request.messages)}
            USAGE.set(usage)
            grace = 0.0
        try:
            async with asyncio.timeout(self.limits.timeout_seconds + grace):
                answer = await self.litellm.acompletion(
                    model=self.model,
                    messages=request.messages,
                    max_tokens=self.limits.reply_tokens,
                    max_retries=0,
                    timeout=self.limits.timeout_seconds,
                    **options,
                )
        except Exception as error:
            return self._failed(error)
        if usage:
            answer.usage = self.litellm.Usage(**usage)
        return self._read(answer, request)

    def _form(self, schema: Mapping[str, Any] | type[BaseModel]) -> dict[str, Any]:
        """Say the schema as OpenAI's ``response_format``, worked out once for each schema."""
        if id(schema) not in self._forms:
            if isinstance(schema, Mapping):
                inner = {"name": "answer", "schema": dict(schema), "strict": True}
                form = {"type": "json_schema", "json_schema": inner}
            else:
                form = self.litellm.utils.type_to_response_format_param(schema)
            self._forms[id(schema)] = schema, form
        return self._forms[id(schema)][1]

    def _read(self, answer: Any, request: Request) -> Outcome:
        choice, usage = answer.choices[0], answer.usage
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        self._ratio = max(self._ratio, prompt / (_characters(request) + 64))
        dollars = answer._hidden_params.get("response_cost") if self.price else None
        outcome = Outcome(
            fingerprint=getattr(answer, "system_fingerprint", None) or answer.model or self.model,
            prompt_tokens=prompt,
            completion_tokens=completion,
            dollars=self._used(prompt, completion).dollars if dollars is None else dollars,
        )
        text = choice.message.content or ""
        extra = getattr(choice.message, "provider_specific_fields", None) or {}
        refusal = extra.get("refusal") or getattr(choice.message, "refusal", None)
        if refusal or choice.finish_reason == "content_filter":
            return outcome._replace(kind="refusal", reason=refusal or "stopped by a content filter")
        if choice.finish_reason == "length":
            reason = f"longer than reply_tokens = {self.limits.reply_tokens}"
            return outcome._replace(kind="cut off", reason=reason)
        if not text.strip():
            return outcome._replace(kind="empty answer", reason="no text")
        if request.schema is None:
            return outcome._replace(text=text)
        try:
            return outcome._replace(text=text, parsed=parse(text, request.schema))
        except orjson.JSONDecodeError as error:
            return outcome._replace(kind="broken JSON", reason=f"{error}: {text[:200]!r}")
        except ValueError as error:
            return outcome._replace(kind="schema violated", reason=str(error)[:500])

    def _failed(self, error: Exception) -> Outcome:
        from litellm.litellm_core_utils import exception_mapping_utils

        known, reason = self.litellm.exceptions, _reason(error)
        match error:
            case TimeoutError() | known.Timeout():
                return Outcome(kind="time-out", reason=f"over {self.limits.timeout_seconds:g} s")
            case known.AuthenticationError() | known.PermissionDeniedError():
                provider = self.litellm.get_llm_provider(self.model)[1].removeprefix("aiohttp_")
                raise ModelError(
                    f"{self.model}: key refused; set {provider.upper()}_API_KEY: {reason}"
                ) from error
            case known.NotFoundError():
                raise ModelError(f"{self.model}: no such model: {reason}") from error
            case known.RateLimitError():
                return Outcome(kind="rate limit", reason=reason, retry_after=_retry_after(error))
            case known.ContextWindowExceededError():
                return Outcome(kind="context too long", reason=reason)
            case known.ContentPolicyViolationError():
                return Outcome(kind="refusal", reason=reason)
            case known.LiteLLMUnknownProvider():
                raise ModelError(f"{self.model}: no provider of that name") from error
        if exception_mapping_utils.ExceptionCheckers.is_error_str_context_window_exceeded(reason):
            return Outcome(kind="context too long", reason=reason)  # some routes do not tell apart
        status = getattr(error, "status_code", None)
        if status is None and not isinstance(error, known.APIError | OSError):
            raise error
        kind = "bad request" if status is not None and 400 <= status < 500 else "server error"
        return Outcome(kind=kind, reason=reason, retry_after=_retry_after(error))

    def _missing_keys(self) -> str:
        """Name the key variables that are not set; other ways to sign in are not looked into."""
        wanted = self.litellm.validate_environment(self.model)["missing_keys"]
        return " and ".join(name for name in wanted if name.endswith("_API_KEY"))


def parse(text: str, schema: Mapping[str, Any] | type[BaseModel]) -> dict[str, Any]:
    """Read an answer in the form of its schema; words around the JSON object are let pass.

    Raises
    ------
    orjson.JSONDecodeError
        There is no JSON object in it.
    ValueError
        It is not as the schema says; the message names where.
    """
    found = orjson.loads(text[max(text.find("{"), 0) : text.rfind("}") + 1 or None])
    if isinstance(schema, Mapping):
        from jsonschema import Draft202012Validator

        for error in Draft202012Validator(schema).iter_errors(found):
            raise ValueError(f"{'.'.join(map(str, error.path)) or 'answer'}: {error.message}")
        return found
    try:
        return schema.model_validate(found).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        raise ValueError(f"{where}: {first['msg']}") from error


def _characters(request: Request) -> int:
    return sum(
        len(content if isinstance(content := message.get("content"), str) else str(content))
        for message in request.messages
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _retry_after(error: Exception) -> float | None:
    """Seconds the server asks to wait, given as a number or as a date."""
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    told = headers.get("retry-after")
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None
