"""A transcript in a browser: finding words and places, evidence, and what a trace cannot do."""

import json
import re
import sys

import pytest
from accessibility import find_barriers
from hostile import HOSTILE, OUTSIDE
from make import answered, llm, said, spans, user
from reading import Reader

from evalbench.label.annotation.markdown import HIDDEN
from evalbench.label.annotation.transcript import transcript
from evalbench.session import make_session

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
DOWN = '{"status": 500, "error": "refund service is down"}'
FILLER = "It costs nothing. " * 30


@pytest.fixture
def reader(page):
    return Reader(page)


def read(*rows, name="s"):
    return make_session("shop", name, spans(*rows))


def make_chat(turns=12, *, name="s", **at):
    """Make a chat of questions and answers; ``at`` has what is said instead, as at ``turn_2``."""
    told = [
        at.get(f"turn_{number}", f"Answer {number}. {FILLER}" if number % 2 == 0 else f"Q {number}")
        for number in range(1, turns + 1)
    ]
    rows = [
        llm([user(told[number])], said(told[number + 1]), trace_id=str(number))
        for number in range(0, turns, 2)
    ]
    return read(*rows, name=name)


def make_refund():
    """Make a session whose tool fails without an error of its own, before a cheerful answer."""
    call = ("1", "cancel", '{"order": 17}')
    asked = [user("Cancel it."), said("", call)]
    done = llm([*asked, answered(DOWN, "1")], said("Your order is cancelled and **refunded**!"))
    return read(llm(asked[:1], asked[1]), done)


def here(page):
    """Give the number of the turn where the keys stand, and whether it is in sight."""
    return page.evaluate("""() => {
      const box = reader.current().getBoundingClientRect();
      return [reader.currentNumber(), box.top < innerHeight && box.bottom > 0];
    }""")


def test_an_error_in_a_result_is_on_the_folded_step(reader):
    reader.show(make_refund())
    step = reader.page.locator(".step")
    assert not step.evaluate("step => step.open")
    assert step.locator(".warning").inner_text() == DOWN[1:]
    assert step.locator(".warning").is_visible()
    assert '{"order": 17}' in step.locator("summary").inner_text()


def test_turns_and_steps_are_reached_by_key_in_both_directions(reader):
    reader.show(make_chat(12))
    page = reader.page
    for number in (2, 3, 4):
        page.evaluate("reader.turn(1)")
        assert here(page) == [number, True]
    page.evaluate("reader.turn(-1)")
    assert here(page) == [3, True]
    page.evaluate("reader.goTo(12)")
    assert here(page) == [12, True]
    assert page.evaluate("reader.turn(1)") is False
    assert page.locator(".place").inner_text() == "Turn 12 of 12"
    reader.show(make_refund())
    assert page.evaluate("reader.trouble(1)") is True
    assert page.evaluate("reader.current().className") == "fold step current"
    assert page.evaluate("reader.trouble(1)") is False


def test_search_begins_at_the_turn_before_the_reader_and_counts_by_turn(reader):
    texts = {"turn_1": "refund", "turn_4": "A **refund** now, a REFUND", "turn_8": "no refund"}
    reader.show(make_chat(8, **texts))
    page = reader.page
    page.evaluate("reader.goTo(3)")
    assert reader.find("refund") == "2 of 4 in 3 turns, turn 4 (2 there)"
    page.keyboard.press("Enter")
    assert page.locator(".hits").inner_text() == "3 of 4 in 3 turns, turn 4 (2 there)"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator(".hits").inner_text() == "1 of 4 in 3 turns, turn 1 (1 there)"
    page.keyboard.press("Shift+Enter")
    assert here(page) == [8, True]
    shown = page.locator(".turn[data-hits]").evaluate_all("all => all.map(a => a.dataset.hits)")
    assert shown == ["1 hit", "2 hits", "1 hit"]
    page.keyboard.press("Escape")
    assert page.evaluate("getSelection().toString()") == "refund"
    assert page.evaluate("reader.selection().quote") == "refund"
    assert reader.page.evaluate("asked.length") == 0
    assert reader.find("a refund now") == "1 of 1 in 1 turn, turn 4 (1 there)"
    assert reader.find("elephant") == "no hits"


@pytest.mark.parametrize("raw", [False, True])
def test_search_finds_what_is_far_beyond_what_is_shown(reader, raw):
    long = "line of many 😀\n" * 20_000 + "the needle" + " and more" * 9_000
    reader.show(make_chat(4, turn_2=long))
    page = reader.page
    if raw:
        page.evaluate("new Promise(done => reader.setState({ raw: true }, done))")
    assert "needle" not in page.locator(".trace").inner_text()
    reader.find("the needle")
    page.wait_for_function("reader.state.told === '1 of 1 in 1 turn, turn 2 (1 there)'")
    page.wait_for_function("reader.search.now.range?.toString() === 'the needle'")
    page.wait_for_function("CSS.highlights.get('evalbench-hit-now').size === 1")
    top = page.evaluate("reader.search.now.range.getBoundingClientRect().top")
    assert 0 < top < 800
    page.get_by_role("button", name="Read on").first.click()
    page.wait_for_function("asked.length === 3")
    assert page.evaluate("asked[2].start") == 20_000


def test_turns_that_were_left_out_are_read_when_somebody_goes_there(reader):
    rows = [
        llm([user(f"{n} <&> " * 400)], said(f"Answer {n}: " + "x" * 2000), trace_id=str(n))
        for n in range(300)
    ]
    reader.show(read(*rows))
    page = reader.page
    assert page.locator(".turn").count() < 600
    reader.find("Answer 299:")
    page.wait_for_function("reader.search.now?.range?.toString() === 'Answer 299:'")
    assert page.locator(".turn").count() == 600
    assert page.evaluate("reader.currentNumber()") == 600
    assert page.locator(".place").inner_text() == "Turn 600 of 600"


def test_evidence_is_highlighted_and_leads_both_ways(reader):
    session = make_refund()
    quotes = ["is cancelled and refunded", "refund service is down"]
    raw = "is cancelled and **refunded**"  # selected in the raw text
    anchors = [
        {"span_id": session.turns[-1].span_id, "quote": raw, "mode": None},
        {"span_id": session.calls[0].span_id, "quote": quotes[1], "mode": None},
        {"span_id": session.turns[0].span_id, "quote": "**nowhere** to be found", "mode": None},
    ]
    reader.show(session, anchors=anchors)
    page = reader.page
    marked = "[...CSS.highlights.get('evalbench-evidence')].map(String)"
    page.wait_for_function(f"{marked}.length === 2")
    assert page.evaluate(marked) == quotes
    page.evaluate("anchor => reader.jump(anchor.span_id, anchor.quote)", anchors[1])
    box = page.evaluate("reader.evidence[1].getBoundingClientRect().toJSON()")
    assert box["width"] > 0
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    assert page.evaluate("window.anchor") == 1
    page.evaluate("reader.turn(-1)")
    assert page.evaluate("reader.here()")["quote"] == "Cancel it."


def test_the_next_session_is_ready_before_it_is_asked_for(reader):
    first, second = make_chat(4, name="a"), make_chat(4, name="b", turn_2="Second")
    reader.show(first, upcoming=transcript(second))
    page = reader.page
    page.wait_for_function("document.querySelectorAll('.session').length === 2")
    page.evaluate("window.kept = document.querySelector('.session[hidden]')")
    page.evaluate("reader.scroll(500)")
    reader.show(second)
    assert page.evaluate("kept === reader.conversation && !kept.hidden")
    page.wait_for_function("document.querySelectorAll('.session').length === 1")
    assert page.evaluate("reader.trace.current.scrollTop") == 0
    assert reader.find("Second") == "1 of 1 in 1 turn, turn 2 (1 there)"


def test_tables_keep_their_words_and_scroll(reader):
    wide = "|".join(["", *(f"Monthly{number}" for number in range(30)), ""])
    reader.show(make_chat(2, turn_2=f"{wide}\n{'|-' * 30}|\n{wide}"))
    cells = reader.page.locator("td")
    assert cells.count() == 30
    heights = cells.evaluate_all("all => all.map(each => each.clientHeight)")
    assert max(heights) < 40  # one line
    wrapper = reader.page.locator(".wide")
    assert wrapper.evaluate("it => it.scrollWidth > it.clientWidth")
    assert reader.page.evaluate("reader.trace.current.scrollWidth <= innerWidth")


def test_images_are_shown_on_a_click_and_only_those_that_the_trace_has(reader):
    outside = f"![pixel]({OUTSIDE}/pixel.png)"
    large = PIXEL[:-2] + "A" * 60_000 + "=="
    svg = "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="
    result = json.dumps({"shot": large})
    asked = said(f"Here: {PIXEL} {svg} {outside}", ("1", "shoot", "{}"))
    reader.show(
        read(llm([user("?")], asked), llm([user("?"), asked, answered(result, "1")], said("")))
    )
    page = reader.page
    page.evaluate("reader.openAll()")
    shots = page.get_by_role("button", name="Show the image")
    assert page.locator("img").count() == 0
    shots.first.click()
    assert page.locator("img").get_attribute("src") == PIXEL
    shots.first.click()  # the first says "Hide" now
    page.wait_for_function("document.querySelectorAll('img').length === 2")
    assert page.locator("img").last.get_attribute("src") == large
    assert shots.count() == 0


def test_json_is_a_tree_of_the_words_of_its_source(reader):
    order = '{"total": 1.0, "id": 12345678901234567890, "lines": ["a", "b"], "note": "x\\ny"}'
    text = f'{{"order": {order}}}'
    reader.show(make_chat(2, turn_2=text))
    tree = reader.page.locator(".tree")
    folds = tree.locator("details")
    assert folds.count() == 2
    shown = tree.inner_text()
    assert "1.0" in shown
    assert "12345678901234567890" in shown
    folds.last.locator("summary").click()
    assert tree.locator(".size").last.evaluate("it => it.dataset.size") == "4 fields"
    assert not tree.get_by_text("12345678901234567890").is_visible()
    reader.find("1234567890123")
    assert tree.get_by_text("12345678901234567890").is_visible()
    reader.page.evaluate("reader.toggleRaw()")
    assert reader.page.locator(".turn .raw").last.inner_text() == text


def test_python_and_the_page_hide_the_same_characters(reader):
    every = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    hidden = [code for code in every if HIDDEN.fullmatch(chr(code))]
    found = reader.page.evaluate("""() => {
      const codes = [];
      for (let code = 0; code < 0x110000; code += 1) {
        if (code === 0xd800) code = 0xe000;
        if (showSigns(String.fromCodePoint(code)) instanceof Array) codes.push(code);
      }
      return codes;
    }""")
    assert found == hidden
    assert len(hidden) > 4000


def test_nothing_of_a_hostile_trace_runs_loads_or_reorders(reader):
    everything = "\n\n".join(HOSTILE)
    call = {"name": f"<b onclick=1>{HOSTILE[0][:40]}", "arguments": everything}
    asked = {"role": "assistant", "content": everything, "reasoning": everything, "tool_calls": [
        {"id": "c", "type": "function", "function": call}]}  # fmt: skip
    found = [{"id": HOSTILE[1], "content": everything}]
    turned = "\u202eabc\u202c \u2067def\u2069 \u2066ghi\u2069 end"
    reader.show(read(
        llm([user(everything, name=HOSTILE[0])], asked),
        {"kind": "retriever", "name": HOSTILE[2], "documents": found},
        llm([user(everything), asked, answered(everything, "c")], said("[b](mailto:b@b.example)")),
        *(llm([user("?")], said(f"**so** {text}"), trace_id=text[:9]) for text in HOSTILE),
        llm([user("?")], said(turned), trace_id="turned"),
    ))  # fmt: skip
    page = reader.page
    page.evaluate("reader.openAll()")
    page.wait_for_timeout(200)
    assert page.evaluate("window.seized") is None
    trace = page.locator(".trace")
    within = "script, img, svg, iframe, object, style, link, base, meta, form, textarea, input"
    assert trace.locator(within).count() == 0
    links = trace.locator("a").evaluate_all(
        "all => all.map(a => [a.href.split(':')[0], a.target, a.rel])"
    )
    assert links
    assert {tuple(each) for each in links} <= {
        (scheme, "_blank", "noopener noreferrer nofollow") for scheme in ("http", "https", "mailto")
    }
    handlers = "all => all.flatMap(e => e.getAttributeNames().filter(n => /^on|^style$/.test(n)))"
    assert trace.locator("*").evaluate_all(handlers) == []
    # Each letter stands right of the one before it, though the trace asks for another order.
    places = page.evaluate("""() => {
      const words = [...document.querySelectorAll(".words")].at(-1);
      return findRanges(words, /[a-z]/g).map((range) => range.getBoundingClientRect().left);
    }""")
    assert len(places) == 12
    assert places == sorted(places)


def test_a_line_of_a_million_characters_is_laid_out_at_once(reader):
    reader.show(make_chat(2, turn_2="x" * 1_000_000))
    page = reader.page
    assert page.evaluate("reader.trace.current.scrollWidth <= innerWidth")
    milliseconds = page.evaluate("""async () => {
      const start = performance.now();
      reader.turn(1);
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return performance.now() - start;
    }""")
    assert milliseconds < 250


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_everything_unfolded_has_no_serious_barrier(page, theme, width):
    page.set_viewport_size({"width": width, "height": 800})
    reader = Reader(page, theme)
    prose = f"# Head\n\n**a** `b` [c](https://c.example)\n\n|d|\n|-|\n|e|\n\n- f {PIXEL} \u202eg"
    call = ("1", "look", '{"order": {"total": 1.0, "lines": ["a long line", "b", "c", "d", "e"]}}')
    asked = {**said(prose, call), "reasoning": prose}
    failed = {"kind": "llm", "input": "Hi", "status": "error", "status_message": "timeout"}
    session = read(
        llm([{"role": "system", "content": prose}, user(prose)], asked),
        llm([user(prose), said(prose, call), answered(DOWN, "1")], said(prose + " x" * 1000)),
        failed,
    )
    anchors = [{"span_id": session.turns[2].span_id, "quote": "total", "mode": None}]
    reader.show(session, anchors=anchors)
    page.evaluate("reader.openAll()")
    reader.find("look")
    page.evaluate("reader.turn(1)")
    assert find_barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_session_is_printed_whole(reader):
    reader.show(make_chat(40))
    pages = re.findall(rb"/Type\s*/Page\b", reader.page.pdf())
    assert len(pages) > 3
