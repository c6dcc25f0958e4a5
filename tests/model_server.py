"""An OpenAI-compatible server on loopback that does what a script says, for tests and benchmarks.

python tests/model_server.py PORT SECONDS      every answer takes so long
"""

import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

PASS = '{"fails": false, "rationale": "as asked", "quotes": []}'
INVENTED = '{"fails": true, "rationale": "seen", "quotes": ["words that nobody wrote"]}'
TEXTS = {"broken": '{"fails": tr', "empty": "", "invented": INVENTED, "odd": '{"fails": "?"}'}
PEERS = {
    "inspect_ai": "As asked. GRADE: C",
    "deepeval": '{"reason": "as asked", "score": 10}',
    "ragas": '{"reason": "as asked", "verdict": 0}',
}
"""What peers of the benchmark want to read; their paths begin with the name."""
STATUS = {"rate limit": 429, "error": 500, "key": 401, "long": 400, "missing": 404}


class Call(NamedTuple):
    at: float
    key: str
    behaviour: str
    body: dict


def answer(body, text=PASS, *, refusal=None, finish="stop", fingerprint="fp_1"):
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "system_fingerprint": fingerprint,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


class ModelServer:
    """Serves in a thread. ``script(key, attempt)`` names a behaviour for each call.

    A key is the first ``item-N`` in the messages; attempts count from 1 for each key.
    """

    def __init__(
        self,
        script: Callable[[str, int], str] = lambda key, attempt: "answer",
        *,
        seconds: float = 0.0,
        retry_after: str = "0.2",
        reply: Callable[[dict], str] = lambda body: PASS,
        fingerprint: str | None = "fp_1",
    ):
        self.script, self.seconds, self.reply = script, seconds, reply
        self.retry_after, self.fingerprint = retry_after, fingerprint
        self.calls: list[Call] = []
        self.attempts: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0

    async def handle(self, request):
        body = await request.json()
        found = re.search(r"item-\d+", json.dumps(body["messages"]))
        key = found[0] if found else ""
        self.attempts[key] += 1
        behaviour = self.script(key, self.attempts[key])
        self.calls.append(Call(time.monotonic(), key, behaviour, body))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(60 if behaviour == "hang" else self.seconds)
        finally:
            self.in_flight -= 1
        if behaviour in STATUS:
            told = {"message": f"scripted {behaviour}"}
            if behaviour == "long":
                told |= {"code": "context_length_exceeded"}
                told["message"] = "This model's maximum context length is 10 tokens."
            headers = {"Retry-After": self.retry_after} if behaviour == "rate limit" else {}
            return web.json_response({"error": told}, status=STATUS[behaviour], headers=headers)
        if behaviour == "refusal":
            return web.json_response(answer(body, None, refusal="I can't help with that."))
        if behaviour == "cut off":
            return web.json_response(answer(body, '{"fails"', finish="length"))
        text = TEXTS.get(behaviour) if behaviour in TEXTS else self.reply(body)
        return web.json_response(answer(body, text, fingerprint=self.fingerprint))

    async def embed(self, request):
        rows = [[float(len(text)), 1.0] for text in (await request.json())["input"]]
        data = [{"object": "embedding", "index": i, "embedding": r} for i, r in enumerate(rows)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response({"object": "list", "data": data, "model": "e", "usage": usage})

    def app(self):
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        app.router.add_post("/v1/embeddings", self.embed)
        return app

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        self.loop.run_until_complete(self.runner.setup())
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


def serve(port: int, seconds: float) -> None:
    """Answer always the same, for a small part of what a client's call costs.

    What a path begins with says whose form the answer has: the server is to be the last thing that
    a measurement waits for, so it reads no more than the length of what it is asked.
    """
    said = {name: complete_response(text) for name, text in {"v1": PASS, **PEERS}.items()}

    class Answering(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.received, self.wanted = transport, bytearray(), None

        def data_received(self, data):
            self.received += data
            while True:
                if self.wanted is None:
                    end = self.received.find(b"\r\n\r\n")
                    if end < 0:
                        return
                    head = bytes(self.received[:end]).lower()
                    length = re.search(rb"content-length: *(\d+)", head)
                    self.wanted = end + 4 + (int(length[1]) if length else 0)
                    self.answer = said[head.split(b"/", 2)[1].decode()]
                if len(self.received) < self.wanted:
                    return
                del self.received[: self.wanted]
                self.wanted = None
                loop.call_later(seconds, self.transport.write, self.answer)

    async def run():
        await (await loop.create_server(Answering, "127.0.0.1", port, backlog=1024)).serve_forever()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(run())


def complete_response(text: str) -> bytes:
    body = json.dumps(answer({"model": "judge-1"}, text)).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
