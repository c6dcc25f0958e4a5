import numpy as np
import polars as pl
import pytest

from evalbench.demo.closing import compare_with_truth, realised_rates, write_closing, write_truth
from evalbench.demo.company import QUARTERS, load_company
from evalbench.demo.journey import play_year, run, run_demo
from evalbench.demo.simulate import simulate
from evalbench.demo.traces import FORMATS, write_traces
from evalbench.errors import EvalbenchError
from evalbench.label.agreement.adjudication import disagreements
from evalbench.label.codebook.acts import read_codebook
from evalbench.observe.ingestion import ingest
from evalbench.observe.sampling.draw import stratify
from evalbench.schema import Design
from evalbench.store.workspace import open_workspace

SESSIONS = 60


def _play(path):
    ws = open_workspace(path, user="tester")
    simulated = play_year(
        ws,
        seed=7,
        sessions_per_surface=SESSIONS,
        quarters=QUARTERS,
        progress=lambda title, done, total: None,
    )
    return ws, simulated


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return _play(tmp_path_factory.mktemp("played"))


@pytest.mark.parametrize("surface", FORMATS)
def test_every_format_is_read_without_a_reject(company, tmp_path, surface):
    simulated = next(
        each
        for each in simulate(company, sessions_per_surface=SESSIONS, rng=np.random.default_rng(3))
        if each.surface.surface == surface
    )
    path = tmp_path / f"traces{FORMATS[surface].suffix}"
    write_traces(simulated, path, rng=np.random.default_rng(1))
    ws = open_workspace(tmp_path / "workspace")
    report = ingest(ws, path, surface=surface, columns=FORMATS[surface].columns)
    assert (report.sessions, report.rejected, report.duplicates) == (SESSIONS, 0, 0)
    assert report.spans == report.records > 4 * SESSIONS
    assert ws.lake.spans().filter(pl.col("kind") == "other").collect().is_empty()
    assert ws.lake.spans().filter(kind="retriever").collect()["documents"].list.len().min() == 3


def test_the_lake_holds_what_was_simulated(played):
    ws, simulated = played
    for each in simulated:
        surface = each.surface
        lake = ws.lake.sessions(surface=surface.surface).collect().sort("session_id")
        planted = each.sessions.sort("session_id")
        columns = ["session_id", "release", "started_at", *surface.signals]
        assert lake.select(columns).equals(planted.select(columns))
        for segment in ("tier", "locale", "intent"):
            held = lake["segments"].str.json_path_match(f"$.{segment}")
            assert held.to_list() == planted[segment].to_list()
        assert lake["cost_usd"].min() > 0
        assert lake["n_tool_calls"].min() >= 1
        users = lake.select("user_key").with_columns(planted["user"]).unique()
        assert users["user_key"].n_unique() == users["user"].n_unique() == users.height


def test_no_personal_data_reaches_the_lake(played):
    ws, _ = played
    for column in ("input", "output", "input_messages", "tool_arguments", "attributes"):
        text = ws.lake.spans().select(column).collect()[column]
        assert not text.str.contains("@example.com", literal=True).any()
        assert not text.str.contains(r"\d{3}\) 555").any()
    assert ws.lake.spans().select("input").collect()["input"].str.contains("<EMAIL_").any()


def test_people_label_every_drawn_session_and_draws_are_of_their_quarter(played):
    ws, _ = played
    drawn = ws.ledger.bodies("queue.drawn")
    labels = ws.ledger.bodies("label.set")
    assert drawn.height == 3 * len(QUARTERS)
    asked = drawn.select("seq", "surface", pl.col("items").list.len())
    assert labels.height == 3 * asked["items"].sum()
    assert labels["actor"].unique().sort().to_list() == ["ana", "bruno", "chiara"]
    for row in drawn.iter_rows(named=True):
        frame = ws.lake.sessions(surface=row["surface"], start=row["start"], end=row["end"])
        ids = {item["session_id"] for item in row["items"]}
        assert ids <= set(frame.collect()["session_id"])
        own = labels.filter(queue=row["seq"])
        assert set(own["session_id"]) == ids


def test_what_annotators_dispute_is_decided(played):
    ws, _ = played
    labels, ruled = (ws.ledger.bodies(kind) for kind in ("label.set", "label.adjudicated"))
    disputed = disagreements(labels, read_codebook(ws.ledger).live, ruled)
    assert disputed.height == ruled.height > 20
    assert not disputed["waits"].any()
    assert set(ruled["actor"]) == {"dario"}
    agreed = labels.join(ruled, on="session_id", how="anti").group_by("session_id")
    sure = agreed.agg(pl.col("modes").filter(pl.col("verdict") != "unsure").n_unique())
    assert sure["modes"].max() == 1


def test_the_strata_of_a_draw_can_be_worked_out_again(played):
    ws, _ = played
    row = ws.ledger.bodies("queue.drawn").row(0, named=True)
    frame = ws.lake.sessions(surface=row["surface"], start=row["start"], end=row["end"]).collect()
    design = Design.model_validate_json(
        ws.ledger.events("queue.drawn")["body"].str.json_path_match("$.design")[0]
    )
    verdicts = ws.lake.verdicts(surface=row["surface"]).collect()
    strata = stratify(frame, design, verdicts).select("session_id", "stratum")
    again = dict(strata.iter_rows())
    assert {item["session_id"]: item["stratum"] for item in row["items"]} == {
        item["session_id"]: again[item["session_id"]] for item in row["items"]
    }


def test_the_ledger_tells_the_year_in_order_and_the_same_seed_gives_the_same_chain(
    played, tmp_path
):
    ws, _ = played
    events = ws.ledger.events()
    assert ws.ledger.verify() is None
    assert events["at"].is_sorted()
    assert events["at"].dt.year().is_in([2025, 2026]).all()
    assert set(events["kind"]) == {
        "mode.defined",
        "release.shipped",
        "queue.drawn",
        "label.set",
        "label.adjudicated",
        "note.added",
    }
    again, _ = _play(tmp_path)
    assert again.ledger.events().equals(events)


def test_the_closing_table_puts_the_realised_share_beside_an_estimate(company, tmp_path):
    simulated = simulate(company, sessions_per_surface=900, rng=np.random.default_rng(1))
    write_truth(simulated, tmp_path)
    truth = realised_rates(tmp_path, "2026Q1")
    first = simulated[0].sessions
    window = first.filter(
        pl.col("started_at").dt.quarter() == 1,
        release="2026.02",
    )
    expected = window["modes"].list.contains("asks_again").mean()
    row = truth.filter(surface="support_copilot", release="2026.02", mode="asks_again")
    assert row["truth"].item() == pytest.approx(expected)
    any_mode = truth.filter(surface="support_copilot", release="2026.02", mode="any")
    assert any_mode["truth"].item() == pytest.approx((window["modes"].list.len() > 0).mean())

    rates = row.select("surface", "release", "mode", quarter=pl.lit("2026Q1"))
    given = pl.DataFrame({"estimate": [0.5], "low": [0.4], "high": [0.6]})
    missed = compare_with_truth(pl.concat([rates, given], how="horizontal"), tmp_path)
    assert missed["held"].to_list() == [False]
    held = compare_with_truth(rates.with_columns(estimate=expected, low=0.0, high=1.0), tmp_path)
    assert held["held"].to_list() == [True]
    unknown = pl.lit(None, pl.Float64)
    silent = compare_with_truth(
        rates.with_columns(estimate=unknown, low=unknown, high=unknown), tmp_path
    )
    assert silent["held"].to_list() == [None]
    (tmp_path / "reports").mkdir()
    page = write_closing(
        pl.concat([missed, held, silent], how="vertical_relaxed"),
        {"support_copilot 2026Q1": tmp_path / "reports" / "a" / "report.html"},
        tmp_path / "reports" / "demo.html",
    )
    text = page.read_text()
    assert "1 of 2 intervals hold the truth" in text
    assert "insufficient" in text
    assert "None" not in text
    assert 'href="a/report.html"' in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_demo_leaves_a_folder_alone_that_it_did_not_make(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EvalbenchError, match="not empty"):
        run_demo(tmp_path, sessions_per_surface=SESSIONS, seed=1)
    assert (tmp_path / "thesis.txt").exists()


def test_the_whole_journey_ends_in_reports_whose_intervals_hold_the_truth(tmp_path):
    ws = open_workspace(tmp_path, user="tester")
    journey = run(ws, seed=5, sessions_per_surface=600, quarters=("2026Q3",))
    modes = sum(len(surface.modes) for surface in load_company().surfaces)
    assert journey.closing.height == 2 * modes
    assert journey.closing["truth"].null_count() == 0
    assert journey.closing["held"].count() > 0.9 * journey.closing.height
    assert journey.closing["held"].mean() >= 0.9
    assert list(journey.reports) == ["2026Q3"]
    assert journey.reports["2026Q3"].is_relative_to(journey.page.parent)
    assert ws.ledger.verify() is None
    proposed = journey.proposals.modes
    assert proposed.height == 14
    promoted = ws.ledger.bodies("evaluator.promoted")["evaluator_id"]
    assert set(promoted) == set(proposed["evaluator_id"].drop_nulls())
