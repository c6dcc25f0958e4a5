"""Every pane of the desks: seen by everybody, at each width, in any script, and on paper."""

import pytest
from accessibility import find_barriers
from annotating import WIDGET, chat
from mounting import mount
from test_nothing_lost import press, sit

from evalbench.label.discovery.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.session.copies import copy_texts
from evalbench.widgets.desk import annotate, curate

ARABIC, JAPANESE = "هل يمكنني إعادة الغلاية (kettle) خلال 30 يومًا؟", "返品したいのですが。" * 12
PANES = {
    "annotate": ((), ("1", "e"), ("l",), ("g",), ("?",), ("Escape", "s"), ("Escape", "=")),
    "curate": ((), ("s",), ("o",), ("Escape", "Escape", "p")),
}


@pytest.fixture
def desks(make_workspace):
    """Give what makes each desk, over a workspace of three scripts."""
    ws = make_workspace([chat(f"s{n:02d}", (ARABIC, JAPANESE, "So.")[n % 3]) for n in range(6)])
    copy_texts(ws.path, "shop")
    for number in range(12):
        text = f"{(ARABIC, JAPANESE, 'promises a refund')[number % 3]} {number}"
        about = {"surface": "shop", "session_id": f"s{number % 6:02d}", "text": text}
        ws.ledger.append("note.added", about["session_id"], about)
    found = discover(ws, "shop", seed=7, ledger_seq=ws.ledger.head())
    return {"annotate": lambda: annotate(sit(ws)), "curate": lambda: curate(Curation(ws, found))}


@pytest.mark.parametrize("desk", PANES)
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_no_pane_has_a_serious_barrier_or_is_cut(page, desks, desk, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    mount(page, desks[desk]())
    page.wait_for_selector(".turn" if desk == "annotate" else ".note")
    page.locator(".clusters" if desk == "curate" else ".trace").first.focus()
    for keys in PANES[desk]:
        press(page, *keys)
        page.wait_for_timeout(200)
        assert (keys, find_barriers(page)) == (keys, [])
        cut = """width => [...document.querySelectorAll(".columns > *, dialog[open]")]
          .filter((each) => each.getBoundingClientRect().right > width + 1)
          .map((each) => each.className)"""
        assert (keys, page.evaluate(cut, width)) == (keys, [])


def test_a_note_runs_as_its_script_does_and_paper_is_white(page, desks):
    page.emulate_media(color_scheme="dark")
    mount(page, desks["annotate"]())
    press(page, "n")
    page.keyboard.type(ARABIC)
    direction = "[...document.querySelectorAll('.panel textarea')].map(e => e.matches(':dir(rtl)'))"
    page.locator(f"{WIDGET} textarea").fill(ARABIC)
    assert page.evaluate(direction) == [True]
    page.locator(f"{WIDGET} textarea").fill(JAPANESE)
    assert page.evaluate(direction) == [False]
    page.emulate_media(media="print", color_scheme="dark")
    look = "getComputedStyle(document.querySelector('.evalbench')).backgroundColor"
    assert page.evaluate(look) == "rgb(255, 255, 255)"
    assert not page.locator(f"{WIDGET} > header button").first.is_visible()
    assert not page.locator(f"{WIDGET} .panel").is_visible()
    assert page.locator(f"{WIDGET} .turn").first.is_visible()
