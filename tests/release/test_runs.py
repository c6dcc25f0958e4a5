"""Runs of candidates come in by the doors of traces and verdicts, and stay out of production."""

import json

import make
import polars as pl
import pytest

import evalbench as eb
from evalbench.cli import main
from evalbench.errors import ReleaseError
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.label.browsing.browsing import Browsing
from evalbench.release import golden, runs


def line(case, answer, **more):
    said = [{"role": "user", "content": f"ask {case}"}, {"role": "assistant", "content": answer}]
    return json.dumps({"id": f"{case}-{answer}", "case": case, "messages": said, **more}) + "\n"


@pytest.fixture
def call(tmp_path, capsys, workspace):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--workspace", str(workspace.path)])
        out, err = capsys.readouterr()
        return stop.value.code, out.strip(), err.strip().splitlines()[-1:]

    return run


@pytest.fixture
def ingest(call, tmp_path):
    def run(name, *lines, id="case", **options):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
        asked = [word for key, value in options.items() for word in (f"--{key}", value)]
        where = ["--surface", "shop", "--map", f"session_id={id}", *asked]
        where += ["--run", name] if name != "production" else []
        return call("ingest", str(tmp_path / f"{name}.jsonl"), *where)

    return run


def test_outputs_are_a_run_that_production_never_sees(ingest, workspace):
    ingest("production", line("a", "yes"))
    status, out, [said] = ingest("old", line("c1", "x"), line("c2", "y"), release="8")
    assert (status, out) == (0, "sessions=2 spans=2 rejected=0 duplicates=0")
    assert said.startswith("run=old suite=golden version=")
    assert said.endswith(" cases=2 repeats=1")
    ingest("old", line("c1", "x"), line("c2", "y"), release="8")  # again: recorded once
    shots = [line("c1", f"x{k}", n=k) for k in (1, 2)] + [line("c2", f"y{k}", n=k) for k in (1, 2)]
    ingest("new", *shots, id="{case}#{n}", suite="golden")
    view = eb.snapshot(workspace, surface="shop")
    columns = ["run", "suite", "release", "cases", "repeats"]
    assert view.runs.select(columns).rows() == [
        ("old", "golden", "8", 2, 1),
        ("new", "golden", None, 2, 2),
    ]
    assert view.runs["suite_version"].n_unique() == 1  # the same inputs
    assert view.read_outputs(["new"]).select("case", "repeat", "final_output").rows() == [
        ("c1", 1, "x1"),
        ("c1", 2, "x2"),
        ("c2", 1, "y1"),
        ("c2", 2, "y2"),
    ]
    assert eb.snapshot(workspace).sessions["session_id"].to_list() == ["a"]
    assert Browsing(workspace).surfaces == ["shop"]


def test_evaluators_of_the_surface_score_its_runs(ingest, workspace):
    ingest("production", line("c1", "sorry"))
    ingest("new", line("c1", "sorry"), line("c2", "yes"))
    parameters = {"check": "pattern_found", "pattern": "sorry"}
    check = Specification(
        surface="shop", mode="rude", kind="check", owner="ana", parameters=parameters
    )
    assert score(workspace, [check], ["c1", "c2"], run="new").verdicts == 2
    assert score(workspace, [check], ["c1"]).verdicts == 1
    assert score(workspace, [check], ["c1", "c2"], run="new").cached == 2
    view = eb.snapshot(workspace, surface="shop")
    said = view.read_run_verdicts(["new"])
    assert said.select("surface", "run", "case", "fails").rows() == [
        ("shop", "new", "c1", True),
        ("shop", "new", "c2", False),
    ]
    assert view.every_verdict.collect().height == 1


def test_verdicts_made_elsewhere_are_runs_of_their_own(call, tmp_path, workspace):
    rows = [(m, c, int(m == "b" and c == "2")) for m in "ab" for c in "123"]
    table = pl.DataFrame(rows, schema=["model", "session_id", "fails"], orient="row")
    table.write_csv(tmp_path / "v.csv")
    how = ("--evaluator", "x", "--mode", "", "--suite", "regression")
    status, out, _ = call(
        "verdicts", "import", str(tmp_path / "v.csv"), "--surface", "shop@{model}", *how
    )
    assert (status, out) == (0, "added=6 silent=0 rejected=0 duplicates=0")
    known = eb.snapshot(workspace, surface="shop").runs
    assert known.select("run", "suite", "cases").rows() == [
        ("a", "regression", 3),
        ("b", "regression", 3),
    ]
    assert workspace.ledger.bodies("verdicts.imported")["surface"].to_list() == ["shop@a", "shop@b"]
    again = ("--map", "session_id=session_id", "--evaluator", "y", "--mode", "")
    for release in ([], ["--release", "9"], []):
        call("verdicts", "import", str(tmp_path / "v.csv"), "--surface", "shop@a", *again, *release)
    [run, _] = eb.snapshot(workspace, surface="shop").runs.sort("run").to_dicts()
    assert (run["suite"], run["release"]) == ("regression", "9")  # what was said of it stays


def test_a_baseline_is_a_run_on_record(call, ingest, workspace):
    ingest("old", line("c1", "x"))
    assert call("baseline", "shop", "old")[:2] == (0, "baseline of shop, suite golden: old")
    assert eb.snapshot(workspace).baselines.rows() == [("shop", "golden", "old")]
    status, _, [said] = call("baseline", "shop", "new")
    assert status == 3
    assert "no run 'new' of shop is on record (there are old)" in said


def test_an_unknown_suite_is_refused_before_anything_is_read(ingest, workspace):
    status, _, [said] = ingest("new", line("c1", "x"), suite="bogus")
    assert status == 2
    assert "'bogus' is not one of 'golden', 'regression'" in said
    assert workspace.lake.versions() == {}


def test_a_case_that_was_answered_twice_is_refused_by_name(ingest, workspace):
    shots = line("c1", "x") + line("c1", "y") + line("c2", "x") + line("c3", "x")
    status, _, [said] = ingest("new", shots)
    assert status == 3
    assert "run 'new' of shop has more than one answer to c1: name" in said
    assert eb.snapshot(workspace).runs.is_empty()


def test_nothing_that_is_not_there_is_recorded(workspace):
    with pytest.raises(ReleaseError, match="nothing of run 'x' of shop is in the lake"):
        runs.record_run(workspace, "shop@x")


def test_runs_that_were_not_asked_the_same_are_refused_by_name(ingest, workspace):
    ingest("old", line("c1", "x"), line("c2", "x"))
    ingest("new", line("c1", "y"), line("c3", "y"))
    view = eb.snapshot(workspace, surface="shop")
    with pytest.raises(ReleaseError, match="runs old and new cannot be compared: their suite v"):
        runs.check_comparable(view.runs, view.read_outputs(["old", "new"]))
    same = view.runs.with_columns(suite_version=pl.lit("1"))
    with pytest.raises(ReleaseError, match=r"run old lacks cases or repeats .*: c3"):
        runs.check_comparable(same, view.read_outputs(["old", "new"]))


def test_cases_and_repeats_are_read_of_session_names():
    names = make.sessions(
        "a", "b#2", "c#x", "d#1#3", "e#\uff11", "f#99999999999", surface="shop@r@s"
    )
    found = runs.with_cases(names).select("surface", "run", "case", "repeat").rows()
    assert found == [
        ("shop", "r@s", "a", 0),
        ("shop", "r@s", "b", 2),
        ("shop", "r@s", "c#x", 0),
        ("shop", "r@s", "d#1", 3),
        ("shop", "r@s", "e#\uff11", 0),
        ("shop", "r@s", "f#99999999999", 0),
    ]


def test_a_run_on_all_golden_cases_is_of_the_version_of_the_suite(ingest, workspace):
    fields = {"surface": "shop", "suite": "golden", "severity": "safety", "expected": "no"}
    asked = [{"messages": [{"role": "user", "content": text}], **fields} for text in "xy"]
    cases = [golden.name_case(each) for each in asked]
    golden.add_cases(workspace, cases)
    ingest("new", *(line(each.case, "no") for each in cases))
    version = golden.list_suites(golden.read_cases(workspace.ledger))["version"].item()
    assert runs.read_runs(workspace.ledger)["suite_version"].to_list() == [version]
