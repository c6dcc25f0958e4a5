import copy
import json

import pytest

from evalbench.observe.formats import langsmith

RUN = {
    "id": "r2",
    "trace_id": "r1",
    "parent_run_id": "r1",
    "dotted_order": "20260501T120000000000Zr1.20260501T120000000000Zr2",
    "name": "ChatOpenAI",
    "run_type": "llm",
    "session_id": "the-project",
    "start_time": "2026-05-01T12:00:00.000000",
    "end_time": "2026-05-01T12:00:00.250000",
    "inputs": {
        "messages": [[{"lc": 1, "id": ["langchain", "HumanMessage"], "kwargs": {"content": "hi"}}]]
    },
    "outputs": {
        "generations": [
            [
                {
                    "text": "ho",
                    "message": {
                        "lc": 1,
                        "id": ["langchain", "schema", "AIMessage"],
                        "kwargs": {"content": "ho"},
                    },
                }
            ]
        ]
    },
    "extra": {
        "metadata": {
            "thread_id": "th",
            "conversation_id": "conv",
            "ls_model_name": "gpt-5",
            "ls_provider": "openai",
            "tier": "gold",
        },
        "runtime": {"sdk": "x"},
    },
    "error": None,
    "status": "success",
    "tags": ["beta"],
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "total_cost": "0.002",
    "feedback_stats": {"user_score": {"n": 1, "avg": 1.0}, "tone": {"n": 2, "avg": 0.25}},
}


def test_a_run():
    before = copy.deepcopy(RUN)
    assert langsmith.matches(RUN)
    (row,), (verdict,) = langsmith.parse(RUN, {})
    assert before == RUN
    assert (row["span_id"], row["trace_id"], row["parent_id"]) == ("r2", "r1", "r1")
    assert (row["kind"], row["model"], row["provider"]) == ("llm", "gpt-5", "openai")
    assert (row["started_at"], row["latency_ms"]) == (1_777_636_800_000_000, 250.0)
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (7, 2, 0.002)
    assert json.loads(row["input_messages"]) == [{"role": "user", "content": "hi"}]
    assert json.loads(row["output_messages"]) == [{"role": "assistant", "content": "ho"}]
    assert json.loads(row["segments"]) == {"tier": "gold", "tags": "beta"}
    assert row["status"] == "ok"
    assert row["thumbs"] == 1
    assert (verdict["evaluator_id"], verdict["score"]) == ("langsmith/tone", 0.25)
    rest = json.loads(row["attributes"])
    assert rest["session_id"] == "the-project"
    assert rest["extra"] == RUN["extra"]
    assert {"dotted_order", "total_tokens", "feedback_stats"} <= rest.keys()


def test_the_conversation_is_in_the_metadata_and_never_the_project():
    metadata = dict(RUN["extra"]["metadata"])
    for name, session in (("none", "conv"), ("conversation_id", "th"), ("thread_id", "r1")):
        metadata.pop(name, None)
        (row,), _ = langsmith.parse({**RUN, "extra": {"metadata": metadata}}, {})
        assert row["session_id"] == session


def test_an_error_and_a_tool_of_a_row_of_text():
    row = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in RUN.items()
    }
    row |= {"run_type": "tool", "error": "boom", "inputs": '{"q": 1}', "outputs": ""}
    (span,), _ = langsmith.parse(row, {})
    assert (span["status"], span["status_message"]) == ("error", "boom")
    assert (span["tool_name"], span["tool_arguments"]) == ("ChatOpenAI", '{"q":1}')
    assert span["session_id"] == "conv"


def test_documents_of_a_retriever():
    found = [{"page_content": "text", "metadata": {"score": 0.5}, "id": 3}]
    run = {**RUN, "run_type": "retriever", "outputs": {"documents": found}}
    (span,), _ = langsmith.parse(run, {})
    assert span["documents"] == [{"id": "3", "content": "text", "score": 0.5}]


def test_an_unknown_run_type_is_other_and_kept():
    (span,), _ = langsmith.parse({**RUN, "run_type": "parser"}, {})
    assert span["kind"] == "other"
    assert json.loads(span["attributes"])["run_type"] == "parser"


@pytest.mark.parametrize("change", [{"prompt_tokens": "x"}, {"start_time": "soon"}])
def test_what_cannot_be_used_says_why(change):
    with pytest.raises(ValueError, match=r"prompt_tokens|timestamp"):
        langsmith.parse({**RUN, **change}, {})
