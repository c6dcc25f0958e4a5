"""``ingest --explain`` finds the map that a person would write, and writes nothing."""

import json
import shlex
from pathlib import Path

import polars as pl
import pytest

import evalbench as eb
from evalbench.cli import main
from evalbench.errors import ReadError
from evalbench.observe.explain import explain

TAU = Path(__file__).parents[3] / "shared/data/traces/taubench_gpt-4o-airline.json"
BRAINTRUST = Path(__file__).parent / "fixtures/braintrust_csv/input.csv"


def say(role, content, **more):
    return {"role": role, "content": content, **more}


ASKED, ANSWERED = say("user", "What is 2 + 2?"), say("assistant", "4", name="solver")
AGENTCHAT = [
    {"source": "user", "type": "TextMessage", "content": "Weather in Oslo?", "models_usage": None},
    {"source": "ann", "type": "ThoughtEvent", "content": "Ask the tool."},
    {"source": "ann", "type": "ToolCallRequestEvent"}
    | {"content": [{"id": "c", "name": "weather", "arguments": '{"city": "Oslo"}'}]},
    {"source": "ann", "type": "ToolCallExecutionEvent"}
    | {"content": [{"call_id": "c", "name": "weather", "content": "rain", "is_error": False}]},
    {"source": "ann", "type": "TextMessage", "content": "It rains."},
]
COMPLETION = json.dumps({"choices": [{"index": 0, "message": ANSWERED}]})
REQUEST = json.dumps({"model": "m", "messages": [ASKED]})
FILES = {
    "a CSV of two columns": (
        [{"input": f"Where is order {n}?", "output": "On its way."} for n in range(5)],
        "input=input output=output",
    ),
    "a CSV of two columns with names of their own": (
        [{"col a": f"Where is order {n}?", "col b": "On its way."} for n in range(5)],
        "'input=col a' 'output=col b'",
    ),
    "a table of chats": (
        [
            {
                "User Question": f"{n}?",
                "Bot Response": "Yes.",
                "Score": 3,
                "createdAt": "2026-05-01",
            }
            | {"rating": n % 5 + 1, "customerId": f"u{n // 2}", "tier": "gold", "row_id": n}
            for n in range(9)
        ],
        "'input=User Question' 'output=Bot Response' started_at=createdAt user_key=customerId "
        "stars=rating session_id=row_id segments.tier=tier",
    ),
    "AutoGen: its table of calls": (
        [
            {"id": n, "session_id": "s", "request": REQUEST, "response": COMPLETION, "cost": 0.01}
            | {"start_time": f"2026-05-01 10:00:0{n}", "end_time": "2026-05-01 10:01:00"}
            for n in range(3)
        ],
        "messages=request.messages output=response session_id=session_id started_at=start_time "
        "model=request.model cost_usd=cost",
    ),
    "AutoGen: runs with their history": (
        [
            {"is_correct": n == 1, "question": "?", "question_ID": f"q{n}", "level": 1}
            | {"history": [say("human", f"{n}?"), say("Orchestrator (thought)", "Ann"), ANSWERED]}
            for n in range(3)
        ],
        "messages=history outcome=is_correct session_id=question_ID",
    ),
    "AutoGen: the messages of one chat": ([ASKED, ANSWERED], ""),
    "AutoGen: a call of a model a line": (
        [
            {"type": "LLMCall", "messages": [ASKED], "response": json.loads(COMPLETION)}
            | {"prompt_tokens": 9, "completion_tokens": 1, "agent_id": "a/1"}
        ],
        "output=response prompt_tokens=prompt_tokens completion_tokens=completion_tokens",
    ),
}


def write(path, rows):
    """Write messages as JSON, one or all a line, rows with lists too, and others as CSV."""
    if "role" in rows[0]:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif "source" in rows[0] or any(isinstance(each, list) for each in rows[0].values()):
        path.write_text(json.dumps(rows))
    else:
        pl.DataFrame(rows).write_csv(path)
    return path


@pytest.mark.parametrize(("rows", "expected"), FILES.values(), ids=FILES)
def test_the_map_is_found_and_the_command_reads_every_row(rows, expected, tmp_path, capsys):
    path = write(tmp_path / "traces", rows)
    command = explain(path, surface="s", columns={}).splitlines()[-1]
    program, *arguments = shlex.split(command)
    assert arguments[1:4] == [str(path), "--surface", "s"]
    assert [each for each in arguments[4:] if each != "--map"] == shlex.split(expected)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--workspace", str(tmp_path / "ws")])
    assert (program, stop.value.code) == ("evalbench", 0)
    assert "rejected=0 duplicates=0" in capsys.readouterr().out


@pytest.mark.skipif(not TAU.exists(), reason="../shared/data is not there")
def test_tau_bench_is_understood_without_help():
    said = explain(TAU, surface="airline", columns={})
    assert said.endswith(
        "--surface airline --map messages=traj --map outcome=reward "
        "--map 'session_id={task_id}-{trial}' --map group_key=task_id"
    )
    assert "sessions=200 spans=3818 rejected=0" in said
    assert "[2] user: Hi! I'd like to know the sum of my gift card balances, please." in said


def test_a_known_format_is_named_with_what_told_it_and_needs_no_map():
    said = explain(BRAINTRUST, surface="bt", columns={})
    assert "braintrust, told by created, root_span_id, span_id" in said
    assert "session_id        metadata.session_id" in said
    assert said.endswith(f"evalbench ingest {BRAINTRUST} --surface bt")
    told = "[1] system: be kind|[2] user: where is my parcel?|[4] assistant: on its way"
    assert all(text in said for text in told.split("|"))


def test_an_agent_chat_reads_as_it_happened(workspace, tmp_path):
    path = write(tmp_path / "chat", AGENTCHAT)
    assert eb.observe.ingest(workspace, path, surface="s").sessions == 1
    [name] = workspace.lake.sessions(surface="s").collect()["session_id"]
    session = eb.read_session(workspace, "s", name)
    assert [(turn.role, turn.name, turn.text) for turn in session.turns if turn.text] == [
        ("user", "user", "Weather in Oslo?"),
        ("assistant", "ann", "It rains."),
    ]
    [call] = session.calls
    assert (call.name, call.result) == ("weather", "rain")
    assert "Ask the tool." in session.text()


def test_nothing_is_written_and_a_file_without_conversations_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "traces", FILES["a CSV of two columns"][0])
    explain(path, surface="s", columns={})
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(ReadError, match=r"--map input=input --map output=output$"):
        eb.observe.ingest(eb.open(tmp_path / "ws"), path, surface="s")
    write(path, [{"hash": "a", "score": 0.5, "split": "test"}])
    with pytest.raises(
        ReadError, match=r"traces: .* fields are hash, score, split.*--map messages=F"
    ):
        explain(path, surface="s", columns={})
