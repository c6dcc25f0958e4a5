"""Notes sorted into failure modes by keyboard alone, and how many keys a note takes."""

import pytest
from annotating import chat, open_lab, serving_lab, wait_for
from test_clusters import THINGS, TOPICS, WIDGET, Desk

from evalbench.label.codebook.acts import read_codebook

NAMES = {topic: text.split(" {")[0].partition(" the")[0] for topic, text in TOPICS.items()}


@pytest.fixture
def ws(make_workspace):
    ws = make_workspace([chat(f"s{number:02d}", turns=1) for number in range(72)])
    for number, (text, thing) in enumerate((t, th) for th in THINGS for t in TOPICS.values()):
        session = f"s{number:02d}"
        body = {"text": text.format(thing), "surface": "shop", "session_id": session}
        ws.ledger.append("note.added", session, body)
    return ws


def topic_of(text):
    return next(topic for topic, each in TOPICS.items() if text.split()[0] == each.split()[0])


class Analyst(Desk):
    """Somebody who knows what each note tells of, at the keyboard; counts keys and acts."""

    def __init__(self, page):
        super().__init__(page)
        self.keys = self.acts = 0

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def type(self, text):
        self.page.keyboard.type(text)
        self.keys += len(text)

    def told(self, act):
        self.acts += 1
        return super().told(act)

    def answer(self):
        """Answer what is asked: a number, the name of a new failure, or what to strike out."""
        rows = self.root.locator(".sorting blockquote").all_inner_texts()
        kinds = [topic_of(row) for row in rows]
        offers = self.root.locator(".sorting .offers b").all_inner_texts()
        if len(rows) == 1 and NAMES[kinds[0]] in offers:
            return self.told(lambda: self.press(str(offers.index(NAMES[kinds[0]]) + 1)))
        bold = self.root.locator(".sorting > p b")
        believed = bold.inner_text() if len(rows) > 1 and bold.count() else ""
        kind = next((each for each in kinds if NAMES[each] == believed), kinds[0])
        for index, each in enumerate(kinds):
            if each != kind:
                self.press(str(index + 1))
        if believed == NAMES[kind]:
            return self.told(lambda: self.press("Enter"))
        self.press("n")
        self.type(NAMES[kind])
        return self.told(lambda: self.press("Enter"))


def test_notes_are_sorted_by_keyboard_alone(page, ws):
    with serving_lab(ws, "03_discover", surface="shop", analyst="ana") as (_, address):
        open_lab(page, address, shown=f"{WIDGET}[data-mode]:not([data-mode='']) .note")
        wait_for((ws.path / "lab/result.json").exists, ws.path / "lab.log")
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
        ana.press("p")
        assert "72 of 72 notes sorted, 6 failures" in ana.root.locator(".where").inner_text()
        assert page.evaluate("window.seized") is None
    book = read_codebook(ws.ledger)
    held = {mode.name: len(mode.notes) for mode in book.modes.values() if mode.notes}
    assert held == dict.fromkeys(NAMES.values(), 12)
    assert ana.acts <= 40
    assert ana.keys / 72 < 4
