"""The widgets' pages: traits are the contract, text is text, nothing is asked for outside."""

import re
from hashlib import sha256

import pytest

from evalbench.label.annotation import labelling
from evalbench.label.annotation.transcript import READING
from evalbench.label.discovery import curation
from evalbench.schema import MODE_KEYS
from evalbench.widgets.annotator import Annotator
from evalbench.widgets.clusters import ClusterDesk
from evalbench.widgets.page import STATIC, read_vendor

WIDGETS = [Annotator, ClusterDesk]
TRAITS = {
    Annotator: {"about", "item", "upcoming", "codebook", "policies", "progress", "notice"},
    ClusterDesk: {
        "points",
        "homes",
        "groups",
        "members",
        "confirming",
        "reason",
        "weak",
        "progress",
        "sorting",
    },
}
OPENS_HTML = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc"


@pytest.mark.parametrize("widget", WIDGETS)
def test_a_page_is_one_module_and_asks_for_nothing_outside(widget):
    inherited = widget.__mro__[1].class_trait_names(sync=True)
    assert set(widget.class_trait_names(sync=True)) - set(inherited) == TRAITS[widget]
    page = widget().get_state()
    script = page["_esm"].removeprefix(read_vendor())
    assert script.count("export default") == 1
    for text in (script, page["_css"]):
        assert not re.search(r"\bimport\b|@import|url\(|fetch\(|\beval\b", text)
        assert not re.search(r"""["'(]https?:\w""", text)
    assert not re.search(OPENS_HTML, script)


def test_vendored_modules_are_what_the_registry_gave_small_and_with_their_licences():
    published = {
        "htm.mjs": "ab33dd3f38059b9be4d5f5350128eefb2356639c4e0bbe9d9e8b3ba75847e9e4",
        "hooks.mjs": "e862ab2973aa6455eaa0f77c5d832d2157d6be59a17c8ba546550a575b58c6b4",
        "preact.mjs": "bdcbd9abdf2c77c5c45326eab42191e949222d479d0d5f69467387a77040cb55",
    }
    vendor = STATIC / "vendor"
    found = {each.name: sha256(each.read_bytes()).hexdigest() for each in vendor.glob("*.mjs")}
    assert found == published
    assert {each.name for each in vendor.glob("LICENSE-*")} == {"LICENSE-preact", "LICENSE-htm"}
    joined = read_vendor()
    assert len(joined) < 20_000
    assert re.findall(r"^const (\w+)=\(", joined, re.MULTILINE) == ["preact", "hooks", "htm"]
    assert not re.search(r"\bimport\b|\bexport\b|fetch\(|\beval\b|new Function", joined)
    assert set(re.findall(r"https?://[^\"')]+", joined)) == {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/2000/svg",
    }  # names, not addresses


def test_command_keys_and_mode_keys_do_not_meet():
    script = Annotator().get_state()["_esm"]
    commands = set(re.findall(r"^    (\w): \(\) =>", script, flags=re.MULTILINE))
    assert commands == set("zZpufmvnscelorgj")
    assert not set(MODE_KEYS) & commands


@pytest.mark.parametrize(
    ("widget", "room", "desk"),
    [(Annotator, labelling, labelling.Annotation), (ClusterDesk, curation, curation.Curation)],
)
def test_every_act_of_a_page_is_one_that_its_desk_knows(widget, room, desk):
    acts = set(re.findall(r'act: "(\w+)"', widget().get_state()["_esm"]))
    assert acts <= {*room.ACTS, *READING}
    assert all(callable(getattr(desk, act)) for act in room.ACTS)
