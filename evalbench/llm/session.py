"""LiteLLM's quickest route, ``aiohttp_openai/``, with its errors whole.

LiteLLM's own session of that route keeps no time-out and turns every refusal into a server error
without headers; given a session, it passes on what this one raises.
"""

from __future__ import annotations

import aiohttp


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
        connector=aiohttp.TCPConnector(limit=0), raise_for_status=_raise_refused
    )
