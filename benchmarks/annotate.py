"""How long an annotator waits, and how many keys a label takes: in a real browser, on its page.

Timed in the page: from the press of Enter, which sends the label to the ledger and back, to the
frame that shows the next session, whose elements are all in the page.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from claims import claim, show
from playwright.sync_api import sync_playwright

from evalbench.report.runbook import find_browser

sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))
from annotating import FLAGS, PASS, WIDGET, chat, fill, open_page, serving_page

SESSIONS, WARM_UP, TURNS = 64, 3, 50
READING = 400  # milliseconds before a session is labelled; nobody reads faster
TARGET = 100
WATCH = """() => {
  const root = document.querySelector(".evalbench-annotator");
  window.waits = [];
  window.keys = 0;
  let pressed = 0;
  const note = () => { window.keys += 1; pressed = performance.now(); };
  window.addEventListener("keydown", note, true);
  new MutationObserver(() => requestAnimationFrame(() => {
    const whole = root.querySelectorAll(".trace .turn").length;
    // A task after the frame's own: by then it is painted.
    const painted = new MessageChannel();
    painted.port1.onmessage = () => window.waits.push([performance.now() - pressed, whole]);
    painted.port2.postMessage(0);
  })).observe(root, { attributeFilter: ["data-session"] });
}"""


def time_labels(folder: Path) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Label every session as a pass.

    Gives the milliseconds waited and the turns shown for each, keys a label, and labels written.
    """
    ws = fill(folder, [chat(f"s{number:03d}", turns=TURNS) for number in range(SESSIONS)])
    with sync_playwright() as playwright, serving_page(ws) as (_, address):
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        open_page(page, address)
        page.wait_for_function("document.activeElement.closest('.evalbench-annotator')")
        page.evaluate(WATCH)
        for number in range(SESSIONS - 1):
            page.wait_for_timeout(READING)
            for key in PASS:
                page.keyboard.press(key)
            page.wait_for_function("number => window.waits.length > number", arg=number)
        assert page.locator(WIDGET).get_attribute("data-session") == f"s{SESSIONS - 1:03d}"
        waits, keys = page.evaluate("[window.waits, window.keys]")
        browser.close()
    labels = ws.ledger.bodies("label.set").height
    milliseconds, turns = np.array(waits).T
    return milliseconds[WARM_UP:], turns, keys / labels, labels


def main() -> int:
    if find_browser() is None:
        sys.stderr.write("no Chromium or Chrome on this machine: nothing was measured\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        waits, turns, keys, labels = time_labels(Path(folder))
    about = f"{len(waits)} sessions of {TURNS} turns ({turns.min():.0f} messages and more)"
    show(f"ms from Enter to the next session painted, median, {about}", np.median(waits), "none")
    show(f"ms, the longest of them, {about}", waits.max(), "none")
    text = f"ms from Enter to the next session painted, p95, {about}"
    holds = [
        claim(text, np.quantile(waits, 0.95), TARGET, "none"),
        claim("keystrokes for each of the labels, a pass", keys, 2, "none"),
        claim(
            "labels in the ledger of those sessions", labels, SESSIONS - 1, "none", at_most=False
        ),
    ]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
