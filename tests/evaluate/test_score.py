"""Evaluators of each kind into the verdict table, once each."""

import json
import subprocess
import sys

import polars as pl
import pytest
from judged_sessions import fill_lake, make_judge_specification
from model_server import ModelServer

from evalbench.errors import EvaluatorError
from evalbench.evaluate.classifier import dump_classifier, train_classifier
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split
from evalbench.llm import Limits
from evalbench.session import read_sessions
from evalbench.store.journal import open_journal, put_verdicts, recover

UNPRICED = "hosted_vllm/unpriced"
"""A model that no test tells the price of: LiteLLM does not forget one."""
OFFLINE = make_judge_specification("offline/rubric")
OWN = {"surface": "support", "mode": "invented_number", "owner": "ana"}
CHECK = Specification(**OWN, kind="check", parameters={"check": "pattern_found", "pattern": "TR-"})


def as_rows(ws):
    return ws.lake.verdicts().collect().sort("evaluator_id", "session_id", "repeat").to_dicts()


def test_each_kind_judges_each_session_once(workspace):
    sessions = fill_lake(workspace, 120)
    opened = [
        each
        for each in read_sessions(workspace.lake, "support", sessions)
        if assign_split("support", each.session_id, None) == "train"
    ]
    fails = [int(each.session_id.removeprefix("s-")) % 2 == 1 for each in opened]
    trained = train_classifier(opened, fails)
    content, sha256 = dump_classifier(trained.pipeline)
    (workspace.path / "classifiers").mkdir()
    (workspace.path / "classifiers" / f"{sha256}.skops").write_bytes(content)
    made = {"parameters": {"sha256": sha256}, "threshold": trained.threshold}
    classifier = Specification(**OWN, kind="classifier", **made)
    evaluators = [CHECK, OFFLINE, classifier]
    done = score(workspace, evaluators, workspace.lake.sessions().collect())
    assert (done.verdicts, done.errors, done.cached, len(done.left)) == (360, 0, 0, 0)
    for row in as_rows(workspace):
        assert row["fails"] == bool(int(row["session_id"].removeprefix("s-")) % 2), row
        assert row["run_id"] == done.run_id
        assert all(each["span_id"] and each["quote"] for each in json.loads(row["evidence"]))
    before = as_rows(workspace)
    again = score(workspace, evaluators, sessions)
    assert (again.verdicts, again.cached, again.spent.calls) == (0, 360, 0)
    assert as_rows(workspace) == before
    (workspace.path / "classifiers" / f"{sha256}.skops").unlink()
    with pytest.raises(EvaluatorError, match="train it again"):
        score(workspace, [classifier], sessions, repeat=1)


def test_repeat_and_version_are_part_of_the_key(workspace):
    sessions = fill_lake(workspace, 4)
    other = OFFLINE.model_copy(update={"prompt": "The assistant is rude to the user."})
    for evaluator, repeat in ((OFFLINE, 0), (OFFLINE, 1), (other, 0), (OFFLINE, 1)):
        score(workspace, [evaluator], sessions, repeat=repeat)
    assert len(as_rows(workspace)) == 12


def test_a_session_that_is_not_there_is_a_recorded_error(workspace):
    sessions = fill_lake(workspace, 2)
    done = score(workspace, [CHECK, OFFLINE], [*sessions, "gone", "gone"])
    assert (done.verdicts, done.errors) == (4, 2)
    errors = workspace.lake.verdicts().collect().filter(session_id="gone")["error"]
    assert errors.to_list() == ["no such session in the lake"] * 2


def test_evaluators_judge_sessions_of_their_own_surface(workspace):
    fill_lake(workspace, 3)
    fill_lake(workspace, 2, surface="sales")
    sales = CHECK.model_copy(update={"surface": "sales"})
    frame = workspace.lake.sessions().collect()
    kept = frame.clone()
    score(workspace, [CHECK, sales], frame)
    assert frame.equals(kept)
    counted = workspace.lake.verdicts().collect().group_by("surface").len().sort("surface")
    assert counted.rows() == [("sales", 2), ("support", 3)]


def test_verdicts_hold_what_the_call_cost(workspace, monkeypatch):
    with ModelServer(fingerprint="fp_9") as server:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.url)
        sessions = fill_lake(workspace, 20)
        limits = Limits(calls=13, concurrency=4)
        judge = make_judge_specification(UNPRICED)
        done = score(workspace, [judge], sessions, limits=limits)
    assert (done.verdicts, len(done.left), done.spent.calls) == (13, 7, 13)
    assert done.spent.unpriced == 13
    for row in as_rows(workspace):
        assert (row["model"], row["model_fingerprint"]) == (UNPRICED, "fp_9")
        assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (100, 10, None)
        assert row["latency_ms"] > 0


def test_an_error_never_replaces_a_verdict(workspace):
    sessions = fill_lake(workspace, 2)
    score(workspace, [CHECK], sessions)
    verdicts = workspace.lake.verdicts().collect()
    late = verdicts.with_columns(error=pl.lit("late"), fails=pl.lit(None, pl.Boolean))
    put_verdicts(workspace.lake, late)
    assert as_rows(workspace) == verdicts.sort("evaluator_id", "session_id").to_dicts()


def test_a_journal_in_use_is_let_be_unless_it_is_of_the_same_job(workspace):
    folder = workspace.path / "scoring"
    with open_journal(folder / "job.run.jsonl", workspace.lake):
        assert recover(folder, workspace.lake, "other") is None
    assert recover(folder, workspace.lake, "job") == "run"


def test_the_package_stays_light():
    code = "import sys, evalbench.evaluate.score; print(HEAVY & set(sys.modules))"
    code = code.replace("HEAVY", "{'litellm', 'sklearn', 'aiohttp'}")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"
