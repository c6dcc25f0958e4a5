"""Real traces come back as they were logged, and everybody reads the same text of them."""

import json
from pathlib import Path

import pytest
from judged_sessions import fill_lake, make_judge_specification
from typer.testing import CliRunner

import evalbench as eb
from evalbench.cli import app
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.classifier import features
from evalbench.evaluate.judge import make_judge
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.session import read_sessions

TRACES = Path(__file__).parents[3] / "shared/data/traces"
EXPORTS = sorted(TRACES.glob("langfuse_exports/*.trace.json"))
real = pytest.mark.skipif(not EXPORTS, reason="../shared/data is not there")


@real
def test_all_sessions_of_tau_bench_equal_their_raw_messages(workspace):
    path = TRACES / "taubench_gpt-4o-airline.json"
    columns = {"messages": "traj", "outcome": "reward", "session_id": "{task_id}-{trial}"}
    eb.observe.ingest(workspace, path, surface="airline", columns=columns, redact=False)
    raw = {f"{each['task_id']}-{each['trial']}": each for each in json.loads(path.read_bytes())}
    sessions = list(read_sessions(workspace.lake, "airline", list(raw)))
    assert [session.session_id for session in sessions] == list(raw)
    for session in sessions:
        told = []
        for turn in session.turns:
            told.append((turn.role, turn.text))
            told += [("tool", call.result) for call in turn.calls]
        messages = raw[session.session_id]["traj"]
        assert told == [(each["role"], each["content"] or "") for each in messages]
        asked = [call for each in messages for call in each.get("tool_calls") or ()]
        assert [call.call_id for call in session.calls] == [call["id"] for call in asked]
        assert session.gaps == ()


def read_expected(message):
    """Read a message of the vendor: its role, text, and the names of its calls."""
    message = message if message.keys() != {"json"} else message["json"].get("message") or {}
    content = message.get("content") or ""
    names = tuple(call["name"] for call in message.get("tool_calls") or ())
    role = "assistant" if message.get("role") == "model" else message.get("role")
    return role, content, names


@real
@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name.split("-20")[0])
def test_every_message_of_a_langfuse_export_is_a_turn_in_its_order(workspace, path):
    eb.observe.ingest(workspace, path, surface="exports", redact=False)
    [session_id] = workspace.lake.sessions(surface="exports").collect()["session_id"]
    session = eb.read_session(workspace, "exports", session_id)
    assert session.gaps == ()
    assert [turn.number for turn in session.turns] == [*range(1, len(session.turns) + 1)]
    turns = [(turn.role, turn.text, tuple(c.name for c in turn.calls)) for turn in session.turns]
    assert len(set(turns)) == len(turns)  # none of them says anything twice
    results = {call.result for call in session.calls}
    expected = json.loads(path.with_name(path.name.replace("trace", "chatml")).read_bytes())
    for sides in expected.values():
        told = [
            read_expected(message)
            for side in ("input", "output")
            for message in (sides[side].get("data", []) if sides.get(side) else [])
        ]
        at = [find_turn(turns, results, each) for each in told if each[0]]
        places = [place for place in at if place is not None]
        assert places == sorted(places)


def find_turn(turns, results, message):
    """Find the turn of a message; None where it is the result of a call."""
    role, text, names = message
    for place, turn in enumerate(turns):
        if turn[:2] == (role, text) and turn[2][: len(names)] == names:
            return place
    held = {json.dumps(text), text if isinstance(text, str) else json.dumps(text)}
    assert held & results, message
    return None


def test_desk_judge_check_classifier_and_command_line_read_the_very_same_text(workspace):
    [session_id, *_] = fill_lake(workspace, 3)
    session = eb.read_session(workspace, "support", session_id)
    text = session.text()
    _, shown = make_judge(make_judge_specification(), sessions={}).ask(session)
    assert shown.text == text
    assert features([session])["text"].item() == text
    answer = {"check": "pattern_found", "pattern": "On its way"}
    [evidence] = read_check(answer).find(session).evidence
    assert f"[{evidence['turn']}] assistant: {evidence['quote']}" in text
    drawn = {"session_id": session_id, "stratum": "all", "inclusion_probability": 1.0}
    body = {"surface": "support", "seed": 1, "design": {}, "lake_versions": {}}
    items = [drawn | {"reason": "random"}]
    number = workspace.ledger.append("queue.drawn", "support", body | {"items": items})
    item = Annotation(workspace, Queue(workspace.ledger, number)).item
    heads = [f"[{turn['number']}] {turn['role']}" for turn in item["turns"]]
    assert heads == [line.partition(":")[0] for line in text.splitlines()]
    printed = CliRunner().invoke(
        app, ["show", "support", session_id, "--workspace", str(workspace.path)]
    )
    assert printed.stdout == f"{text}\n"
    absent = CliRunner().invoke(app, ["show", "support", "no", "--workspace", str(workspace.path)])
    assert "no session 'no'" in str(absent.exception)
