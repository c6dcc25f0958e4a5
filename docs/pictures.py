"""Pictures of the desk, the map and the quarterly page, of a workspace that the demo made.

    python docs/pictures.py WORKSPACE

A queue of 20 sessions is drawn in it for the desk.
"""

import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import evalbench as eb
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue, record_draw
from evalbench.label.discovery.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.observe.sampling.draw import draw
from evalbench.report.runbook import find_browser
from evalbench.schema import Design
from evalbench.widgets import desk

sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))
from annotating import FLAGS
from mounting import mount

ROOT = Path(__file__).parents[1]
FOLDER, SURFACE = ROOT / "docs" / "pictures", "support_copilot"
PAGE = ROOT / "reports" / "example" / "report.html"


def open_desk(ws):
    """Draw a queue, and open it."""
    view = eb.snapshot(ws, SURFACE)
    about = {**view.drawn_from, "design": Design()}
    items = draw(view.sessions, 20, design=Design(), rng=np.random.default_rng(7)).items
    number = record_draw(ws.ledger, items.with_columns(annotators=1), **about)
    return desk.annotate(Annotation(ws, Queue(ws.ledger, number)))


def main(workspace):
    """Write the pictures."""
    ws = eb.open(workspace, user="dora")
    found = discover(ws, SURFACE, seed=7, ledger_seq=ws.ledger.head())
    desks = {
        "desk": (open_desk(ws), ".evalbench-annotator .turn"),
        "map": (desk.curate(Curation(ws, found)), ".evalbench-clusters .note"),
    }
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for name, (widget, shown) in desks.items():
            page = browser.new_page(viewport={"width": 1200, "height": 720})
            mount(page, widget)
            page.wait_for_selector(shown)
            page.screenshot(path=FOLDER / f"{name}.png")
            page.close()
        page = browser.new_page(viewport={"width": 860, "height": 740})
        page.goto(PAGE.as_uri())
        page.screenshot(path=FOLDER / "page.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
