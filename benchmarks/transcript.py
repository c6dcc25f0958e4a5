"""What a reader sees of a session, held to its source, and how long they wait for a search."""

import sys
import tempfile
import time
from pathlib import Path

from claims import claim
from playwright.sync_api import Page, sync_playwright

from evalbench.label.annotation.transcript import find_text, transcript
from evalbench.report.runbook import find_browser
from evalbench.session import Session, make_session

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))
from annotating import FLAGS
from make import llm, said, spans, user
from reading import Reader
from test_page_fidelity import CRAFTED, check, make_crafted, read_real

LARGE = "It costs nothing, said the shop. " * 150_000 + "The needle."


def count_altered(page: Page, sessions: list[Session]) -> tuple[int, int]:
    """Give how many sessions show a text that is not that of the source, and how many texts."""
    reader, altered, texts = Reader(page), 0, 0
    for session in sessions:
        try:
            texts += len(check(reader, session))
        except AssertionError as error:
            sys.stderr.write(f"{error}\n")
            altered += 1
    return altered, texts


def main() -> int:
    if find_browser() is None:
        sys.stderr.write("no Chromium or Chrome on this machine: nothing was measured\n")
        return 1
    crafted = [make_crafted(number, text) for number, text in enumerate(CRAFTED)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sessions = [*crafted, *read_real(Path(folder))]
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        altered, texts = count_altered(browser.new_page(), sessions)
        browser.close()
    large = make_session("shop", "large", spans(llm([user("Where?")], said(LARGE))))
    start = time.perf_counter()
    transcript(large)
    laid_out = time.perf_counter()
    [hit] = find_text(large, query="the needle")["hits"]
    found = time.perf_counter()
    about = f"an answer of {len(LARGE):,} characters"
    text = f"of {len(sessions)} real and crafted sessions ({texts} texts), those shown otherwise"
    holds = [
        claim(text, altered, 0, "none"),
        claim(f"ms to lay out {about}", 1000 * (laid_out - start), 500, "none"),
        claim(f"ms to find its last words in {about}", 1000 * (found - laid_out), 500, "none"),
        claim("hits of those words", len(hit["starts"]), 1, "none", at_most=False),
    ]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
