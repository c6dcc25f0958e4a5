import polars as pl
import pytest
from make import llm, said, sessions, spans, user, workspace

from evalbench.errors import ReleaseError
from evalbench.release import golden
from evalbench.session import make_session

MODE = {"mode": "rude", "severity": "user impact"}


def talk(*messages, session="s1", **columns):
    """Make a session of a conversation that ends in an answer."""
    span = spans(llm(list(messages[:-1]), messages[-1]), surface="shop", session_id=session)
    row = sessions(session, release="9", segments='{"tier": "gold"}', **columns).row(0, named=True)
    return make_session("shop", session, span, row)


@pytest.fixture
def case():
    asked = user("Where is my order?"), said("That is your problem.")
    return golden.make_case(talk(*asked), "Says where the order is.", mode=MODE)


def write(ws, *cases):
    return golden.add_cases(ws, cases)


def test_a_case_is_the_conversation_up_to_the_failing_answer(case):
    assert [each["role"] for each in case.messages] == ["user"]
    assert (case.mode, case.severity, case.session_id) == ("rude", "user impact", "s1")
    assert (case.release, case.segments) == ("9", {"tier": "gold"})
    steps = [user("Hello"), said("Hi"), user("Where is it?"), said("", ("c1", "find", "{}"))]
    long = golden.make_case(talk(*steps), "Finds it.", mode=MODE)
    assert [each["content"] for each in long.messages] == ["Hello", "Hi", "Where is it?"]


def test_earlier_tool_calls_are_history_with_their_results():
    told = [user("Find it"), said("", ("c1", "find", "{}"))]
    told += [{"role": "tool", "tool_call_id": "c1", "content": "at the door"}]
    told += [said("It is at the door."), user("Which door?"), said("Ask somebody else.")]
    made = golden.make_case(talk(*told), "Says which.", mode=MODE)
    assert [each["role"] for each in made.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert made.messages[1]["tool_calls"][0]["function"]["name"] == "find"
    assert made.messages[2]["content"] == "at the door"


def test_personal_data_of_a_case_is_redacted(tmp_path, case):
    ws = workspace(tmp_path)
    asked = {"messages": (user("Write to ann@example.com"),), "expected": "Tells ann@example.com."}
    assert write(ws, case.model_copy(update=asked)) == 1
    texts = str(golden.read_cases(ws.ledger).to_dicts())
    assert "example.com" not in texts
    assert texts.count("<EMAIL_") == 2


def version(cases):
    return golden.list_suites(cases)["version"].item()


def test_a_version_is_the_content_of_the_live_cases(tmp_path, case):
    ws = workspace(tmp_path)
    other = golden.name_case(case.model_dump() | {"expected": "Apologises."})
    assert write(ws, case) == 1
    first = version(golden.read_cases(ws.ledger))
    assert write(ws, case, other) == 1
    cases = golden.read_cases(ws.ledger)
    second = version(cases)
    assert first != second
    assert version(cases.reverse()) == second
    golden.retire_case(ws.ledger, "shop", other.case[:6], reason="It asks what no policy says.")
    cases = golden.read_cases(ws.ledger)
    assert version(cases) == first
    suites = golden.list_suites(cases)
    assert suites.select("version", "cases", "retired").row(0) == (first, 1, 1)
    assert cases.filter(case=other.case)["reason"].item() == "It asks what no policy says."
    assert write(ws, other) == 1
    assert golden.list_suites(golden.read_cases(ws.ledger))["version"].item() == second


def test_who_found_a_case_and_where_is_no_part_of_its_name(case):
    moved = golden.name_case(case.model_dump() | {"session_id": "s9", "release": "10"})
    assert moved.case == case.case


def test_what_cannot_be_is_refused(tmp_path, case):
    ws = workspace(tmp_path)
    write(ws, case)
    with pytest.raises(ReleaseError, match="0 live cases of shop begin with 'zz'"):
        golden.retire_case(ws.ledger, "shop", "zz", reason="gone")
    with pytest.raises(ReleaseError, match="has no turn before"):
        golden.make_case(make_session("shop", "s0", []), "Anything.", mode=MODE)


def test_cases_are_not_mutated(tmp_path, case):
    ws = workspace(tmp_path)
    write(ws, case)
    frames = [ws.ledger.bodies(kind) for kind in golden.KINDS]
    before = [frame.clone() for frame in frames]
    golden.list_suites(golden.fold_cases(*frames))
    assert all(frame.equals(old) for frame, old in zip(frames, before, strict=True))
    assert golden.fold_cases(*frames).schema == golden.CASES
    assert golden.fold_cases(*(pl.DataFrame(schema=f.schema) for f in frames)).is_empty()
