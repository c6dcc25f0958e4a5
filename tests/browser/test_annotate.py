"""Notebook 04_annotate in JupyterLab and as ``evalbench annotate`` shows it, by keyboard alone."""

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from annotating import (
    WIDGET,
    chat,
    check_labels,
    do,
    kill_kernels,
    label_twenty,
    open_lab,
    open_page,
    serving_lab,
    serving_page,
)
from hostile import check_hostile, make_hostile

CELLS = ".jp-Notebook .jp-Cell"


CHATS = [chat(f"s{number:02d}") for number in range(20)]


def test_twenty_labels_in_jupyterlab_survive_a_reload_and_a_killed_kernel(page, make_workspace):
    ws = make_workspace(CHATS)
    with serving_lab(ws, annotator=ws.user) as (server, address):

        def reopen():
            open_lab(page, address)
            page.locator(f"{WIDGET} .trace").first.focus()

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
        page.keyboard.press("Escape")  # from the failure mode that m proposes
        assert page.locator(CELLS).count() == cells
        expected = label_twenty(page, reopen, lambda: kill_kernels(server))
    check_labels(ws, expected)


def test_hostile_traces_do_nothing_on_a_page_and_twenty_labels_survive(page, make_workspace):
    ws = make_workspace([*make_hostile(), *CHATS])
    with serving_page(ws) as (server, address):
        assert address.startswith("http://127.0.0.1:")  # no other computer is answered
        with pytest.raises(HTTPError, match="403"):  # nor who has no key
            urlopen(address.partition("?")[0])
        open_page(page, address)
        box = page.locator(WIDGET).bounding_box()
        assert (box["width"], box["height"]) == (1280, 800)  # the whole page
        page.set_viewport_size({"width": 1000, "height": 700})
        page.wait_for_function(
            "widget => widget.clientWidth === 1000 && widget.scrollWidth === 1000",
            arg=page.locator(WIDGET).element_handle(),
        )
        expected = []
        for name in ("h1", "t1", "h2"):
            assert page.locator(WIDGET).get_attribute("data-session") == name
            check_hostile(page, name)
            session, seq = do(page, ("Enter",))
            expected.append((seq, session, "pass", []))
        expected += label_twenty(page, lambda: open_page(page, address), server.kill)
    check_labels(ws, expected)
