import json

import pytest

from evalbench.observe.formats import opentelemetry
from evalbench.observe.formats.messages import to_messages
from evalbench.observe.formats.otlp import envelope_spans, plain_attributes

NANO = 1_777_636_800_000_000_000


def typed(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes):
    return [{"key": name, "value": typed(value)} for name, value in attributes.items()]


ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude",
    "gen_ai.response.model": "claude-2026",
    "gen_ai.conversation.id": "conv",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 3,
    "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
    "gen_ai.input.messages": json.dumps(
        [
            {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "hm"},
                    {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}},
                ],
            },
            {
                "role": "tool",
                "parts": [
                    {"type": "tool_call_response", "id": "c", "result": "r1"},
                    {"type": "tool_call_response", "id": "d", "response": {"x": 2}},
                ],
            },
        ]
    ),
    "gen_ai.output.messages": [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "bye"}],
            "finish_reason": "stop",
        }
    ],
    "flag": True,
    "ratio": 0.5,
}


def envelope(*spans):
    resource = {"attributes": pairs({"service.version": "v3", "deployment.environment": "prod"})}
    scopes = [{"scope": {"name": "lib"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}


def otlp(attributes, **fields):
    return {
        "traceId": "t",
        "spanId": "s",
        "parentSpanId": "",
        "name": "chat claude",
        "kind": 3,
        "startTimeUnixNano": str(NANO),
        "endTimeUnixNano": str(NANO + 2_000_000),
        "attributes": pairs(attributes),
        "status": {"code": 1},
        **fields,
    }


def test_an_otlp_span_with_genai_attributes():
    document = envelope(otlp(ATTRIBUTES))
    assert opentelemetry.matches(document)
    (row,), verdicts = opentelemetry.parse(document, {})
    assert verdicts == []
    assert json.loads(row.pop("input_messages")) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "name": "f", "arguments": '{"a":1}'}],
            "reasoning": "hm",
        },
        {"role": "tool", "content": "r1", "tool_call_id": "c"},
        {"role": "tool", "content": '{"x":2}', "tool_call_id": "d"},
    ]
    assert json.loads(row.pop("output_messages")) == [
        {"role": "assistant", "content": "bye", "finish_reason": "stop"}
    ]
    assert json.loads(row.pop("attributes")) == {
        "kind": 3,
        "flag": True,
        "ratio": 0.5,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "claude",
        "scope": {"name": "lib"},
        "resource": {"service.version": "v3", "deployment.environment": "prod"},
    }
    assert row == {
        "trace_id": "t",
        "span_id": "s",
        "parent_id": None,
        "session_id": "conv",
        "kind": "llm",
        "name": "chat claude",
        "started_at": NANO // 1000,
        "latency_ms": 2.0,
        "status": "ok",
        "model": "claude-2026",
        "provider": "anthropic",
        "input": "hi",
        "output": "bye",
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "release": "v3",
        "environment": "prod",
        "source_format": "opentelemetry",
    }


def test_attributes_are_the_same_typed_plain_or_as_text():
    assert plain_attributes(pairs(ATTRIBUTES)) == ATTRIBUTES
    assert plain_attributes(json.dumps(ATTRIBUTES)) == ATTRIBUTES
    typed_row = opentelemetry.parse(otlp(ATTRIBUTES), {})
    assert typed_row == opentelemetry.parse({**otlp({}), "attributes": ATTRIBUTES}, {})


@pytest.mark.parametrize(
    "attributes", ["text", 7, [1], [{"value": {}}], [{"key": "a", "value": {"intValue": "x"}}]]
)
def test_attributes_of_another_shape_are_refused(attributes):
    with pytest.raises(ValueError, match=r"attributes|invalid literal"):
        opentelemetry.parse({**otlp({}), "attributes": attributes}, {})


def test_every_span_of_an_envelope_keeps_its_own():
    document = envelope(otlp({"a": 1}), otlp({"b": 2}, spanId="s2"))
    assert [each["span"]["spanId"] for each in envelope_spans(document)] == ["s", "s2"]
    rows, _ = opentelemetry.parse(document, {"segments.tier": "attributes.b"})
    assert [row["span_id"] for row in rows] == ["s", "s2"]
    assert [row.get("segments") for row in rows] == [None, '{"tier":"2"}']
    with pytest.raises(ValueError, match="list of objects"):
        list(envelope_spans({"resourceSpans": [{"scopeSpans": [{"spans": 3}]}]}))


def test_the_old_flattened_form():
    attributes = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.usage.prompt_tokens": 4,
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "q",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.tool_calls.0.id": "c",
        "gen_ai.completion.0.tool_calls.0.name": "f",
        "gen_ai.completion.0.tool_calls.0.arguments": "{}",
    }
    (row,), _ = opentelemetry.parse({**otlp({}), "attributes": attributes}, {})
    assert (row["kind"], row["provider"], row["prompt_tokens"]) == ("llm", "openai", 4)
    assert json.loads(row["input_messages"]) == [{"role": "user", "content": "q"}]
    (answer,) = json.loads(row["output_messages"])
    assert answer["tool_calls"] == [{"id": "c", "name": "f", "arguments": "{}"}]


def test_events_give_the_exception_and_the_evaluations():
    events = [
        {"name": "exception", "attributes": pairs({"exception.message": "boom"})},
        *(
            {
                "name": "gen_ai.evaluation.result",
                "timeUnixNano": str(NANO),
                "attributes": pairs({"gen_ai.evaluation.name": name, **fields}),
            }
            for name, fields in (
                ("user_feedback", {"gen_ai.evaluation.score.value": 1}),
                ("relevance", {"gen_ai.evaluation.score.label": "irrelevant"}),
            )
        ),
    ]
    (row,), (verdict,) = opentelemetry.parse(otlp({"error.type": "E"}, events=events), {})
    assert (row["status"], row["status_message"], row["thumbs"]) == ("error", "boom", 1)
    assert verdict["evaluator_id"] == "opentelemetry/relevance"
    assert (verdict["fails"], verdict["repeat"]) == (True, 0)
    assert verdict["judged_at"] == NANO // 1000
    assert len(json.loads(row["attributes"])["events"]) == 3


def test_vercel_spans():
    attributes = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "gpt-5",
        "ai.prompt.messages": json.dumps(
            [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
        ),
        "ai.response.text": "",
        "ai.response.toolCalls": json.dumps(
            [{"toolCallId": "c", "toolName": "w", "input": '{"a":1}'}]
        ),
        "ai.telemetry.metadata.threadId": "th",
        "ai.telemetry.metadata.tier": "gold",
        "ai.usage.promptTokens": 9,
    }
    (row,), _ = opentelemetry.parse({**otlp({}), "attributes": attributes}, {})
    assert (row["source_format"], row["kind"], row["model"]) == ("vercel", "llm", "gpt-5")
    assert (row["session_id"], row["segments"]) == ("th", '{"tier":"gold"}')
    assert json.loads(row["input_messages"]) == [{"role": "user", "content": "hi"}]
    (answer,) = json.loads(row["output_messages"])
    assert answer["tool_calls"] == [{"id": "c", "name": "w", "arguments": '{"a":1}'}]
    tool = {
        "ai.operationId": "ai.toolCall",
        "ai.toolCall.name": "w",
        "ai.toolCall.args": '{"a":1}',
        "ai.toolCall.result": "sunny",
    }
    (row,), _ = opentelemetry.parse({**otlp({}), "attributes": tool}, {})
    assert (row["kind"], row["tool_name"], row["input"], row["output"]) == (
        "tool",
        "w",
        '{"a":1}',
        "sunny",
    )


def test_the_session_is_the_first_name_of_the_list_then_the_trace():
    names = ["gen_ai.conversation.id", "session_id", "gen_ai.session.id", "session.id"]
    attributes = {}
    for name in names:
        attributes[name] = f"from {name}"
        (row,), _ = opentelemetry.parse({**otlp({}), "attributes": attributes}, {})
        assert row["session_id"] == f"from {name}"
    (row,), _ = opentelemetry.parse(otlp({}), {})
    assert row["session_id"] == "t"


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("plain text", None),
        ([], None),
        ({"city": "Tokyo"}, None),
        (
            {"contents": [{"role": "user", "parts": [{"inline_data": {}}, {"text": "a"}]}]},
            [
                {
                    "role": "user",
                    "content": [{"inline_data": {}}, {"type": "text", "text": "a"}],
                }
            ],
        ),
        (
            {"system": "s", "messages": [{"role": "user", "content": "a"}]},
            [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
        ),
        (
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]},
            [{"role": "assistant", "content": "a"}],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "tool_use", "id": "i", "name": "n", "input": {"k": 1}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i"}]},
            ],
            [
                {
                    "role": "assistant",
                    "content": "a",
                    "tool_calls": [{"id": "i", "name": "n", "arguments": '{"k":1}'}],
                },
                {"role": "tool", "content": None, "tool_call_id": "i"},
            ],
        ),
        (
            {"lc": 1, "id": ["langchain", "HumanMessage"], "kwargs": {"content": "a"}},
            [{"role": "user", "content": "a"}],
        ),
    ],
)
def test_messages_of_every_vendor(value, messages):
    assert to_messages(value) == messages
    assert to_messages(json.dumps(value)) == messages
