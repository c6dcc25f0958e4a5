"""The desks of the server in a real browser: adjudicate, browse, a server that goes and comes."""

import time

from accessibility import find_barriers
from annotating import (
    PASS,
    WIDGET,
    chat,
    disagree,
    do,
    open_page,
    running,
    serving_page,
    wait_for,
)

from evalbench.session.copies import copy_texts

DESK = ".evalbench-adjudicator"
BROWSER = ".evalbench-browser"


def test_twenty_cases_are_decided_by_keyboard(page, make_workspace):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(21)])
    said = disagree(ws, [f"s{number:02d}" for number in range(21)])
    letters = [("Shift+A", "Enter"), ("Shift+B", "Enter"), ("p", "n", "o", "k", "Control+Enter")]
    with serving_page(ws, "adjudicate") as (_, address):
        page.goto(address)
        page.wait_for_selector(f"{DESK} .given")
        assert "ana" not in page.locator(".side-by-side").inner_text()
        page.keyboard.press("p")
        page.keyboard.press("n")
        page.keyboard.type("as the policy says")
        page.reload()
        page.wait_for_selector(f"{DESK} [aria-keyshortcuts=p][aria-pressed=true]")
        assert page.locator(f"{DESK} textarea").input_value() == "as the policy says"
        page.locator(f"{DESK} textarea").fill("")
        page.keyboard.press("Escape")
        decided = []
        for turn in range(20):
            decided.append(do(page, letters[turn % 3], DESK)[0])
            if turn == 0:
                told = page.locator(f"{DESK} .told").inner_text()
                assert "ana" in told
                assert "ben" in told
        assert "1 case waiting" in page.locator(f"{DESK} > header").inner_text()
        page.keyboard.press("z")
        page.wait_for_selector(f"{DESK}[data-session='{decided[-1]}'] .given header :text('ana')")
    rulings = ws.ledger.bodies("label.adjudicated")
    assert rulings["session_id"].to_list() == decided
    assert rulings["actor"].unique().to_list() == ["ana"]
    for ruling in rulings.to_dicts():
        if ruling["reason"] == "ok":
            assert (ruling["verdict"], ruling["modes"]) == ("pass", [])
        else:
            given = list(said[ruling["session_id"]].values())
            assert (ruling["verdict"], ruling["modes"]) in given
            assert ruling["reason"].startswith("As annotator ")


def ask(page, query):
    """Ask for sessions; give how many are said to be found."""
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(query)
    page.wait_for_function(
        "([root, query]) => { const each = document.querySelector(root);"
        " return each.dataset.asked === query && each.ariaBusy === 'false'; }",
        arg=[BROWSER, query],
    )
    return page.locator(f"{BROWSER} .told").inner_text()


def test_sessions_are_browsed_queued_and_downloaded_by_keyboard(page, make_workspace):
    ws = make_workspace(
        [chat(f"s{number:02d}", f"The answer is {number}.") for number in range(12)]
    )
    copy_texts(ws.path, "shop")
    with serving_page(ws, "browse") as (_, address):
        page.goto(address)
        page.wait_for_selector(f"{BROWSER} .turn")
        assert ask(page, '"answer is 7"') == "1 of 12 sessions"
        page.keyboard.press("Enter")
        page.wait_for_selector(f"{BROWSER} li[data-session=s07] mark")
        page.wait_for_function("document.querySelector('.trace').textContent.includes('is 7.')")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.className") == "trace"
        page.keyboard.press("Escape")
        assert ask(page, "release:none n_turns>2") == "12 of 12 sessions"
        page.keyboard.press("Enter")
        for key in ("x", "ArrowDown", "x", "q", "Enter"):
            page.keyboard.press(key)
        page.wait_for_function("document.querySelector('.told').textContent.startsWith('Queue')")
        page.keyboard.press("Escape")
        with page.expect_download() as fetched:
            page.keyboard.press("Shift+D")
        assert fetched.value.path().read_bytes()[:4] == b"PAR1"
        assert ask(page, "n_turns>many").startswith("12 of 12")
        assert "is a number or none" in page.locator(f"{BROWSER} .notice").inner_text()
    [_, queue] = ws.ledger.bodies("queue.drawn").to_dicts()
    assert len(queue["items"]) == 2
    assert queue["items"][0]["inclusion_probability"] is None


def test_a_server_that_goes_and_comes_back_is_found_again(page, make_workspace):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(6)])
    with serving_page(ws) as (server, address):
        open_page(page, address)
        first, _ = do(page, PASS)
        server.kill()
        server.wait()
        page.wait_for_selector("#line:has-text('does not answer')")
    port = address.split(":")[2].partition("/")[0]
    log = ws.path / "again.log"
    main = ("-c", "from evalbench.cli import main; main()", "annotate", "--no-browser")
    where = ("--workspace", str(ws.path), "--user", ws.user, "--port", port)
    with running([*main, *where], ws.path, log):
        again = wait_for(lambda: [e for e in log.read_text().split() if e.startswith("http")], log)
        assert again == [address]  # the key is the same
        page.wait_for_function("!document.querySelector('#line').textContent")
        second, _ = do(page, PASS)
    assert ws.ledger.bodies("label.set")["session_id"].to_list() == [first, second]


def test_a_page_keeps_to_its_own_policy(chromium, make_workspace):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(3)])
    disagree(ws, ["s00"])
    with serving_page(ws) as (_, address):
        for name, seen in (("annotate", WIDGET), ("browse", BROWSER), ("adjudicate", DESK)):
            page, said = chromium.new_page(), []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            key = address.partition("key=")[2].partition("&")[0]
            page.goto(f"{address.partition('/annotate')[0]}/{name}?key={key}")
            page.wait_for_selector(f"{seen} .turn")
            time.sleep(0.3)
            page.keyboard.press("ArrowDown")
            page.close()
            assert said == []


def test_browser_and_adjudicator_have_no_serious_barrier(chromium, make_workspace):
    ws = make_workspace([chat(f"s{number:02d}") for number in range(3)])
    disagree(ws, ["s00"])
    with serving_page(ws, "browse") as (_, address):
        for width, scheme in ((1440, "light"), (800, "dark"), (390, "light")):
            size = {"width": width, "height": 900}
            page = chromium.new_page(viewport=size, color_scheme=scheme, bypass_csp=True)
            for name, seen in (("browse", BROWSER), ("adjudicate", DESK)):
                page.goto(address.replace("/browse?", f"/{name}?").partition("&")[0])
                page.wait_for_selector(f"{seen} .turn", state="attached")
                assert (width, name, find_barriers(page)) == (width, name, [])
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.close()
