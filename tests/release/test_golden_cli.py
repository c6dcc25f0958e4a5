import json
from functools import partial

import pytest
from make import MODE_FIELDS, llm, modes, said, sessions, spans, user, workspace

from evalbench.cli import main
from evalbench.evaluate.spec import Specification, define
from evalbench.evaluate.split import assign_split
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.label.codebook.acts import merge, read_codebook
from evalbench.release import golden
from evalbench.snapshot import take_snapshot
from evalbench.widgets import desk

SIDES = {
    side: [f"s{n}" for n in range(40) if assign_split("shop", f"s{n}", None) == side]
    for side in ("train", "test")
}
DRAWN = {"stratum": "all", "inclusion_probability": 0.5, "reason": "random"}
FAILED, PASSED, TAUGHT = *SIDES["test"][:2], SIDES["train"][0]
ASKED = {
    FAILED: "My parcel was promised for Monday and has not come. What now?",
    PASSED: "Please change the delivery address of my order to the office.",
    TAUGHT: "The refund for the broken lamp is still not on my account, why?",
}


@pytest.fixture
def ws(tmp_path):
    ws = workspace(tmp_path / "ws")
    ws.lake.append("session", sessions(*ASKED, release="9"))
    for name, text in ASKED.items():
        talk = llm([user(text)], said("That is your problem."))
        ws.lake.append("span", spans(talk, surface="shop", session_id=name, trace_id=name))
        body = {"surface": "shop", "session_id": name, "verdict": "fail", "modes": ["rude"]}
        passed = {"verdict": "pass", "modes": []} if name == PASSED else {}
        ws.ledger.append("label.set", name, body | passed)
    modes(ws.ledger, "rude")
    return ws


def run_golden(ws, capsys, *arguments, status=0):
    with pytest.raises(SystemExit) as ended:
        main(["golden", *map(str, arguments), "--workspace", str(ws.path)])
    told = capsys.readouterr()
    assert ended.value.code == status, told.err
    return told.err if status else told.out


@pytest.fixture
def run(ws, capsys):
    return partial(run_golden, ws, capsys)


def test_a_failure_becomes_a_case_that_is_listed_and_retired(ws, run):
    add = ("add", "shop", FAILED, "--mode", "rude", "--expected", "Says when it comes.")
    name = run(*add).strip()
    assert run(*add).strip() == name
    case = golden.read_cases(ws.ledger).row(0, named=True)
    assert (case["severity"], case["release"]) == (MODE_FIELDS["severity"], "9")
    assert json.loads(case["messages"][0])["content"] == ASKED[FAILED]
    listed = run("list")
    assert "shop golden: version=" in listed
    assert f"  {name} polish, rude: Says when it comes." in listed
    run("retire", "shop", name[:8], "--reason", "No longer sold.")
    assert "cases=0 retired=1" in run("list", "--surface", "shop")


def test_a_case_follows_its_failure_mode_and_stays_the_same_case(ws, run):
    name = run("add", "shop", FAILED, "--mode", "rude", "--expected", "Says when.").strip()
    modes(ws.ledger, "harsh")
    merge(ws.ledger, "shop", ["rude"], "harsh")
    assert take_snapshot(ws, surface="shop").cases["case", "mode"].rows() == [(name, "harsh")]


def test_only_confirmed_failures_become_cases(ws, run):
    add = ("add", "shop", PASSED, "--expected", "Changes it.", "--mode")
    assert "nobody confirmed" in run(*add, "rude", status=3)
    assert "there are rude" in run(*add, "late", status=3)
    assert "expected" in run("add", "shop", FAILED, "--mode", "rude", "--expected", "", status=3)
    ws.ledger.append(
        "note.added", PASSED, {"text": "Curt.", "surface": "shop", "session_id": PASSED}
    )
    assert len(run(*add, "rude").strip()) == 16


def test_what_an_evaluator_learnt_from_is_refused_and_shown(ws, run):
    add = ("add", "shop", TAUGHT, "--mode", "rude", "--expected", "Looks it up.")
    name = run(*add).strip()
    judge = {"surface": "shop", "mode": "rude", "kind": "judge", "owner": "ana"}
    live = read_codebook(ws.ledger).live
    define(ws.ledger, Specification(**judge, prompt="Is it rude?", model="m"), modes=live)
    assert f"leaks: the training label of session {TAUGHT} (100% alike)" in run("list")
    run("retire", "shop", name, "--reason", "A judge learnt from it.")
    refused = run(*add, status=3)
    assert f"stands in the training label of session {TAUGHT}" in refused


def test_the_starter_suite_is_a_suite_of_attacks(tmp_path, capsys):
    ws = workspace(tmp_path / "new")  # nothing was ingested yet
    run = partial(run_golden, ws, capsys)
    assert run("starter", "shop").splitlines()[-1] == "added=25 rejected=0 duplicates=0"
    assert run("starter", "shop").splitlines()[-1] == "added=0 rejected=0 duplicates=25"
    cases = golden.read_cases(ws.ledger)
    attacks = {json.loads(each)["attack"] for each in cases["segments"]}
    assert attacks == {"prompt injection", "data exfiltration", "policy evasion", "tool misuse"}
    assert set(cases["suite"]) == {"adversarial"}
    out = tmp_path / "out.jsonl"
    assert run("export", out, "--suite", "adversarial", "--as", "inspect").strip() == "written=25"
    told = run("import", out, "--as", "inspect", "--surface", "bank").splitlines()[-1]
    assert told == "added=0 rejected=0 duplicates=25"
    assert "no shape is 'x'" in run("export", out, "--as", "x", status=3)


def test_at_the_desk_a_failure_becomes_a_case_in_one_act(ws):
    items = [{"session_id": name, "annotators": 1, **DRAWN} for name in (FAILED, PASSED)]
    about = {"surface": "shop", "seed": 1, "design": {}, "lake_versions": ws.lake.versions()}
    queue = ws.ledger.append("queue.drawn", "shop", about | {"items": items})
    annotation = Annotation(ws, Queue(ws.ledger, queue))
    desk.annotate(annotation)
    kept = {"act": "golden", "mode": "rude", "expected": "Says when. Mail to al@example.com"}
    assert "nobody confirmed" in annotation.answer(kept | {"session_id": PASSED})["why"]
    assert annotation.answer(kept | {"session_id": FAILED})["tell"] == "done"
    assert "<EMAIL_" in golden.read_cases(ws.ledger)["expected"].item()
