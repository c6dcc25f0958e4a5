"""The ten Langfuse exports, against the messages that the exporter's own authors expect.

Compared are each message's role, text, tool calls (id, name, arguments) and tool_call_id. Where
the authors' reading is not a message (only ``json``), ours is either none, or the message that
their ``json`` holds unread. Where they parsed a text that holds JSON, ours is compared as JSON.
"""

import json
from pathlib import Path

import pytest

from evalbench.observe.formats import langfuse

FOLDER = Path(__file__).parents[3] / "shared/data/traces/langfuse_exports"
NAMES = sorted(path.name.removesuffix(".trace.json") for path in FOLDER.glob("*.trace.json"))
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data is not there")


def read(name, kind):
    return json.loads((FOLDER / f"{name}.{kind}.json").read_text(encoding="utf-8"))


def say(message):
    said = {"role": message.get("role"), "content": message.get("content")}
    if message.get("tool_calls"):
        said["tool_calls"] = [
            {field: call[field] for field in ("id", "name", "arguments")}
            for call in message["tool_calls"]
        ]
    if message.get("tool_call_id"):
        said["tool_call_id"] = message["tool_call_id"]
    return said


def expected(side):
    messages = []
    for message in side["data"]:
        if message.keys() == {"json"}:
            message = message["json"].get("message")
        if message:
            messages.append(say(message))
    return messages


def match_parsed(ours, theirs):
    for mine, other in zip(ours, theirs, strict=False):
        if isinstance(other["content"], list | dict):
            mine["content"] = json.loads(mine["content"])
    return ours


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_those_the_vendor_expects(name):
    spans = {span["span_id"]: span for span in langfuse.parse(read(name, "trace"), {}).spans}
    compared = 0
    for identifier, sides in read(name, "chatml").items():
        for side, expectation in sides.items():
            if not expectation["success"]:
                continue
            ours = spans[identifier].get(f"{side}_messages") or []
            theirs = expected(expectation)
            assert match_parsed([say(m) for m in ours], theirs) == theirs, (identifier, side)
            compared += 1
    assert compared or name in ("autogen-2025-06-06", "llamaindex-2025-06-05")


@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_a_verdict_of_its_source(name):
    document = read(name, "trace")
    spans, verdicts = langfuse.parse(document, {})
    assert len(spans) == len(document["observations"])
    assert {(v["evaluator_id"], v["score"], v["rationale"]) for v in verdicts} == {
        (f"langfuse/{s['name']}", s["value"], s["comment"]) for s in document["trace"]["scores"]
    }
    session = document["trace"]["sessionId"] or document["trace"]["id"]
    assert {row["session_id"] for row in [*spans, *verdicts]} == {session}


def test_kinds_and_scores_of_the_openai_agents_export():
    spans, verdicts = langfuse.parse(read("openai-agents-2025-09-30", "trace"), {})
    assert sorted(span["kind"] for span in spans) == ["agent", "agent", "llm", "llm", "tool"]
    assert {v["evaluator_id"]: v["score"] for v in verdicts} == {
        "langfuse/toxicity": 0.8,
        "langfuse/hallucination": 0.0,
    }
