"""Sessions for a judge, in the lake: each names itself, item-N, where the model server sees it."""

import os

import forked
import polars as pl

import evalbench as eb
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.llm import Limits
from evalbench.observe.sessions import fold_sessions
from evalbench.schema import SPAN

MODEL = "hosted_vllm/judge-1"
RUBRIC = "The assistant gives a tracking number that no tool returned."


def make_judge_specification(model=MODEL, prompt=RUBRIC, mode="invented_number", **parameters):
    own = {"surface": "support", "mode": mode, "kind": "judge", "owner": "ana"}
    return Specification(**own, prompt=prompt, model=model, parameters=parameters)


def answer(number):
    return f"Tracking number TR-{number}, no tool returned it." if number % 2 else "On its way."


def fill_lake(ws, n, surface="support", *, say=answer, users=0, name="s-{}", at=None):
    """Put n sessions into the lake, of so many users; ``say`` gives the answer of each number."""
    rows = []
    for number in range(n):
        own = {"surface": surface} | dict.fromkeys(("session_id", "trace_id"), name.format(number))
        own |= {"input": f"Where is item-{number}?", "output": say(number), "started_at": at}
        facts = {"group_key": f"u{number % users}"} if users else {}
        rows.append(own | facts | {"span_id": "a", "kind": "agent"})
        rows.append(own | {"span_id": "b", "parent_id": "a", "kind": "llm"})
    spans = pl.DataFrame(rows, schema=SPAN)
    ws.lake.append("span", spans)
    ws.lake.append("session", fold_sessions(spans.lazy()))
    return [name.format(number) for number in range(n)]


def judge(folder, ids, url, limits):
    os.environ["HOSTED_VLLM_API_BASE"] = url
    score(eb.open(folder), [make_judge_specification()], ids, limits=limits)


def start_judging(folder, n, url, *, concurrency):
    """Judge n sessions in a process that can be killed."""
    limits = Limits(concurrency=concurrency, timeout_seconds=8)
    return forked.start(judge, folder, [f"s-{number}" for number in range(n)], url, limits)
