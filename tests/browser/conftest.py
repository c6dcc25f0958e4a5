"""A real browser, on this computer alone."""

import pytest
from annotating import FLAGS, fill, opened
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
    with opened(chromium) as page:
        yield page


@pytest.fixture
def make_workspace(tmp_path):
    return lambda chats: fill(tmp_path / "workspace", chats)
