"""LiteLLM's quickest route, ``aiohttp_openai/``, with its errors whole.

LiteLLM's own session of that route keeps no time-out and turns every refusal into a server error
without headers; given a session, it passes on what this one raises. It also drops the tokens that
the server counted: they are kept here, in the dictionary that the caller put into ``USAGE``.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import aiohttp

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


def open_session() -> aiohttp.ClientSession:
    """Open a session on the running loop; how many calls are in flight is bounded elsewhere."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        raise_for_status=_raise_refused,
        response_class=_Answer,
    )
