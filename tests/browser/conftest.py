"""A real browser, on this computer alone."""

import pytest
from annotating import FLAGS, fill
from playwright.sync_api import sync_playwright

from evalbench.report.runbook import find_browser


@pytest.fixture(scope="module")
def chromium():
    # Of a module, not of the run: while Playwright works, no other event loop starts beside it.
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page; whatever it asks of another computer fails the test."""
    asked = []
    # What a page must not do, it must not do without its own policy either; Playwright needs eval.
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    context.on("request", lambda request: asked.append(request.url))
    context.on("page", lambda page: page.on("websocket", lambda line: asked.append(line.url)))
    yield context.new_page()
    context.close()
    here = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
    assert [url for url in asked if not url.startswith(here)] == []


@pytest.fixture
def make_workspace(tmp_path):
    return lambda chats: fill(tmp_path / "workspace", chats)
