"""Who alerts, when, how rarely, and that the ledger hears of it once."""

from datetime import timedelta

import make
import polars as pl
import pytest
from shop import MODE, START

from evalbench.operate import alerts
from evalbench.schema import SESSION

END = START + timedelta(days=92)
WEIGHTS = {"safety": 9, "user impact": 3}


@pytest.fixture
def modes():
    return pl.DataFrame([MODE, MODE | {"mode": "slow", "surface": "desk", "severity": "safety"}])


@pytest.fixture
def traffic():
    """Forty sessions a day over 60 days, half of them before the quarter; each of a user."""
    at = [START + timedelta(days=day, minutes=n) for day in range(-30, 30) for n in range(40)]
    rows = {"session_id": [f"s{n}" for n in range(len(at))], "started_at": at}
    return (
        pl.DataFrame({"surface": "shop", **rows})
        .cast({"started_at": SESSION["started_at"]})
        .with_columns(group_key=pl.lit(None, pl.String))
    )


def judges(**errors):
    known = {"surface": "shop", "mode": "rude", "evaluator_id": "judge", "evaluator_version": "1"}
    rates = {"tpr": 0.9, "tpr_high": 0.95, "tnr": 0.99, "tnr_low": 0.985, "mcc": 0.8} | errors
    return alerts.choose_judges(pl.DataFrame([known | rates]))


def held_to(**targets):
    surfaces = {"rude": "shop", "slow": "desk"}
    rows = [(surfaces[mode], mode, target, "ana") for mode, target in targets.items()]
    return pl.DataFrame(rows, alerts.TARGETS, orient="row")


def watch(traffic, modes, fails, targets, known=None):
    known = judges() if known is None else known
    stream = alerts.judge_stream(make.verdicts(traffic, fails), known)
    when = {"start": START, "end": END}
    return alerts.watch_targets(
        targets, modes, known, stream, traffic, weights=WEIGHTS, **when
    ).row(0, named=True)


def test_a_burn_alerts_once_it_is_beyond_the_evaluators_worst_errors(traffic, modes):
    burning = pl.col("started_at") >= START + timedelta(days=10)
    number = pl.int_range(pl.len())
    fails = pl.when(burning).then(number % 6 == 0).otherwise(number % 50 == 0)
    row = watch(traffic, modes, fails, held_to(rude=0.02))
    assert (row["reading"], row["n_sessions"], row["n_users"]) == ("above target", 1200, 1200)
    assert timedelta(days=10) <= row["raised"] - START <= timedelta(days=13)
    assert row["highest"] >= row["threshold"] == pytest.approx(20)
    # Errors at their worst flag .02 * .95 + .98 * .015; as they are, that takes a rate of .0264.
    assert row["seen_from"] == pytest.approx((0.0337 - 0.01) / 0.89)
    quiet = watch(traffic, modes, number % 50 == 0, held_to(rude=0.02))
    assert (quiet["reading"], quiet["raised"]) == ("no alert", None)
    blunt = watch(traffic, modes, fails, held_to(rude=0.02), judges(tnr_low=0.8))
    assert blunt["reading"] == "no alert"


def test_all_alerts_of_the_company_share_its_five_per_cent_by_severity(traffic, modes):
    row = watch(traffic, modes, pl.lit(False), held_to(rude=0.02, slow=0.02))
    assert row["threshold"] == pytest.approx((9 + 3) / (3 * 0.05))


def test_what_cannot_be_watched_says_why(traffic, modes):
    unknown = watch(traffic, modes, pl.lit(True), held_to(rude=0.02), judges(tnr_low=None))
    assert (unknown["reading"], unknown["e_value"]) == ("cannot tell", None)
    assert "measured against people" in unknown["why"]
    silent = watch(traffic, modes, pl.lit(None, pl.Boolean), held_to(rude=0.02))
    assert silent["why"] == "no session of this quarter was judged"


def test_a_bad_weekday_is_learnt_from_the_time_before(traffic, modes):
    monday, number = pl.col("started_at").dt.weekday() == 1, pl.int_range(pl.len())
    fails = pl.when(monday).then(number % 3 == 0).otherwise(number % 60 == 0)
    row = watch(traffic, modes, fails, held_to(rude=0.06))
    assert row["dispersion"] > 3
    assert row["reading"] == "no alert"
    ever = watch(traffic.filter(pl.col("started_at") >= START), modes, fails, held_to(rude=0.06))
    assert ever["dispersion"] == 1
    assert ever["highest"] > row["highest"]


def test_the_ledger_hears_of_an_alert_once_a_quarter(traffic, modes, tmp_path):
    ws = make.workspace(tmp_path)
    row = watch(traffic, modes, pl.int_range(pl.len()) % 5 == 0, held_to(rude=0.02))
    table = pl.DataFrame([row], alerts.ALERTS)
    assert alerts.record_alerts(ws, table, start=START) == 1
    assert alerts.record_alerts(ws, table, start=START) == 0
    later = table.with_columns(pl.col("raised") + timedelta(days=100))
    assert alerts.record_alerts(ws, later, start=START + timedelta(days=92)) == 1
    before = table.with_columns(pl.col("raised") - timedelta(days=60))
    assert alerts.record_alerts(ws, before, start=START - timedelta(days=91)) == 1
    [first, *_] = ws.ledger.bodies("alert.raised").to_dicts()
    assert (first["surface"], first["mode"], first["target"]) == ("shop", "rude", 0.02)
    assert alerts.record_alerts(ws, table.clear(), start=START) == 0


def test_the_last_word_of_an_owner_is_the_target():
    rows = [("shop", "rude", 0.1, "ana"), (None, None, 5.0, "bo"), ("shop", "rude", 0.2, "bo")]
    events = pl.DataFrame(rows, ["surface", "mode", "target", "owner"], orient="row")
    assert alerts.read_targets(events).rows() == [("shop", "rude", 0.2, "bo")]
