"""How fast verdicts come from a model, beside bare loops over the same server.

    python benchmarks/judge.py

2,000 sessions at concurrency 64 against a local OpenAI-compatible server that takes 50 ms (a
process of its own). Ours goes the whole way: sessions out of the lake, the prompt, the call, quotes
looked up, verdicts in the lake. The bare loops send one such prompt again and again, and receive.
Every measurement is a process of its own, warmed by 64 calls before the clock starts; the rounds go
through all of them in turn, and medians are shown. Two worker processes have a concurrency of 128
together, for 64 would hold them to the ideal of one. Memory is the highest that a process had, for
2,000 sessions and for five times as many. Exit status 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from claims import claim, show

SERVER = Path(__file__).parents[1] / "tests/model_server.py"
LATENCY, CONCURRENCY = 0.05, 64
QUICKEST = "aiohttp_openai/judge-1"
DEFAULT = "openai/judge-1"
BARE = "bare LiteLLM, quickest route"


def make_specification():
    from evalbench.evaluate.spec import Specification

    return Specification(
        surface="support",
        mode="invented_tracking_number",
        kind="judge",
        owner="benchmark",
        prompt="The assistant gives a tracking number that no tool returned. " * 5,
        model=QUICKEST,
    )


def fill_lake(ws, n):
    """Put n sessions into the lake, each of an agent, a tool call and a model call."""
    from evalbench.observe.sessions import session_signals
    from evalbench.schema import SPAN

    for start in range(0, n, 2_000):
        rows = [
            {"surface": "support", "session_id": f"session-{i}", "trace_id": f"t-{i}"} | span
            for i in range(start, min(start + 2_000, n))
            for span in make_spans(i)
        ]
        spans = pl.DataFrame([{name: row.get(name) for name in SPAN} for row in rows], SPAN)
        ws.lake.append("span", spans)
        ws.lake.append("session", session_signals(spans))


def make_spans(i):
    question = f"Where is my parcel {i}? " + "It should be here by now. " * 60
    answer = f"Your parcel {i} left the depot. " + "It will be with you soon. " * 60
    found = json.dumps({"parcel": i, "state": "on its way"})
    yield {"span_id": "a", "kind": "agent", "input": question, "output": answer}
    yield {
        "span_id": "b",
        "parent_id": "a",
        "kind": "tool",
        "tool_name": "find_parcel",
        "tool_arguments": json.dumps({"number": i}),
        "tool_result": found,
    }
    yield {"span_id": "c", "parent_id": "a", "kind": "llm", "input": question, "output": answer}


def make_body(ws):
    """Give one of our requests, for the bare loops to send."""
    from evalbench.evaluate.judge import VERDICT_FORM, make_judge
    from evalbench.evaluate.part import open_session, read_sessions

    [[stored]] = read_sessions(ws.lake, "support", ["session-0"])
    judge = make_judge(make_specification(), sessions={})
    request, _ = judge.ask(open_session("support", stored))
    schema = {"name": "answer", "schema": VERDICT_FORM, "strict": True}
    return {
        "messages": request.messages,
        "max_tokens": 1024,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def prepare_aiohttp(body, runner, _):
    import aiohttp

    async def ask_all(n):
        url = os.environ["OPENAI_API_BASE"] + "/chat/completions"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask():
                async with session.post(url, json={"model": "judge-1", **body}) as answer:
                    await answer.json()

            await ask_bounded(ask, n)

    return lambda n: runner.run(ask_all(n))


def prepare_bare(model):
    def prepare(body, runner, _):
        import litellm

        price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        cached = {
            "cache_creation_input_token_cost": 1e-6,
            "cache_read_input_token_cost": 1e-6,
        }
        about = {"litellm_provider": model.split("/")[0], "mode": "chat"}
        litellm.register_model({model: price | cached | about})

        async def ask():
            await litellm.acompletion(model=model, max_retries=0, timeout=60, **body)

        return lambda n: runner.run(ask_bounded(ask, n))

    return prepare


async def ask_bounded(ask, n):
    free = asyncio.Semaphore(CONCURRENCY)

    async def one():
        async with free:
            await ask()

    await asyncio.gather(*(one() for _ in range(n)))


def prepare_ours(processes):
    def prepare(body, runner, folder):
        import evalbench as eb
        from evalbench import llm
        from evalbench.evaluate.score import score

        llm.register_price(QUICKEST, prompt=1, completion=1)
        ws, specification = eb.open(folder), make_specification()
        limits = llm.Limits(concurrency=CONCURRENCY * processes, dollars=1_000.0)

        def ask_all(n):
            done = score(
                ws,
                [specification],
                [f"session-{i}" for i in range(n)],
                repeat=time.time_ns(),
                limits=limits,
                processes=processes,
            )
            assert (done.verdicts, done.errors) == (n, 0), done

        return ask_all

    return prepare


METHODS = {
    "bare aiohttp": prepare_aiohttp,
    "bare LiteLLM, default route": prepare_bare(DEFAULT),
    BARE: prepare_bare(QUICKEST),
    "evalbench": prepare_ours(1),
    "evalbench, 2 processes": prepare_ours(2),
}


def work(method, n, folder):
    """Warm up, wait for the word, ask; in a process of its own."""
    body = json.loads(Path(folder, "body.json").read_text())
    with asyncio.Runner() as runner:
        ask_all = METHODS[method](body, runner, folder)
        ask_all(CONCURRENCY)
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.process_time()
        ask_all(n)
        print(time.process_time() - start, flush=True)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def measure(method, n, url, folder):
    """Give the seconds from the word to the end, processor seconds and highest memory in MB."""
    environment = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "OPENAI_API_BASE": url,
        "OPENAI_API_KEY": "none",
    }
    with subprocess.Popen(
        [sys.executable, __file__, "--calls", str(n), "--work", method, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{method} did not start")
        start = time.perf_counter()
        process.stdin.write("go\n")
        process.stdin.flush()
        used = float(process.stdout.readline())
        return time.perf_counter() - start, used, float(process.stdout.readline())


def measure_all(n, rounds, more, url, folder):
    found = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name in METHODS:
            found[name].append(measure(name, n, url, folder))
    ideal = n / CONCURRENCY * LATENCY
    middle = {}
    for name, runs in found.items():
        middle[name] = statistics.median(seconds for seconds, _, _ in runs)
        show(f"seconds, {n:,} calls (ideal {ideal:.2f})", middle[name], name)
        if "processes" not in name:
            used = statistics.median(used for _, used, _ in runs)
            show("milliseconds of processor a call", used / n * 1e3, name)
    ours, quickest, two = middle["evalbench"], middle[BARE], middle["evalbench, 2 processes"]
    yield claim("times the bare loop, quickest route", ours / quickest, 1.15, f"{quickest:.2f} s")
    yield claim("faster with 2 processes", ours / two, 1.7, f"{ours:.2f} s", at_most=False)
    if more:
        few = statistics.median(memory for _, _, memory in found["evalbench"])
        seconds, _, many = measure("evalbench", more, url, folder)
        show(f"seconds, {more:,} verdicts", seconds, "evalbench")
        text = f"times the memory for {more:,} verdicts of that for {n:,}"
        yield claim(text, many / few, 1.15, f"{few:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--more", type=int, default=10_000, help="sessions of the memory run")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        method, folder = arguments.work
        work(method, arguments.calls, folder)
        return
    import evalbench as eb

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, SERVER, str(port), str(LATENCY)])
    try:
        with tempfile.TemporaryDirectory() as folder:
            ws = eb.open(folder)
            fill_lake(ws, max(arguments.calls, arguments.more))
            Path(folder, "body.json").write_text(json.dumps(make_body(ws)))
            url = f"http://127.0.0.1:{port}/v1"
            limits = arguments.calls, arguments.rounds, arguments.more
            held = list(measure_all(*limits, url, folder))
    finally:
        server.terminate()
        server.wait()
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
