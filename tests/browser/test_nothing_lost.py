"""Whatever the server does meanwhile, what an annotator typed is kept as it was meant."""

import pytest
from annotating import WAYS, WIDGET, chat
from mounting import mount

from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.label.annotation.retraction import read_bodies, read_notes
from evalbench.widgets.desk import annotate

CHATS = [chat(f"s{number:02d}") for number in range(12)]
NOTE = f"{WIDGET} textarea"


@pytest.fixture
def ws(make_workspace):
    return make_workspace(CHATS)


def sit(ws):
    return Annotation(ws, Queue(ws.ledger, ws.ledger.bodies("queue.drawn")["seq"].item()))


def open_desk(page, ws):
    mount(page, annotate(sit(ws)))
    page.wait_for_function("document.activeElement.closest('.evalbench-annotator')")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def wait_at(page, session):
    page.wait_for_selector(f"{WIDGET}[data-session={session}][aria-busy=false]", timeout=15_000)


def read_labels(ws):
    return read_bodies(ws.ledger, "label.set").select("session_id", "verdict", "modes").rows()


def notice(page):
    return page.locator(f"{WIDGET} .notice").inner_text()


@pytest.mark.parametrize("delay", [0, 150])
def test_keys_typed_without_a_pause_label_ten_sessions_as_they_were_meant(page, ws, delay):
    open_desk(page, ws)
    page.evaluate("delay => { server.delay = delay }", delay)
    expected = []
    for number in range(10):
        keys, verdict, modes = WAYS[number % len(WAYS)]
        expected.append((f"s{number:02d}", verdict, modes))
        press(page, *keys)
    wait_at(page, "s10")
    assert read_labels(ws) == expected
    assert ws.ledger.bodies("note.added")["text"].to_list() == ["odd"] * 2
    assert page.locator(NOTE).input_value() == ""


def test_a_server_that_stops_for_ten_seconds_loses_nothing_and_what_is_said_is_true(page, ws):
    open_desk(page, ws)
    page.evaluate("server.stopped = true")
    press(page, "p", "Enter")
    assert notice(page) == ""
    press(page, "f", "o", "d", "d")
    assert "4 keys waiting" in page.locator(f"{WIDGET} .tick").inner_text()
    page.wait_for_timeout(2_000)
    assert "has not answered yet" in notice(page)
    assert page.locator(WIDGET).get_attribute("data-session") == "s00"
    page.wait_for_timeout(8_500)
    assert "not known yet whether this was saved" in notice(page)
    assert read_labels(ws) == []
    page.evaluate("server.stopped = false")
    wait_at(page, "s01")
    page.wait_for_function("note => document.querySelector(note).value === 'odd'", arg=NOTE)
    assert notice(page) == ""
    assert read_labels(ws) == [("s00", "pass", [])]
    press(page, "Control+Enter")
    wait_at(page, "s02")
    assert read_labels(ws)[1:] == [("s01", "fail", [])]


def test_a_label_whose_receipt_was_lost_is_sent_again_and_given_once(page, ws):
    open_desk(page, ws)
    page.evaluate("server.lost = 1")
    press(page, "1", "Enter")
    page.evaluate("server.say('gone')")
    assert "The server is gone" in notice(page)
    page.evaluate("server.say('back')")
    wait_at(page, "s01")
    assert notice(page) == ""
    assert read_labels(ws) == [("s00", "fail", ["ignores the question"])]
    assert ws.ledger.bodies("label.set").height == 1


def test_what_was_typed_outlives_the_page(page, ws):
    open_desk(page, ws)
    press(page, "2", "f")
    page.keyboard.type("a refund nobody asked for")
    page.close()
    page = page.context.new_page()
    open_desk(page, ws)
    assert page.locator(NOTE).input_value() == "a refund nobody asked for"
    assert page.locator(f"{WIDGET} .mode[aria-pressed=true]").inner_text().endswith("policy")
    page.evaluate("server.stopped = true")
    press(page, "Enter")  # and goes before it is answered
    page.close()
    page = page.context.new_page()
    open_desk(page, ws)
    wait_at(page, "s01")
    assert read_labels(ws) == [("s00", "fail", ["invents a policy"])]
    assert page.locator(NOTE).input_value() == ""
    page.close()


def test_two_tabs_are_told_and_overwrite_nothing(page, ws):
    other = page.context.new_page()
    open_desk(page, ws)
    assert page.locator(".twin").count() == 0
    open_desk(other, ws)
    for each in (page, other):
        assert each.locator(".twin").inner_text() == "also open in another tab"
    press(page, "p", "Enter")
    wait_at(page, "s01")
    press(other, "1", "Enter")
    other.wait_for_function("document.querySelector('.notice').textContent.includes('elsewhere')")
    assert read_labels(ws) == [("s00", "pass", [])]
    other.close()
    page.wait_for_selector(".twin", state="detached")


def test_undo_and_redo_by_key_say_what_they_do(page, ws):
    open_desk(page, ws)
    press(page, "f", "o", "d", "d", "Control+Enter")
    wait_at(page, "s01")
    press(page, "s", "1")
    wait_at(page, "s02")
    tick = page.locator(f"{WIDGET} .tick")
    press(page, "z")
    wait_at(page, "s01")
    assert tick.inner_text() == "Undone: the skip"
    press(page, "z")
    wait_at(page, "s00")
    assert tick.inner_text() == "Undone: the label 'fail' and its note"
    assert page.locator(NOTE).input_value() == "odd"  # to be given again, or changed
    assert read_labels(ws) == []
    assert read_notes(ws.ledger)["text"].to_list() == []
    press(page, "Shift+Z")
    wait_at(page, "s01")
    press(page, "Shift+Z")
    wait_at(page, "s02")
    assert tick.inner_text() == "Done again: the skip"
    assert read_labels(ws) == [("s00", "fail", [])]
    assert read_notes(ws.ledger)["text"].to_list() == ["odd"]


def test_a_note_comes_back_with_its_label_and_goes_with_its_failure(page, ws):
    open_desk(page, ws)
    press(page, "f", "o", "d", "d", "Control+Enter")
    wait_at(page, "s01")
    press(page, "ArrowLeft")
    wait_at(page, "s00")
    assert page.locator(NOTE).input_value() == "odd"
    press(page, "p")
    assert page.locator(NOTE).input_value() == ""
    press(page, "f", "Escape")
    assert page.locator(NOTE).input_value() == "odd"  # nothing is lost on the way
    press(page, "p", "Enter")
    wait_at(page, "s01")
    assert read_labels(ws) == [("s00", "fail", []), ("s00", "pass", [])]
    assert read_notes(ws.ledger)["text"].to_list() == []  # none becomes a cluster
