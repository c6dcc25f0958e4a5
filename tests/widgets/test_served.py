"""The desks that the server shows: what they are opened with, and what their pages may ask."""

import re

import pytest

from evalbench.errors import LabelError
from evalbench.label.agreement import cases
from evalbench.label.annotation.transcript import READING
from evalbench.label.browsing import browsing
from evalbench.store.workspace import open_workspace
from evalbench.widgets.adjudicator import Adjudicator
from evalbench.widgets.browser import Browser
from evalbench.widgets.served import PAGES

DESKS = {Browser: (browsing, browsing.Browsing), Adjudicator: (cases, cases.Adjudication)}


@pytest.mark.parametrize("widget", list(DESKS))
def test_a_page_asks_for_nothing_outside_and_sends_acts_that_its_desk_knows(widget):
    room, desk = DESKS[widget]
    script, style = str(widget._esm), str(widget._css)
    own = script[script.index("const html = htm.bind(h);") :]
    assert script.count("export default") == 1
    for text in (own, style):
        assert not re.search(r"https?:|\bimport\b|@import|url\(|fetch\(|\beval\b", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc", own)
    acts = set(re.findall(r'act: "(\w+)"', own))
    assert acts <= {*room.ACTS, *READING}
    assert all(callable(getattr(desk, act)) for act in room.ACTS)


def test_a_desk_without_anything_to_show_says_what_to_do(tmp_path):
    ws = open_workspace(tmp_path / "ws", user="ana")
    with pytest.raises(LabelError, match="02_sample"):
        PAGES["annotate"].make(ws)
    with pytest.raises(LabelError, match="Nobody has labelled"):
        PAGES["adjudicate"].make(ws)
    assert PAGES["browse"].make(ws, query="refund").query == "refund"
    with pytest.raises(LabelError, match="no sessions of moon"):
        PAGES["browse"].make(ws, surface="moon")
