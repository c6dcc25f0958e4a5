"""tau-bench's runs of gpt-4o on the airline tasks, to the counts of ../shared/data/EXPECTED.md.

They have no labels and no time: the report is of the recorded outcome, by task.
"""

import json
from collections import Counter
from pathlib import Path

import orjson
import polars as pl
import pytest

import evalbench as eb
from evalbench.errors import IssueError
from evalbench.operate.issues import move_issue, open_issue
from evalbench.report import runbook

RUNS = Path(__file__).parents[3] / "shared/data/traces/taubench_gpt-4o-airline.json"
COLUMNS = {"messages": "traj", "outcome": "reward", "group_key": "task_id"}
COLUMNS["session_id"] = "{task_id}-{trial}"
WILSON = (0.5107, 0.6463)
pytestmark = pytest.mark.skipif(not RUNS.exists(), reason="public data is not in this checkout")


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """Read the runs twice; all of the second time are duplicates."""
    ws = eb.open(tmp_path_factory.mktemp("workspace"))
    first, second = (
        eb.observe.ingest(ws, RUNS, surface="airline", columns=COLUMNS) for _ in range(2)
    )
    assert (first.sessions, first.rejected, first.duplicates) == (200, 0, 0)
    assert (second.sessions, second.spans, second.rejected) == (0, 0, 0)
    assert second.duplicates == second.records == 200
    assert ws.lake.spans().select(pl.len()).collect().item() == first.spans
    return ws


def test_every_run_is_a_session_and_every_tool_call_a_span(ws):
    spans = ws.lake.spans(surface="airline").collect()
    kinds = dict(spans["kind"].value_counts().iter_rows())
    assert (kinds["tool"], kinds["llm"]) == (1164, 2454)
    tools = spans.filter(kind="tool")
    assert tools["tool_result"].null_count() == 0
    assert tools.filter(tool_name="get_reservation_details").height == 377
    roles = Counter(
        message["role"]
        for column in ("input_messages", "output_messages")
        for text in spans[column].drop_nulls()
        for message in json.loads(text)
    )
    assert roles == {"system": 200, "user": 1490, "assistant": 2454, "tool": 1164}


def test_outcomes_and_groups_are_those_of_the_runs(ws):
    sessions = ws.lake.sessions(surface="airline").collect()
    assert sessions.height == 200
    assert sessions["outcome"].sum() == 84
    assert sessions["group_key"].value_counts()["count"].unique().to_list() == [4]
    assert sessions["n_tool_calls"].sum() == 1164


def test_failure_is_58_percent_with_an_interval_that_resamples_the_50_tasks(ws, tmp_path):
    done = runbook.run("11_impact", {}, workspace=ws, reports=tmp_path / "reports")
    result = orjson.loads(done.result.read_bytes())
    [rate] = result["rates"]
    assert (rate["estimate"], rate["n_labels"], rate["n_groups"]) == (0.58, 200, 50)
    assert rate["low"] < WILSON[0]
    assert rate["high"] > WILSON[1]
    assert result["changes"] == result["sample"] == []
    limits = {row["limit"]: row["n"] for row in result["limits"]}
    assert limits == {"no labels": 1, "no release": 200, "no time": 200, "signals": 10}
    assert "580\u00a0(4" in done.html.read_text()
    assert done.pdf.read_bytes().startswith(b"%PDF")


def test_a_failure_without_a_mode_or_a_time_is_followed_and_scored(ws):
    fields = {"title": "Cancels without asking", "severity": "user impact", "owner": "ana"}
    name = open_issue(ws.ledger, surface="airline", source="red team", **fields)
    move_issue(ws.ledger, name, "confirmed")
    move_issue(ws.ledger, name, "fix shipped", release="2")
    view = eb.snapshot(ws, "airline")
    with pytest.raises(IssueError, match="no session of release 2"):
        view.move_issue(name, "verified")
    assert view.issues["state"].to_list() == ["fix shipped"]
    known = view.scorecard.filter(pl.col("status") != "not recorded")
    assert {"red_team_remediation", "rework"} <= set(known["metric"])
    assert "cost_per_success" not in known["metric"].to_list()
