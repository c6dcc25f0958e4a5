"""What is selected on the page of a session is what its source says.

Raw, character by character. Else less what Markdown leaves out of its marks, and the space between
words; a string of JSON is what it stands for.
"""

import json
import re
from pathlib import Path

import pytest
from annotating import opened
from hostile import HOSTILE
from make import answered, llm, said, spans, user
from reading import Reader

import evalbench as eb
from evalbench.label.annotation.layout import lay_out
from evalbench.session import make_session, read_sessions

ROOT = Path(__file__).parents[2]
TRACES = ROOT.parent / "shared" / "data" / "traces"
MARKS = "*~#`|:-[]()!<>"
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTED = """() => [...document.querySelectorAll(".session:not([hidden]) .words")].map((words) => {
  const range = document.createRange();
  range.selectNodeContents(words);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  const [first] = words.children;
  const kind = ["tree", "plain", "raw"].find((name) => first.classList.contains(name)) ?? "prose";
  return [words.dataset.place, kind, getSelection().toString()];
})"""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAIAAAACUFjqAAAAEklEQVR4nGP8z4APMOGVHbHSAEEsARMXE+GGAAAAAElF"
)
CRAFTED = [
    "120*2 + 75*2 = 390",
    "Refund of **2*3*4 EUR** for __init__ and snake_case, not ~~5~~ 6.",
    "> 30 days is late\n>5 too\n\n- 5 °C\n+ 6\n* 7\n\n3. three\n7. seven",
    "|Month|Price|\n|:-|-:|\n|Monthly|1|\n\nafter",
    "|a|b|\n|-|-|\n|1|2|3 is left over|",
    "```python\nif x:\n    y = 1\n\n\n  z\n```\nand `code`",
    "    indented\n  code\n\ttab\t\ttabs",
    "two  spaces,   three\n\n\n\nand empty lines\n",
    "  leading and trailing  ",
    "C:\\temp\\*.txt \\(x^2\\) \\# \\d+ &lt;b&gt; &amp; &#60; <b>bold</b> <!-- x -->",
    "[help](https://a.example/ü?q=1) <https://b.example>\n[r]: /x\n[r]",
    "[t](https://a.example 'title')",
    f"![cat](data:image/gif;base64,{PIXEL}) and data:image/gif;base64,{PIXEL}",
    "# One\n## Two\nThree\n===\nFour\n---\n***\n___",
    '{"total": 1.0, "id": 12345678901234567890, "note": "a\\nb \\u00e9", "a": 1e400, "a": 2}',
    '[{"deep": [[[{"x": null}], []], {}]}, true, -0.50]',
    "{'python': None, 'ok': True, 'it': \"isn't\"}",
    '{"broken": [1, 2',
    '{"text": "{\\"inner\\": [1, 2.50, {\\"more\\": \\"a \\\\\\"b\\\\\\"\\"}]}"}',
    '{"a": 1}\n{"b": 2}\n',
    "مرحبا **بك** 120*2 \u202eabc\u202c שלום\u200f, 漢字**重点**かな\u3000全角",
    "family 👨‍👩‍👧 flag 🇩🇪 a\u200bb\u200dc soft\xadhyphen nbsp\xa0here \ufeffbom",
    "red \x1b[31mtext\x1b[0m bell\x07 null\x00 del\x7f nel\x85 ls\u2028ps\u2029",
    "carriage\r\nreturn\rand vertical\x0btab and form\x0cfeed",
    "e\u0301 é Å Å ﬁ ½ ﷽ Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "x" * 30_000 + " *end*",
    "word " * 9_000 + "**last**",
    "line *of* many 😀\n" * 3_000,
    json.dumps([{"number": number, "text": "😀 ½"} for number in range(560)]),
    "\n".join(HOSTILE),
    "**a" * 300 + "[" * 250 + "`" * 99,
]  # fmt: skip


def make_crafted(number, text):
    """Make a session that says a text everywhere: user, model, thought, tool, document."""
    call = ("1", "look", text)
    asked = {**said(text, call), "reasoning": text}
    rows = [
        llm([{"role": "system", "content": text}, user(text)], asked),
        {"kind": "retriever", "input": text, "documents": [{"id": "d", "content": text}]},
        llm([user(text), said(text, call), answered(text, "1")], said(text)),
    ]
    return make_session("shop", f"crafted {number}", spans(*rows))


def read_real(folder):
    """Read sessions of public traces; of the sample where this checkout has no public data."""
    ws = eb.open(folder)
    columns = {"messages": "traj", "outcome": "reward", "session_id": "{task_id}-{trial}"}
    if TRACES.exists():
        airline = TRACES / "taubench_gpt-4o-airline.json"
        eb.observe.ingest(ws, airline, surface="tau", columns=columns, redact=False)
        for path in sorted((TRACES / "langfuse_exports").glob("*.trace.json")):
            eb.observe.ingest(ws, path, surface="langfuse", redact=False)
    else:
        for path in sorted((ROOT / "data" / "sample").glob("*.jsonl.gz")):
            eb.observe.ingest(ws, path, surface=path.name.split(".")[0])
    table = ws.lake.sessions().select("surface", "session_id").sort("surface", "session_id")
    for (surface,), rows in table.collect().group_by("surface", maintain_order=True):
        ids = rows["session_id"].to_list()
        yield from read_sessions(ws.lake, surface, ids[:: max(1, len(ids) // 25)][:25])


def find_source(session, place):
    held = session
    for name in place.split("."):
        held = held[int(name)] if isinstance(held, tuple) else getattr(held, name)
    return held


def squeeze(text):
    return "".join(text.split())


def is_less_marks(words, source):
    """Whether words are a source without some of its marks."""
    letters = iter(words)
    wanted = next(letters, None)
    for letter in source:
        if letter == wanted:
            wanted = next(letters, None)
        elif letter not in MARKS:
            return False
    return wanted is None


def decode(source):
    """Write the strings of JSON as what they stand for, those of JSON in a string too."""

    def read(found):
        text = json.loads(found[0], strict=False)
        try:
            inside = decode(text) if isinstance(json.loads(text), list | dict) else text
        except ValueError:
            inside = text
        return f'"{inside}"'

    return STRING.sub(read, source)


def check(reader, session):
    """Check every text of a session, raw and rendered; give how many there are."""
    page = reader.page
    reader.show(session)
    page.evaluate("reader.buildAll()")
    page.evaluate("reader.openAll()")
    page.evaluate("""async () => {
      for (const words of reader.words.values()) await words.readAll();
    }""")
    rendered = page.evaluate(SELECTED)
    page.evaluate("new Promise(done => reader.setState({ raw: true }, done))")
    raw = page.evaluate(SELECTED)
    page.evaluate("new Promise(done => reader.setState({ raw: false }, done))")
    assert [place for place, _, _ in raw] == [place for place, _, _ in rendered]
    for (place, kind, words), (_, _, exact) in zip(rendered, raw, strict=True):
        source = find_source(session, place)
        assert exact == source, (session.session_id, place)
        if kind == "plain":
            assert words == source, (session.session_id, place)
        elif kind == "prose":
            assert is_less_marks(squeeze(words), squeeze(source)), (session.session_id, place)
        else:
            assert squeeze(words) == squeeze(decode(source)), (session.session_id, place)
    return {place for place, _, _ in raw}


@pytest.fixture(scope="module")
def reader(chromium):
    with opened(chromium) as page:
        yield Reader(page)


@pytest.mark.parametrize("number", range(len(CRAFTED)))
def test_selected_text_of_crafted_sessions_is_that_of_the_source(reader, number):
    session = make_crafted(number, CRAFTED[number])
    places = check(reader, session)
    assert {"text", "reasoning", "arguments", "result", "content"} <= {
        place.split(".")[-1] for place in places
    }


def test_selected_text_of_real_sessions_is_that_of_the_source(reader, tmp_path):
    sessions = list(read_real(tmp_path / "workspace"))
    assert len(sessions) >= 30
    for session in sessions:
        places = check(reader, session)
        assert {f"turns.{turn.number - 1}.text" for turn in session.turns if turn.text} <= places


def test_crafted_sessions_are_shown_in_each_way():
    laid_out = [lay_out(text[:20_000]) is not None for text in CRAFTED]
    assert 5 < sum(laid_out) < len(CRAFTED) - 5
