import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.observe.formats import opentelemetry

SPAN = {
    "name": "ChatCompletion",
    "context": {"trace_id": "t1", "span_id": "s2", "trace_state": "[]"},
    "parent_id": "s1",
    "start_time": "2026-05-01T12:00:00.000000+00:00",
    "end_time": "2026-05-01T12:00:01.500000+00:00",
    "status_code": "ERROR",
    "status_message": "rate limit",
    "attributes": {
        "openinference.span.kind": "LLM",
        "input.value": "where is my parcel?",
        "output.value": "on its way",
        "session.id": "chat-9",
        "user.id": "u-7",
        "metadata": '{"tier": "gold", "locale": "de", "release": "v2", "trace_note": "x"}',
        "tag.tags": ["intent:refund", "beta"],
        "llm.model_name": "gpt-4o",
        "llm.provider": "openai",
        "llm.invocation_parameters": '{"temperature": 0}',
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "be kind",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "where is my parcel?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "track",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"n":1}',
        "llm.token_count.prompt": 20,
        "llm.token_count.completion": 5,
        "llm.token_count.total": 105,
        "llm.token_count.prompt_details.cache_read": 80,
        "llm.cost.total": 0.01,
        "house.own": {"deep": [1, 2]},
    },
    "events": [],
}


def read(span, columns=None):
    return opentelemetry.parse(span, columns or {})


def change(**attributes):
    span = copy.deepcopy(SPAN)
    span["attributes"].update(attributes)
    return span


def test_columns_of_an_llm_span():
    assert opentelemetry.matches(SPAN)
    (row,), verdicts = read(SPAN)
    assert verdicts == []
    attributes = json.loads(row.pop("attributes"))
    asked, answered = json.loads(row.pop("input_messages")), json.loads(row.pop("output_messages"))
    assert asked == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "where is my parcel?"},
    ]
    assert answered == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "name": "track", "arguments": '{"n":1}'}],
        }
    ]
    assert json.loads(row.pop("segments")) == {
        "tier": "gold",
        "locale": "de",
        "intent": "refund",
        "tags": "beta",
    }
    assert row == {
        "trace_id": "t1",
        "span_id": "s2",
        "parent_id": "s1",
        "session_id": "chat-9",
        "user_key": "u-7",
        "kind": "llm",
        "name": "ChatCompletion",
        "started_at": 1_777_636_800_000_000,
        "latency_ms": 1500.0,
        "status": "error",
        "status_message": "rate limit",
        "model": "gpt-4o",
        "provider": "openai",
        "input": "where is my parcel?",
        "output": "on its way",
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "cached_tokens": 80,
        "cost_usd": 0.01,
        "release": "v2",
        "source_format": "openinference",
    }
    assert attributes["house.own"] == {"deep": [1, 2]}
    assert attributes["llm.token_count.total"] == 105
    assert json.loads(attributes["metadata"])["trace_note"] == "x"


def test_the_record_is_left_alone():
    before = copy.deepcopy(SPAN)
    read(SPAN, {"group_key": "attributes.house.own.deep.1"})
    assert before == SPAN


def leaves(value):
    if isinstance(value, dict):
        for held in value.values():
            yield from leaves(held)
    elif isinstance(value, list):
        for held in value:
            yield from leaves(held)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        try:
            yield from leaves(json.loads(value))
        except ValueError:
            yield value
    elif value is not None:
        yield value


NESTED = {"message": {"role": "user", "content": "hello"}}
NAMES = st.sampled_from(
    [
        *SPAN["attributes"],
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.conversation.id",
        "gen_ai.prompt.0.content",
        "gen_ai.input.messages",
        "llm.input_messages.0.message.name",
        "llm.input_messages.x.message.role",
        "llm.input_messages.1.message.tool_calls",
        "llm.output_messages.0.message.tool_calls.0.tool_call.kind",
        "retrieval.documents.0.document.content",
        "retrieval.documents.0.document.metadata",
        "metadata.tier",
        "llm",
        "exception.message",
        "tool.parameters",
    ]
)
NUMERIC = ("llm.token_count.", "llm.cost.")


@given(st.dictionaries(NAMES, st.integers(0, 10**6).map("v{}".format)))
def test_no_attribute_is_ever_dropped(attributes):
    kept = {k: v for k, v in attributes.items() if not k.startswith(NUMERIC)}
    kept.pop("openinference.span.kind", None)
    (row,), _ = read({**SPAN, "attributes": kept})
    assert set(leaves(kept)) <= set(leaves(row))


def test_a_retriever_s_documents_and_what_has_no_place_in_them():
    prefix = "retrieval.documents.0.document."
    span = {
        **SPAN,
        "attributes": {
            "openinference.span.kind": "RETRIEVER",
            prefix + "id": 4,
            prefix + "content": "text",
            prefix + "score": "0.5",
            prefix + "metadata": '{"page":1}',
        },
    }
    (row,), _ = read(span)
    assert row["kind"] == "retriever"
    assert row["documents"] == [{"id": "4", "content": "text", "score": 0.5}]
    assert json.loads(row["attributes"])["documents.0"] == {"metadata": '{"page":1}'}


def test_a_tool_span_has_its_arguments_and_result():
    attributes = {
        "openinference.span.kind": "TOOL",
        "tool.name": "track",
        "input.value": '{"n":1}',
        "output.value": "found",
    }
    (row,), _ = read({**SPAN, "attributes": attributes})
    assert (row["tool_name"], row["tool_arguments"], row["tool_result"]) == (
        "track",
        '{"n":1}',
        "found",
    )


def test_people_s_annotations_are_signals_and_the_rest_verdicts():
    def annotation(index, **fields):
        return {f"annotations.{index}.annotation.{name}": value for name, value in fields.items()}

    span = change(
        **annotation(0, name="user_feedback", score=0, annotator_kind="HUMAN"),
        **annotation(1, name="correctness", label="incorrect", score=0.2, annotator_kind="LLM"),
        **annotation(2, name="politeness", score=3, annotator_kind="HUMAN", explanation="curt"),
    )
    (row,), verdicts = read(span)
    assert row["thumbs"] == -1
    assert [v["evaluator_id"] for v in verdicts] == [
        "openinference/correctness",
        "openinference/politeness",
    ]
    assert [v["fails"] for v in verdicts] == [True, None]
    assert [v["score"] for v in verdicts] == [0.2, 3.0]
    assert verdicts[1]["rationale"] == "curt"
    assert json.loads(verdicts[0]["evidence"]) == [{"span_id": "s2"}]
    assert {v["session_id"] for v in verdicts} == {"chat-9"}


def test_phoenix_frame_nested_and_as_text_reads_like_the_flat_span():
    message = {"message.role": "user", "message.content": "hello"}
    row = {
        "context.trace_id": "t",
        "context.span_id": "s",
        "parent_id": None,
        "name": "n",
        "span_kind": "LLM",
        "start_time": "2026-05-01 12:00:00+00:00",
        "end_time": float("nan"),
        "status_code": "UNSET",
        "attributes.llm.model_name": "m",
        "attributes.llm.token_count.prompt": 3.0,
        "attributes.metadata": {"tier": "free"},
        "attributes.llm.output_messages": None,
    }
    for messages in ([message], json.dumps([message]), [NESTED]):
        assert opentelemetry.matches(row)
        (span,), _ = read({**row, "attributes.llm.input_messages": messages})
        assert json.loads(span["input_messages"])[0]["content"] == "hello"
        assert (span["kind"], span["status"], span["prompt_tokens"]) == ("llm", "ok", 3)
        assert (span["session_id"], span["parent_id"]) == ("t", None)
        assert json.loads(span["segments"]) == {"tier": "free"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("llm.token_count.prompt", "many"), ("llm.token_count.prompt", 1.5), ("llm.cost.total", [])],
)
def test_a_count_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=r"prompt_tokens|cost_usd"):
        read(change(**{name: value}))


def test_nesting_beyond_all_bounds_is_refused():
    deep = {}
    for _ in range(1000):
        deep = {"a": deep}
    for name in ("anything", "llm", "input.value", "gen_ai.input.messages"):
        with pytest.raises(ValueError, match="kept as JSON"):
            read(change(**{name: deep}))
