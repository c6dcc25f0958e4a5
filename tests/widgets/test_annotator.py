import re

import pytest

from evalbench.widgets.annotator import STATIC, Annotator

SCRIPTS = ("elements.js", "transcript.js", "annotator.js")
TRAITS = {"item", "upcoming", "codebook", "policies", "progress", "notice"}


def test_the_traits_are_the_contract():
    own = set(Annotator.class_trait_names(sync=True)) - set(
        Annotator.__mro__[1].class_trait_names(sync=True)
    )
    assert own == TRAITS
    widget = Annotator(item={"session_id": "s"}, codebook=[{"mode": "m"}])
    state = widget.get_state()
    assert state["item"] == {"session_id": "s"}
    assert (state["upcoming"], state["progress"], state["notice"]) == ({}, {}, "")


def test_a_widget_gets_what_the_browser_says():
    widget, heard = Annotator(), []
    widget.on_msg(lambda _, message, __: heard.append(message))
    widget._handle_custom_msg({"act": "undo"}, [])
    assert heard == [{"act": "undo"}]


def test_the_page_is_one_module_and_asks_for_nothing_outside():
    page = Annotator().get_state()
    script = page["_esm"]
    assert script == "".join((STATIC / name).read_text("utf-8") for name in SCRIPTS)
    assert script.count("export default") == 1
    for text in (script, page["_css"]):
        assert not re.search(r"https?:|\bimport\b|@import|url\(|fetch\(|\beval\b", text)


@pytest.mark.parametrize("sink", ["outerHTML", "insertAdjacentHTML", "document.write", "srcdoc"])
def test_html_enters_the_page_at_one_place(sink):
    script = Annotator().get_state()["_esm"]
    assert sink not in script
    assert script.count("innerHTML") == 1
    # Only what label/markdown.py cleaned: a turn's prose and the policies.
    assert set(re.findall(r"cleaned: ([\w.]+)", script)) == {"turn.html", "rule"}


def test_command_keys_and_mode_keys_do_not_meet():
    script = Annotator().get_state()["_esm"]
    modes = set(re.search(r'MODE_KEYS = \[\.\.\."(\w+)"\]', script)[1])
    commands = set(re.findall(r"^      (\w): \(\) =>", script, flags=re.MULTILINE))
    assert commands == set("zpufvnsogj")
    assert not modes & commands
