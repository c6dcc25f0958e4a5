"""LiteLLM's quickest route, ``aiohttp_openai/``, with its errors whole.

LiteLLM's own session of that route keeps no time-out and turns every refusal into a server error
without headers; given a session, it passes on what this one raises. It also drops the tokens that
the server counted: they are kept here, in the dictionary that the caller put into ``USAGE``; a
price that LiteLLM works out without them would be wrong, and is not asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import aiohttp
import orjson

USAGE: ContextVar[dict[str, int]] = ContextVar("USAGE")


class _Answer(aiohttp.ClientResponse):
    async def json(self, **options: Any) -> Any:
        answer = await super().json(**options)
        usage = answer.get("usage") if isinstance(answer, dict) else None
        USAGE.get().update(usage or {})
        return answer


class RefusedCall(Exception):
    """An answer with an error status, with the attributes that LiteLLM reads off an error."""

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        super().__init__(text)
        self.status_code, self.headers, self.text = status, headers, text


async def _raise_refused(response: aiohttp.ClientResponse) -> None:
    if not response.ok:
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise RefusedCall(response.status, headers, await response.text())


def _write_json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, which JSON may hold and UTF-8 may not
        return json.dumps(value)


def open_session() -> aiohttp.ClientSession:
    """Open a session on the running loop; how many calls are in flight is bounded elsewhere."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        raise_for_status=_raise_refused,
        response_class=_Answer,
        json_serialize=_write_json,
    )


def make_log(model: str) -> Callable[[Sequence[Any]], Any]:
    """Give what makes LiteLLM's record of a call, one that works out no price."""
    from litellm.litellm_core_utils.litellm_logging import Logging

    class Unpriced(Logging):
        def response_cost_calculator(self, *args: Any, **options: Any) -> None:
            return None

    def log(messages: Sequence[Any]) -> Unpriced:
        start = datetime.now()  # noqa: DTZ005 - as LiteLLM has it
        return Unpriced(model, messages, False, "acompletion", start, "", "")

    return log
