import copy
import json

import pytest

from evalbench.observe.formats import langfuse

UI = {
    "id": "o1",
    "traceId": "t1",
    "traceName": "chat",
    "type": "GENERATION",
    "name": "answer",
    "startTime": "2026-05-01T12:00:00.000Z",
    "endTime": "2026-05-01T12:00:02.000Z",
    "environment": "prod",
    "version": "9",
    "release": "v4",
    "userId": "u",
    "sessionId": "chat-1",
    "level": "ERROR",
    "statusMessage": "timeout",
    "providedModelName": "gpt-5",
    "modelParameters": '{"temperature":0}',
    "usageDetails": {"input": 10, "output": 5, "input_cache_read": 90, "total": 105},
    "costDetails": {"total": 0.5},
    "input": [{"role": "user", "content": "hi"}],
    "output": {"role": "assistant", "content": "ho"},
    "metadata": '{"tier": "gold", "own": 1}',
    "latencyMs": 2000,
    "tags": ["locale:de", "beta"],
    "parentObservationId": "",
    "comments": [{"content": "look"}],
}
BLOB = {
    "id": "o1",
    "trace_id": "t1",
    "type": "TOOL",
    "parent_observation_id": "o0",
    "start_time": "2026-05-01 12:00:00.000000",
    "end_time": "2026-05-01 12:00:02.000000",
    "name": "track",
    "input": '{"n":1}',
    "output": "found",
    "latency": 2000.0,
    "usage_details": "{}",
    "tool_calls": ['{"id":"c","name":"f","arguments":"{}"}'],
    "level": "WARNING",
}
SCORE = {
    "id": "sc1",
    "timestamp": "2026-05-01 12:00:00.000000",
    "trace_id": "t1",
    "observation_id": None,
    "session_id": None,
    "name": "toxicity",
    "value": 0.8,
    "source": "EVAL",
    "comment": "rude",
    "data_type": "NUMERIC",
}


def test_a_ui_observation():
    before = copy.deepcopy(UI)
    assert langfuse.matches(UI)
    (row,), verdicts = langfuse.parse(UI, {})
    assert (before, verdicts) == (UI, [])
    assert json.loads(row.pop("segments")) == {"tier": "gold", "locale": "de", "tags": "beta"}
    rest = json.loads(row.pop("attributes"))
    assert rest["modelParameters"] == '{"temperature":0}'
    assert {"traceName", "usageDetails", "latencyMs", "comments", "metadata"} <= rest.keys()
    assert {key: value for key, value in row.items() if value is not None} == {
        "span_id": "o1",
        "trace_id": "t1",
        "session_id": "chat-1",
        "user_key": "u",
        "release": "v4",
        "environment": "prod",
        "kind": "llm",
        "name": "answer",
        "started_at": 1_777_636_800_000_000,
        "latency_ms": 2000.0,
        "status": "error",
        "status_message": "timeout",
        "model": "gpt-5",
        "input": '[{"role":"user","content":"hi"}]',
        "output": '{"role":"assistant","content":"ho"}',
        "input_messages": '[{"role":"user","content":"hi"}]',
        "output_messages": '[{"role":"assistant","content":"ho"}]',
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "cached_tokens": 90,
        "cost_usd": 0.5,
        "source_format": "langfuse",
    }


def test_a_csv_row_of_text_reads_the_same():
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in UI.items()
    }
    (row,), _ = langfuse.parse(texts, {})
    (expected,), _ = langfuse.parse(UI, {})
    for column in ("prompt_tokens", "segments", "input_messages", "output_messages", "cost_usd"):
        assert row[column] == expected[column]


def test_a_blob_tool_observation_takes_its_latency_from_the_times():
    assert langfuse.matches(BLOB)
    (row,), _ = langfuse.parse(BLOB, {})
    assert (row["kind"], row["tool_name"], row["tool_arguments"]) == ("tool", "track", '{"n":1}')
    assert (row["latency_ms"], row["parent_id"], row["session_id"]) == (2000.0, "o0", "t1")
    assert row["status"] == "ok"
    (answer,) = json.loads(row["output_messages"])
    assert answer["tool_calls"] == [{"id": "c", "name": "f", "arguments": "{}"}]
    assert json.loads(row["attributes"])["level"] == "WARNING"


def test_an_automatic_score_is_a_verdict():
    assert langfuse.matches(SCORE)
    spans, (verdict,) = langfuse.parse(SCORE, {})
    assert spans == []
    assert verdict["evaluator_id"] == "langfuse/toxicity"
    assert (verdict["score"], verdict["fails"], verdict["rationale"]) == (0.8, None, "rude")
    assert (verdict["session_id"], verdict["repeat"]) == ("t1", 0)


def test_scores_of_two_observations_stay_apart_and_keep_their_key():
    scores = [{**SCORE, "observation_id": name} for name in ("a", "b", "a")]
    repeats = [langfuse.parse(score, {}).verdicts[0]["repeat"] for score in scores]
    assert repeats[0] != repeats[1]
    assert repeats[0] == repeats[2]


@pytest.mark.parametrize(
    ("score", "column", "value"),
    [
        ({"name": "user-feedback", "value": 1, "source": "API"}, "thumbs", 1),
        ({"name": "rating", "value": 4, "source": "ANNOTATION"}, "stars", 4.0),
        (
            {"name": "resolved", "value": 0, "source": "API", "data_type": "BOOLEAN"},
            "outcome",
            False,
        ),
    ],
)
def test_a_person_s_score_is_a_signal(score, column, value):
    (span,), verdicts = langfuse.parse({**SCORE, **score}, {})
    assert (span[column], span["session_id"], verdicts) == (value, "t1", [])


@pytest.mark.parametrize(
    ("score", "fails"),
    [
        ({"name": "correct", "value": 1, "data_type": "BOOLEAN"}, False),
        ({"name": "toxic", "value": 1, "data_type": "BOOLEAN"}, True),
        ({"name": "mood", "value": 1, "data_type": "BOOLEAN"}, None),
        ({"name": "x", "value": 0, "string_value": "fail", "data_type": "CATEGORICAL"}, True),
        ({"name": "x", "value": 0, "string_value": "meh", "data_type": "CATEGORICAL"}, None),
        ({"name": "rating", "value": 9, "source": "API"}, None),
    ],
)
def test_a_verdict_fails_only_where_its_words_say_so(score, fails):
    _, (verdict,) = langfuse.parse({**SCORE, **score}, {})
    assert verdict["fails"] is fails
    if score.get("string_value"):
        assert score["string_value"] in verdict["rationale"]


def test_a_whole_trace_puts_its_facts_and_scores_on_the_root():
    trace = {
        "id": "t1",
        "sessionId": "chat-2",
        "userId": "u2",
        "tags": ["tier:free"],
        "input": "hello",
        "scores": [{**SCORE, "name": "thumbs", "value": -1, "source": "API"}, SCORE],
    }
    child = {**BLOB, "id": "o2", "parent_observation_id": "o1"}
    root = {**BLOB, "parent_observation_id": None, "type": "AGENT"}
    document = {"trace": trace, "observations": [child, root]}
    assert langfuse.matches(document)
    spans, verdicts = langfuse.parse(document, {"group_key": "trace.userId"})
    assert [span["session_id"] for span in spans] == ["chat-2", "chat-2"]
    assert [span.get("thumbs") for span in spans] == [None, -1]
    assert [span.get("user_key") for span in spans] == [None, "u2"]
    assert spans[1]["segments"] == '{"tier":"free"}'
    assert json.loads(spans[1]["attributes"])["trace"]["input"] == "hello"
    assert [verdict["session_id"] for verdict in verdicts] == ["chat-2"]


def test_scores_as_python_text_and_as_a_table_of_names():
    for scores in (str([SCORE]), {"toxicity": [0.8]}, json.dumps([json.dumps(SCORE)])):
        document = {"trace": {"id": "t1", "scores": scores}, "observations": [BLOB]}
        _, (verdict,) = langfuse.parse(document, {})
        assert (verdict["evaluator_id"], verdict["score"]) == ("langfuse/toxicity", 0.8)


def test_a_trace_row_is_one_span():
    row = {"id": "t1", "timestamp": "2026-05-01T12:00:00Z", "name": "chat", "tags": "[]"}
    row |= {"bookmarked": False, "input": "a", "output": "b", "sessionId": "s", "type": ""}
    assert langfuse.matches(row)
    (span,), _ = langfuse.parse(row, {})
    assert (span["span_id"], span["trace_id"], span["session_id"]) == ("trace-t1", "t1", "s")
    assert (span["input"], span["output"]) == ("a", "b")
    assert span["started_at"] == 1_777_636_800_000_000


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"observations": [3]}, "not a list of objects"),
        ({**UI, "usageDetails": {"input": "x"}}, "input is not a number"),
        ({**UI, "startTime": "soon"}, "timestamp"),
        ({**SCORE, "trace_id": None}, "without a trace"),
        ({"trace": {"id": "t", "scores": [3]}, "observations": [BLOB]}, "score is not an object"),
    ],
)
def test_what_cannot_be_used_says_why(record, reason):
    with pytest.raises(ValueError, match=reason):
        langfuse.parse(record, {})
