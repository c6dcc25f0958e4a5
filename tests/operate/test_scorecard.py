"""The scorecard has every metric, an owner for each, and says what is not recorded."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from shop import START, fill

import evalbench as eb
from evalbench.errors import EvalbenchError, LedgerError
from evalbench.operate import figures
from evalbench.operate.quarter import list_quarters
from evalbench.operate.scorecard import METRICS, check_metric, make_scorecard
from evalbench.stats import Estimate

NONE = np.nan
HOW = {"quarter": "2026Q3", "surface": None, "level": 0.95}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def ledger(workspace):
    return replace(workspace.ledger, clock=lambda: START + timedelta(days=40))


def observe(ledger, value, *, day=1, **more):
    at = START + timedelta(days=day)
    body = {"metric": "satisfaction", "owner": "eva", "value": value, "observed_at": at}
    ledger.append("metric.observed", "satisfaction", body | more)


def target(ledger, value, metric="satisfaction", **more):
    body = {"metric": metric, "target": value, "owner": "ana"}
    ledger.append("target.set", metric, body | more)


def score(ledger, measured=None, metric="satisfaction", **how):
    quarters = list_quarters("2026Q3", START)
    by_quarter = {quarter: {} for quarter in quarters} | {"2026Q3": measured or {}}
    given = by_quarter | how.pop("before", {})
    events = (ledger.bodies(kind) for kind in ("metric.observed", "target.set"))
    table = make_scorecard(given, *events, **HOW | how)
    assert table["metric"].to_list() == list(METRICS)
    return table.row(by_predicate=pl.col("metric") == metric, named=True)


def test_what_nobody_recorded_says_so_and_what_is_recorded_comes_with_its_owner(ledger):
    row = score(ledger)
    assert (row["status"], row["value"], row["reason"]) == (
        "not recorded",
        None,
        "nobody recorded it",
    )
    observe(ledger, 3.0, day=-30)
    observe(ledger, 4.2, low=4.0, high=4.4, source="survey")
    observe(ledger, 1.0, surface="shop")
    row = score(ledger)
    assert (row["owner"], row["value"], row["source"]) == ("eva", 4.2, "survey")
    assert (row["status"], row["trend"], row["history"][-2:]) == ("no target", "rising", [3.0, 4.2])
    target(ledger, 4.1)
    assert score(ledger)["status"] == "cannot tell"
    target(ledger, 3.9)
    assert score(ledger)["status"] == "met"
    target(ledger, 4.5)
    assert (score(ledger)["status"], score(ledger)["owner"]) == ("missed", "ana")
    assert score(ledger, surface="shop")["value"] == 1.0
    target(ledger, 0.5, surface="shop")
    assert score(ledger, surface="shop")["target"] == 0.5
    assert score(ledger)["target"] == 4.5


def test_nothing_enters_without_an_owner_or_under_another_name(ledger):
    body = {"metric": "latency_p95", "target": 1}
    with pytest.raises(LedgerError, match="owner"):
        ledger.append("target.set", "x", body)
    with pytest.raises(LedgerError, match="owner"):
        ledger.append("metric.observed", "x", {"metric": "x", "value": 1, "observed_at": START})
    with pytest.raises(EvalbenchError, match="latency_p95"):
        check_metric("latency")
    with pytest.raises(EvalbenchError, match="is a share, from 0 to 1"):
        check_metric("enablement", 40)
    with pytest.raises(EvalbenchError, match="low must be at most the value"):
        check_metric("satisfaction", 7.0, 6.5)


def test_what_is_measured_here_counts_before_what_was_recorded_and_needs_an_owner(ledger):
    found = {"rework": Estimate(0.2, 0.1, 0.3, 0.95, "m", 50)}
    observe(ledger, 0.9, metric="rework")
    row = score(ledger, found, "rework")
    assert (row["status"], row["value"], row["source"]) == ("no owner", 0.2, "measured here")
    target(ledger, 0.35, "rework")
    before = {"2026Q2": {"rework": Estimate(0.6, 0.5, 0.7, 0.95, "m", 50)}}
    row = score(ledger, found, "rework", before=before)
    assert (row["status"], row["trend"]) == ("met", "falling")
    near = {"2026Q2": {"rework": Estimate(0.25, 0.15, 0.35, 0.95, "m", 50)}}
    assert score(ledger, found, "rework", before=near)["trend"] == "no change shown"


def test_what_would_be_events_of_nothing_is_unknown():
    kept = pl.DataFrame({"a": [1]})
    assert figures.count(kept.clear(), kept, "gate", 0.95).estimate == 0
    assert figures.count(kept, kept.clear(), "gate", 0.95).reason == "no gate"


def test_a_count_of_a_quarter_that_is_not_over_is_compared_with_none(ledger):
    many, few = (Estimate(n, n / 2, 2 * n, 0.95, "m", n) for n in (40, 3))
    for over, trend in ((True, "falling"), (False, "")):
        before = {"2026Q2": {"overrides": many}}
        row = score(ledger, {"overrides": few}, "overrides", before=before, over=over)
        assert (row["trend"], row["value"]) == (trend, 3)


def test_the_interval_of_evaluators_errors_holds_small_ones(rng):
    held = np.zeros(2)
    for _ in range(100):
        for at, excess in enumerate((0.0, 0.03)):
            chances = [0.15, 0.05, 0.05 + excess, 0.75 - excess]
            cells = pl.DataFrame(rng.multinomial(100, chances, 10), ["tp", "fn", "fp", "tn"])
            found = figures._calibration_error(cells, level=0.95, rng=rng)
            held[at] += found.low <= excess <= found.high
    assert min(held) >= 92


def test_only_drawn_and_decided_sessions_are_approved(sessions):
    priced = sessions.with_columns(cost_usd=pl.lit(1.0), outcome=pl.lit(True)).with_row_index()
    drawn = priced.with_columns(drawn=pl.col("index") < 300, inclusion_probability=pl.lit(0.5))
    open_, fails = pl.col("index") < 100, (pl.col("index") >= 100) & (pl.col("index") < 150)
    said = pl.when(~open_).then(fails)
    truth = drawn.select("surface", "session_id", fails=said)
    found = figures._sessions(drawn, truth, 0.95)["cost_per_approved"]
    assert (found.n, found.estimate) == (200, pytest.approx(200 / 150))


def test_offline_success_takes_repeats_of_a_case_together(rng):
    case = np.repeat(np.arange(40), 5)
    outcome = pl.Series((case % 4 == 0).tolist())
    alone, together = (
        figures._proportion(outcome, groups=groups, level=0.95, rng=rng)
        for groups in (None, pl.Series(case))
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_labels_a_week_are_the_companys_and_count_weeks_without_any(tmp_path):
    ws = fill(tmp_path / "shop")
    at = {}
    later = replace(ws.ledger, clock=lambda: at["now"])
    for day, surface in ((0, "shop"), (0, "desk"), (21, "desk")):
        at["now"] = START + timedelta(days=30 + day)
        body = {"surface": surface, "session_id": "s", "verdict": "pass"}
        later.extend([("label.set", "s", body)] * 8)
    found = eb.snapshot(ws, quarter="2026Q3").scorecard.filter(metric="annotation_cadence")
    assert (found["value"][0], found["n"][0]) == (24 / 4, 4)


def test_every_view_has_a_scorecard_however_little_it_holds(workspace, tmp_path):
    rows = eb.snapshot(workspace).scorecard
    assert set(rows["status"]) == {"not recorded"}
    shop = fill(tmp_path / "shop")
    observe(shop.ledger, 3.0, surface="shop")
    for quarter in ("all", "2026Q3", "2031Q1"):
        rows = eb.snapshot(shop, "shop", quarter).scorecard
        assert rows.height == len(METRICS)
        known = rows.filter(pl.col("status") != "not recorded")["metric"].to_list()
        assert ("satisfaction" in known) == (quarter != "2031Q1")
        assert rows.filter(metric="coverage_all")["value"].to_list() == [0.0]


def test_a_release_fails_by_a_confirmed_regression_or_an_issue_that_came_back(shipped):
    frames = dict.fromkeys(figures.Facts.__dataclass_fields__, pl.DataFrame())
    key = pl.DataFrame({"surface": ["shop"] * 3, "release": ["10", "9", "8"]})
    readings = ["cannot tell", "confirmed regression", "likely regression"]
    frames["changes"] = key.with_columns(reading=pl.Series(readings))
    gate = {"surface": ["shop"], "candidate": ["run 9"], "verdict": ["block"]}
    frames["gates"] = pl.DataFrame(gate)
    frames["runs"] = pl.DataFrame({"surface": ["shop"], "run": ["run 9"], "release": ["9"]})
    moves = pl.DataFrame({"surface": ["shop"], "release": ["10"], "state": ["fix shipped"]})
    asked = {"level": 0.95, "rng": np.random.default_rng(1)}
    for state, failed in (("fix shipped", 0.5), ("regressed", 1.0)):
        frames["moves"] = moves.with_columns(state=pl.lit(state))
        found = figures._releases(shipped, figures.Facts(**frames), **asked)
        assert found["change_failure_rate"].estimate == failed
        assert found["gating_adoption"].estimate == 0.5
        assert (found["gate_catch_rate"].estimate, found["gate_catch_rate"].n) == (1.0, 1)
