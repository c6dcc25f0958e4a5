"""The widgets' pages: traits are the contract, text is text, nothing is asked for outside."""

import re
from hashlib import sha256

import pytest

from evalbench.errors import LabelError
from evalbench.label.agreement.cases import Adjudication
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.transcript import READING
from evalbench.label.browsing.browsing import Browsing
from evalbench.label.discovery.curation import Curation
from evalbench.schema import MODE_KEYS
from evalbench.store.workspace import open_workspace
from evalbench.widgets.page import STATIC, read_vendor
from evalbench.widgets.screens import Adjudicator, Annotator, Browser, ClusterDesk
from evalbench.widgets.served import PAGES

CLUSTERS = "points homes groups members confirming reason weak progress sorting"
SCREENS = [
    (Annotator, Annotation, "about item upcoming codebook policies progress notice"),
    (ClusterDesk, Curation, CLUSTERS),
    (Browser, Browsing, "surfaces surface query"),
    (Adjudicator, Adjudication, "about item cases agreement codebook"),
]
OPENS_HTML = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc"


@pytest.mark.parametrize(("widget", "desk", "traits"), SCREENS)
def test_a_page_is_one_module_asks_nothing_outside_and_its_desk_knows_every_act(
    widget, desk, traits
):
    inherited = widget.__mro__[1].class_trait_names(sync=True)
    assert set(widget.class_trait_names(sync=True)) - set(inherited) == set(traits.split())
    page = widget().get_state()
    script = page["_esm"].removeprefix(read_vendor())
    assert script.count("export default") == 1
    for text in (script, page["_css"]):
        assert not re.search(r"\bimport\b|@import|url\(|fetch\(|\beval\b", text)
        assert not re.search(r"""["'(]https?:\w""", text)
    assert not re.search(OPENS_HTML, script)
    acts = set(re.findall(r'act: "(\w+)"', script))
    assert acts <= {*desk.ACTS, *READING}
    assert all(callable(getattr(desk, act)) for act in desk.ACTS)


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
        f"http://www.w3.org/{name}" for name in ("1998/Math/MathML", "1999/xhtml", "2000/svg")
    }  # names, not addresses


def test_command_keys_and_mode_keys_do_not_meet():
    script = Annotator().get_state()["_esm"]
    commands = set(re.findall(r"^    (\w): \(\) =>", script, flags=re.MULTILINE))
    assert commands == set("zZpufmvnscelorgGj")
    assert not set(MODE_KEYS) & commands


def test_a_desk_without_anything_to_show_says_what_to_do(tmp_path):
    ws = open_workspace(tmp_path / "ws", user="ana")
    for page, asked, why in (
        ("annotate", {}, "02_sample"),
        ("adjudicate", {}, "Nobody has labelled"),
        ("browse", {"surface": "moon"}, "no sessions of moon"),
    ):
        with pytest.raises(LabelError, match=why):
            PAGES[page].make(ws, **asked)
    assert PAGES["browse"].make(ws, query="refund").query == "refund"
