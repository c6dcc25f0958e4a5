"""How fast verdicts come from a model, beside bare loops over the same server.

    python benchmarks/judge.py

2,000 calls at concurrency 64 against a local OpenAI-compatible server that takes 50 ms (a process
of its own). Every measurement is a process of its own, warmed by 64 calls before the clock starts;
the rounds go through all of them in turn, and medians are shown. All send the same request; the
bare loops do no more than send and receive. Of two worker processes each has a concurrency of 64,
for 64 in all would hold them to the ideal of one. Exit status 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from claims import claim, show

SERVER = Path(__file__).parents[1] / "tests/model_server.py"
LATENCY, CONCURRENCY = 0.05, 64
QUICKEST = "aiohttp_openai/judge-1"
DEFAULT = "openai/judge-1"
FORM = {
    "type": "object",
    "properties": {"fails": {"type": "boolean"}, "rationale": {"type": "string"}},
    "required": ["fails", "rationale"],
}
MESSAGES = [
    {"role": "system", "content": "Does the assistant invent a tracking number? " * 20},
    {"role": "user", "content": "<trace-1>\n" + "Where is my parcel? " * 200 + "\n</trace-1>"},
]
BODY = {
    "messages": MESSAGES,
    "max_tokens": 1024,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": FORM, "strict": True},
    },
}


def prepare_aiohttp(limits):
    import aiohttp

    async def ask_all(n):
        url = os.environ["OPENAI_API_BASE"] + "/chat/completions"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask():
                async with session.post(url, json={"model": "judge-1", **BODY}) as answer:
                    await answer.json()

            await ask_bounded(ask, n)

    return ask_all


def prepare_bare(model):
    def prepare(limits):
        import litellm

        price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        cached = {
            "cache_creation_input_token_cost": 1e-6,
            "cache_read_input_token_cost": 1e-6,
        }
        about = {"litellm_provider": model.split("/")[0], "mode": "chat"}
        litellm.register_model({model: price | cached | about})

        async def ask():
            await litellm.acompletion(model=model, max_retries=0, timeout=60, **BODY)

        return lambda n: ask_bounded(ask, n)

    return prepare


async def ask_bounded(ask, n):
    free = asyncio.Semaphore(CONCURRENCY)

    async def one():
        async with free:
            await ask()

    await asyncio.gather(*(one() for _ in range(n)))


def prepare_ours(limits):
    from evalbench import llm

    llm.register_price(QUICKEST, prompt=1, completion=1)

    async def ask_all(n):
        replies = []
        requests = (llm.Request(str(i), MESSAGES, FORM) for i in range(n))
        await llm.complete_many(
            requests,
            model=QUICKEST,
            limits=limits,
            on_reply=lambda request, reply: replies.append(reply.parsed["fails"]),
        )
        assert len(replies) == n

    return ask_all


METHODS = {
    "bare aiohttp": prepare_aiohttp,
    "bare LiteLLM, default route": prepare_bare(DEFAULT),
    "bare LiteLLM, quickest route": prepare_bare(QUICKEST),
    "evalbench": prepare_ours,
}


def work(method, n, worker, workers):
    """Warm up, wait for the word, ask; in a process of its own."""
    from evalbench.llm import Limits

    limits = Limits(concurrency=CONCURRENCY * workers, dollars=100.0).share(workers)[worker]
    ask_all = METHODS[method](limits)

    async def run():
        await ask_all(CONCURRENCY)
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.process_time()
        await ask_all(n // workers)
        print(time.process_time() - start, flush=True)

    asyncio.run(run())


def measure(method, n, url, workers=1):
    """Give the seconds from the word to the last answer, and the processor's of all workers."""
    environment = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "OPENAI_API_BASE": url,
        "OPENAI_API_KEY": "none",
    }
    command = [sys.executable, __file__, "--calls", str(n), "--work", method]
    processes = [
        subprocess.Popen(
            [*command, str(worker), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for worker in range(workers)
    ]
    for process in processes:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{method} did not start")
    start = time.perf_counter()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    used = sum(float(process.stdout.readline()) for process in processes)
    seconds = time.perf_counter() - start
    for process in processes:
        process.communicate()
    return seconds, used


def measure_all(n, rounds, url):
    runs = {name: (name, 1) for name in METHODS} | {"evalbench, 2 processes": ("evalbench", 2)}
    found = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (method, workers) in runs.items():
            found[name].append(measure(method, n, url, workers))
    ideal = n / CONCURRENCY * LATENCY
    middle = {}
    for name, pairs in found.items():
        middle[name] = statistics.median(seconds for seconds, _ in pairs)
        show(f"seconds, {n:,} calls (ideal {ideal:.2f})", middle[name], name)
        used = statistics.median(used for _, used in pairs)
        show("milliseconds of processor a call", used / n * 1e3, name)
    ours = middle["evalbench"]
    quickest = middle["bare LiteLLM, quickest route"]
    two = middle["evalbench, 2 processes"]
    yield claim("times the bare loop, quickest route", ours / quickest, 1.15, f"{quickest:.2f} s")
    yield claim("faster with 2 processes", ours / two, 1.7, f"{ours:.2f} s", at_most=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        method, worker, workers = arguments.work
        work(method, arguments.calls, int(worker), int(workers))
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, SERVER, str(port), str(LATENCY)])
    try:
        url = f"http://127.0.0.1:{port}/v1"
        held = list(measure_all(arguments.calls, arguments.rounds, url))
    finally:
        server.terminate()
        server.wait()
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
