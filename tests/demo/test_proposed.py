"""Evaluators proposed on the company; benchmarks/generate.py compares them with what is planted."""

import numpy as np
import polars as pl
import pytest

from evalbench.demo.company import QUARTERS
from evalbench.demo.evaluators import promote_evaluators
from evalbench.demo.journey import play_year
from evalbench.errors import EvaluatorError
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import with_split
from evalbench.evaluate.status import read_statuses
from evalbench.label.agreement.consensus import decide
from evalbench.label.codebook.acts import read_codebook
from evalbench.store.workspace import open_workspace


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    ws = open_workspace(tmp_path_factory.mktemp("year"), user="tester")
    play_year(
        ws,
        seed=7,
        sessions_per_surface=5000,
        quarters=QUARTERS,
        progress=lambda title, done, total: None,
    )
    return ws


@pytest.mark.slow
def test_an_adjudicator_leaves_fewer_errors_in_the_labels(year):
    modes = read_codebook(year.ledger).live
    labels, ruled = (year.ledger.bodies(kind) for kind in ("label.set", "label.adjudicated"))
    planted = pl.read_parquet(year.path / "truth" / "sessions.parquet")
    wrong = {}
    for by, rulings in {"majority": ruled.clear(), "adjudicator": ruled}.items():
        said = decide(labels, rulings, modes)
        both = said.join(planted.select("session_id", truth="modes"), on="session_id")
        truth = pl.col("truth").list.contains(pl.col("mode"))
        wrong[by] = both.filter(pl.col("fails").ne_missing(truth)).height
    assert 0 < wrong["adjudicator"] < wrong["majority"] / 2


@pytest.mark.slow
def test_what_is_promoted_counts(year):
    found = promote_evaluators(year, "code_reviewer", rng=np.random.default_rng(7))
    statuses = read_statuses(
        year.ledger,
        year.lake.verdicts(),
        settings=year.settings.evaluators,
        now=year.ledger.clock(),
    )
    assert set(statuses["status"]) <= {"gating", "aligned"}
    assert statuses.height == found.modes["kind"].count() > 10


@pytest.mark.slow
def test_a_session_of_the_test_split_is_refused_as_few_shot(year):
    modes = read_codebook(year.ledger).live.filter(surface="code_reviewer")
    sessions = with_split(year.lake.sessions(surface="code_reviewer").collect())
    leaked = sessions.filter(split="test")["session_id"][0]
    judge = Specification(
        surface="code_reviewer",
        mode=modes["mode"][0],
        kind="judge",
        owner="ana",
        prompt="It fails.",
        model="offline/rubric",
        parameters={"examples": [{"session_id": leaked, "fails": True}]},
    )
    said = f"session '{leaked}' of code_reviewer is in the test split and cannot be a few-shot"
    with pytest.raises(EvaluatorError, match=said):
        score(year, [judge], sessions.head(1))
