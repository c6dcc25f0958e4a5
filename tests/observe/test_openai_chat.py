import copy
import json

import pytest

from evalbench.observe.formats import openai_chat

CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q":"x"}'}},
    {"id": "c2", "type": "function", "function": {"name": "read", "arguments": "{}"}},
]
RECORD = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Find x."},
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "assistant", "content": [{"type": "text", "text": "Here is x."}]},
        {"role": "user", "content": "Thanks"},
    ],
    "tools": [{"type": "function", "function": {"name": "find"}}],
    "customer": {"id": 7},
}


def test_every_answer_and_every_tool_call_is_a_span_in_order():
    spans = openai_chat.parse(RECORD, {}).spans
    assert [(span["kind"], span["name"]) for span in spans] == [
        ("llm", "assistant"),
        ("tool", "find"),
        ("tool", "read"),
        ("llm", "assistant"),
        ("other", "after the last answer"),
    ]
    assert sorted(span["span_id"] for span in spans) == [span["span_id"] for span in spans]
    assert spans[1]["tool_result"] == "one"
    assert spans[2]["tool_result"] == "two"
    assert spans[1]["parent_id"] == spans[0]["span_id"]
    assert spans[3]["output"] == "Here is x."
    assert spans[0]["input"] == "Find x."


def test_no_message_is_kept_twice_or_lost():
    spans = openai_chat.parse(RECORD, {}).spans
    told = []
    for span in spans:
        told += json.loads(span.get("input_messages") or "[]")
        told += json.loads(span.get("output_messages") or "[]")
    assert [message["role"] for message in told] == [m["role"] for m in RECORD["messages"]]
    assert json.loads(spans[0]["attributes"]) == {k: RECORD[k] for k in ("tools", "customer")}


def test_ids_are_the_content_and_the_record_is_left_alone():
    before = copy.deepcopy(RECORD)
    first, again = openai_chat.parse(RECORD, {}).spans, openai_chat.parse(RECORD, {}).spans
    assert first == again
    assert before == RECORD
    other = openai_chat.parse({**RECORD, "customer": {"id": 8}}, {}).spans
    assert {s["trace_id"] for s in first}.isdisjoint(s["trace_id"] for s in other)


def test_answers_without_ids_go_to_the_calls_in_their_order():
    record = copy.deepcopy(RECORD)
    for message in record["messages"]:
        message.pop("tool_call_id", None)
    spans = openai_chat.parse(record, {}).spans
    assert [span["tool_result"] for span in spans if span["kind"] == "tool"] == ["two", "one"]


def test_mapped_facts_stand_on_the_first_span_and_the_session_on_all():
    columns = {"session_id": "u{customer.id}", "user_key": "customer.id", "timestamp": "at"}
    spans = openai_chat.parse({**RECORD, "at": "2026-05-01T12:00:00Z"}, columns).spans
    assert {span["session_id"] for span in spans} == {"u7"}
    assert {span["started_at"] for span in spans} == {1_777_636_800_000_000}
    assert [span.get("user_key") for span in spans] == ["7", None, None, None, None]


@pytest.mark.parametrize("chat", [None, [], "text", [1], {"role": "user"}])
def test_a_record_without_messages_is_refused(chat):
    with pytest.raises(ValueError, match="not a list of chat messages"):
        openai_chat.parse({"messages": chat}, {})


def test_a_later_entry_that_is_no_message_is_refused():
    with pytest.raises(ValueError, match="not a chat message"):
        openai_chat.parse({"messages": [{"role": "user", "content": "a"}, 7]}, {})
