"""Sessions for a judge, in the lake: each names itself, item-N, where the model server sees it."""

import os
from multiprocessing import forkserver, get_context, resource_tracker

import polars as pl

import evalbench as eb
from evalbench.evaluate.score import PRELOADED, _pool, score
from evalbench.evaluate.spec import Specification
from evalbench.llm import Limits
from evalbench.observe.sessions import fold_sessions
from evalbench.schema import SPAN

MODEL = "aiohttp_openai/judge-1"
RUBRIC = "The assistant gives a tracking number that no tool returned."


def make_judge_specification(model=MODEL, mode="invented_number", **parameters):
    return Specification(
        surface="support",
        mode=mode,
        kind="judge",
        owner="ana",
        prompt=RUBRIC,
        model=model,
        parameters=parameters,
    )


def fill_lake(ws, n, surface="support"):
    rows = []
    for number in range(n):
        said = {
            "input": f"Where is item-{number}?",
            "output": f"Tracking number TR-{number}, no tool returned it."
            if number % 2
            else "On its way.",
        }
        own = {"surface": surface, "session_id": f"s-{number}", "trace_id": f"t-{number}"}
        rows += [
            own | said | {"span_id": "a", "kind": "agent"},
            own | said | {"span_id": "b", "parent_id": "a", "kind": "llm"},
        ]
    spans = pl.DataFrame([{name: row.get(name) for name in SPAN} for row in rows], schema=SPAN)
    ws.lake.append("span", spans)
    ws.lake.append("session", fold_sessions(spans.lazy()))
    return [f"s-{number}" for number in range(n)]


def preload():
    """Begin to load LiteLLM in the process from which others are forked."""
    get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def start_judging(folder, n, *, concurrency, processes):
    """Judge n sessions in a process that can be killed."""
    preload()
    arguments = dict(os.environ), str(folder), n, concurrency, processes
    process = get_context("forkserver").Process(target=_judge_all, args=arguments)
    process.start()
    return process


def _judge_all(environment, folder, n, concurrency, processes):
    os.environ.update(environment)
    # The fork server of the process that asked serves this one too, and lives on when it is killed.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running
    sessions = [f"s-{number}" for number in range(n)]
    limits = Limits(concurrency=concurrency, timeout_seconds=8)
    judge = make_judge_specification()
    score(eb.open(folder), [judge], sessions, limits=limits, processes=processes)
    if processes > 1:  # else the end of this process waits for its workers
        _pool(processes).executor.shutdown()
