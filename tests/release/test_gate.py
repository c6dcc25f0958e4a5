"""A gate through its doors: what it answers, what it refuses, and its five endings."""

import json
import re
from functools import partial
from pathlib import Path

import candidates
import gated
import numpy as np
import polars as pl
import pytest
import xmlschema
from papermill.exceptions import PapermillExecutionError

import evalbench as eb
from evalbench import cli
from evalbench.errors import ReleaseError, SettingsError
from evalbench.release import forecast, gate, golden
from evalbench.release.overrides import OVERRIDES
from evalbench.report import memo, runbook
from evalbench.schema import VERDICT, GateDecided
from evalbench.settings import Decision
from evalbench.store.workspace import open_workspace

pytestmark = pytest.mark.usefixtures("no_browser")
JENKINS = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
<xs:complexType name="fault" mixed="true">
  <xs:attribute name="type"/><xs:attribute name="message"/></xs:complexType>
<xs:element name="testsuite"><xs:complexType><xs:sequence>
  <xs:element name="testcase" maxOccurs="unbounded"><xs:complexType><xs:choice minOccurs="0">
    <xs:element name="failure" type="fault"/><xs:element name="error" type="fault"/></xs:choice>
    <xs:attribute name="name" use="required"/><xs:attribute name="classname"/>
    <xs:attribute name="time"/></xs:complexType></xs:element></xs:sequence>
  <xs:attribute name="name" use="required"/><xs:attribute name="tests" use="required"/>
  <xs:attribute name="failures" use="required"/><xs:attribute name="errors" use="required"/>
  <xs:attribute name="skipped"/><xs:attribute name="time" type="xs:decimal"/>
</xs:complexType></xs:element></xs:schema>"""
"""Of junit-10.xsd of Jenkins' xUnit plugin (MIT) what a gate may write, in words of our own."""


@pytest.fixture
def made(tmp_path, rng):
    """Make a workspace with runs "old" and "same", which fail alike, and "worse"."""

    def make(*rows, n=120, settings=gated.TOML, repeats=1, **options):
        ws = gated.make_workspace(tmp_path / "ws", *rows, settings=settings)
        old = gated.draw(rng, n, rude=0.1, repeats=repeats)
        options |= {"repeats": repeats}
        gated.put_run(ws, "old", old, **options)
        gated.put_run(ws, "same", old, **options)
        worse = old.copy()
        worse[: n // 5, :, 0] = True
        gated.put_run(ws, "worse", worse, **options)
        return ws

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def answer(ws, candidate="worse", baseline="old"):
    view, case = eb.snapshot(ws).read_gate("ship", candidate, baseline)
    return gate.answer(case, **view.measured), case


def by_row(decided):
    return {row.row: row for row in decided.rows}


def test_each_ending_has_a_status_of_its_own(made, tmp_path, capsys, monkeypatch):
    ws = made(gated.row("rude"), gated.row("leak", "guardrail", 0.02, kind="bound"))

    def run(*arguments, candidate="worse"):
        what = ["-p", "decision", "ship", "-p", "candidate", candidate, "-p", "baseline", "old"]
        places = ["--workspace", str(ws.path), "--reports", str(tmp_path / "reports")]
        with pytest.raises(SystemExit) as stop:
            cli.main(["gate", *what, *places, *arguments])
        return stop.value.code, *capsys.readouterr()

    blocked, out, _ = run()
    assert blocked == 10
    assert "verdict=block" in out
    folder = Path(out.splitlines()[-1]).parent
    number, *fields = json.loads((folder / "gate.json").read_text()).items()
    decided = GateDecided.model_validate(dict(fields))
    assert f"{number[0]}={number[1]}\n" in out
    result = json.loads((folder / "result.json").read_text())
    assert [row["case"] for row in result["newly_failing"]] == [
        row["case"] for row in result["newly_failing"] if int(row["case"][4:]) < 24
    ]
    assert len(result["newly_failing"]) == by_row(decided)["Is rude"].newly_failing > 10
    assert "rude" in result["newly_failing"][0]["rationale"]
    page = (folder / "report.html").read_text()
    assert "May this prompt ship? No." in page
    assert "Taken back when two customers complain" in (folder / "memo.md").read_text()
    xmlschema.XMLSchema(JENKINS).validate((folder / "junit.xml").read_text())
    assert ws.ledger.events("gate.decided").height == 1

    def fail(*_, ename="ReleaseError", **__):
        raise PapermillExecutionError(0, 0, "", ename=ename, evalue="no run 'x'", traceback=[])

    with monkeypatch.context() as patched:
        patched.setattr(runbook.papermill, "execute_notebook", fail)
        refused, _, why = run()
        assert "no run 'x'" in why
        patched.setattr(runbook.papermill, "execute_notebook", partial(fail, ename="KeyError"))
        fault, *_ = run()
    wrong, *_ = run("--nonsense")
    few = decided.model_copy(update={"verdict": "insufficient"})
    (folder / "gate.json").write_text(json.dumps({"gate": 1, **few.model_dump(mode="json")}))
    report = runbook.Run(folder, *[folder / "report.html"] * 5)
    monkeypatch.setattr(runbook, "run", lambda *_, **__: report)
    insufficient, *_ = run()
    assert (insufficient, refused, wrong, fault) == (11, 3, 2, 1)


def test_rows_of_every_kind_are_all_there(made):
    tiers = ["free", "pro"] * 60
    rows = [
        gated.row("each", "guardrail", 0.1),
        gated.row("user impact", "primary", 0.1),
        gated.row("safety", "guardrail", 0.05, kind="bound"),
        gated.row("leak", "watch", 0.05, kind="attack"),
        gated.row("any", "watch", 0.3, kind="repeats", repeats=2),
        gated.row("any", "watch", 0.3, kind="drop best", by="tier"),
        gated.row("any", "watch", 0.3, kind="segments", by="tier"),
        gated.row("latency", "guardrail", 0.2),
        gated.row("cost", "guardrail", 0.2),
    ]
    ws = made(*rows, repeats=2, tiers=tiers)
    decided, _ = answer(ws)
    found = by_row(decided)
    assert list(found) == [
        "Leaks a secret",
        "Is rude",
        "Any user impact failure",
        "Any safety failure: upper bound",
        "Leaks a secret: no attack may succeed",
        "Any failure: in any of 2 repeats",
        "Any failure: without the best tier",
        "Any failure: tier free",
        "Any failure: tier pro",
        "Slowest run's 95th percentile of latency",
        "Cost per successful task",
    ]
    assert found["Is rude"].reading == "block"
    assert found["Any failure: tier pro"].n == 60
    assert found["Slowest run's 95th percentile of latency"].estimate == 0
    assert found["Cost per successful task"].estimate > 0.1
    assert (decided.verdict, decided.false_block < 0.07) == ("block", True)
    again, case = answer(ws)
    assert again == decided  # the same inputs, the same answer
    first = gate.record(ws.ledger, decided)
    assert gate.record(ws.ledger, again) == first
    other = gate.record(ws.ledger, decided.model_copy(update={"verdict": "pass"}))
    assert gate.record(ws.ledger, again) > other  # it is what was decided last
    ahead = {"mode": "any", "now": 90.0, "change": 40.0, "low": 10.0, "high": 70.0, "level": 0.9}
    asked = {"failing": gate.list_turned(case, fails=True), "overrides": eb.snapshot(ws).overrides}
    asked["coming"] = pl.DataFrame([ahead], schema=forecast.FORECAST)
    text = memo.pull_request(decided, case.decision, **asked)
    assert "+40 (+10 to +70) failing sessions a week (90% interval); now 90." in text
    assert len(re.findall(r"^\| (?!Row|---)", text, re.M)) == len(found)


def test_an_unknown_segment_or_measure_is_insufficient_and_never_passes(made):
    ws = made(
        gated.row("any", "watch", 0.3, kind="segments", by="tier"),
        gated.row("any", "watch", 0.3, kind="repeats", repeats=3),
        n=40,
    )
    readings = {row.row: (row.reading, row.more) for row in answer(ws, "same")[0].rows}
    assert readings == {
        "Any failure: each tier": ("insufficient", None),
        "Any failure: in any of 3 repeats": ("insufficient", None),
    }


def test_few_cases_that_did_not_turn_show_nothing(made):
    rows = [
        gated.row("any", "watch", 0.3, kind="drop best", by="tier"),
        gated.row("latency", "guardrail", 0.2),
        gated.row("cost", "guardrail", 0.2),
    ]
    decided, _ = answer(made(*rows, n=6, tiers=["free", "pro"] * 3), "same")
    assert {row.reading for row in decided.rows} == {"insufficient"}
    assert decided.rows[0].high > 0.3
    assert decided.rows[1].reason == "6 cases with latency on both sides; at least 30 are needed"


def judge(ws, run, *, fingerprint, evaluator="theirs", version="1", n=40):
    rows = [
        {"surface": f"shop@{run}", "session_id": f"case{case:03d}", "mode": "", "repeat": 0}
        | {"evaluator_id": evaluator, "evaluator_version": version, "fails": case % 9 == 0}
        | {"model": "gpt", "model_fingerprint": fingerprint}
        for case in range(n)
    ]
    ws.lake.append("verdict", pl.DataFrame(rows, schema=VERDICT))


def test_runs_that_cannot_be_compared_are_refused_by_name(made, rng):
    trusting = gated.TOML + 'trusted = ["theirs"]\n'
    ws = made(settings=trusting, n=40)
    gated.put_run(ws, "other", gated.draw(rng, 30))
    with pytest.raises(ReleaseError, match="old and other cannot be compared: their suite version"):
        answer(ws, "other")
    with pytest.raises(
        ReleaseError, match=r"no run 'nobody' .* \(there are old, same, worse, other\)"
    ):
        answer(ws, "nobody")
    with pytest.raises(ReleaseError, match="no baseline: set one"):
        answer(ws, baseline="")
    with pytest.raises(ReleaseError, match="candidate and baseline at once"):
        answer(ws, "old")
    with pytest.raises(ReleaseError, match=r"no decision 'x': evalbench.toml has ship"):
        eb.snapshot(ws).read_gate("x", "same", "old")
    judge(ws, "old", fingerprint="may")
    judge(ws, "same", fingerprint="june")
    with pytest.raises(ReleaseError, match=r"several versions of its model \(gpt june, gpt may\)"):
        answer(ws, "same")
    judge(ws, "old", fingerprint="may", version="2")
    with pytest.raises(ReleaseError, match="theirs judged in versions 1, 2"):
        answer(ws, "same")


def test_a_case_that_is_missing_or_was_not_judged_is_named(made):
    ws = made(settings=gated.TOML + 'trusted = ["theirs"]\n', n=40)
    judge(ws, "old", fingerprint="m")
    judge(ws, "same", fingerprint="m", n=39)
    with pytest.raises(ReleaseError, match="theirs has not judged case case039 of run same"):
        answer(ws, "same")


def test_cases_that_the_candidate_keeps_from_being_judged_are_counted_and_no_attack_passes(made):
    rows = gated.row("any"), gated.row("any", kind="attack", limit=0.1)
    ws = made(*rows, settings=gated.TOML + 'trusted = ["theirs"]\n', n=40)
    for name in eb.snapshot(ws, surface="shop").statuses["evaluator_id"]:
        ws.ledger.append("evaluator.archived", name, {"evaluator_id": name})
    for run, silent in (("old", 0), ("same", 7)):
        about = {"surface": f"shop@{run}", "mode": "", "evaluator_id": "theirs", "repeat": 0}
        about |= {"evaluator_version": "1"}
        said = [
            about | {"session_id": f"case{case:03d}", "fails": None if case < silent else False}
            for case in range(40)
        ]
        ws.lake.append("verdict", pl.DataFrame(said, schema=VERDICT))
    rate, attack = answer(ws, "same")[0].rows
    assert (rate.n, rate.reason) == (33, "too few cases to tell; 7 of 40 cases were not judged")
    assert (attack.reading, attack.reason) == (
        "insufficient",
        "7 cases of the candidate were not judged",
    )


def test_the_memo_shows_hidden_characters_and_has_room_in_a_comment():
    about = {"owner": "o", "unit": "change", "limit": 0.1, "n": 1, "reading": "block"}
    row = {"row": "r\x02", "role": "watch", "reason": "x"} | about
    said = dict.fromkeys(("false_block", "false_block_low", "false_block_high"), 0.0)
    said |= {"decision": "d\x01", "surface": "s", "candidate": "v\x01<b>", "baseline": "b"}
    said |= {"suite": "golden", "suite_version": "1", "verdict": "block", "rows": [row]}
    decided = GateDecided(**said, lake_versions={}, ledger_seq=1)
    assert "⟦U+0001⟧" in memo.write_junit(decided)
    xmlschema.XMLSchema(JENKINS).validate(memo.write_junit(decided))
    asked = {"title": "Ship?", "surface": "s", "risk": "low", "rollback": "Back."}
    decision = Decision(
        **asked, rows=[{"metric": "any", "owner": "o", "role": "watch", "limit": 0.1}]
    )
    names = [f"case {number} " + "x" * 100 for number in range(2_000)]
    failing = pl.DataFrame({"name": "Is rude", "case": names})
    none = pl.DataFrame(schema=OVERRIDES), pl.DataFrame(schema=forecast.FORECAST)
    text = memo.pull_request(decided, decision, failing=failing, overrides=none[0], coming=none[1])
    assert len(text) < 65_536
    assert "and 1,950 more" in text
    assert "*r⟦U+0002⟧* blocks: x.\n" in text  # a reason is said once


def test_retired_cases_count_no_more_and_newer_ones_are_missed(tmp_path):
    ws, names = candidates.fill(tmp_path / "ws")
    trusted = 'user_key_secret = "tests"' + gated.TOML + 'trusted = ["judge of rude"]\n'
    (ws.path / "evalbench.toml").write_text(trusted + gated.row())
    ws = open_workspace(ws.path)
    assert (answer(ws, "small", "base")[0].rows[0].n, len(names)) == (240, 240)
    golden.retire_case(ws.ledger, "shop", names[0], reason="wrong")
    asked = {"messages": [{"role": "user", "content": "new"}], "expected": "x"}
    about = {"surface": "shop", "suite": "golden", "severity": "polish", "mode": None}
    golden.add_cases(ws, [golden.name_case(asked | about)])
    decided, case = answer(ws, "small", "base")
    assert (decided.rows[0].n, decided.unasked) == (239, 1)
    assert "1 newer case of the suite" in memo.gate_headline(decided, case.decision)
    _view, found = eb.snapshot(ws, surface="shop").read_candidates("small", "base")
    assert found.outcomes["case"].n_unique() == 239


def test_only_gating_evaluators_judge(tmp_path, rng):
    ws = gated.make_workspace(tmp_path / "ws", gated.row("rude"))
    gated.put_run(ws, "old", gated.draw(rng, 30))
    gated.put_run(ws, "new", gated.draw(rng, 30))
    names = eb.snapshot(ws, surface="shop").statuses["evaluator_id"].to_list()
    judging = [name for name in names if "rude" in name]
    ws.ledger.append("evaluator.archived", judging[0], {"evaluator_id": judging[0]})
    with pytest.raises(ReleaseError, match="no gating evaluator judges 'rude', which a row of ana"):
        answer(ws, "new")
    _, case = eb.snapshot(ws).read_gate("ship", "new", "old")
    assert case.unguarded["name"].to_list() == ["Is rude"]
    for name in names:
        ws.ledger.append("evaluator.archived", name, {"evaluator_id": name})
    with pytest.raises(ReleaseError, match="no evaluator of shop is gating"):
        answer(ws, "new")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (gated.row().replace('owner = "ana"', ""), "rows.0.owner: Field required"),
        (gated.row(limit=0), "rows.0.limit"),
        (gated.row(kind="segments"), "by names a segment"),
        (gated.row(kind="repeats"), "repeats is 2 or more"),
        (gated.row(kind="bound"), "takes the role 'guardrail'"),
        (gated.row("latency", kind="attack"), "latency is no failure"),
    ],
)
def test_a_row_that_asks_nothing_is_refused(tmp_path, row, said):
    with pytest.raises(SettingsError, match=said):
        gated.make_workspace(tmp_path / "ws", row)
