"""Counts of ../shared/data/EXPECTED.md for tau-bench's runs of gpt-4o on the airline tasks."""

import json
from collections import Counter
from pathlib import Path

import pytest

from evalbench.observe.formats import openai_chat

PATH = Path(__file__).parents[3] / "shared/data/traces/taubench_gpt-4o-airline.json"
pytestmark = pytest.mark.skipif(not PATH.exists(), reason="../shared/data is not there")
COLUMNS = {
    "messages": "traj",
    "outcome": "reward",
    "group_key": "task_id",
    "session_id": "{task_id}-{trial}",
}


def test_runs_answers_and_tool_calls_are_those_counted():
    runs = json.loads(PATH.read_text(encoding="utf-8"))
    assert all(openai_chat.holds_chat(run) for run in runs)
    spans = [span for run in runs for span in openai_chat.parse(run, COLUMNS).spans]
    kinds = Counter(span["kind"] for span in spans)
    assert (kinds["tool"], kinds["llm"]) == (1164, 2454)
    tools = [span for span in spans if span["kind"] == "tool"]
    assert all(span["tool_result"] is not None for span in tools)
    assert sum(span["tool_name"] == "get_reservation_details" for span in tools) == 377
    assert len({span["session_id"] for span in spans}) == 200
    assert len({span["group_key"] for span in spans if "group_key" in span}) == 50
    outcomes = [span["outcome"] for span in spans if "outcome" in span]
    assert (len(outcomes), sum(outcomes)) == (200, 84)
    roles = Counter(
        message["role"]
        for span in spans
        for column in ("input_messages", "output_messages")
        for message in span.get(column) or []
    )
    assert roles == {"system": 200, "user": 1490, "assistant": 2454, "tool": 1164}
