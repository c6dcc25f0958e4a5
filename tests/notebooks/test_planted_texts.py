"""Every notebook runs; no text of a trace or a person is alive in its report or at a desk."""

import csv
import re
from html.parser import HTMLParser

import nbformat
import orjson
import planted
import pytest

import evalbench as eb
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.markdown import HIDDEN, TAGS, visible
from evalbench.label.annotation.queue import Queue
from evalbench.label.discovery.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.report import runbook
from evalbench.schema import BODIES
from evalbench.widgets.desk import annotate, curate

SMALL = {
    "01_observe": {"surface": planted.SURFACE},
    "02_sample": {"surface": planted.SURFACE, "n": 40, "dry_run": True},
    "03_discover": {"surface": planted.SURFACE},
    "04_annotate": {},
    "05_agreement": {"surface": planted.SURFACE},
    "06_evaluators": {"surface": planted.SURFACE},
    "07_calibrate": {"surface": planted.SURFACE},
    "08_gate": {"decision": "ship", "candidate": planted.NEW, "baseline": planted.OLD},
    "09_monitor": {"surface": planted.SURFACE, "days": 8},
    "10_compare": {"surface": planted.SURFACE},
    "11_impact": {"surface": planted.SURFACE, "quarter": "2026Q3"},
    "12_plan": {"surface": planted.SURFACE},
}
NAMES = sorted(path.stem for path in runbook.NOTEBOOKS.glob("*.ipynb"))
SHOWN = " ".join(visible(planted.PLANT).split())
WRITTEN = set("html head title style body main div h1 h2 p br ul li strong em code pre".split())
WRITTEN |= set("section figure figcaption span small b a details summary blockquote".split())
WRITTEN |= set("table thead tbody tr th td colgroup col footer meta".split())
DRAWN = {"svg", "g", "path", "line", "rect", "circle", "text", "tspan", "defs", "clippath"}
DRAWN |= {"polyline"}
LOADING = {"href", "xlink:href", "src", "srcset", "action", "data", "poster", "http-equiv"}
POLICY = ("http-equiv", "Content-Security-Policy")
IDENTIFIERS = {"session_id", "span_id", "mode", "place", "modes"}
SHOWN_BY_THE_PAGE = {"text", "note"}  # as they were written: the page shows what they hide


class Page(HTMLParser):
    """What a page is made of, and the text that a reader sees outside of its charts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside = set(), [], "", []
        self.headings, self.last = "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.last = tag
        self.attributes += attrs
        if tag in ("svg", "style", "title"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        self.last = ""
        if tag in self.inside:
            self.inside.remove(tag)

    def handle_data(self, data):
        self.text += "" if self.inside else data
        self.headings += f"{data}\n" if self.last in ("h1", "h2", "h3") else ""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return planted.fill(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


def test_every_text_of_every_event_is_planted(workspace):
    ws, seen = workspace
    assert set().union(*map(planted.list_texts, BODIES.values())) == seen
    assert set(ws.ledger.events()["kind"]) == BODIES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_a_whole_report_with_nothing_that_was_planted_alive(
    name, workspace, reports, no_browser
):
    ws, _ = workspace
    done = runbook.run(name, SMALL[name], workspace=ws, reports=reports)
    html = done.html.read_text()
    page = Page(html)
    assert page.tags <= WRITTEN | DRAWN
    loading = [each for each in page.attributes if each[0] in LOADING]
    assert [each for each in loading if not (each[1] or "").startswith("#")] == [POLICY]
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [value for name, value in page.attributes if name == "id" and value == planted.SIGN]
    assert not HIDDEN.search(html)
    assert not re.search(r"url\((?!#clip)", html)
    assert "h" not in page.headings.splitlines()
    text = " ".join(page.text.split())
    assert SHOWN in text
    # What stands in the text of the executed notebook is not Markdown there either.
    cells = nbformat.read(done.notebook, as_version=4).cells
    outputs = [each for cell in cells for each in cell.get("outputs", ()) if "data" in each]
    said = [each.data["text/markdown"] for each in outputs if "text/markdown" in each.data]
    prose = "".join(re.sub(r"(?s)^(`{3,})\w+\n.*?\n\1$", "", each, flags=re.M) for each in said)
    assert f"<i id={planted.SIGN}" not in prose
    assert "[l](" not in prose
    for name, rows in orjson.loads(done.result.read_bytes()).items():
        with (done.folder / "tables" / f"{name}.csv").open(newline="") as table:
            assert len(list(csv.DictReader(table))) == len(rows)
    manifest = orjson.loads(done.manifest.read_bytes())
    assert manifest["lake_versions"] == ws.lake.versions()
    assert 0 < manifest["ledger_seq"] <= ws.ledger.head()


def walk(value, name=""):
    """Give every text that a desk is sent, with the name that it stands under."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from walk(each, key)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from walk(each, name)
    elif isinstance(value, str):
        yield name, value


def check_desk(sent):
    """Look for what was planted in the texts sent to a desk; give those that show it."""
    shown = list(walk(sent))
    for name, text in shown:
        assert name in IDENTIFIERS | SHOWN_BY_THE_PAGE or not HIDDEN.search(text), name
        if name == "html":
            page = Page(text)
            assert page.tags <= TAGS
            assert {name for name, _ in page.attributes} <= {"href", "rel", "target"}
            assert planted.SIGN not in {value for _, value in page.attributes}
    return {name for name, text in shown if planted.SIGN in text}


def test_nothing_that_was_planted_is_alive_or_hidden_at_a_desk(workspace):
    ws, _ = workspace
    [number] = ws.ledger.events("queue.drawn")["seq"].to_list()[:1]
    annotation = Annotation(ws, Queue(ws.ledger, number))
    desk = annotate(annotation)
    state = {name: getattr(desk, name) for name in ("item", "upcoming", "codebook", "progress")}
    assert {"definition", "name", "text"} <= check_desk(state)
    assert {"reason"} <= check_desk(annotation.reveal())
    annotation.submit(session_id=desk.item["session_id"], verdict="pass")
    annotation.previous()
    assert {"evaluator_id", "rationale"} <= check_desk(annotation.suggestion())

    curation = Curation(ws, discover(ws, planted.SURFACE, seed=7, ledger_seq=ws.ledger.head()))
    desk = curate(curation)
    assert {"name"} <= check_desk([desk.groups, desk.reason])
    curation.answer({"act": "choose", "mode": curation.groups[0]["mode"]})
    curation.answer({"act": "confirm", "mode": curation.groups[0]["mode"]})
    assert {"text", "session_id"} <= check_desk([curation.members, curation.confirming])
    assert eb.snapshot(ws).codebook.void.keys() < set(ws.ledger.events()["seq"])
