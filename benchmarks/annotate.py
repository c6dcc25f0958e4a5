"""How long an annotator waits, how many keys a label takes, and what is lost when the server stops.

In a real browser, on the page of ``evalbench annotate``. Timed in the page: from the press of
Enter, which sends the label to the ledger and back, to the frame that shows the next session, whose
elements are all in the page. The parts are labels, typing, stops and people.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from claims import claim, run_parts, show
from playwright.sync_api import Page, sync_playwright

from evalbench.report.runbook import find_browser
from evalbench.store.workspace import Workspace, open_workspace
from evalbench.widgets.server import make_key

sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))
from annotating import FLAGS, PASS, WAYS, WIDGET, chat, do, fill, open_page, serving_page

SESSIONS, WARM_UP, TURNS = 64, 3, 50
READING = 400  # milliseconds before a session is labelled; nobody reads faster
TARGET = 100
STOPPED = 10  # seconds
FAIL = ("1", "Enter")
WATCH = """() => {
  const root = document.querySelector(".evalbench-annotator");
  window.waits = [];
  window.keys = 0;
  let pressed = 0;
  const note = () => { window.keys += 1; pressed = performance.now(); };
  window.addEventListener("keydown", note, true);
  new MutationObserver(() => requestAnimationFrame(() => {
    const whole = root.querySelectorAll(".session:not([hidden]) .turn").length;
    // A task after the frame's own: by then it is painted.
    const painted = new MessageChannel();
    painted.port1.onmessage = () => window.waits.push([performance.now() - pressed, whole]);
    painted.port2.postMessage(0);
  })).observe(root, { attributeFilter: ["data-session"] });
}"""


@contextmanager
def desk(sessions: int, turns: int) -> Iterator[tuple[Workspace, Page, Any, str]]:
    """Serve a queue; give its workspace, an open page, the server's process and the address."""
    with tempfile.TemporaryDirectory() as folder:
        chats = [chat(f"s{number:03d}", turns=turns) for number in range(sessions)]
        ws = fill(Path(folder), chats)
        with sync_playwright() as playwright, serving_page(ws) as (server, address):
            browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
            page = open_desk(browser, address)
            yield ws, page, server, address
            browser.close()


def open_desk(browser: Any, address: str) -> Page:
    """Open the page as somebody of their own."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page = context.new_page()
    open_page(page, address)
    page.wait_for_function("document.activeElement.closest('.evalbench-annotator')")
    return page


def press(page: Page, keys: tuple[str, ...]) -> None:
    """Press keys one after another, as fast as the browser takes them."""
    for key in keys:
        page.keyboard.press(key)


def wait_at(page: Page, session: str) -> None:
    """Wait until a session can be labelled."""
    page.wait_for_selector(f"{WIDGET}[data-session={session}][aria-busy=false]", timeout=60_000)


def read_labels(ws: Workspace) -> list[tuple[Any, ...]]:
    """Read who said what, in its order."""
    return ws.ledger.bodies("label.set").select("session_id", "verdict", "modes").rows()


def measure_labels(holds: list[bool]) -> None:
    """Label every session, by turns as a pass and by one failure mode."""
    with desk(SESSIONS, TURNS) as (ws, page, _, _):
        page.evaluate(WATCH)
        for number in range(SESSIONS - 1):
            page.wait_for_timeout(READING)
            press(page, FAIL if number % 2 else PASS)
            page.wait_for_function("number => window.waits.length > number", arg=number)
        waits, keys = page.evaluate("[window.waits, window.keys]")
        given = len(read_labels(ws))
    milliseconds, turns = np.array(waits).T
    waits = milliseconds[WARM_UP:]
    about = f"{len(waits)} sessions of {TURNS} turns ({turns.min():.0f} messages and more)"
    show(f"ms from Enter to the next session painted, median, {about}", np.median(waits), "none")
    show(f"ms, the longest of them, {about}", waits.max(), "none")
    text = f"ms from Enter to the next session painted, p95, {about}"
    holds += [
        claim(text, np.quantile(waits, 0.95), TARGET, "none"),
        claim("keystrokes a label, half passes, half one failure mode", keys / given, 2, "none"),
        claim("labels in the ledger", given, SESSIONS - 1, "none", at_most=False),
    ]


def measure_typing(holds: list[bool]) -> None:
    """Type ten labels, with notes, without a pause."""
    ways = [WAYS[number % len(WAYS)] for number in range(10)]
    with desk(12, TURNS) as (ws, page, _, _):
        for keys, _, _ in ways:
            press(page, keys)
        wait_at(page, "s010")
        meant = [(f"s{n:03d}", verdict, modes) for n, (_, verdict, modes) in enumerate(ways)]
        wrong = sum(one != other for one, other in zip(meant, read_labels(ws), strict=True))
        wrong += ws.ledger.bodies("note.added")["text"].to_list() != ["odd"] * 2
    holds.append(claim("labels lost or changed of 10 typed at 0 ms a key", wrong, 0, "none"))


def measure_stops(holds: list[bool]) -> None:
    """Stop the server under a label for ten seconds, and type on."""
    with desk(4, TURNS) as (ws, page, server, _):
        os.kill(server.pid, signal.SIGSTOP)
        press(page, (*PASS, "f", "o", "d", "d"))
        page.wait_for_timeout(1_000 * STOPPED + 500)
        said = page.locator(f"{WIDGET} .notice").inner_text()
        os.kill(server.pid, signal.SIGCONT)
        wait_at(page, "s001")
        page.wait_for_function("document.querySelector('.panel textarea').value === 'odd'")
        press(page, ("Control+Enter",))
        wait_at(page, "s002")
        expected = [("s000", "pass", []), ("s001", "fail", [])]
        wrong = int(read_labels(ws) != expected) + ("not known yet" not in said)
    text = f"labels lost, doubled or wrongly told of, server stopped for {STOPPED} s"
    holds.append(claim(text, wrong, 0, "none"))


def measure_people(holds: list[bool]) -> None:
    """Two people and a second tab label at once, and one goes in the middle of a note."""
    with desk(12, 10) as (ws, page, _, address):
        browser = page.context.browser
        key, other = (make_key(open_workspace(ws.path, user=user), user) for user in ("ana", "ben"))
        ben = open_desk(browser, address.replace(key, other))
        for _ in range(4):
            for each in (page, ben):
                do(each, PASS)
        labels = ws.ledger.bodies("label.set")
        twice = labels.height - labels["session_id"].n_unique()
        tab = page.context.new_page()
        open_page(tab, address)
        told = tab.locator(".twin").count() + page.locator(".twin").count()
        press(page, ("f", "o", "d", "d"))
        page.close()
        again = tab.context.new_page()
        open_page(again, address)
        kept = again.locator(f"{WIDGET} textarea").input_value() == "odd"
    holds += [
        claim("sessions that two people labelled and one was to", twice, 0, "none"),
        claim("labels of two people in the ledger", labels.height, 8, "none", at_most=False),
        claim("tabs of one queue that say so", told, 2, "none", at_most=False),
        claim("notes kept of a page closed in the middle", kept, 1, "none", at_most=False),
    ]


def main() -> int:
    """Measure; 1 where a claim does not hold."""
    if find_browser() is None:
        sys.stderr.write("no Chromium or Chrome on this machine: nothing was measured\n")
        return 1
    parts = {
        "labels": measure_labels,
        "typing": measure_typing,
        "stops": measure_stops,
        "people": measure_people,
    }
    return run_parts(parts, __doc__)


if __name__ == "__main__":
    sys.exit(main())
