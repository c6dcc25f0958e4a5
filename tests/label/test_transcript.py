import json
from html.parser import HTMLParser

import pytest
from make import answered, llm, said, spans, user

from evalbench.label.annotation.markdown import TAGS, escape_text, render_markdown, visible
from evalbench.label.annotation.transcript import PIECE, read_text, transcript
from evalbench.session import make_session


def read(*rows, **row):
    return make_session("copilot", "s", spans(*rows), row)


def test_the_desk_shows_the_turns_of_the_session_and_nothing_else():
    call = ("1", "look", "{}")
    found = [{"id": "d", "content": "From nine.", "score": 0.5}]
    asked = llm([user("Hours?")], said("", call, name="Ann"))
    done = llm([user("Hours?"), said("", call), answered("nine", "1")], said("Nine."))
    session = read(asked, {"kind": "retriever", "name": "search", "documents": found}, done)
    turns = transcript(session)["turns"]
    assert [(turn["number"], turn["role"], turn["speaker"]) for turn in turns] == [
        (1, "user", ""),
        (2, "assistant", "Ann"),
        (3, "assistant", ""),
    ]
    tool, retrieval = turns[1]["steps"]
    assert (tool["name"], tool["given"]["text"], tool["result"]["text"]) == ("look", "{}", "nine")
    assert [(each["id"], each["text"]) for each in retrieval["documents"]] == [("d", "From nine.")]


def test_errors_signals_and_the_reason_are_told_at_the_top():
    failed = {"kind": "llm", "input": "Hi", "status": "error", "status_message": "timeout"}
    row = {"reported": True, "thumbs": 1, "n_retries": 1, "stars": 2.0}
    item = transcript(read(failed, failed, **row), reason="reported")
    assert item["signals"] == ["Reported by the user", "2 of 5 stars", "1 tool call repeated"]
    assert [(each["text"], each["times"]) for each in item["errors"]] == [("timeout", 2)]
    assert item["reason"] == "reported"


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


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_escaped_text_is_shown_as_it_was_written_on_one_line(text):
    page = Seen(render_markdown(f"- *{escape_text(text)}*, then", of_page=True))
    assert [tag for tag, _ in page.tags] == ["ul", "li", "em"]
    assert " ".join(page.text.split()) == " ".join(f"{visible(text)}, then".split())


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
    asked = {**said(dirty, ("", dirty, dirty)), "reasoning": dirty}
    session = read(
        llm([user(dirty, name=dirty), dirty], asked),
        {"kind": "tool", "tool_name": dirty, "tool_result": dirty, "status": "error"},
        {"kind": "retriever", "name": dirty, "documents": [{"id": dirty, "content": dirty}]},
        release=dirty,
    )
    payload = json.dumps(transcript(session, reason=dirty), ensure_ascii=False)
    assert "\u202e" not in payload
    assert "\\u001b" not in payload


def test_a_message_of_five_million_characters_is_read_in_pieces_that_join_to_the_whole():
    whole = "".join(f"line {number} *of* many\n" for number in range(240_000))
    session = read(llm([user(whole)], said("Too long.")))
    item = transcript(session)
    assert len(json.dumps(item)) < 60_000
    cut = item["turns"][0]["cut"]
    assert (cut["shown"], cut["total"]) == (PIECE, len(whole))
    pieces, start = [whole[:PIECE]], cut["shown"]
    while start is not None:
        answer = read_text(session, cut["place"], start)
        pieces.append(answer["text"])
        start = answer["next"]
    assert "".join(pieces) == whole


@pytest.mark.parametrize("turns", [60, 2000])
def test_a_payload_stays_small_and_says_what_it_left_out(turns):
    rows = [
        llm([user(f"{n} <&> " * 2000)], said(f"{n} * _" * 2000), trace_id=str(n))
        for n in range(turns // 2)
    ]
    item = transcript(read(*rows))
    assert len(json.dumps(item)) < 300_000
    assert len(item["turns"]) + item["left_out"] == turns
    assert (item["left_out"] > 0) == (turns == 2000)
    assert item["turns"][0]["cut"]["total"] == len("0 <&> " * 2000)


def test_every_cut_text_is_found_again():
    long = "x" * 300
    session = read(
        llm([user(long), long * 100], {**said(long, ("1", "look", long)), "reasoning": long}),
        {"kind": "tool", "tool_name": "look", "tool_arguments": long, "tool_result": long},
        {"kind": "retriever", "input": long, "documents": [{"id": "d", "content": long}]},
        {"kind": "guardrail", "input": json.dumps({"input": long}), "output": long},
    )
    item = transcript(session, limit=100)
    cuts = []

    def collect(node):
        if isinstance(node, dict):
            cuts.extend([node["cut"]] if node.get("cut") else [])
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            collect(each)

    collect([item["turns"], item["gaps"]])
    assert len(cuts) == 10
    for cut in cuts:
        assert set(read_text(session, cut["place"], cut["shown"])["text"]) == {"x"}


@pytest.mark.parametrize(
    "place", ["turns.4.text", "turns.0.calls.0.result", "row", "text", "gaps.-1"]
)
def test_reading_on_where_nothing_is_says_so(place):
    with pytest.raises(ValueError, match="has no text"):
        read_text(read(llm([user("Hi")], said("Hello."))), place, 0)
