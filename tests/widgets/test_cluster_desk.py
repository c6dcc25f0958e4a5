"""The cluster desk carries messages; its page takes text as text and asks for nothing outside."""

import re

import numpy as np
import pytest

from evalbench.widgets.annotator import STATIC
from evalbench.widgets.clusters import ClusterDesk
from evalbench.widgets.desk import curate

SCRIPTS = ("elements.js", "notes_map.js", "clusters.js")
TRAITS = {"points", "homes", "groups", "members", "confirming", "reason", "weak"}


class Known:
    """The curation of one cluster, without a workspace."""

    points, reason, weak = b"\0" * 12, "as was asked for", True
    homes = np.zeros(1, dtype=np.int16)
    groups, members, confirming = ({"mode": "late"},), {"mode": "late"}, {}

    def answer(self, message):
        if message["act"] == "choose":
            return None
        self.groups = ({"mode": "late", "name": message["name"]},)
        return {"tell": "done", "seq": 7, "said": "Renamed"}


@pytest.fixture
def desk():
    widget, left = curate(Known()), []
    widget.send = left.append
    widget.observe(lambda change: left.append((change["name"], change["new"])))
    return widget, left


def test_the_traits_are_the_contract(desk):
    inherited = ClusterDesk.__mro__[1].class_trait_names(sync=True)
    assert set(ClusterDesk.class_trait_names(sync=True)) - set(inherited) == TRAITS
    widget, _ = desk
    assert (widget.points, widget.homes, widget.weak) == (b"\0" * 12, b"\0\0", True)
    assert widget.groups == [{"mode": "late"}]


def test_what_came_of_an_act_is_shown_before_it_is_told(desk):
    widget, left = desk
    widget._handle_custom_msg({"act": "rename", "name": "Late"}, [])
    assert left == [
        ("groups", [{"mode": "late", "name": "Late"}]),
        {"tell": "done", "seq": 7, "said": "Renamed"},
    ]
    widget._handle_custom_msg({"act": "choose"}, [])
    assert len(left) == 2


def test_the_page_is_one_module_that_takes_text_as_text():
    page = ClusterDesk().get_state()
    script = page["_esm"]
    assert script == "".join((STATIC / name).read_text("utf-8") for name in SCRIPTS)
    assert script.count("export default") == 1
    for text in (script, page["_css"]):
        assert not re.search(r"https?:|\bimport\b|@import|url\(|fetch\(|\beval\b", text)
    assert "cleaned:" not in script  # the one way to HTML is not taken
    assert not re.search(r"outerHTML|insertAdjacentHTML|document\.write|srcdoc", script)


def test_every_act_of_the_page_is_one_that_curation_knows():
    from evalbench.label.codebook.curation import Curation

    script = ClusterDesk().get_state()["_esm"]
    acts = set(re.findall(r'act: "(\w+)"', script))
    assert acts == {
        "choose", "rename", "merge", "split", "confirm", "judge", "leave", "promote", "retire",
        "undo",
    }  # fmt: skip
    assert all(callable(getattr(Curation, act)) for act in acts)
