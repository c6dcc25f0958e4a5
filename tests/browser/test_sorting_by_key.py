"""The demo's notes made a codebook by keyboard alone, and how many keys a note takes."""

import re

import numpy as np
import pytest
from annotating import chat
from mounting import mount
from test_clusters import WIDGET, Desk

from evalbench.demo.company import load_company
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.discovery.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.widgets.desk import curate

NOTES = 121
MODES = load_company()[1].modes
TRUTH = {re.sub(r"\{\w+\}", "17", note): mode.name for mode in MODES for note in mode.notes}


@pytest.fixture
def ws(make_workspace):
    ws = make_workspace([chat(f"s{number:03d}", turns=1) for number in range(NOTES)])
    chosen = np.random.default_rng(7).permutation(sorted(TRUTH))[:NOTES]
    for number, text in enumerate(chosen.tolist()):
        session = f"s{number:03d}"
        body = {"text": text, "surface": "shop", "session_id": session}
        ws.ledger.append("note.added", session, body)
    return ws


class Analyst(Desk):
    """Somebody who knows what each note tells of, at the keyboard; counts keys and acts."""

    def __init__(self, page):
        super().__init__(page)
        self.keys = self.acts = 0

    def press(self, *keys):
        super().press(*keys)
        self.keys += len(keys)

    def type(self, text):
        super().type(text)
        self.keys += len(text)

    def told(self, act):
        self.acts += 1
        return super().told(act)

    def answer(self):
        """Answer what is asked: a number, the name of a failure, or what to strike out."""
        rows = self.root.locator(".sorting blockquote").evaluate_all(
            "all => all.map(one => one.firstChild.textContent)"
        )
        kinds = [TRUTH[row] for row in rows]
        offers = self.root.locator(".sorting .offers b").all_inner_texts()
        if len(rows) == 1 and kinds[0] in offers:
            return self.told(lambda: self.press(str(offers.index(kinds[0]) + 1)))
        bold = self.root.locator(".sorting > p b")
        believed = bold.inner_text() if len(rows) > 1 and bold.count() else ""
        kind = believed if believed in kinds else kinds[0]
        for index, each in enumerate(kinds):
            if each != kind:
                self.press(str(index + 1))
        if believed == kind:
            return self.told(lambda: self.press("Enter"))
        self.press("n")
        self.type(kind)
        return self.told(lambda: self.press("Enter"))


def test_a_hundred_notes_become_a_codebook_by_keyboard_alone(page, ws, record_property):
    mount(page, curate(Curation(ws, discover(ws, "shop", seed=7, ledger_seq=ws.ledger.head()))))
    page.wait_for_selector(f"{WIDGET}[data-mode]:not([data-mode='']) .note")
    ana = Analyst(page)
    ana.root.locator(".clusters").focus()
    ana.press("s")
    page.wait_for_selector(f"{WIDGET} .sorting blockquote")
    ana.press("o")
    page.wait_for_selector(f"{WIDGET} .reader .turn")
    ana.press("Escape")
    page.wait_for_selector(f"{WIDGET} .reader", state="hidden")
    while page.locator(f"{WIDGET} .sorting blockquote").count():
        ana.answer()
    assert (
        f"{NOTES} of {NOTES} notes sorted, {len(MODES)} failures"
        in ana.root.locator(".where").inner_text()
    )
    sorting, acts = ana.keys / NOTES, ana.acts
    sorted_modes = read_codebook(ws.ledger)
    largest = sorted(MODES, key=lambda mode: -len(held(sorted_modes)[mode.name]))[:3]
    for mode in largest:
        ana.go_to(mode.name)
        ana.chosen(ana.key(mode.name))
        ana.fill_in(promote=(mode.severity, mode.failure_class))
    drafts = [mode.name for mode in MODES if mode not in largest]
    before = read_codebook(ws.ledger)
    merging = ana.go_to(drafts[0])
    ana.press("m")
    ana.go_to(drafts[1], merging=merging)
    ana.told(lambda: ana.press("Enter"))
    assert held(read_codebook(ws.ledger)) != held(before)
    ana.told(lambda: ana.press("z"))
    assert held(read_codebook(ws.ledger)) == held(before)
    ana.go_to(drafts[2])
    ana.chosen(ana.key(drafts[2]))
    ana.press("ArrowRight", "Space", "x")
    ana.type("Apart")
    ana.told(lambda: ana.press("Enter"))
    assert held(read_codebook(ws.ledger)) != held(before)
    ana.told(lambda: ana.press("z"))
    codebook = (ana.keys - sorting * NOTES) / NOTES
    book = read_codebook(ws.ledger)
    assert held(book) == held(before)
    assert {name: len(notes) for name, notes in held(book).items()} == {
        mode.name: sum(TRUTH[text] == mode.name for text in texts(ws)) for mode in MODES
    }
    promoted = {body["mode"] for body in ws.ledger.bodies("mode.promoted").to_dicts()}
    assert {book.modes["shop", mode].name for mode in promoted} == {mode.name for mode in largest}
    record_property("keys a note, sorting", round(sorting, 2))
    record_property("keys a note, codebook", round(codebook, 2))
    record_property("acts", acts)
    assert acts <= 75
    assert sorting < 6


def held(book):
    """Give the notes of each failure mode that has any, by its name."""
    return {mode.name: sorted(mode.notes) for mode in book.modes.values() if mode.notes}


def texts(ws):
    return ws.ledger.bodies("note.added")["text"].to_list()
