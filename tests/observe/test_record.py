import datetime
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.observe.formats import langfuse, langsmith, openai_chat, opentelemetry
from evalbench.observe.record import (
    apply_columns,
    check_columns,
    from_json,
    prompt_tokens,
    resolve,
    to_json,
    to_microseconds,
    to_truth,
)

NOON = 1_777_636_800_000_000


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-01T12:00:00Z",
        "2026-05-01 12:00:00.000000",
        "2026-05-01T14:00:00+02:00",
        "2026-05-01T12:00:00.000000999Z",
        datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC),
        datetime.datetime(2026, 5, 1, 12),  # noqa: DTZ001 no zone means UTC
        NOON // 1_000_000,
        NOON // 1_000,
        NOON,
        NOON * 1_000,
        str(NOON * 1_000),
        float(NOON) / 1e6,
    ],
)
def test_a_time_is_read_in_every_spelling(value):
    assert to_microseconds(value) == NOON


@given(st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(9999, 1, 1)))  # noqa: DTZ001
def test_a_time_survives_its_iso_form(moment):
    moment = moment.replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    read = to_microseconds(moment.isoformat())
    assert epoch + datetime.timedelta(microseconds=read) == moment


@pytest.mark.parametrize("value", ["yesterday", True, [], float("inf"), "2026-13-01"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="timestamp"):
        to_microseconds(value)


def test_input_tokens_take_the_reading_that_makes_the_total():
    assert prompt_tokens(100, 20, 120, 80) == 100  # cache reads are in the input
    assert prompt_tokens(20, 20, 120, 80) == 100  # they are not
    assert prompt_tokens(10, 20, 120, 80, 10) == 100  # neither reads nor writes are
    assert prompt_tokens(5, 845, 2023, None) == 5  # nothing explains the total
    assert prompt_tokens(20, 20, None, 80) == 20


def test_a_source_is_a_field_a_path_or_a_template():
    record = {"a.b": 1, "a": {"b": 2, "c": [{"d": "x"}]}, "text": '{"k": 3}', "t": 0}
    assert resolve(record, "a.b") == 1
    assert resolve(record, "a.c.0.d") == "x"
    assert resolve(record, "text.k") == 3
    assert resolve(record, "{t}-{a.c.0.d}") == "0-x"
    assert resolve(record, "{t}-{gone}") is None
    assert resolve(record, "a.c.7.d") is None


def test_mapped_values_are_read_as_their_column_s_type():
    span = {"segments": '{"locale":"de"}'}
    record = {"reward": 1.0, "when": "2026-05-01T12:00:00Z", "plan": "gold", "chars": "7", "id": 5}
    columns = {
        "outcome": "reward",
        "timestamp": "when",
        "segments.tier": "plan",
        "edited_chars": "chars",
        "group_key": "id",
        "release": "nowhere",
    }
    apply_columns(span, record, columns)
    assert span == {
        "outcome": True,
        "started_at": NOON,
        "edited_chars": 7,
        "group_key": "5",
        "segments": '{"locale":"de","tier":"gold"}',
    }


def test_a_mapped_value_of_another_type_is_refused():
    with pytest.raises(ValueError, match="outcome is neither true nor false"):
        apply_columns({}, {"reward": 0.5}, {"outcome": "reward"})


def test_a_map_to_no_column_is_refused():
    check_columns({"messages": "traj", "segments.tier": "tier", "success": "ok"})
    with pytest.raises(ValueError, match="no column"):
        check_columns({"sesion_id": "x"})
    with pytest.raises(ValueError, match="before end of string"):
        check_columns({"session_id": "{task"})


def test_values_that_json_cannot_hold_are_a_reason_not_a_crash():
    deep = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(ValueError, match="kept as JSON"):
        to_json(deep)
    with pytest.raises(ValueError, match="kept as JSON"):
        to_json("\ud800")


@given(st.text())
def test_text_that_is_not_json_stays_itself(text):
    value = from_json(text)
    assert value is text or text[:1] in ("{", "[", '"')


def test_a_python_literal_is_read_and_a_deep_one_is_left():
    assert from_json("{'a': None, 'b': [True]}") == {"a": None, "b": [True]}
    deep = "[" * 5000 + "'a'" + "]" * 5000
    assert from_json(deep) is deep


@pytest.mark.parametrize(
    ("value", "truth"), [(1, True), (0.0, False), ("no", False), ("Success", True), ("", None)]
)
def test_truth(value, truth):
    assert to_truth(value, "outcome") is truth


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
    langfuse: "observations trace id traceId type startTime endTime input output metadata scores "
    "usageDetails costDetails toolCalls tags timestamp value source name sessionId",
    langsmith: "id trace_id run_type inputs outputs start_time extra tags feedback_stats error "
    "prompt_tokens total_cost prompt_token_details name",
    openai_chat: "messages tools session",
    opentelemetry: "resourceSpans trace_id context start_time status attributes events name "
    "resource span_kind session_id context.span_id attributes.llm attributes.metadata",
}


@pytest.mark.parametrize("module", RECORD_NAMES, ids=lambda module: module.NAMES[0])
@given(st.data())
def test_a_record_of_any_shape_is_read_or_refused_with_a_reason(module, data):
    names = st.sampled_from(RECORD_NAMES[module].split())
    record = data.draw(st.dictionaries(names, JSON, max_size=8))
    module.matches(record)
    with suppress(ValueError):
        parsed = module.parse(record, {})
        assert parsed.spans or parsed.verdicts or "resourceSpans" in record


@given(
    st.dictionaries(
        st.sampled_from(
            "llm.input_messages llm.input_messages.0.message.tool_calls gen_ai.input.messages "
            "llm.input_messages.0.message.tool_calls.0.tool_call.id gen_ai.system_instructions "
            "llm.output_messages.0.message.contents llm retrieval.documents annotations tag.tags "
            "llm.output_messages.0.message.contents.0.message_content.text metadata session.id "
            "openinference.span.kind llm.token_count.prompt input.value ai.prompt "
            "annotations.0.annotation.name annotations.0.annotation.score".split()
        ),
        JSON,
    )
)
def test_attributes_of_any_shape_are_read_or_refused_with_a_reason(attributes):
    record = {"trace_id": "t", "span_id": "s", "attributes": attributes}
    with suppress(ValueError):
        (row,), _ = opentelemetry.parse(record, {})
        assert row["span_id"] == "s"
