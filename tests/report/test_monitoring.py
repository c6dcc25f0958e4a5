"""What 09 says first, and how it draws rates over time."""

from datetime import date, timedelta

import polars as pl
from shop import START

from evalbench.operate.alerts import ALERTS
from evalbench.operate.canaries import CAUSES
from evalbench.operate.drift import DRIFT
from evalbench.operate.monitor import BUDGETS, WATCHED
from evalbench.report import monitoring


def table(schema, *rows):
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema)


def say(alerts=(), budgets=(), causes=(), traffic=(), *, sessions=1):
    given = ((ALERTS, alerts), (BUDGETS, budgets), (CAUSES, causes), (DRIFT, traffic))
    tables = (table(schema, *rows) for schema, rows in given)
    return monitoring.monitor_headline(*tables, sessions=sessions)


def test_it_says_what_is_above_target_before_anything_else():
    over = {"name": "Is *rude*", "reading": "above target", "raised": START + timedelta(days=2)}
    said = say(
        [over, {"name": "Slow", "reading": "cannot tell"}],
        [{"mode": "rude", "name": "Is rude", "reading": "exhausted"}, {"reading": "exhausted"}],
        [{"name": "Is rude", "cause": "provider"}, {"name": "Slow", "cause": "no move shown"}],
        [{"reading": "moved"}, {"reading": "cannot tell"}],
    ).splitlines()
    assert said[0].startswith("- **Above target: 1 failure**. *Is &#42;rude&#42;*, seen on 3 July")
    assert said[1:] == [
        "- 1 failure with a target cannot be watched.",
        "- 1 of 1 error budget exhausted, the most severe first: *Is rude*.",
        "- What moved *Is rude* is the provider's model.",
        "- 1 share of the traffic moved by more than the tolerance.",
    ]


def test_quiet_and_nothing_to_watch_are_not_the_same():
    assert say([{"name": "Slow", "reading": "no alert"}]).startswith("- **No alert**: of 1 failure")
    assert say() == "- **No failure has a target**, so none can alert."
    [empty] = say([{"name": "Slow", "reading": "cannot tell"}], sessions=0).splitlines()
    assert empty.startswith("- **No session of this time came in**: nothing can be said")


def test_evidence_is_said_against_what_is_needed():
    rows = [
        {"highest": 5.49, "threshold": 3200.0},
        {"highest": 2e9, "threshold": 20.0},
        {"why": "no"},
    ]
    said = monitoring.say_alerts(table(ALERTS, *rows))["evidence"].to_list()
    assert said == ["5.5 of 3,200", "over a million of 20", "no"]


def test_rates_are_drawn_with_target_and_hollow_where_nobody_has_read_any():
    rows = [
        {"surface": "shop", "name": name, "start": date(2026, 7, 6 + 7 * week), "often": 0.02}
        | {"often_low": 0.01, "often_high": 0.04, "held_to": 0.01, "n_labels": week}
        for name in (f"mode {at}" for at in range(8))
        for week in (0, 1)
    ]
    drawn = monitoring.rates_over_time(table(WATCHED, *rows)).to_dict()
    data = next(iter(drawn["datasets"].values()))
    assert len({row["name"] for row in data}) == monitoring.DRAWN
    assert {row["held_to"] for row in data} == {10.0}
    assert [row["read"] for row in data[:2]] == [False, True]
    assert "mode 0, from 2026-07-13: 20 (10 to 40)." in drawn["description"]
