"""``evalbench annotate``: the page that an expert sees, by keyboard alone."""

from urllib.request import urlopen

from annotating import WIDGET, chat, check_labels, label_twenty, open_page, serving_page


def test_twenty_labels_by_keyboard_survive_a_reload_and_a_killed_kernel(
    page, make_workspace, shoot
):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(20)])
    with serving_page(ws) as (server, address):
        assert address.startswith("http://127.0.0.1:")  # no other computer is answered
        with urlopen(address.partition("?")[0]) as without_key:
            assert "kernelId" not in without_key.read().decode()
        page.emulate_media(color_scheme="light")
        open_page(page, address)
        assert "import evalbench" not in page.content()
        box = page.locator(WIDGET).bounding_box()
        assert (box["width"], box["height"]) == (1280, 800)  # the whole page
        shoot(page, "voila-light")
        page.emulate_media(color_scheme="dark")
        page.keyboard.press("1")
        shoot(page, "voila-dark")
        page.keyboard.press("1")
        page.set_viewport_size({"width": 1000, "height": 700})
        page.wait_for_function(
            "widget => widget.clientWidth === 1000 && widget.scrollWidth === 1000",
            arg=page.locator(WIDGET).element_handle(),
        )
        shoot(page, "voila-1000")
        expected = label_twenty(page, server, lambda: open_page(page, address))
        shoot(page, "voila-done")
    check_labels(ws, expected)
