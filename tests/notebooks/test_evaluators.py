"""From what people say to an evaluator that counts: 06 proposes, 07 records, a person promotes."""

import orjson
import pytest
from judged_sessions import fill_lake
from make import START

import evalbench as eb
from evalbench.report import runbook

pytestmark = pytest.mark.usefixtures("no_browser")
MODE = {
    "surface": "support",
    "mode": "invented_number",
    "name": "Invents a number",
    "definition": "No tool returned it.",
    "example": "TR-1",
    "severity": "safety",
    "failure_class": "evidence quality",
    "owner": "ana",
}
NAME = "support/invented_number/check"


def label(session):
    """Label a session; every second one fails."""
    fails = int(session.removeprefix("s-")) % 2
    said = {"verdict": "fail", "modes": [MODE["mode"]]} if fails else {"verdict": "pass"}
    return "label.set", session, {"surface": "support", "session_id": session, **said}


def test_what_is_proposed_is_adopted_calibrated_and_counts_once_promoted(workspace, tmp_path):
    workspace.ledger.extend(
        [("mode.defined", MODE["mode"], MODE), *map(label, fill_lake(workspace, 240, at=START))]
    )

    def run(name, **given):
        how = {"workspace": workspace, "reports": tmp_path}
        done = runbook.run(name, {"surface": "support", **given}, **how)
        return done, orjson.loads(done.result.read_bytes())

    before, found = run("06_evaluators", adopt=[NAME])
    [uncovered], [proposal] = found["uncovered"], found["proposals"]
    assert uncovered["standing"] == "none"
    assert [row["share"] for row in found["coverage"][:2]] == [0, 0]
    said = {"kind": "check", "status": "gating", "cost_said": "free", "tpr": 1}
    assert said | {"evaluator_id": NAME} == {
        name: proposal[name] for name in [*said, "evaluator_id"]
    }
    assert proposal["tpr_low"] > 0.9
    assert "pattern_found" in before.html.read_text()

    _, found = run("07_calibrate", record=True)
    [row] = found["evaluators"]
    assert (row["evaluator_id"], row["who"]) == (NAME, "Invents a number (check)")
    assert row["n"] < 240  # the test split alone
    eb.evaluate.promote(workspace, NAME)

    _, found = run("06_evaluators")
    assert found["proposals"] == found["candidates"] == found["uncovered"] == []
    assert [row["share"] for row in found["coverage"][:2]] == [1, 1]
    assert [row["status"] for row in found["standing"]] == ["gating"]

    fill_lake(workspace, 40, name="t-{}", at=START)
    held = {"surface": "support", "metric": "failure rate", "mode": MODE["mode"], "owner": "ana"}
    workspace.ledger.append("target.set", MODE["mode"], held | {"target": 0.01})
    watched, found = run("09_monitor", judge=True, record=True)
    assert [row["reading"] for row in found["alerts"]] == ["above target"]
    assert workspace.ledger.bodies("alert.raised")["mode"].to_list() == [MODE["mode"]]
    assert "New sessions were judged first" in watched.html.read_text()
    pins = orjson.loads(watched.manifest.read_bytes())["lake_versions"]
    assert pins == workspace.lake.versions()  # it has read what was judged in this run
    assert eb.snapshot(workspace, "support").verdicts.height == 280
