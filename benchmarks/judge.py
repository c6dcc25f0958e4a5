"""How fast verdicts come from a model, beside bare loops and other tools at the same server.

    python benchmarks/judge.py

2,000 sessions at concurrency 64 against a local OpenAI-compatible server that takes 50 ms (a
process of its own). Ours goes the whole way: sessions out of the lake, the prompt, the call, quotes
looked up, verdicts in the lake. The bare loops send one such prompt again and again, and receive.
Every method is a process of its own that stays, warmed by 64 calls before the first clock starts:
loading LiteLLM is no part of a figure. The rounds go through all methods in turn, and each one's
best round is shown. The quickest route is the quickest that counts tokens.

The other tools (``peers.py``, in ``.venv/peers``) judge the same questions and answers, by a judge
of their own and 300 of them, scaled up; one that is not installed is a claim that does not hold.
Memory is the highest that our process had, for 2,000 sessions and for 50,000. Exit status 1 when a
claim does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import polars as pl
from claims import claim, make_parser, show, sized

HERE = Path(__file__).parent
SERVER = HERE.parent / "tests/model_server.py"
PEERS = ("inspect_ai", "deepeval", "ragas")
PEERS_PYTHON = HERE.parent / ".venv/peers/bin/python"
LATENCY, CONCURRENCY = 0.05, 64
QUICKEST = "hosted_vllm/judge-1"
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
    from evalbench.observe.sessions import fold_sessions
    from evalbench.schema import SPAN

    for start in range(0, n, 2_000):
        rows = [
            {"surface": "support", "session_id": f"session-{i}", "trace_id": f"t-{i}"} | span
            for i in range(start, min(start + 2_000, n))
            for span in make_spans(i)
        ]
        spans = pl.DataFrame([{name: row.get(name) for name in SPAN} for row in rows], SPAN)
        ws.lake.append("span", spans)
        ws.lake.append("session", fold_sessions(spans.lazy()))


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
    from evalbench.evaluate.judge import Verdict, make_judge
    from evalbench.session import read_sessions

    [session] = read_sessions(ws.lake, "support", ["session-0"])
    judge = make_judge(make_specification(), sessions={})
    request, _ = judge.ask(session)
    schema = {"name": "answer", "schema": Verdict.model_json_schema(), "strict": True}
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


def prepare_ours(body, runner, folder):
    import evalbench as eb
    from evalbench import llm
    from evalbench.evaluate.score import score

    llm.register_price(QUICKEST, prompt=1, completion=1)
    ws, specification = eb.open(folder), make_specification()
    limits = llm.Limits(concurrency=CONCURRENCY, dollars=1_000.0)

    def ask_all(n):
        done = score(
            ws,
            [specification],
            [f"session-{i}" for i in range(n)],
            repeat=time.time_ns(),
            limits=limits,
        )
        if (done.verdicts, done.errors) != (n, 0):
            raise RuntimeError(f"not {n} verdicts: {done}")

    return ask_all


METHODS = {
    "bare aiohttp": prepare_aiohttp,
    "bare LiteLLM, default route": prepare_bare(DEFAULT),
    BARE: prepare_bare(QUICKEST),
    "evalbench": prepare_ours,
}


def work(method, folder):
    """Warm up; then ask as many as each line says, and tell seconds, processor seconds, memory."""
    body = json.loads(Path(folder, "body.json").read_text())
    with asyncio.Runner() as runner:
        ask_all = METHODS[method](body, runner, folder)
        ask_all(CONCURRENCY)
        print("ready", flush=True)
        for line in sys.stdin:
            start, used = time.perf_counter(), time.process_time()
            ask_all(int(line))
            seconds, used = time.perf_counter() - start, time.process_time() - used
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps([seconds, used, memory]), flush=True)


class Worker:
    """A process that asks when told to."""

    def __init__(self, name, url, *command):
        environment = os.environ | {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "OPENAI_API_BASE": url,
            "HOSTED_VLLM_API_BASE": url,
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "none",
        }
        self.name, pipe = name, subprocess.PIPE
        self.process = subprocess.Popen(
            [*map(str, command)], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self.read("ready")

    def read(self, wanted=None):
        line = self.process.stdout.readline().strip()
        if not line or wanted not in (None, line):
            raise RuntimeError(f"{self.name} stopped: {line}")
        return line

    def ask(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        return json.loads(self.read())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def start(method, url, folder):
    return Worker(method, f"{url}/v1", sys.executable, __file__, "--work", method, folder)


def measure_rounds(n, rounds, url, folder):
    """Give each method's best seconds, and claim what ours come to beside the bare loop."""
    with ExitStack() as stack:
        workers = [stack.enter_context(start(name, url, folder)) for name in METHODS]
        runs = [[worker.ask(n) for worker in workers] for _ in range(rounds)]
    best, used = {}, {}
    for name, own in zip(METHODS, zip(*runs, strict=True), strict=True):
        best[name], used[name] = (min(run[part] for run in own) for part in (0, 1))
        show(f"seconds, {n:,} calls (ideal {n / CONCURRENCY * LATENCY:.2f})", best[name], name)
        show("milliseconds of processor a call", used[name] / n * 1e3, name)
    ours, bare = best["evalbench"], best[BARE]
    held = [
        claim("times the bare loop, quickest route", ours / bare, 1.0, f"{bare:.2f} s"),
        claim("times the bare loop's processor time", used["evalbench"] / used[BARE], 1.15, BARE),
    ]
    return ours, held


def measure_peers(ours, n, few, url):
    """Claim that each peer takes longer than ours does."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as questions:
        asked = [[span["input"], span["output"]] for span in map(first_span, range(few))]
        json.dump(asked, questions)
        questions.flush()
        for peer in PEERS:
            text = f"times our seconds, {few} calls scaled to {n:,}"
            try:
                command = PEERS_PYTHON, HERE / "peers.py", peer, CONCURRENCY, questions.name
                with Worker(peer, f"{url}/{peer}/v1", *command) as worker:
                    seconds, _, _ = worker.ask(few)
            except (OSError, RuntimeError):
                yield claim(text, 0, 1, f"{peer}: not installed, or it failed", at_most=False)
                continue
            scaled = seconds / few * n
            yield claim(text, scaled / ours, 1, f"{peer}, {scaled:.1f} s", at_most=False)


def first_span(i):
    return next(make_spans(i))


def measure_memory(n, more, url, folder):
    """Claim that many verdicts take no more memory than few."""
    found = {}
    for count in (n, more):
        with start("evalbench", url, folder) as worker:
            seconds, _, found[count] = worker.ask(count)
        show(f"seconds, {count:,} verdicts", seconds, "evalbench")
        show(f"MB at most, {count:,} verdicts", found[count], "evalbench")
    text = f"times the memory for {more:,} verdicts of that for {n:,}"
    return claim(text, found[more] / found[n], 1.25, f"{found[n]:.0f} MB")


def main():
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=sized(2_000, 500))
    parser.add_argument("--rounds", type=int, default=sized(8, 3))
    parser.add_argument("--peer-calls", type=int, default=sized(300, 100))
    parser.add_argument("--more", type=int, default=sized(50_000, 5_000), help="for the memory run")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return
    import evalbench as eb

    n, more = arguments.calls, arguments.more
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, SERVER, str(port), str(LATENCY)])
    url = f"http://127.0.0.1:{port}"
    try:
        with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
            for folder, sessions in ((few, n), (many, max(n, more))):
                ws = eb.open(folder)
                fill_lake(ws, sessions)
                Path(folder, "body.json").write_text(json.dumps(make_body(ws)))
            ours, held = measure_rounds(n, arguments.rounds, url, few)
            held += measure_peers(ours, n, arguments.peer_calls, url)
            held.append(measure_memory(n, more, url, many))
    finally:
        server.terminate()
        server.wait()
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
