"""A workspace with one small surface: two releases, a draw, its labels and a judge."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evalbench.observe.sampling.draw import draw
from evalbench.schema import SESSION, SPAN, VERDICT, Design, DrawnItem
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


def session(number):
    return {
        "surface": "shop",
        "session_id": f"s{number:03d}",
        "release": "9" if number < 200 else "10",
        "group_key": f"user {number % 150}",
        "started_at": START + timedelta(hours=number),
        "reported": number % 4 == 0,
        "n_tool_calls": 1,
        "n_tool_errors": 0,
        "n_retries": 0,
    }


def fill(path):
    """Make the same workspace again: same rows, same events."""
    ws = open_workspace(path, user="tester")
    sessions = pl.DataFrame([session(number) for number in range(400)], schema=SESSION)
    spans = sessions.select("surface", "session_id", "started_at").with_columns(
        trace_id="session_id", span_id="session_id", kind=pl.lit("llm"), source_format=pl.lit("x")
    )
    ws.lake.append("session", sessions)
    ws.lake.append("span", pl.concat([pl.DataFrame(schema=SPAN), spans], how="diagonal"))
    failing = pl.int_range(pl.len()) % 12 == 0
    verdicts = sessions.select("surface", "session_id").with_columns(
        mode=pl.lit("rude"),
        evaluator_id=pl.lit("judge/rude"),
        evaluator_version=pl.lit("1"),
        repeat=pl.lit(0, pl.Int64),
        fails=failing,
        judged_at=pl.lit(START),
    )
    ws.lake.append("verdict", pl.concat([pl.DataFrame(schema=VERDICT), verdicts], how="diagonal"))
    design = Design(by=("release",), always=("reported",))
    drawn = draw(sessions, 240, design=design, rng=np.random.default_rng(1)).items
    items = drawn.with_columns(annotators=1).select(list(DrawnItem.model_fields)).to_dicts()
    frame = {"surface": "shop", "seed": 1, "design": design, "lake_versions": ws.lake.versions()}
    shipped = {"surface": "shop", "release": "10", "targets": ["rude"]}
    labels = [
        {
            "surface": "shop",
            "session_id": name,
            "verdict": "fail" if int(name[1:]) % 12 == 0 else "pass",
            "modes": ["rude"] if int(name[1:]) % 12 == 0 else [],
        }
        for name in drawn["session_id"]
    ]
    ws.ledger.extend(
        [
            ("mode.defined", "rude", MODE),
            ("release.shipped", "10", {**shipped, "shipped_at": START + timedelta(hours=200)}),
            ("queue.drawn", "shop/all", {**frame, "items": items}),
            *(("label.set", label["session_id"], label) for label in labels),
        ]
    )
    return ws


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(tmp_path):
    return fill(tmp_path / "own")
