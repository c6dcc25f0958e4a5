"""Notebook 04_annotate in JupyterLab, by keyboard alone."""

from annotating import WIDGET, chat, check_labels, label_twenty, open_lab, serving_lab

CELLS = ".jp-Notebook .jp-Cell"


def test_twenty_labels_by_keyboard_survive_a_reload_and_a_killed_kernel(
    page, make_workspace, shoot
):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(20)])
    with serving_lab(ws, annotator=ws.user) as (server, address):

        def reopen():
            open_lab(page, address)
            page.locator(f"{WIDGET} .trace").focus()

        reopen()
        shoot(page, "lab-light")
        page.evaluate(
            "window.jupyterapp.commands.execute('apputils:change-theme',"
            " {theme: 'JupyterLab Dark'})"
        )
        page.wait_for_selector(f"{WIDGET}[data-theme=dark]")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        shoot(page, "lab-dark")
        cells = page.locator(CELLS).count()
        for key in "bbxddm":  # what JupyterLab takes for orders: insert, cut, delete
            page.keyboard.press(key)
        assert page.locator(CELLS).count() == cells
        expected = label_twenty(page, server, reopen)
    check_labels(ws, expected)
