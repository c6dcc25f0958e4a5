"""A small surface: 400 sessions over two releases, a draw, its labels and a foreign judge."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from evalbench.observe.sampling.draw import draw
from evalbench.schema import SESSION, SPAN, VERDICT, Design
from evalbench.store.workspace import open_workspace

START = datetime(2026, 7, 1, tzinfo=UTC)
MODE = {
    "mode": "rude",
    "surface": "shop",
    "name": "Is rude",
    "definition": "The assistant is rude to the customer.",
    "example": "That is your problem.",
    "severity": "user impact",
    "failure_class": "answer quality",
    "owner": "ana",
}


def make_sessions(**columns):
    """Make the sessions: release 9, then 10; every fourth was reported by the user."""
    rows = [
        {
            "surface": "shop",
            "session_id": f"s{number:03d}",
            "release": "9" if number < 200 else "10",
            "started_at": START + timedelta(hours=number),
            "reported": number % 4 == 0,
        }
        for number in range(400)
    ]
    return pl.DataFrame(rows, schema=SESSION).with_columns(**columns).cast(SESSION)


def make_label(name):
    """Label a session; every twelfth fails."""
    fails = int(name[1:]) % 12 == 0
    said = {"verdict": "fail", "modes": ["rude"]} if fails else {"verdict": "pass"}
    return "label.set", name, {"surface": "shop", "session_id": name, **said}


def fill(path):
    """Make the same workspace again: same rows, same events."""
    ws = open_workspace(path, user="tester")
    number = pl.int_range(pl.len())
    group = pl.format("user {}", number % 150)
    sessions = make_sessions(group_key=group, n_tool_calls=1, n_tool_errors=0, n_retries=0)
    ws.lake.append("session", sessions)
    key = sessions.select("surface", "session_id", "started_at")
    spans = key.with_columns(
        trace_id="session_id", span_id="session_id", kind=pl.lit("llm"), source_format=pl.lit("x")
    )
    ws.lake.append("span", pl.concat([pl.DataFrame(schema=SPAN), spans], how="diagonal"))
    judge = {"mode": "rude", "evaluator_id": "judge/rude", "evaluator_version": "1"}
    verdicts = key.drop("started_at").with_columns(
        **{name: pl.lit(value) for name, value in judge.items()},
        repeat=pl.lit(0, pl.Int64),
        fails=number % 12 == 0,
        judged_at=pl.lit(START),
    )
    ws.lake.append("verdict", pl.concat([pl.DataFrame(schema=VERDICT), verdicts], how="diagonal"))
    design = Design(by=("release",), always=("reported",))
    drawn = draw(sessions, 240, design=design, rng=np.random.default_rng(1)).items
    columns = ["session_id", "stratum", "inclusion_probability", "reason"]
    body = {"surface": "shop", "seed": 1, "design": design, "lake_versions": ws.lake.versions()}
    shipped = {"surface": "shop", "release": "10", "targets": ["rude"]}
    ws.ledger.extend(
        [
            ("mode.defined", "rude", MODE),
            ("release.shipped", "10", shipped | {"shipped_at": START + timedelta(hours=200)}),
            ("queue.drawn", "shop/all", body | {"items": drawn.select(columns).to_dicts()}),
            *map(make_label, drawn["session_id"]),
        ]
    )
    return ws
