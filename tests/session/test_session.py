"""A session as it happened: what is told once, in which order, by whom."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import answered, llm, said, spans, user

from evalbench.session import make_session, outline
from evalbench.session.messages import list_spoken

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
        "name": "weather",
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
    "spans and messages without ids, each in its own order": [
        llm(NO_IDS[:1], NO_IDS[1]),
        NEW_YORK,
        BERLIN,
        llm([*NO_IDS, answered("sun"), answered("rain")], DONE),
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


ANN, BOB = ({"role": "system", "content": f"You are {name}."} for name in ("Ann", "Bob"))
AGENTS = [
    {"kind": "agent", "name": "Ann", "span_id": "a"},
    {"kind": "agent", "name": "invoke_agent Bob", "span_id": "b"},
]
HANDED = said("", ("h", "transfer_to_Bob", "{}"))
TASK = '{"task": "Check flight UA-17"}'
OWN = said("", ("t", "ask_Bob", TASK))
PLAN, PLANNED = user("Plan it"), said("A plan", name="Ann")
LOG = [
    {"role": "human", "content": "Plan it"},
    {"role": "Orchestrator (thought)", "content": "Ann first"},
    PLANNED,
    said("TERMINATE", name="Bob"),
]
FINAL = "The final text of the crew"
TEAMS = {
    "AutoGen: one list with names": (
        [{"kind": "other", "input_messages": LOG}],
        "user: Plan it | other(Orchestrator (thought)): Ann first | assistant(Ann): A plan | "
        "assistant(Bob): TERMINATE",
        ("Plan it", "A plan", 1),
    ),
    "AutoGen: the log of the user's proxy": (
        [
            llm(
                [said("Plan it", name="user_proxy"), user("A plan", name="assistant")],
                said("TERMINATE", name="user_proxy"),
            )
        ],
        "user(user_proxy): Plan it | assistant(assistant): A plan | user(user_proxy): TERMINATE",
        ("Plan it", "A plan", 2),
    ),
    "AutoGen: each agent is the assistant in its own list": (
        [
            *AGENTS,
            llm([ANN, PLAN], said("A plan"), parent_id="a"),
            llm([BOB, PLAN, user("A plan", name="Ann")], said("Too dear"), parent_id="b"),
            llm([ANN, PLAN, said("A plan"), user("Too dear")], said("Better"), parent_id="a"),
        ],
        "system: You are Ann. | user: Plan it | assistant(Ann): A plan | "
        "system: You are Bob. | assistant(Bob): Too dear | assistant(Ann): Better",
        ("Plan it", "Better", 1),
    ),
    "AutoGen: each agent's answer comes to the other under its name": (
        [
            llm([ANN, PLAN], PLANNED),
            llm([BOB, PLAN, user("A plan", name="Ann")], said("Too dear", name="Bob")),
            llm([ANN, PLAN, PLANNED, user("Too dear", name="Bob")], said("Better", name="Ann")),
        ],
        "system: You are Ann. | user: Plan it | assistant(Ann): A plan | "
        "system: You are Bob. | assistant(Bob): Too dear | assistant(Ann): Better",
        ("Plan it", "Better", 1),
    ),
    "CrewAI: one agent after the other, each with a list of its own": (
        [
            {"kind": "chain", "name": "Crew.kickoff", "span_id": "crew"}
            | {"output": {"raw": FINAL, "tasks_output": ["a", "b"]}},
            {"kind": "agent", "name": "Ann._execute_core", "span_id": "a", "parent_id": "crew"},
            llm([ANN, user("Task: write")], said("A draft"), parent_id="a"),
            {"kind": "agent", "name": "Bob._execute_core", "span_id": "b", "parent_id": "crew"}
            | {"output": FINAL},
            llm([BOB, user("Edit: A draft")], said(f"Final Answer: {FINAL}"), parent_id="b"),
        ],
        "system: You are Ann. | user: Task: write | assistant(Ann): A draft | "
        f"system: You are Bob. | user: Edit: A draft | assistant(Bob): Final Answer: {FINAL}",
        ("Task: write", f"Final Answer: {FINAL}", 2),
    ),
    "LangGraph: a supervisor and its workers on one state": (
        [
            {"kind": "chain", "name": "LangGraph", "span_id": "g", "input_messages": [PLAN]}
            | {"output_messages": [PLAN, PLANNED, said("Good.")]},
            {"kind": "chain", "name": "ann", "span_id": "n", "parent_id": "g"}
            | {"output_messages": [PLANNED]},
            llm([ANN, PLAN], PLANNED, parent_id="n"),
            llm([BOB, PLAN, PLANNED], said("Good."), parent_id="g"),
        ],
        "system: You are Ann. | user: Plan it | assistant(Ann): A plan | "
        "system: You are Bob. | assistant: Good.",
        ("Plan it", "Good.", 1),
    ),
    "OpenAI Agents: a handoff": (
        [
            *AGENTS,
            llm([QUESTION], HANDED, parent_id="a"),
            {"kind": "tool", "tool_name": "transfer_to_Bob", "tool_result": "Bob", "parent_id": "a"}
            | {"tool_arguments": "{}"},
            llm([QUESTION, HANDED, answered("Bob", "h")], said("Nine."), parent_id="b"),
        ],
        "user: Hours? | tool transfer_to_Bob {} -> Bob | assistant(Bob): Nine.",
        ("Hours?", "Nine.", 1),
    ),
    "OpenAI Agents: an agent as a tool": (
        [
            AGENTS[0],
            llm([PLAN], OWN, parent_id="a"),
            {"kind": "tool", "tool_name": "ask_Bob", "span_id": "k", "parent_id": "a"}
            | {"tool_arguments": TASK, "tool_result": "It is late"},
            AGENTS[1] | {"parent_id": "k"},
            llm([BOB, user("Check flight UA-17")], said("It is late"), parent_id="b"),
            llm([PLAN, OWN, answered("It is late", "t")], said("Wait."), parent_id="a"),
        ],
        f"user: Plan it | tool ask_Bob {TASK} -> It is late | system: You are Bob. | "
        "assistant(Bob): It is late | assistant(Ann): Wait.",
        ("Plan it", "Wait.", 1),
    ),
}


@pytest.mark.parametrize(("rows", "told", "columns"), TEAMS.values(), ids=TEAMS)
def test_a_team_of_agents_keeps_its_names(rows, told, columns):
    session = read(*rows)
    assert " | ".join(story(session)) == told
    assert outline(spans(*rows).to_dicts()) == columns
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


WORDS = ("yes", "no", "Fine.", '{"n": 1}', "A longer text of several words.")


def make_chat(rng):
    """Make any chat: words said twice, tools in parallel, results in another order."""
    chat, ids = [SYSTEM][: rng.randint(0, 1)], rng.random() < 0.6
    for turn in range(rng.randint(0, 10)):
        role = rng.choice(["user", "assistant", "tools"])
        if role != "tools":
            chat.append({"role": role, "content": rng.choice(WORDS)})
            continue
        calls = [
            (f"{turn}-{n}" if ids else "", rng.choice(["look", "find"]), f'{{"n":{n // 2}}}')
            for n in range(rng.randint(1, 3))
        ]
        chat.append(said(rng.choice(["", "Let me look."]), *calls))
        for call in rng.sample(calls, len(calls)) if ids else calls:
            chat.append(answered(rng.choice(WORDS), call[0], name=call[1]))
    return [*chat, user("last"), said("Good bye.")]


def flatten(chat):
    """Put the results of a chat on their calls, by id or in order."""
    turns = []
    for message in chat:
        if message["role"] != "tool":
            calls = [[call["id"], call["name"], None] for call in message.get("tool_calls", ())]
            turns.append((message["role"], message["content"], calls))
            continue
        wanted = [message.get("tool_call_id", ""), message["name"], None]
        next(call for call in calls if call == wanted)[2] = message["content"]
    return turns


def log_chat(chat, rng):
    """Log a chat as some product would: histories, spans around them, tools, failed tries."""
    rows, said_until, new = [], 0, rng.random() < 0.25
    one_trace = not new and rng.random() < 0.5
    for end, answer in enumerate(chat):
        if answer["role"] != "assistant" or (
            end < len(chat) - 1 and not new and rng.random() < 0.2
        ):
            continue
        history, said_until = chat[said_until if new else 0 : end], end + 1
        own = {"trace_id": "t" if one_trace else str(end), "parent_id": None}
        for depth in range(rng.randint(0, 2)):
            around = rng.choice(
                [
                    {"input_messages": chat[:end], "output_messages": chat[: end + 1]},
                    {"output_messages": [answer]},
                    {"output": rng.choice([answer["content"], str(answer)])},
                    {
                        "input": json.dumps({"question": history[-1]["content"]})
                        if history
                        else None
                    },
                ]
            )
            if history and history[-1]["role"] != "user":
                around.pop("input", None)
            name = f"{end}-{depth}"
            rows.append(own | {"kind": rng.choice(["chain", "agent"]), "name": ""} | around)
            rows[-1]["span_id"] = own["parent_id"] = name
            own["parent_id"], rows[-1]["parent_id"] = name, f"{end}-0" if depth else None
        if rng.random() < 0.1:
            rows.append(llm(history, **own) | {"status": "error", "output_messages": None})
        rows.append(llm(history, answer, **own))
        calls = flatten(chat[: end + 1 + len(answer.get("tool_calls", ()))])[-1][2]
        for call, (call_id, name, result) in zip(answer.get("tool_calls", ()), calls, strict=True):
            ran = {"tool_name": name, "tool_arguments": call["arguments"], "tool_result": result}
            if end % 2:
                rows.append(own | ran | {"kind": "tool", "attributes": {"tool_call_id": call_id}})
    return rows


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_chat_comes_back_as_it_was_however_it_is_logged(rng):
    chat = make_chat(rng)
    rows = spans(*log_chat(chat, rng)).to_dicts()
    session = make_session("copilot", "s", rows)
    assert outline(rows) == (session.first_input, session.final_output, session.n_turns)
    told = [
        (turn.role, turn.text, [[call.call_id, call.name, call.result] for call in turn.calls])
        for turn in session.turns
        if not turn.error
    ]
    assert told == flatten(chat)
    assert session.gaps == ()


def test_two_hundred_turns_that_all_repeat_the_history_are_read_in_no_time():
    chat = [SYSTEM]
    rows = []
    for number in range(200):
        chat = [*chat, user(f"question {number} " * 20)]
        answer = said(f"answer {number} " * 20)
        rows.append(llm(chat, answer, trace_id=str(number)))
        chat = [*chat, answer]
    frame = spans(*rows)
    start = time.process_time()
    session = make_session("copilot", "s", frame)
    assert time.process_time() - start < 0.2  # 0.03 on one core of today
    assert [turn.text for turn in session.turns] == [message["content"] for message in chat]


def test_a_message_whose_role_is_null_is_still_a_message():
    [message] = list_spoken('{"role": null, "content": "May I?"}', "user")
    assert (message.role, message.text) == ("assistant", "May I?")
