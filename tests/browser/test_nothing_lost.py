"""Whatever the server does meanwhile, what an annotator typed is kept as it was meant."""

import pytest
from annotating import WAYS, WIDGET, chat
from mounting import mount

from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.widgets.desk import annotate

CHATS = [chat(f"s{number:02d}") for number in range(12)]


@pytest.fixture
def ws(make_workspace):
    return make_workspace(CHATS)


def sit(ws):
    return Annotation(ws, Queue(ws.ledger, ws.ledger.bodies("queue.drawn")["seq"].item()))


def read_labels(ws):
    return ws.ledger.bodies("label.set").select("session_id", "verdict", "modes").rows()


@pytest.mark.parametrize("delay", [0, 150])
def test_keys_typed_without_a_pause_label_ten_sessions_as_they_were_meant(page, ws, delay):
    mount(page, annotate(sit(ws)))
    page.wait_for_function("document.activeElement.closest('.evalbench-annotator')")
    page.evaluate("delay => { server.delay = delay }", delay)
    expected = []
    for number in range(10):
        keys, verdict, modes = WAYS[number % len(WAYS)]
        expected.append((f"s{number:02d}", verdict, modes))
        for key in keys:
            page.keyboard.press(key)
    page.wait_for_selector(f"{WIDGET}[data-session=s10][aria-busy=false]", timeout=8000)
    assert read_labels(ws) == expected
    assert ws.ledger.bodies("note.added")["text"].to_list() == ["odd"] * 2
    assert page.locator(f"{WIDGET} textarea").input_value() == ""
