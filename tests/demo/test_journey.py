import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from evalbench.demo.closing import (
    compare_catches,
    compare_changes,
    compare_trends,
    compare_with_truth,
    say_coverage,
    write_closing,
    write_truth,
)
from evalbench.demo.journey import play_year, run_demo
from evalbench.demo.simulate import simulate
from evalbench.errors import EvalbenchError
from evalbench.evaluate.status import read_statuses
from evalbench.label.agreement.adjudication import disagreements
from evalbench.label.agreement.consensus import decide
from evalbench.label.codebook.acts import read_codebook
from evalbench.observe.sampling.draw import stratify
from evalbench.schema import Design
from evalbench.store.workspace import open_workspace


@pytest.fixture(scope="session")
def planted(demo):
    return pl.read_parquet(demo[0].path / "truth" / "sessions.parquet")


def test_the_lake_holds_what_was_simulated(demo, planted, company):
    ws, _ = demo
    for surface in company:
        lake = ws.lake.sessions(surface=surface.surface).collect().sort("session_id")
        own = planted.filter(surface=surface.surface).sort("session_id")
        assert own.height == 2000
        columns = ["session_id", "release", "started_at"]
        assert lake.select(columns).equals(own.select(columns))
        assert all(0 < lake[signal].count() <= 2000 for signal in surface.signals)
        assert lake["segments"].str.json_path_match("$.tier").null_count() == 0
        assert lake["cost_usd"].min() > 0
        assert lake["n_tool_calls"].min() >= 1
        users = lake.select("user_key").with_columns(own["user"]).unique()
        assert users["user_key"].n_unique() == users["user"].n_unique() == users.height
        spans = ws.lake.spans(surface=surface.surface).collect()
        assert spans.filter(kind="other").is_empty()
        assert spans.filter(kind="retriever")["documents"].list.len().min() == 3
    assert not list(ws.rejected.glob("*"))


def test_no_personal_data_reaches_the_lake(demo):
    spans = demo[0].lake.spans()
    for column in ("input", "output", "input_messages", "tool_arguments", "attributes"):
        text = spans.select(column).collect()[column]
        assert not text.str.contains("@example.com", literal=True).any()
        assert not text.str.contains(r"\d{3}\) 555").any()
    assert spans.select("input").collect()["input"].str.contains("<EMAIL_").any()


def test_people_label_every_drawn_session_and_draws_can_be_worked_out_again(demo):
    ws, _ = demo
    labels = ws.ledger.bodies("label.set")
    assert labels["actor"].unique().sort().to_list() == ["ana", "bruno", "chiara"]
    queues = ws.ledger.bodies("queue.drawn")
    assert queues.height == 3
    for row in queues.iter_rows(named=True):
        strata = {item["session_id"]: item["stratum"] for item in row["items"]}
        own = labels.filter(queue=row["seq"])
        assert set(own["session_id"]) == set(strata)
        assert own.height == 3 * len(strata)
        window = {"start": row["start"], "end": row["end"]}
        frame = ws.lake.sessions(surface=row["surface"], **window).collect()
        [body] = ws.ledger.events("queue.drawn", since=row["seq"] - 1, until=row["seq"])["body"]
        design = Design.model_validate(json.loads(body)["design"])
        verdicts = ws.lake.verdicts(surface=row["surface"])
        judged = verdicts.filter(pl.col("evaluator_id").is_in(design.evaluators)).collect()
        again = dict(stratify(frame, design, judged).select("session_id", "stratum").iter_rows())
        assert strata == {session: again[session] for session in strata}


def test_what_annotators_dispute_is_decided_and_leaves_fewer_errors(demo, planted):
    ws, _ = demo
    codebook = read_codebook(ws.ledger).live
    labels, rulings = (ws.ledger.bodies(kind) for kind in ("label.set", "label.adjudicated"))
    disputed = disagreements(labels, codebook, rulings)
    assert disputed.height == rulings.height > 20
    assert not disputed["waits"].any()
    assert set(rulings["actor"]) == {"dario"}
    wrong = []
    for ruled in (rulings.clear(), rulings):
        decided = decide(labels, ruled, codebook).join(planted, on=["surface", "session_id"])
        truth = pl.col("modes").list.contains(pl.col("mode"))
        wrong.append(decided.filter(pl.col("fails").ne_missing(truth)).height)
    assert wrong[1] < wrong[0] / 2


def test_the_same_seed_gives_the_same_chain_in_the_order_of_the_story(tmp_path):
    chains = []
    for name in ("one", "two"):
        ws = open_workspace(tmp_path / name, user="tester")
        play_year(ws, seed=7, sessions_per_surface=40, quarters=("2026Q2", "2026Q3"))
        assert ws.ledger.verify() is None
        chains.append(ws.ledger.events())
    assert chains[0].equals(chains[1])
    assert chains[0]["at"].is_sorted()
    told = {"mode.defined", "release.shipped", "queue.drawn", "label.set", "label.adjudicated"}
    told |= {"target.set", "golden.added", "run.recorded", "gate.decided"}
    told |= {"metric.observed", "decision.recorded"}
    optional = {"note.added", "issue.opened", "issue.moved", "gate.overridden"}
    assert set(chains[0]["kind"]) - optional == told


def test_the_journey_ends_in_reports_whose_intervals_hold_the_truth(demo, company):
    ws, journey = demo
    assert journey.closing.height == 2 * sum(len(surface.modes) for surface in company)
    assert journey.closing["truth"].null_count() == 0
    assert journey.closing["held"].count() > 0.9 * journey.closing.height
    assert journey.closing["held"].mean() >= 0.9
    assert list(journey.reports) == ["2026Q3"]
    assert journey.reports["2026Q3"].is_relative_to(journey.page.parent)
    assert ws.ledger.verify() is None


def test_evaluators_are_proposed_and_those_promoted_count(demo):
    ws, journey = demo
    proposed = journey.proposals.modes
    assert proposed.height == 14
    promoted = ws.ledger.bodies("evaluator.promoted")
    assert set(promoted["evaluator_id"]) == set(proposed["evaluator_id"].drop_nulls())
    verdicts, settings = ws.lake.verdicts(), ws.settings.evaluators
    statuses = read_statuses(ws.ledger, verdicts, settings=settings, now=promoted["at"].max())
    assert set(statuses["status"]) <= {"gating", "aligned"}
    assert statuses.height == promoted.height > 0


def test_the_closing_table_puts_the_realised_share_beside_an_estimate(company, tmp_path):
    simulated = simulate(company, sessions_per_surface=900, rng=np.random.default_rng(1))
    write_truth(simulated, tmp_path / "truth.parquet")
    window = simulated[0].sessions.filter(pl.col("started_at").dt.quarter() == 1, release="2026.02")
    modes = ["asks_again", "refund_window_misquoted", "other_account", "never_planted"]
    shares = [window["modes"].list.contains(mode).mean() for mode in modes]
    assert min(shares[:2]) > 0 == shares[3]

    about = {"surface": "support_copilot", "quarter": "2026Q1", "release": "2026.02"}
    rates = pl.DataFrame({"mode": modes, "name": modes, "estimate": [0.5, shares[1], None, 0.0]})
    ends = {"low": [0.4, 0.0, None, 0.0], "high": [0.6, 1.0, None, 0.1]}
    ends |= {"process_low": [0.0, 0.9, None, 0.0], "process_high": [1.0, 1.0, None, 0.1]}
    rates = rates.with_columns(pl.lit(value).alias(name) for name, value in about.items())
    rates = rates.with_columns(**{n: pl.Series(v) for n, v in ends.items()})
    planted = pl.read_parquet(tmp_path / "truth.parquet").filter(
        pl.col("started_at").dt.quarter() == 1
    )
    table = compare_with_truth(pl.concat([rates, rates]), planted, company)
    assert table["truth"].to_list() == pytest.approx(shares)
    assert table["held"].to_list() == [False, True, None, True]
    assert table["planted"].to_list()[1] == 0.02  # of the release before, and still
    (tmp_path / "reports").mkdir()
    report = tmp_path / "reports" / "a" / "report.html"
    where = {"2026Q1": report}, tmp_path / "reports" / "demo.html"
    text = write_closing(table, ["All <told>"], *where, level=0.95).read_text()
    assert "<li>All &lt;told&gt;</li>" in text
    assert "insufficient" in text
    assert "None" not in text
    assert 'href="a/report.html"' in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_demo_says_what_its_intervals_and_readings_are_worth(company):
    key = {"surface": "support_copilot", "release": "2026.02", "previous_release": "2025.11"}
    told = {
        "superseded_article": ("confirmed improvement", "yes"),
        "tool_error_ignored": ("likely improvement", "yes"),
        "amount_misread": ("confirmed regression", ""),
        "refund_window_misquoted": ("cannot tell", ""),
    }
    rows = [key | {"mode": mode, "reading": r, "target": t} for mode, (r, t) in told.items()]
    changes = compare_changes(pl.DataFrame([*rows, rows[0]]), company)
    assert changes["mode"].to_list() == list(told)
    assert changes["planted"][0] == pytest.approx(0.01 - 0.065)
    assert changes["planted"][1] < changes["planted"][2] == changes["planted"][3] == 0

    shares = {"truth": [0.1, 0.2, 0.3, 0.4], "low": [0.0, 0.1, 0.4, None]}
    shares |= {"high": [0.05, 0.3, 0.5, None], "held": [False, True, False, None]}
    process = {f"process_{name}": shares[name] for name in ("low", "high")}
    process["planted"] = shares["truth"]
    changes = changes.with_columns(
        low=pl.Series([-0.1, -0.1, -0.1, None]), high=pl.Series([-0.01, 0.1, -0.01, None])
    )
    trend = {"surface": "support_copilot", "mode": "superseded_article", "first": "2025.11"}
    trend |= {"last": "2026.02", "times_low": 0.1, "times_high": 0.9}
    trends = compare_trends(pl.DataFrame([trend]), company)
    assert trends["planted"].to_list() == pytest.approx([0.01 / 0.065])
    sessions = changes.select("surface", session_id="mode", modes=pl.concat_list("mode"))
    sessions = sessions.with_columns(started_at=datetime(2026, 2, 1, tzinfo=UTC))
    said = sessions.select("surface", "session_id", mode=pl.col("modes").list.first(), fails=True)
    cards = {"metric": ["catch_rate"], "low": [0.5], "high": [0.9], "reported": ["2026Q1"]}
    catches = compare_catches(pl.DataFrame(cards), sessions, said.head(3))
    assert catches["planted"].to_list() == [0.75]
    assert say_coverage(pl.DataFrame(shares | process), changes, trends, catches) == [
        "1 of 3 intervals hold the share of failing sessions (1 lie above it, 1 below).",
        "1 of 3 intervals hold the planted rate (1 lie above it, 1 below).",
        "2 of 3 intervals hold the planted change of a release (0 lie above it, 1 below).",
        "1 of 1 intervals hold the planted change over all releases (0 lie above it, 0 below).",
        "1 of 1 intervals hold the share of failing sessions that evaluators catch (0 lie above it,"
        " 0 below).",
        "1 of 2 planted improvements of targets are confirmed.",
        "Of 2 failures that did not change, 1 are said to.",
        "Of 4 changes, 1 cannot be told.",
    ]


def test_the_demo_leaves_a_folder_alone_that_it_did_not_make(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EvalbenchError, match="not empty"):
        run_demo(tmp_path, sessions_per_surface=60, seed=1)
    assert (tmp_path / "thesis.txt").exists()
