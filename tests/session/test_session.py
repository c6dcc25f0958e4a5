"""A session as it happened: what is told once, in which order, by whom."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import answered, llm, said, spans, user

from evalbench.session import make_session, outline

SYSTEM = {"role": "system", "content": "Be kind."}


def read(*rows, **everywhere):
    return make_session("copilot", "s", spans(*rows, **everywhere))


def story(session):
    """Say what stands in a session, one line an event."""
    lines = []
    for turn in session.turns:
        who = turn.role + (f"({turn.name})" if turn.name else "")
        lines += [f"{who}: {turn.text}"] if turn.text or not (turn.calls or turn.error) else []
        lines += [f"reasoning: {turn.reasoning}"] if turn.reasoning else []
        lines += [f"error: {turn.error}"] if turn.error else []
        for call in turn.calls:
            lines.append(f"{call.kind} {call.name} {call.arguments} -> {call.result}".rstrip())
            lines += [f"error: {call.error}"] if call.error else []
            found = (each for each in turn.documents if each.span_id == call.span_id)
            lines += [f"document {each.id}: {each.content}" for each in found]
    return lines


TWO = (("a", "weather", '{"city": "Berlin"}'), ("b", "weather", '{"city": "New York"}'))
ASKED = [user("Weather?"), said("", *TWO)]
NO_IDS = [user("Weather?"), said("", *(("", *call[1:]) for call in TWO))]


def tool(arguments, result, **fields):
    return {
        "kind": "tool",
        "tool_name": "weather",
        "tool_arguments": arguments,
        "tool_result": result,
        **fields,
    }


BERLIN, NEW_YORK = tool('{"city":"Berlin"}', "rain"), tool("{'city': 'New York'}", "sun")
BOTH = [
    "user: Weather?",
    'tool weather {"city": "Berlin"} -> rain',
    'tool weather {"city": "New York"} -> sun',
    "assistant: Rain and sun.",
]
DONE = said("Rain and sun.")
CALLS = {
    "results with ids in another order": [
        llm(ASKED[:1], ASKED[1]),
        llm([*ASKED, answered("sun", "b"), answered("rain", "a")], DONE),
    ],
    "results without ids in the order of the calls": [
        llm(NO_IDS[:1], NO_IDS[1]),
        llm([*NO_IDS, answered("rain"), answered("sun")], DONE),
    ],
    "spans that end in another order": [
        llm(ASKED[:1], ASKED[1]),
        NEW_YORK,
        BERLIN,
        llm([*ASKED, answered("rain", "a"), answered("sun", "b")], DONE),
    ],
    "spans and messages without ids, each in its own order": [
        llm(NO_IDS[:1], NO_IDS[1]),
        NEW_YORK,
        BERLIN,
        llm([*NO_IDS, answered("sun"), answered("rain")], DONE),
    ],
    "spans with the ids of their calls": [
        llm(ASKED[:1], ASKED[1]),
        tool("", "sun", attributes={"tool_call_id": "b"}),
        tool("", "rain", attributes={"tool_call_id": "a"}),
        llm([*ASKED, answered("sun", "b"), answered("rain", "a")], DONE),
    ],
    "spans logged before their call": [BERLIN, NEW_YORK, llm(ASKED, DONE)],
    "tools inside the call that asked for them": [
        llm(ASKED[:1], ASKED[1], span_id="ask"),
        {**BERLIN, "parent_id": "ask"},
        {**NEW_YORK, "parent_id": "ask"},
        llm([*ASKED, answered("rain", "a"), answered("sun", "b")], DONE),
    ],
    "only what is new": [
        llm(ASKED[:1], ASKED[1]),
        llm([answered("sun", "b"), answered("rain", "a")], DONE),
    ],
    "a whole history at once": [llm([*ASKED, answered("sun", "b"), answered("rain", "a")], DONE)],
    "outer spans that repeat a tool's output": [
        {"kind": "chain", "span_id": "root", "input": {"messages": [user("Weather?")]}},
        llm(ASKED[:1], ASKED[1], parent_id="root"),
        {
            "kind": "chain",
            "name": "tools",
            "span_id": "tools",
            "parent_id": "root",
            "input_messages": ASKED,
            "output_messages": [answered("rain", "a", name="weather"), answered("sun", "b")],
        },
        {
            "kind": "chain",
            "name": "weather",
            "parent_id": "tools",
            "input": "{'city': 'Berlin'}",
            "output_messages": [answered("rain", "a", name="weather")],
        },
        {**NEW_YORK, "parent_id": "tools"},
        llm([*ASKED, answered("rain", "a"), answered("sun", "b")], DONE, parent_id="root"),
    ],
}


@pytest.mark.parametrize("rows", CALLS.values(), ids=CALLS)
def test_a_result_hangs_on_its_call(rows):
    session = read(*rows)
    assert story(session) == BOTH
    assert session.gaps == ()


QUESTION, ANSWER = user("Hours?"), said("From nine to five, every day of the week.")
TEXT = ANSWER["content"]
ROOT = {"kind": "chain", "span_id": "root"}
INNER = llm([QUESTION], ANSWER, parent_id="root")
WRAPPED = {
    "plain": {"input": "Hours?", "output": TEXT},
    "JSON": {"input": {"question": "Hours?"}, "output": {"output": TEXT, "steps": 3}},
    "as Python writes it": {"input": "{'input': 'Hours?'}", "output": str({"output": TEXT})},
    "lists of messages": {"input_messages": [QUESTION], "output_messages": [QUESTION, ANSWER]},
    "messages in a state": {
        "input": {"messages": [QUESTION], "step": 1},
        "output": str({"messages": [QUESTION, ANSWER], "next": "end"}),
    },
    "a part of the state": {"input": {"lang": "en"}, "output": {"output": TEXT[:30], "lang": "en"}},
    "agent": {"kind": "agent", "input": "Hours?", "output": TEXT},
    "model call around a model call": {
        "kind": "llm",
        "input": {"prompt": "Hours?"},
        "output": TEXT,
    },
}


@pytest.mark.parametrize("around", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_span_around_others_adds_nothing_to_what_they_say(around, depth):
    outer = [{**ROOT, **around, "name": ""}]
    if depth == 2:
        outer.append({**outer[0], "span_id": "inner", "parent_id": "root"})
        outer[0]["kind"] = "chain"
    session = read(*outer, {**INNER, "parent_id": outer[-1]["span_id"]})
    assert story(session) == ["user: Hours?", f"assistant: {TEXT}"]
    assert session.gaps == ()


def test_what_an_outer_span_alone_says_is_shown_where_it_says_it():
    session = read({**ROOT, "input": "Are you open?", "output": {"output": "Yes: nine."}}, INNER)
    want = ["user: Are you open?", "user: Hours?", f"assistant: {TEXT}", "assistant: Yes: nine."]
    assert story(session) == want
    assert (session.first_input, session.final_output, session.n_turns) == (
        "Are you open?",
        "Yes: nine.",
        2,
    )


CHAT = [
    user("yes"),
    said("Fine."),
    user("yes"),
    user("yes"),
    said("Fine."),
    user("ok"),
    said("Bye."),
]
TOLD = [f"{message['role']}: {message['content']}" for message in CHAT]
HISTORIES = {
    "whole": [llm(CHAT[:1], CHAT[1]), llm(CHAT[:4], CHAT[4]), llm(CHAT[:6], CHAT[6])],
    "whole, a trace a question": [
        llm(CHAT[:1], CHAT[1], trace_id="1"),
        llm(CHAT[:4], CHAT[4], trace_id="2"),
        llm(CHAT[:6], CHAT[6], trace_id="3"),
    ],
    "only what is new, a trace a question": [
        llm(CHAT[:1], CHAT[1], trace_id="1"),
        llm(CHAT[2:4], CHAT[4], trace_id="2"),
        llm(CHAT[5:6], CHAT[6], trace_id="3"),
    ],
    "only what is new, as our own format": [
        llm(CHAT[:1], CHAT[1], source_format="openai-chat"),
        llm(CHAT[2:4], CHAT[4], source_format="openai-chat"),
        llm(CHAT[5:6], CHAT[6], source_format="openai-chat"),
    ],
    "trimmed": [llm(CHAT[:1], CHAT[1]), llm(CHAT[:4], CHAT[4]), llm(CHAT[3:6], CHAT[6])],
    "first call not logged": [llm(CHAT[:4], CHAT[4]), llm(CHAT[:6], CHAT[6])],
    "root texts alone": [
        {"kind": "chain", "trace_id": "1", "input": "yes", "output": "Fine."},
        llm(CHAT[2:4], CHAT[4], trace_id="2"),
        {"kind": "agent", "trace_id": "3", "input": "ok", "output": "Bye."},
    ],
}


@pytest.mark.parametrize("rows", HISTORIES.values(), ids=HISTORIES)
def test_repeated_history_is_told_once_and_a_word_said_twice_is_told_twice(rows):
    session = read(*rows)
    assert story(session) == TOLD
    assert [turn.number for turn in session.turns] == list(range(1, 8))


def test_history_that_the_product_rewrote_is_shown_and_marked():
    summary = {"role": "system", "content": "Summary: the user agreed."}
    given = [SYSTEM, summary, *CHAT[4:6]]
    last = [*given, CHAT[6], user("One more.")]
    session = read(llm([SYSTEM, *CHAT[:4]], CHAT[4]), llm(given, CHAT[6]), llm(last, said("Sure.")))
    texts = ["system: Be kind.", *TOLD[:5], "system: Summary: the user agreed.", *TOLD[5:]]
    assert story(session) == [*texts, "user: One more.", "assistant: Sure."]
    marked = {turn.text: turn.rewritten for turn in session.turns if turn.rewritten}
    assert marked == {
        "Summary: the user agreed.": "rewritten history",
        "Bye.": "given a history without turns up to 5",
    }


def test_a_call_that_failed_and_its_retry_and_a_regenerated_answer_all_stand():
    failed = llm([SYSTEM, user("Hi")], status="error", status_message="timeout")
    retried = llm([SYSTEM, user("Hi")], said("Hello."), trace_id="u")
    again = llm([SYSTEM, user("Hi")], said("Hello."), trace_id="u")
    later = llm([SYSTEM, user("Hi"), said("Hello."), user("Bye")], said("Bye."), trace_id="v")
    assert story(read(failed, retried, again, later)) == [
        "system: Be kind.",
        "user: Hi",
        "error: timeout",
        "assistant: Hello.",
        "assistant: Hello.",
        "user: Bye",
        "assistant: Bye.",
    ]


def test_reasoning_is_shown_however_it_is_named_and_beside_the_answer_it_led_to():
    item = {"role": "assistant", "type": "reasoning", "content": None, "summary": [{"text": "c"}]}
    part = [{"type": "thinking", "thinking": "d"}, {"type": "text", "text": "Four."}]
    rows = [
        llm([user("1")], said("One.", reasoning="a")),
        llm([user("2")], said("Two.", reasoning_content="b")),
        llm([user("3")], item, said("Three.")),
        llm([user("4")], {"role": "assistant", "content": part}),
    ]
    told = [(turn.text, turn.reasoning) for turn in read(*rows).turns if turn.role == "assistant"]
    assert told == [("One.", "a"), ("Two.", "b"), ("Three.", "c"), ("Four.", "d")]


def test_steps_stand_behind_the_turn_they_follow_and_what_evaluators_say_is_hidden():
    found = [{"id": "help-1", "content": "From nine.", "score": 0.9}]
    session = read(
        {"kind": "agent", "span_id": "root"},
        {"kind": "embedding", "input": "Hours?", "output": "[0.1]"},
        {"kind": "retriever", "name": "search", "parent_id": "root", "documents": found}
        | {"input": {"query": "Hours?"}},
        llm([SYSTEM, QUESTION], said("Nine."), parent_id="root"),
        {"kind": "guardrail", "name": "tone", "input": "Nine.", "output": "pass"},
        {"kind": "evaluator", "span_id": "e", "output": "fails: rude"},
        llm([user("Is this rude?")], said("Yes, rude."), parent_id="e"),
        {"kind": "chain", "name": "save", "parent_id": "root", "status": "error"},
    )
    assert story(session) == [
        "system: Be kind.",
        "user: Hours?",
        "retriever search Hours? ->",
        "document help-1: From nine.",
        "assistant: Nine.",
        "guardrail tone Nine. -> pass",
        "error save  ->",
        "error: failed without a message",
    ]


def test_a_session_without_messages_shows_what_it_did():
    session = read({"kind": "tool", "tool_name": "ping", "tool_result": "pong"})
    assert story(session) == ["tool ping  -> pong"]
    assert (session.turns[0].role, session.first_input, session.n_turns) == ("other", None, 0)
    assert read({"kind": "llm"}).turns == ()


def test_what_cannot_be_placed_is_a_gap_and_in_the_text():
    session = read(
        llm([user("Hi"), "loose"], said("Hello.")), {"kind": "llm", "input_messages": "{"}
    )
    assert session.gaps == ("loose", "{")
    assert session.text().endswith("[not placed] loose\n[not placed] {")


ANN, BOB = (
    {"role": "system", "content": "You are Ann."},
    {"role": "system", "content": "You are Bob."},
)
HANDED = said("", ("h", "transfer_to_Bob", "{}"))
OWN = said("", ("t", "ask_Bob", '{"task": "Check the flight UA-17"}'))
TEAMS = {
    "AutoGen: one list with names": (
        [
            llm([], source_format="openai-chat")
            | {"kind": "other"}
            | {
                "input_messages": [
                    {"role": "human", "content": "Plan it"},
                    {"role": "Orchestrator (thought)", "content": "Ann first"},
                    said("A plan", name="Ann"),
                    {"role": "Orchestrator (-> Bob)", "content": "Check it"},
                    said("TERMINATE", name="Bob"),
                ]
            }
        ],
        [
            "user: Plan it",
            "other(Orchestrator (thought)): Ann first",
            "assistant(Ann): A plan",
            "other(Orchestrator (-> Bob)): Check it",
            "assistant(Bob): TERMINATE",
        ],
        ("Plan it", "A plan", 1),
    ),
    "AutoGen: the log of the user's proxy": (
        [
            llm([user("TERMINATE?", name="assistant")]) | {"kind": "chain"},
            llm(
                [said("Plan it", name="user_proxy"), user("A plan", name="assistant")],
                said("TERMINATE", name="user_proxy"),
            ),
        ][1:],
        [
            "user(user_proxy): Plan it",
            "assistant(assistant): A plan",
            "user(user_proxy): TERMINATE",
        ],
        ("Plan it", "A plan", 2),
    ),
    "AutoGen: each agent is the assistant in its own list": (
        [
            {"kind": "agent", "name": "Ann", "span_id": "a"},
            llm([ANN, user("Plan it")], said("A plan"), parent_id="a"),
            {"kind": "agent", "name": "Bob", "span_id": "b"},
            llm(
                [BOB, user("Plan it"), user("A plan", name="Ann")], said("Too dear"), parent_id="b"
            ),
            {"kind": "agent", "name": "Ann", "span_id": "c"},
            llm(
                [ANN, user("Plan it"), said("A plan"), user("Too dear", name="Bob")],
                said("A cheap plan"),
                parent_id="c",
            ),
        ],
        [
            "system: You are Ann.",
            "user: Plan it",
            "assistant(Ann): A plan",
            "system: You are Bob.",
            "assistant(Bob): Too dear",
            "assistant(Ann): A cheap plan",
        ],
        ("Plan it", "A cheap plan", 1),
    ),
    "CrewAI: one agent after the other, each with a list of its own": (
        [
            {"kind": "chain", "name": "Crew.kickoff", "span_id": "crew"}
            | {"output": {"raw": "The final text of the crew", "tasks_output": ["a", "b"]}},
            {"kind": "agent", "name": "Ann._execute_core", "span_id": "a", "parent_id": "crew"},
            llm([ANN, user("Task: write")], said("A draft"), parent_id="a"),
            {"kind": "agent", "name": "Bob._execute_core", "span_id": "b", "parent_id": "crew"}
            | {"output": "The final text of the crew"},
            llm(
                [BOB, user("Task: edit\nContext: A draft")],
                said("Final Answer: The final text of the crew"),
                parent_id="b",
            ),
        ],
        [
            "system: You are Ann.",
            "user: Task: write",
            "assistant(Ann): A draft",
            "system: You are Bob.",
            "user: Task: edit\nContext: A draft",
            "assistant(Bob): Final Answer: The final text of the crew",
        ],
        ("Task: write", "Final Answer: The final text of the crew", 2),
    ),
    "LangGraph: a supervisor and its workers on one state": (
        [
            {"kind": "chain", "name": "LangGraph", "span_id": "g"}
            | {"input_messages": [user("Plan it")]}
            | {"output_messages": [user("Plan it"), said("A plan", name="ann"), said("Good.")]},
            {"kind": "chain", "name": "ann", "span_id": "n", "parent_id": "g"}
            | {"output_messages": [said("A plan", name="ann")]},
            llm([ANN, user("Plan it")], said("A plan", name="ann"), parent_id="n"),
            llm([BOB, user("Plan it"), said("A plan", name="ann")], said("Good."), parent_id="g"),
        ],
        [
            "system: You are Ann.",
            "user: Plan it",
            "assistant(ann): A plan",
            "system: You are Bob.",
            "assistant: Good.",
        ],
        ("Plan it", "Good.", 1),
    ),
    "OpenAI Agents: a handoff": (
        [
            {"kind": "agent", "name": "Ann", "span_id": "a"},
            llm([user("Refund?")], HANDED, parent_id="a"),
            {"kind": "tool", "tool_name": "transfer_to_Bob", "tool_result": "Bob", "parent_id": "a"}
            | {"tool_arguments": "{}"},
            {"kind": "agent", "name": "Bob", "span_id": "b"},
            llm([user("Refund?"), HANDED, answered("Bob", "h")], said("Done."), parent_id="b"),
        ],
        ["user: Refund?", "tool transfer_to_Bob {} -> Bob", "assistant(Bob): Done."],
        ("Refund?", "Done.", 1),
    ),
    "OpenAI Agents: an agent as a tool": (
        [
            {"kind": "agent", "name": "Ann", "span_id": "a"},
            llm([user("Fly me")], OWN, parent_id="a"),
            {"kind": "tool", "tool_name": "ask_Bob", "span_id": "k", "parent_id": "a"}
            | {"tool_arguments": '{"task":"Check the flight UA-17"}', "tool_result": "It is late"},
            {"kind": "agent", "name": "Bob", "span_id": "b", "parent_id": "k"},
            llm([BOB, user("Check the flight UA-17")], said("It is late"), parent_id="b"),
            llm([user("Fly me"), OWN, answered("It is late", "t")], said("Wait."), parent_id="a"),
        ],
        [
            "user: Fly me",
            'tool ask_Bob {"task": "Check the flight UA-17"} -> It is late',
            "system: You are Bob.",
            "assistant(Bob): It is late",
            "assistant(Ann): Wait.",
        ],
        ("Fly me", "Wait.", 1),
    ),
}


@pytest.mark.parametrize(("rows", "told", "columns"), TEAMS.values(), ids=TEAMS)
def test_a_team_of_agents_keeps_its_names(rows, told, columns):
    session = read(*rows)
    assert story(session) == told
    assert outline(spans(*rows)) == columns
    assert session.gaps == ()


def test_an_agent_with_a_history_of_its_own_is_a_thread_and_says_who_hands_it_its_task():
    session = read(*TEAMS["OpenAI Agents: an agent as a tool"][0])
    assert [(turn.thread, turn.receiver) for turn in session.turns] == [
        ("", ""),
        ("", "Bob"),
        ("Bob", ""),
        ("Bob", ""),
        ("", ""),
    ]


WORDS = st.sampled_from(["yes", "no", "ok", "Fine.", "A longer text of several words."])
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), WORDS), max_size=14)


def make_chat(turns):
    """Make a chat of roles and words: a tool answers a call of the assistant before it."""
    chat, number = [SYSTEM], 0
    for role, text in turns:
        if role == "tool":
            call = said("", (f"c{number}", "look", json.dumps({"n": number % 3})))
            chat += [call, answered(text, f"c{number}")]
            number += 1
        else:
            chat.append({"role": role, "content": text})
    return [*chat, user("last"), said("Good bye.")]


@settings(max_examples=300, deadline=None)
@given(TURNS, st.data())
def test_any_chat_comes_back_as_it_was_however_it_is_logged(turns, data):
    chat = make_chat(turns)
    rows = []
    for end, message in enumerate(chat):
        if message["role"] != "assistant" or (
            message["content"] == "" and rows and data.draw(st.sampled_from([False, False, True]))
        ):
            continue
        parent = None
        for depth in range(data.draw(st.integers(0, 2))):
            around = {"kind": data.draw(st.sampled_from(["chain", "agent"])), "name": ""}
            around |= {"span_id": f"{end}-{depth}", "parent_id": parent, "trace_id": str(end)}
            if data.draw(st.booleans()):
                around |= {"input_messages": chat[:end], "output_messages": chat[: end + 1]}
            elif message["content"]:
                around["output"] = data.draw(st.sampled_from([message["content"], str(message)]))
            rows.append(around)
            parent = around["span_id"]
        rows.append(llm(chat[:end], message, parent_id=parent, trace_id=str(end)))
        if message["content"] == "" and data.draw(st.booleans()):
            [call] = message["tool_calls"]
            rows.append(
                {"kind": "tool", "tool_name": "look", "tool_arguments": call["arguments"]}
                | {"tool_result": chat[end + 1]["content"], "trace_id": str(end)}
                | {"parent_id": parent}
            )
    flat = []
    for turn in read(*rows).turns:
        flat += [turn.text] if turn.text else []
        flat += [call.result for call in turn.calls]
    assert flat == [message["content"] for message in chat if message["content"]]


def test_two_hundred_turns_that_all_repeat_the_history_are_read_in_no_time():
    chat = [SYSTEM]
    rows = []
    for number in range(200):
        chat = [*chat, user(f"question {number} " * 20)]
        answer = said(f"answer {number} " * 20)
        rows.append(llm(chat, answer, trace_id=str(number)))
        chat = [*chat, answer]
    frame = spans(*rows)
    start = time.perf_counter()
    session = make_session("copilot", "s", frame)
    assert time.perf_counter() - start < 0.2  # 0.03 where nothing else runs
    assert [turn.text for turn in session.turns] == [message["content"] for message in chat]
