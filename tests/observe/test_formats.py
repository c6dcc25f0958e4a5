"""Each format reads its fixture as expected, takes no other's, and refuses with a reason."""

import copy
import csv
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalbench as eb
from evalbench.errors import ReadError
from evalbench.observe.batch import decode
from evalbench.observe.formats import find_format, load_formats, openai_chat, opentelemetry
from evalbench.observe.formats.messages import to_messages
from evalbench.observe.source import read_chunks
from evalbench.schema import SPAN, VERDICT

INPUTS = sorted((Path(__file__).parent / "fixtures").glob("*/input.*"))
MODULES = {module.NAMES[0]: module for module in load_formats("auto")}


def name(path):
    return path.parent.name


def read(path):
    """Return the records of a file."""
    texts = [text for chunk in read_chunks(path) for _, text in chunk.records]
    return [record.value for text in texts for record in decode(text)]


def plain(rows, schema):
    """Return what rows say in columns of a table, JSON as objects, without what is empty."""
    return [
        {column: opened(row[column]) for column in schema if row.get(column) not in (None, [], {})}
        for row in rows
    ]


def opened(value):
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            return json.loads(value)
    return value


@pytest.mark.parametrize("path", INPUTS, ids=name)
def test_a_record_is_read_as_expected_and_left_alone(path):
    expected = json.loads((path.parent / "expected.json").read_text())
    spans, verdicts = [], []
    for record in read(path):
        before = copy.deepcopy(record)
        module = find_format(record, load_formats("auto"))
        assert module.__name__.endswith(expected["format"])
        parsed = module.parse(record, {})
        assert record == before
        spans += plain(parsed.spans, SPAN)
        verdicts += plain(parsed.verdicts, VERDICT)
    assert spans == expected["spans"]
    assert verdicts == expected["verdicts"]


@pytest.mark.parametrize("path", INPUTS, ids=name)
def test_no_format_takes_the_records_of_another(path):
    own = json.loads((path.parent / "expected.json").read_text())["format"]
    for record in read(path):
        for module in MODULES.values():
            if module is not openai_chat:  # it takes any chat, so it is asked last
                taken = find_format(record, [module]) is not None
                assert taken == module.__name__.endswith(own)


@pytest.mark.parametrize("column", "id span_id trace_id input scores timestamp type name".split())
def test_a_table_that_shares_one_column_is_of_no_format(tmp_path, column):
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[column, "customer", "amount"], ["7", "ann", "3.50"]])
    with pytest.raises(ReadError, match="of a known format"):
        eb.observe.ingest(eb.open(tmp_path / "workspace"), path, surface="support")


@pytest.mark.parametrize("path", INPUTS, ids=name)
def test_a_fixture_arrives_in_the_lake(path, tmp_path):
    expected = json.loads((path.parent / "expected.json").read_text())
    ws = eb.open(tmp_path)
    report = eb.observe.ingest(ws, path, surface="support", redact=False)
    keys = {(span["trace_id"], span["span_id"]) for span in expected["spans"]}
    assert (report.spans, report.rejected) == (len(keys), 0)
    assert set(ws.lake.verdicts().collect()["mode"]) <= {""}
    again = eb.observe.ingest(ws, path, surface="support", redact=False)
    assert (again.spans, again.rejected) == (0, 0)
    assert again.duplicates + again.collisions == again.records
    assert again.collisions == report.collisions < again.records


OTEL = {"trace_id": "t", "span_id": "s", "name": "n", "start_time": "2026-05-01T12:00:00Z"}
OBSERVATION = {"id": "o", "traceId": "t", "type": "SPAN", "startTime": "2026-05-01T12:00:00Z"}
DEEP = json.loads("[" * 200 + "]" * 200)


@pytest.mark.parametrize(
    ("source", "record", "reason"),
    [
        ("opentelemetry", {**OTEL, "attributes": "text"}, "attributes are not an object"),
        ("opentelemetry", {**OTEL, "attributes": [{"value": {}}]}, "keys and values"),
        ("opentelemetry", {"resourceSpans": [{"scopeSpans": 3}]}, "not a list of objects"),
        (
            "opentelemetry",
            {**OTEL, "attributes": {"llm.token_count.prompt": 1.5}},
            "prompt_tokens is not a whole number",
        ),
        ("opentelemetry", {**OTEL, "attributes": {"llm.cost.total": []}}, "cost_usd"),
        ("langfuse", {"observations": [3]}, "not a list of objects"),
        ("langfuse", {**OBSERVATION, "usageDetails": {"input": "x"}}, "prompt_tokens"),
        ("langfuse", {**OBSERVATION, "startTime": "soon"}, "timestamp"),
        ("langfuse", {"name": "x", "value": 1, "source": "API"}, "without a trace"),
        ("langfuse", {**OBSERVATION, "scores": [3]}, "score is not an object"),
        ("langsmith", {"id": "r", "run_type": "llm", "prompt_tokens": "x"}, "prompt_tokens"),
        ("braintrust", {"span_id": "s", "root_span_id": "r", "created": "soon"}, "timestamp"),
        ("openai-chat", {"messages": [1]}, "not a list of chat messages"),
        ("openai-chat", {"messages": [{"role": "user", "content": "a"}, 7]}, "not a chat message"),
    ],
)
def test_what_cannot_be_used_says_why(source, record, reason):
    with pytest.raises(ValueError, match=reason):
        MODULES[source].parse(record, {})


def test_the_session_is_the_first_name_of_the_list_then_the_trace():
    attributes = {}
    names = ["gen_ai.conversation.id", "session_id", "gen_ai.session.id", "session.id"]
    assert opentelemetry.parse(OTEL, {}).spans[0]["session_id"] == "t"
    for each in names:
        attributes[each] = f"from {each}"
        (row,), _ = opentelemetry.parse({**OTEL, "attributes": attributes}, {})
        assert row["session_id"] == f"from {each}"


def test_a_conversation_of_langsmith_is_in_the_metadata_and_never_the_project():
    metadata = {"thread_id": "th", "conversation_id": "conv"}
    run = {"id": "r", "run_type": "llm", "inputs": {}, "session_id": "the-project"}
    for gone, session in (("none", "conv"), ("conversation_id", "th"), ("thread_id", "r")):
        metadata.pop(gone, None)
        (row,), _ = MODULES["langsmith"].parse({**run, "extra": {"metadata": metadata}}, {})
        assert row["session_id"] == session


CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q":"x"}'}},
    {"id": "c2", "type": "function", "function": {"name": "read", "arguments": "{}"}},
]


@pytest.mark.parametrize(
    ("ids", "results"), [(("c2", "c1"), ["one", "two"]), ((None, None), ["two", "one"])]
)
def test_an_answer_goes_to_its_call_by_id_and_without_ids_in_order(ids, results):
    answers = [
        {"role": "tool", "content": content, **({"tool_call_id": each} if each else {})}
        for content, each in zip(("two", "one"), ids, strict=True)
    ]
    chat = [{"role": "assistant", "content": None, "tool_calls": CALLS}, *answers]
    spans = openai_chat.parse({"messages": chat}, {}).spans
    assert [span["tool_result"] for span in spans if span["kind"] == "tool"] == results


def test_mapped_facts_stand_on_the_first_span_of_a_chat_and_the_session_on_all():
    chat = [{"role": each, "content": "x"} for each in ("user", "assistant", "user")]
    record = {"messages": chat, "customer": {"id": 7}, "at": "2026-05-01T12:00:00Z"}
    columns = {"session_id": "u{customer.id}", "user_key": "customer.id", "timestamp": "at"}
    spans = openai_chat.parse(record, columns).spans
    assert {span["session_id"] for span in spans} == {"u7"}
    assert {span["started_at"] for span in spans} == {1_777_636_800_000_000}
    assert [span.get("user_key") for span in spans] == ["7", None]


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("plain text", None),
        ([], None),
        ({"city": "Tokyo"}, None),
        (
            {"contents": [{"role": "user", "parts": [{"inline_data": {}}, {"text": "a"}]}]},
            [{"role": "user", "content": [{"inline_data": {}}, {"type": "text", "text": "a"}]}],
        ),
        (
            {"contents": [{"role": "user", "parts": [{"function_response": {"name": "f"}}]}]},
            [{"role": "user", "content": None, "function_response": "f"}],
        ),
        (
            {"system": "s", "messages": [{"role": "user", "content": "a"}]},
            [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
        ),
        (
            {"choices": [{"message": {"role": "assistant", "content": "a", "name": "Planner"}}]},
            [{"role": "assistant", "content": "a", "name": "Planner"}],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm"},
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
                    "reasoning": "hm",
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


def leaves(value):
    """Give every text in a value, also inside texts that are JSON."""
    value = opened(value)
    if isinstance(value, dict | list):
        for held in value.values() if isinstance(value, dict) else value:
            yield from leaves(held)
    elif value is not None:
        yield value


ATTRIBUTE_NAMES = st.sampled_from(
    "input.value output.value session.id user.id metadata llm.model_name llm.provider house.own "
    "llm.input_messages.0.message.role llm.input_messages.0.message.content llm "
    "llm.input_messages.1.message.contents.0.message_content.text exception.message "
    "llm.output_messages.0.message.tool_calls.0.tool_call.id tool.parameters metadata.tier "
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments "
    "gen_ai.request.model gen_ai.response.model gen_ai.conversation.id gen_ai.prompt.0.content "
    "gen_ai.input.messages llm.input_messages.0.message.name llm.input_messages.x.message.role "
    "llm.output_messages.0.message.tool_calls.0.tool_call.kind name span_id "
    "retrieval.documents.0.document.content retrieval.documents.0.document.metadata".split()
)


@given(st.dictionaries(ATTRIBUTE_NAMES, st.integers(0, 10**6).map("v{}".format)))
def test_no_attribute_is_ever_dropped(attributes):
    (row,), _ = opentelemetry.parse({**OTEL, "attributes": attributes}, {})
    assert set(leaves(attributes)) <= set(leaves(row))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "role content parts type text tool_calls function arguments id name key value "
                "message messages lc kwargs additional_kwargs function_response system config "
                "attributes trace_id metadata usage_details input scores".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
RECORD_NAMES = {
    "langfuse": "observations trace id traceId type startTime endTime input output metadata scores "
    "usageDetails costDetails toolCalls tags timestamp value source name sessionId",
    "langsmith": "id trace_id run_type inputs outputs start_time extra tags feedback_stats error "
    "prompt_tokens total_cost prompt_token_details name",
    "braintrust": "span_id root_span_id span_parents created input output scores metadata metrics "
    "span_attributes tags error",
    "openai-chat": "messages tools session",
    "opentelemetry": "resourceSpans trace_id context start_time status attributes events name "
    "resource span_kind session_id context.span_id attributes.llm attributes.metadata "
    "attributes.llm.input_messages.0.message.tool_calls attributes.retrieval.documents",
}


@pytest.mark.parametrize("source", RECORD_NAMES)
@given(st.data())
def test_a_record_of_any_shape_is_read_or_refused_with_a_reason(source, data):
    names = st.sampled_from(RECORD_NAMES[source].split())
    record = data.draw(st.dictionaries(names, JSON, max_size=8))
    with suppress(ValueError):
        parsed = MODULES[source].parse(record, {})
        assert parsed.spans or parsed.verdicts or "resourceSpans" in record
