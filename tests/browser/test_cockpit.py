"""The cockpit around a session, by keyboard alone: blind first, then everything at hand."""

import re

import pytest
from accessibility import find_barriers
from annotating import WIDGET, chat
from test_nothing_lost import CHATS, NOTE, notice, open_desk, press, read_labels, wait_at

from evalbench.label.codebook.acts import read_codebook
from evalbench.release.golden import read_cases
from evalbench.session.copies import copy_texts
from evalbench.widgets.screens import Annotator


@pytest.fixture
def ws(make_workspace):
    return make_workspace(CHATS)


def test_a_queue_is_blind_until_the_label_and_says_what_was_not(page, ws):
    open_desk(page, ws)
    trace = page.locator(f"{WIDGET} .session:not([hidden])")
    assert "Drawn" not in trace.inner_text()
    press(page, "p", "Enter")
    wait_at(page, "s01")
    press(page, "ArrowLeft")
    wait_at(page, "s00")
    assert "Drawn: random" in trace.inner_text()
    press(page, "ArrowRight")
    wait_at(page, "s01")
    assert "Drawn" not in trace.inner_text()
    press(page, ".")
    page.wait_for_selector(".session:not([hidden]) .why >> text=Drawn")
    press(page, "p", "Enter")
    wait_at(page, "s02")
    assert ws.ledger.bodies("label.set")["unblinded"].to_list() == [False, True]


def test_enter_submits_after_a_tool_call_was_opened(page, ws):
    open_desk(page, ws)
    page.locator(".session:not([hidden]) .step > summary").first.click()
    assert page.locator(".session:not([hidden]) details.step[open]").count() == 1
    press(page, "p", "Enter")
    wait_at(page, "s01")
    assert read_labels(ws) == [("s00", "pass", [])]


def test_one_key_makes_a_turn_the_evidence_and_both_ways_lead_to_it(page, ws):
    open_desk(page, ws)
    press(page, "1", "]", "]", "]", "e")
    listed = page.locator(f"{WIDGET} .anchors li")
    assert listed.count() == 1
    marked = "[...CSS.highlights.get('evalbench-evidence')].map(range => range.toString())"
    quote = page.locator(".anchors q").inner_text().strip('\u201c\u201d"')
    assert page.evaluate(marked) != []
    page.evaluate("document.querySelector('.trace').scrollTop = 1e9")
    page.locator(".anchors .quote").click()
    seen = """() => { const [range] = CSS.highlights.get('evalbench-evidence');
      const { top } = range.getBoundingClientRect();
      const box = document.querySelector('.trace').getBoundingClientRect();
      return box.top <= top && top < box.bottom; }"""
    page.wait_for_function(seen)
    box = page.evaluate(
        "(() => { const [range] = CSS.highlights.get('evalbench-evidence');"
        " const { x, y } = range.getClientRects()[0]; return [x + 4, y + 4]; })()"
    )
    page.mouse.click(*box)
    assert "pointed" in listed.get_attribute("class")
    press(page, "Enter")
    wait_at(page, "s01")
    [anchors] = ws.ledger.bodies("label.set")["anchors"]
    assert anchors[0]["mode"] == "ignores the question"
    assert " ".join(anchors[0]["quote"].split()).startswith(quote[:20])


def test_the_list_filters_and_jumps_by_keyboard(page, ws):
    open_desk(page, ws)
    press(page, "1", "Enter")
    wait_at(page, "s01")
    press(page, "l")
    rows = page.locator(f"{WIDGET} .items li")
    page.wait_for_function("document.querySelectorAll('.items li').length === 12")
    assert rows.first.inner_text().startswith("Question 0 of s00")
    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "Enter")
    wait_at(page, "s03")
    page.locator(".items ul").focus()
    press(page, "ArrowRight", "ArrowRight")  # those that are mine
    assert rows.count() == 1
    press(page, "Enter")
    wait_at(page, "s00")
    assert page.locator(f"{WIDGET} .mode[aria-pressed=true]").count() == 1
    outline = page.locator(f"{WIDGET} .outline li")
    assert outline.count() == 6
    outline.last.locator("button").click()
    page.wait_for_function("document.querySelector('.turn.current')?.dataset.number === '7'")


def test_keys_are_shown_and_changed_in_the_codebook_by_key(page, ws):
    open_desk(page, ws)
    keys = page.locator(f"{WIDGET} .mode kbd")
    assert keys.all_inner_texts() == ["1", "2", "3"]
    press(page, "g")
    guide = page.locator(f"{WIDGET} .guide")
    middle = page.locator(f"{WIDGET} .middle").bounding_box()
    assert guide.bounding_box()["height"] == middle["height"]  # nothing of it is clipped
    assert "Refunds within 30 days." in guide.inner_text()
    press(page, "Tab", " ")
    page.wait_for_selector(".guide >> text=press a key")
    press(page, "k")
    page.wait_for_selector(f"{WIDGET} .mode kbd >> text=k")
    assert keys.all_inner_texts() == ["2", "3", "k"]  # the others keep theirs
    press(page, "g", "k")
    pressed = page.locator(f"{WIDGET} .mode[aria-pressed=true]")
    assert pressed.inner_text().endswith("Ignores the question")
    assert read_codebook(ws.ledger).find("shop", "ignores the question").key == "k"


def test_a_mode_is_proposed_in_place_a_comment_sent_and_a_golden_case_kept(page, ws):
    open_desk(page, ws)
    press(page, "m")
    page.keyboard.type("Too slow")
    press(page, "Enter")
    page.keyboard.type("The answer comes too late.")
    press(page, "Enter")
    page.wait_for_selector(".asking", state="detached")
    assert page.locator(NOTE).input_value() == "Too slow: The answer comes too late."
    press(page, "c")
    page.keyboard.type("is this one mine?")
    press(page, "Enter")
    page.wait_for_selector(".asking", state="detached")
    press(page, "Enter")
    wait_at(page, "s01")
    assert read_codebook(ws.ledger).find("shop", "too_slow").status == "draft"
    assert ws.ledger.bodies("comment.added")["text"].to_list() == ["is this one mine?"]
    assert read_labels(ws) == [("s00", "fail", [])]
    press(page, "G")
    assert "label a session with a failure mode" in notice(page)
    press(page, "1", "Enter")
    wait_at(page, "s02")
    press(page, "G")
    page.keyboard.type("Answers within a minute.")
    press(page, "Enter")
    page.wait_for_selector(".asking", state="detached")
    case = read_cases(ws.ledger).row(0, named=True)
    assert (case["session_id"], case["expected"]) == ("s01", "Answers within a minute.")


def test_sessions_like_this_one_are_read_and_queued_without_leaving_it(page, make_workspace):
    said = ("A blue lamp.", "A red one.")
    ws = make_workspace([chat(f"s{number:02d}", said[number % 2]) for number in range(6)])
    copy_texts(ws.path, "shop")
    open_desk(page, ws)
    press(page, "1", "]", "]", "e", "=")
    alike = page.locator(f"{WIDGET} .alike")
    page.wait_for_selector(f"{WIDGET} .alike .turn")
    assert alike.locator(".near li").count() == 2  # of the lamp
    assert "Drawn" not in alike.inner_text()
    assert find_barriers(page) == []
    press(page, "x", "ArrowDown", "x", "q")
    page.wait_for_selector(f"{WIDGET} .alike >> text=count in no rate")
    page.wait_for_selector(f"{WIDGET} .alike .session:not([hidden]) >> text=Question 0 of s04")
    press(page, "Enter", "]", "/")
    page.keyboard.type("kettle")
    page.wait_for_function("document.querySelector('.alike .hits').textContent.includes('of 2')")
    press(page, "Escape", "Escape", "Escape")
    assert not alike.is_visible()
    assert page.evaluate("CSS.highlights.get('evalbench-evidence').size") == 1
    press(page, "Enter")
    wait_at(page, "s01")
    assert read_labels(ws) == [("s00", "fail", ["ignores the question"])]
    picked = ws.ledger.bodies("queue.drawn")["items"][-1]
    assert [each["inclusion_probability"] for each in picked] == [None, None]
    assert picked[0]["reason"] == "picked by hand: like s00"


def test_what_cannot_be_submitted_says_why_and_the_list_of_keys_is_whole(page, ws):
    open_desk(page, ws)
    press(page, "Enter")
    assert notice(page).startswith("Choose first")
    press(page, "f", "Escape", "Enter")
    assert "needs a note" in notice(page)
    press(page, "Escape", "?")
    listed = " ".join(page.locator(f"{WIDGET} .sheet dt").all_inner_texts()).split()
    script = Annotator().get_state()["_esm"]
    pressed = set(re.findall(r"^    (\w): \(\) =>", script, flags=re.MULTILINE))
    assert pressed | set('?]["{}./') - {'"'} <= {sign for each in listed for sign in each}
    press(page, "?")
    assert not page.locator(f"{WIDGET} .sheet:not(.alike)").is_visible()
