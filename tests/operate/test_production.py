"""Production as a snapshot puts it together, on a small shop and where things are missing."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from shop import MODE, START, fill, make_sessions

import evalbench as eb
from evalbench.errors import EvalbenchError
from evalbench.operate import monitor
from evalbench.report import monitoring
from evalbench.store.workspace import open_workspace


def hold(ws, target):
    body = {"surface": "shop", "metric": "failure rate", "mode": "rude", "owner": "ana"}
    ws.ledger.append("target.set", "rude", body | {"target": target})


@pytest.fixture
def shop(tmp_path):
    ws = fill(tmp_path / "shop")
    hold(ws, 0.001)
    return ws


def look(view):
    """Ask for everything that 09 shows."""
    tables = {
        "alerts": view.alerts,
        "budgets": view.spend_budgets(share=1.0),
        "rates": view.watch_rates("week", share=1.0),
        "traffic": view.compare_traffic(8, tolerance=0.05),
        "causes": view.find_causes(8, segment="intent"),
        "nowcasts": view.score_nowcasts(share=1.0),
        "gaps": view.gaps,
    }
    named = [tables[name] for name in ("alerts", "budgets", "causes", "traffic")]
    return tables | {"said": monitoring.monitor_headline(*named, sessions=1)}


def test_a_failure_far_above_its_target_alerts_and_spends_its_budget(shop):
    found = look(eb.snapshot(shop, "shop"))
    [alert], [budget] = found["alerts"].to_dicts(), found["budgets"].to_dicts()
    assert alert["reading"] == "above target"
    assert START < alert["raised"] < START + timedelta(days=8)
    assert budget["reading"] == "exhausted"
    # 400 sessions in 16.6 of 92 days, of which one in a thousand may fail; every twelfth does.
    assert budget["allowed"] == pytest.approx(0.4 * 92 / 16.6, rel=0.01)
    assert budget["spent_low"] <= 34 <= budget["spent_high"]
    assert found["rates"]["start"].is_sorted()
    for row in found["rates"].iter_rows(named=True):
        assert row["often_low"] < 1 / 12 < row["often_high"]
    assert "**Above target: 1 failure**. *Is rude*, seen on" in found["said"]
    assert "1 of 1 error budget exhausted" in found["said"]
    assert found["causes"]["cause"].to_list() == ["no move shown"]
    again = look(eb.snapshot(shop, "shop"))
    assert found.pop("said") == again.pop("said")
    assert [name for name in found if not found[name].equals(again[name])] == []


def test_a_period_without_labels_has_a_nowcast_that_is_scored_when_they_come(shop):
    view, later = eb.snapshot(shop, "shop"), START + timedelta(days=8)
    old = view.frame.filter(pl.col("started_at") < later)
    known = view.truth.join(old, on=["surface", "session_id"], how="semi")
    frame = monitor.put_in_periods(view.frame, start=later, every="1mo")
    guessed, told = (view.estimate(frame, labels, view.modes) for labels in (known, view.truth))
    [rate] = monitor.period_rates(guessed, view.modes, view.targets, start=later).to_dicts()
    assert (rate["start"], rate["n_labels"]) == (later.date(), 0)
    assert rate["often_low"] < 1 / 12 < rate["often_high"]
    [scored] = monitor.score_nowcasts(guessed, told, start=later).to_dicts()
    assert scored["reading"] == "held"
    assert scored["shift_low"] < scored["shift"] < scored["shift_high"]
    off = told[0].found.processes[0][1]
    moved = replace(off, estimate=0.4, low=0.35, high=0.45)
    wrong = replace(told[0], found=replace(told[0].found, processes=((moved, moved),)))
    [missed] = monitor.score_nowcasts(guessed, [wrong], start=later).to_dicts()
    assert missed["reading"] == "missed"


@pytest.mark.parametrize(
    ("pins", "tables"),
    [
        ({"ledger_seq": 0}, "alerts budgets causes nowcasts"),  # no labels, modes or targets
        ({"lake_versions": {"verdict": -1}}, "causes nowcasts"),  # no judge
    ],
)
def test_what_is_missing_is_said_and_all_ends_well(shop, pins, tables):
    found = look(eb.snapshot(shop, "shop", **pins))
    assert [name for name in tables.split() if found[name].height] == []
    assert found["said"]


def test_one_session_is_enough_to_say_that_nothing_can_be_told(tmp_path):
    ws = open_workspace(tmp_path / "one", user="tester")
    ws.lake.append("session", make_sessions().head(1))
    ws.ledger.append("mode.defined", "rude", MODE)
    hold(ws, 0.01)
    found = look(eb.snapshot(ws, "shop"))
    assert found["alerts"]["reading"].to_list() == ["cannot tell"]
    assert found["rates"]["reason"].to_list() == [
        "0 labelled sessions in all; at least 30 are needed"
    ]
    assert "cannot be watched" in found["said"]


def test_clocks_that_run_backwards_and_a_release_twice_change_nothing(shop):
    odd = make_sessions(session_id=pl.format("x{}", pl.int_range(pl.len()))).head(3)
    backwards = odd.with_columns(ended_at=pl.col("started_at") - timedelta(days=3))
    shop.lake.append(
        "session",
        backwards.with_columns(
            started_at=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise("started_at")
        ),
    )
    again = {"surface": "shop", "release": "10", "shipped_at": START, "targets": []}
    shop.ledger.append("release.shipped", "10", again)
    found = look(eb.snapshot(shop, "shop"))
    assert found["alerts"]["reading"].to_list() == ["above target"]


def test_no_surface_is_refused_with_the_next_step(shop):
    with pytest.raises(EvalbenchError, match="needs one surface: name one with `-p surface`"):
        _ = eb.snapshot(shop).alerts


def test_another_mix_of_what_is_asked_is_told_without_anybody_naming_intents(workspace):
    ask = "Please send the invoice of {} again", "My parcel {} came broken, take it back"
    late = [number >= 200 for number in range(400)]
    rare = [number % 10 == 0 for number in range(400)]  # invoices first, then parcels
    asked = [
        ask[new != odd].format(number)
        for number, (new, odd) in enumerate(zip(late, rare, strict=False))
    ]
    days = [START + timedelta(hours=number) for number in range(400)]
    workspace.lake.append(
        "session", make_sessions(first_input=pl.Series(asked), started_at=pl.Series(days))
    )
    found = eb.snapshot(workspace, "shop").compare_traffic(8, tolerance=0.05)
    kinds = found.filter(trait="kind of request", reading="moved")
    shifts = {value.split()[1]: shift for value, shift in kinds.select("value", "shift").rows()}
    assert shifts["“My"] > 0.6
    assert shifts["“Please"] < -0.6


def test_the_sample_is_the_same_share_of_sessions_whenever_it_is_asked(shop):
    sessions = eb.snapshot(shop, "shop").sessions
    some, more = (monitor.choose_sample(sessions, share) for share in (0.2, 0.5))
    assert 50 < some.height < 110
    assert some.join(more, on="session_id", how="anti").is_empty()
    assert monitor.choose_sample(sessions, 1.0).height == 400
    assert monitor.choose_sample(sessions, 0.0).is_empty()
    with pytest.raises(ValueError, match="share must be"):
        monitor.choose_sample(sessions, 1.2)
    with pytest.raises(EvalbenchError, match="share must be above 0 and at most 1, got 2"):
        eb.snapshot(shop, "shop").spend_budgets(share=2)
    with pytest.raises(EvalbenchError, match="every must be day or week, got 'month'"):
        eb.snapshot(shop, "shop").watch_rates("month", share=1.0)
