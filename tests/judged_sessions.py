"""Sessions for a judge, in the lake: each names itself, item-N, where the model server sees it."""

import polars as pl

from evalbench.evaluate.spec import Specification
from evalbench.observe.sessions import session_signals
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
    ws.lake.append("session", session_signals(spans))
    return [f"s-{number}" for number in range(n)]
