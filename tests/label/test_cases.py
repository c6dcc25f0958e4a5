"""The adjudicator's desk: what people said side by side, nameless until it is decided."""

import json

import pytest

from evalbench.label.agreement.cases import Adjudication
from evalbench.observe.ingestion import ingest
from evalbench.schema import Label
from evalbench.store.workspace import open_workspace

MODES = ("late", "rude")
SAID = {
    "s0": {"ana": ("fail", ["late"]), "ben": ("fail", ["late", "rude"])},
    "s1": {"ana": ("pass", []), "ben": ("fail", ["rude"]), "cy": ("pass", [])},
    "s2": {"ana": ("pass", []), "ben": ("pass", [])},
    "s3": {"ana": ("unsure", []), "ben": ("fail", ["late"])},
}


def give(ws, session, annotator, verdict, modes, note=""):
    about = {"surface": "shop", "session_id": session}
    if note:
        ws.ledger.extend([("note.added", session, {**about, "text": note})], actor=annotator)
    label = Label(**about, verdict=verdict, modes=modes)
    return ws.ledger.extend([("label.set", session, label)], actor=annotator)


@pytest.fixture
def ws(tmp_path):
    ws = open_workspace(tmp_path / "ws", user="lea")
    chats = [
        {"id": name, "messages": [{"role": "user", "content": "Where is it?"}]} for name in SAID
    ]
    traces = tmp_path / "chats.jsonl"
    traces.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    ingest(ws, traces, surface="shop", columns={"session_id": "id"}, redact=False)
    for mode in MODES:
        body = {"mode": mode, "surface": "shop", "name": mode.capitalize(), "owner": "lea"}
        kind = {"severity": "polish", "failure_class": "answer quality"}
        ws.ledger.append("mode.defined", mode, body | kind | {"definition": "D.", "example": "E."})
    for session, given in SAID.items():
        for annotator, (verdict, modes) in given.items():
            give(ws, session, annotator, verdict, modes, note=f"{annotator} on {session}")
    return ws


def decide(desk, given_verdict, given_modes, **changed):
    item = desk.item
    how = {"verdict": given_verdict, "modes": given_modes, "reason": "It is so."}
    how |= {"session_id": item["session_id"], "labels": item["case"]["labels"]}
    return desk.answer({"act": "decide", **how, **changed})


def test_cases_are_what_people_disagree_on_and_labels_have_no_names(ws):
    desk = Adjudication(ws, "shop")
    assert [(each["session_id"], each["waits"]) for each in desk.cases] == [
        ("s1", True),
        ("s0", True),
    ]
    assert desk.cases[0]["disputed"] == ["pass or fail", "Rude"]
    given = desk.item["case"]["given"]
    assert [each["letter"] for each in given] == ["A", "B", "C"]
    assert {each["verdict"] for each in given} == {"pass", "fail"}
    assert {each["note"] for each in given} == {f"{name} on s1" for name in ("ana", "ben", "cy")}
    shown = json.dumps([{**each, "note": ""} for each in given])
    assert not any(name in shown for name in ("ana", "ben", "cy"))
    assert desk.item["turns"]


def test_a_decision_reveals_names_is_in_the_ledger_and_leads_to_the_next(ws):
    desk = Adjudication(ws, "shop")
    told = decide(desk, "pass", [])
    assert told["tell"] == "decided"
    assert sorted(told["people"].values()) == ["ana", "ben", "cy"]
    [ruled] = ws.ledger.bodies("label.adjudicated").to_dicts()
    assert (ruled["session_id"], ruled["verdict"], ruled["reason"]) == ("s1", "pass", "It is so.")
    assert len(ruled["labels"]) == 3
    assert desk.item["session_id"] == "s0"
    decide(desk, "fail", ["late"])
    assert desk.item == {}
    assert [each["waits"] for each in desk.cases] == [False, False]
    desk.answer({"act": "open", "session_id": "s1"})
    assert {each["annotator"] for each in desk.item["case"]["given"]} == {"ana", "ben", "cy"}
    assert desk.item["case"]["ruling"] == {"verdict": "pass", "modes": [], "reason": "It is so."}
    decide(desk, "fail", ["rude"], reason="On second thought.")
    assert Adjudication(ws, "shop").cases[0]["decided"] == "fail"


def test_a_label_that_came_meanwhile_is_shown_before_anything_is_decided(ws):
    desk = Adjudication(ws, "shop")
    give(ws, "s1", "dan", "fail", ["late"])
    refused = decide(desk, "pass", [])
    assert "meanwhile" in refused["why"]
    assert ws.ledger.events("label.adjudicated").is_empty()
    assert len(desk.item["case"]["given"]) == 4
    assert decide(desk, "pass", [])["tell"] == "decided"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"reason": " "}, "needs a reason"),
        ({"session_id": "s2"}, "not open"),
        ({"modes": ["none"]}, "no mode 'none'"),
        ({"modes": ["late"]}, "names no mode"),
        ({"verdict": "perhaps"}, "verdict"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_is_written(ws, changed, why):
    desk = Adjudication(ws, "shop")
    refused = decide(desk, "pass", [], **changed)
    assert refused["tell"] == "refused"
    assert why in refused["why"]
    assert ws.ledger.events("label.adjudicated").is_empty()


def test_agreement_is_that_of_now(ws):
    desk = Adjudication(ws, "shop")
    rows = {row["mode"]: row for row in desk.agreement}
    assert list(rows) == ["any", "late", "rude"]
    assert (rows["rude"]["n_items"], rows["rude"]["disputed"], rows["rude"]["waits"]) == (3, 2, 2)
    assert rows["rude"]["alpha"] is None  # too few
    for number in range(30):
        for annotator in ("ana", "ben"):
            give(ws, f"n{number}", annotator, "fail", ["rude"] if number % 2 else ["late"])
    decide(desk, "pass", [])  # the labels that came are of other sessions
    rows = {row["mode"]: row for row in desk.agreement}
    assert (rows["rude"]["n_items"], rows["rude"]["waits"]) == (33, 1)
    assert 0.8 < rows["rude"]["alpha"] < 1
