"""From a defined evaluator to one that counts: 07 records, a person promotes, 06 shows it."""

import orjson
import polars as pl
import pytest
from judged_sessions import fill_lake
from shop import make_label

import evalbench as eb
from evalbench.evaluate.spec import Specification, define
from evalbench.label.codebook.acts import read_codebook
from evalbench.report import runbook

pytestmark = pytest.mark.usefixtures("no_browser")
JUDGE = Specification(
    surface="shop", mode="rude", kind="judge", owner="ana", prompt="Is it rude?", model="m"
)


def read(run):
    return orjson.loads(run.result.read_bytes())


def test_an_evaluator_counts_once_calibrated_and_promoted(own_shop, tmp_path):
    ws = own_shop
    ws.ledger.extend(map(make_label, ws.lake.sessions().collect()["session_id"]), actor="bo")
    define(ws.ledger, JUDGE, modes=read_codebook(ws.ledger).live)
    own = {"evaluator_id": JUDGE.evaluator_id, "evaluator_version": JUDGE.version}
    said = ws.lake.verdicts().collect().with_columns(pl.lit(own[name]).alias(name) for name in own)
    ws.lake.append("verdict", said.with_columns(model_fingerprint=pl.lit("f1")))

    how = {"workspace": ws, "reports": tmp_path}
    found = read(runbook.run("07_calibrate", {"surface": "shop", "record": True}, **how))
    [row] = [row for row in found["evaluators"] if row["evaluator_id"] == JUDGE.evaluator_id]
    assert (row["mcc"], row["who"]) == (1, "Is rude (judge)")
    assert row["n"] < 250  # the test split alone
    assert ws.ledger.bodies("evaluator.calibrated")["model_fingerprint"].to_list() == ["f1"]

    eb.evaluate.promote(ws, JUDGE.evaluator_id)
    after = read(runbook.run("06_evaluators", {"surface": "shop"}, **how))
    assert after["proposals"] == after["candidates"] == []
    assert [row["share"] for row in after["coverage"]] == [1, 1, 1]
    assert after["uncovered"] == []
    assert after["standing"][0]["status"] == "gating"


def test_what_is_proposed_is_adopted_calibrated_and_promoted(workspace, tmp_path):
    ws, mode = workspace, "invented_number"
    sessions = fill_lake(ws, 240)
    failing = [name for name in sessions if int(name.removeprefix("s-")) % 2]
    about = {"surface": "support", "mode": mode, "name": "Invents a number", "owner": "ana"}
    about |= {"definition": "No tool returned it.", "example": "TR-1", "severity": "safety"}
    labels = [
        {"surface": "support", "session_id": name, "verdict": "fail", "modes": [mode]}
        if name in failing
        else {"surface": "support", "session_id": name, "verdict": "pass"}
        for name in sessions
    ]
    ws.ledger.extend(
        [
            ("mode.defined", mode, about | {"failure_class": "evidence quality"}),
            *(("label.set", label["session_id"], label) for label in labels),
        ]
    )
    how, asked = {"workspace": ws, "reports": tmp_path}, {"surface": "support"}
    name = f"support/{mode}/check"
    before = runbook.run("06_evaluators", asked | {"adopt": [name]}, **how)
    [uncovered], [proposal] = (read(before)[name] for name in ("uncovered", "proposals"))
    assert uncovered["standing"] == "none"
    assert [row["share"] for row in read(before)["coverage"][:2]] == [0, 0]
    assert (proposal["kind"], proposal["status"], proposal["cost_said"]) == (
        "check",
        "gating",
        "free",
    )
    assert proposal["tpr"] == 1
    assert proposal["tpr_low"] > 0.9
    assert "pattern_found" in before.html.read_text()
    assert proposal["evaluator_id"] == name

    found = read(runbook.run("07_calibrate", asked | {"record": True}, **how))
    assert [row["evaluator_id"] for row in found["evaluators"]] == [name]
    eb.evaluate.promote(ws, name)
