"""Notebook 04_annotate in JupyterLab and as ``evalbench annotate`` shows it, by keyboard alone."""

from urllib.request import urlopen

import pytest
from annotating import (
    WIDGET,
    chat,
    check_labels,
    label_twenty,
    open_lab,
    open_page,
    serving_lab,
    serving_page,
)

CELLS = ".jp-Notebook .jp-Cell"


@pytest.fixture
def ws(make_workspace):
    return make_workspace([chat(f"s{number:02d}") for number in range(20)])


def test_twenty_labels_in_jupyterlab_survive_a_reload_and_a_killed_kernel(page, ws):
    with serving_lab(ws, annotator=ws.user) as (server, address):

        def reopen():
            open_lab(page, address)
            page.locator(f"{WIDGET} .trace").focus()

        reopen()
        page.evaluate(
            "window.jupyterapp.commands.execute('apputils:change-theme',"
            " {theme: 'JupyterLab Dark'})"
        )
        page.wait_for_selector(f"{WIDGET}[data-theme=dark]")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        cells = page.locator(CELLS).count()
        for key in "bbxddm":  # what JupyterLab takes for orders: insert, cut, delete
            page.keyboard.press(key)
        assert page.locator(CELLS).count() == cells
        expected = label_twenty(page, server, reopen)
    check_labels(ws, expected)


def test_twenty_labels_on_a_page_survive_a_reload_and_a_killed_kernel(page, ws):
    with serving_page(ws) as (server, address):
        assert address.startswith("http://127.0.0.1:")  # no other computer is answered
        with urlopen(address.partition("?")[0]) as without_key:
            assert "kernelId" not in without_key.read().decode()
        open_page(page, address)
        assert "import evalbench" not in page.content()
        box = page.locator(WIDGET).bounding_box()
        assert (box["width"], box["height"]) == (1280, 800)  # the whole page
        page.set_viewport_size({"width": 1000, "height": 700})
        page.wait_for_function(
            "widget => widget.clientWidth === 1000 && widget.scrollWidth === 1000",
            arg=page.locator(WIDGET).element_handle(),
        )
        expected = label_twenty(page, server, lambda: open_page(page, address))
    check_labels(ws, expected)
