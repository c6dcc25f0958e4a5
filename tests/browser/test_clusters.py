"""Notebook 03_discover in JupyterLab: the same acts by mouse, and by keyboard alone."""

import json

import pytest
from annotating import chat, do, open_lab, serving_lab, wait_for

WIDGET = ".evalbench-clusters"
CELLS = ".jp-Notebook .jp-Cell"
TOPICS = {
    "refund": "promises a refund of the {} after the deadline of thirty days",
    "tool": "calls search twice with wrong arguments: {}",
    "tone": "rude tone toward somebody whose {} broke",
    "language": "answers in English although they wrote German, {}",
    "address": "leaks where whoever bought our {} lives",
    "price": "invents discounts that no page lists ({})",
}
HOSTILE = '<img src="https://evil.example/x" onerror="window.seized = 1">'
THINGS = [*"kettle toaster lamp chair table desk sofa mirror carpet fridge oven".split(), HOSTILE]
FIELDS = {
    "Definition: what fails, so that two readers agree": "It promises what no policy grants.",
    "Severity": "user impact",
    "Class": "policy boundary",
}


@pytest.fixture
def ws(make_workspace):
    """Six kinds of notes, one hostile in each, and two that are said twice."""
    ws = make_workspace([chat("s00")])
    texts = [text.format(thing) for text in TOPICS.values() for thing in THINGS]
    for number, text in enumerate([*texts, texts[0], texts[13].upper()]):
        session = f"s{number:02d}"
        about = {"text": text, "surface": "shop", "session_id": session}
        ws.ledger.append("note.added", session, about)
    return ws


class Desk:
    """What an analyst does, and how many acts the desk has told of."""

    def __init__(self, page):
        self.page, self.root = page, page.locator(WIDGET)

    def group(self, topic):
        return self.root.locator(".group", has_text=topic).first

    def key(self, topic):
        return self.group(topic).get_attribute("data-mode")

    def told(self, act):
        """Do an act; give the number of its event."""
        return do(self.page, act, WIDGET)[1]

    def chosen(self, mode):
        self.page.wait_for_selector(f"{WIDGET}[data-mode='{mode}'] .note")

    def count_first(self, rows):
        """Count the notes that the first rows stand for."""
        shown = [self.root.locator(".note").nth(row).locator("b") for row in range(rows)]
        return sum(int(each.inner_text()[1:]) if each.count() else 1 for each in shown)

    def go_to(self, topic, *, merging=""):
        """Walk with arrows to a cluster, to choose it or to merge with it."""
        goal, here = self.key(topic), self.root.get_attribute("data-mode")
        rows = self.root.locator(".group").evaluate_all("all => all.map(one => one.dataset.mode)")
        order = [mode for mode in rows if mode != merging]
        steps = order.index(goal) - (-1 if merging else order.index(here))
        for _ in range(abs(steps)):
            before = None if merging else self.root.get_attribute("data-mode")
            self.press("ArrowDown" if steps > 0 else "ArrowUp")
            self.page.wait_for_function(
                "([widget, before]) => document.querySelector(widget).dataset.mode !== before",
                arg=[WIDGET, before],
                polling=5,
            )
        return goal

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text):
        self.page.keyboard.type(text)

    def fill_in(self, *, promote):
        """Promote the chosen cluster by its checklist: a definition, then what it asks."""
        self.press("p", "Tab")
        self.type(FIELDS["Definition: what fails, so that two readers agree"])
        self.press("Tab")
        for value in promote:
            self.press("Tab")
            self.type(value)
        self.press("Tab")
        return self.told(lambda: self.press("Enter"))

    def member(self, done):
        self.page.wait_for_selector(f"{WIDGET} .member >> text={done + 1} of 10")


def by_mouse(desk, merged, into, whole):
    """Merge two clusters, split one, confirm ten members and promote a mode."""
    root = desk.root

    def press(name):
        root.get_by_role("button", name=name, exact=True).click()

    desk.told(lambda: desk.group(merged).drag_to(desk.group(into)))
    desk.group(whole).click()
    desk.chosen(desk.key(whole))
    apart = desk.count_first(3)
    for row in range(3):
        root.locator(".note").nth(row).click()
    press("Split")
    root.get_by_role("textbox").fill(f"{whole} apart")
    desk.told(lambda: root.get_by_role("form").get_by_role("button", name="Split").click())
    mode = desk.key(into)
    desk.group(into).click()
    desk.chosen(mode)
    press("Confirm")
    desk.member(0)
    for done in range(10):
        desk.member(done)
        desk.told(lambda done=done: press("Does not" if done == 3 else "Belongs"))
    press("Promote")
    for label, value in FIELDS.items():
        field = root.get_by_label(label, exact=True)
        field.select_option(value) if label in ("Severity", "Class") else field.fill(value)
    desk.told(lambda: root.get_by_role("form").get_by_role("button", name="Promote").click())
    return mode, apart


def by_keyboard(desk, merged, into, whole):
    """Do the same with keys alone."""
    keys, go_to = desk.page.keyboard, desk.go_to
    desk.root.locator(".clusters").focus()
    merging = go_to(merged)
    keys.press("m")
    go_to(into, merging=merging)
    desk.told(lambda: keys.press("Enter"))
    go_to(whole)
    desk.chosen(desk.key(whole))
    keys.press("ArrowRight")
    apart = desk.count_first(3)
    for _ in range(3):
        keys.press("Space")
        keys.press("ArrowDown")
    keys.press("x")
    keys.type(f"{whole} apart")
    desk.told(lambda: keys.press("Enter"))
    keys.press("ArrowLeft")
    mode = go_to(into)
    desk.chosen(mode)
    keys.press("c")
    for done in range(10):
        desk.member(done)
        desk.told(lambda done=done: keys.press("n" if done == 3 else "y"))
    desk.fill_in(promote=("user impact", "policy boundary"))
    return mode, apart


def acts(mode, apart, merged, into, whole):
    """Kinds and what they are about, in order, of one round of acts."""
    confirmed = [("member.confirmed", mode, number != 3) for number in range(10)]
    return [
        ("codebook.proposed", "shop", 2),
        ("mode.merged", merged, into),
        ("codebook.proposed", "shop", 1),
        ("mode.split", whole, apart),
        *confirmed,
        ("mode.defined", mode, "policy boundary"),
        ("mode.promoted", mode, (10, 9)),
    ]


def read_acts(ws, since):
    """What the ledger says of the same."""
    shown = {
        "codebook.proposed": lambda body: (body["surface"], len(body["drafts"])),
        "mode.merged": lambda body: (*body["sources"], body["into"]),
        "mode.split": lambda body: (body["source"], min(map(len, body["notes"].values()))),
        "member.confirmed": lambda body: (body["mode"], body["belongs"]),
        "mode.defined": lambda body: (body["mode"], body["failure_class"]),
        "mode.promoted": lambda body: (body["mode"], (body["members"], body["belonging"])),
        "mode.undone": lambda body: (body["undoes"],),
    }
    events = ws.ledger.events(list(shown)).filter(actor="ana").to_dicts()
    return [
        (event["kind"], *shown[event["kind"]](json.loads(event["body"])))
        for event in events
        if event["seq"] > since
    ]


def test_an_analyst_makes_modes_of_clusters_by_mouse_and_by_keyboard(page, ws):
    since = ws.ledger.head()
    with serving_lab(ws, "03_discover", surface="shop", analyst="ana") as (_, address):
        open_lab(page, address, shown=f"{WIDGET}[data-mode]:not([data-mode='']) .note")
        wait_for((ws.path / "lab/result.json").exists, ws.path / "lab.log")
        desk = Desk(page)
        rounds = (("answers", "promises", "calls"), ("invents", "rude", "leaks"))
        expected = []
        cells = page.locator(CELLS).count()
        for act, round in zip((by_mouse, by_keyboard), rounds, strict=True):
            keys = [desk.key(topic) for topic in round]
            expected += acts(*act(desk, *round), *keys)
        promoted = ws.ledger.head()
        desk.told(lambda: page.keyboard.press("z"))
        expected.append(("mode.undone", promoted))
        assert page.locator(CELLS).count() == cells
        page.evaluate(
            "window.jupyterapp.commands.execute('apputils:change-theme',"
            " {theme: 'JupyterLab Dark'})"
        )
        page.wait_for_selector(f"{WIDGET}[data-theme=dark]")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        desk.group("promises").click()
        desk.chosen(desk.key("promises"))
        # Shown as the text that it is.
        assert HOSTILE in desk.root.locator(".note", has_text="evil").first.inner_text()
        assert desk.root.locator("img").count() == 0
        assert page.evaluate("window.seized") is None
    assert read_acts(ws, since) == expected
    assert ws.ledger.verify() is None
