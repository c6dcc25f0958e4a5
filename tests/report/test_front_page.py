"""Whatever a workspace lacks, the first page says so and ends well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import make
import polars as pl
import pytest
import shop

import evalbench as eb
from evalbench.label.annotation.markdown import visible
from evalbench.report.front import _say_tile, make_front

JULY = datetime(2026, 7, 2, tzinfo=UTC)
EMPTY = "No session is in this workspace yet: bring traces in with evalbench ingest."


def show(ws, **scope):
    page = make_front(eb.snapshot(ws, **scope))
    assert "not recorded" in page.to_html()
    assert "Nobody has failed a session" in page.to_html("examples") or page.examples
    return page


def test_no_session_an_empty_quarter_and_one_session_without_anything(workspace):
    assert show(workspace).title == "AI quality, all sessions, no sessions"
    workspace.lake.append("session", make.sessions("s1", started_at=JULY))
    elsewhere = show(workspace, quarter="2026Q4").headline
    assert elsewhere.startswith("No session lies in this quarter, 1 outside it.")
    assert show(workspace, quarter="2026Q3").title == "AI quality, Q3 2026, Shop"
    make.modes(workspace.ledger, "rude")
    page = show(workspace, quarter="2026Q3")
    assert page.headline.startswith("Too few sessions were labelled")
    assert page.rows[0]["now"] == "cannot tell"
    assert page.rows[0]["step"] == "Label more sessions"


def test_before_a_failure_mode_counts_the_page_says_how_often_sessions_fail(workspace):
    workspace.lake.append("session", make.sessions(*map("s{}".format, range(1, 41))))
    make.queue(workspace.ledger, *[1] * 40)
    for name in eb.snapshot(workspace).sessions["session_id"]:
        said = {"surface": "shop", "session_id": name, "verdict": "fail" if name < "s2" else "pass"}
        workspace.ledger.append("label.set", name, said)
    [rate] = eb.snapshot(workspace).rates.select("mode", "n_labels", "estimate").rows()
    assert rate == ("any", 40, pytest.approx(11 / 40))
    page = show(workspace)
    assert page.headline.endswith(") of 1,000 sessions fail; no failure has a name yet.")
    assert page.rows[0]["step"] == "Sort notes in 03_discover"
    assert "Most at risk: “Fails, whatever the failure” in Shop" in page.sentences[1]
    make.modes(workspace.ledger, "rude")  # then its failures have names, or none
    assert eb.snapshot(workspace).rates["mode"].to_list() == ["rude"]


def test_sessions_without_a_time_are_of_no_quarter(workspace):
    assert show(workspace).headline == EMPTY
    workspace.lake.append("session", make.sessions("s1", "s2"))
    headline = show(workspace, quarter="2026Q3").headline
    assert "quarter, 2 outside it, 2 of them without a date. With -p quarter all" in headline
    page = show(workspace)
    assert page.title == "AI quality, all sessions, Shop"
    assert all(not figure.panels for figure in page.figures)


def test_a_release_is_of_the_quarter_in_which_it_came_not_of_each_that_it_runs_in(tmp_path):
    ws = shop.fill(tmp_path / "shop")
    for name, days in (("early", 30), ("late", 92)):
        rows = shop.make_sessions(release=pl.lit("11")).tail(40)
        at = rows["started_at"] + timedelta(days=days)
        ws.lake.append(
            "session", rows.with_columns(session_id=name + rows["session_id"], started_at=at)
        )
    assert "nothing was released" not in make_front(eb.snapshot(ws, quarter="2026Q3")).headline
    assert "sessions were labelled" in make_front(eb.snapshot(ws, quarter="2026Q4")).headline


def test_a_clock_that_runs_backwards_and_a_name_used_twice(tmp_path):
    ws = shop.fill(tmp_path / "shop")
    late = replace(ws.ledger, clock=lambda: JULY - timedelta(days=900))
    again = {"surface": "shop", "release": "10", "shipped_at": shop.START + timedelta(hours=300)}
    late.append("release.shipped", "10", again)
    decided = {"decision": "d", "surface": "shop", "mode": "rude", "text": "Say <b>sorry</b>\u202e"}
    late.append("decision.recorded", "d", decided | {"owner": "cleo", "due": JULY})
    page = show(ws, quarter="2026Q3")
    assert page.headline == "No fix confirmed, one unproven."
    assert page.rows[0]["step"].startswith("Say <b>sorry")
    written = page.to_html()
    assert "Say &lt;b&gt;sorry&lt;/b&gt;⟦U+202E⟧" in written
    assert written == visible(written)
    shown = page.examples[0]
    assert f'href="#{shown.anchor}"' in written
    assert 1 <= len(shown.sessions) <= 3
    assert shown.anchor in page.to_html("examples")


def test_a_median_that_is_not_reached_says_how_long_it_takes_at_least():
    row = dict.fromkeys(("value", "high", "history")) | {"low": 107.0, "n": 22, "target": 120.0}
    row |= {"metric": "time_to_verified_fix", "unit": "days", "owner": ""}
    tile = _say_tile(row | {"reason": "fewer than half were done"})
    assert (tile["value"], tile["said"]) == ("107.0 or more", "fewer than half were done")
    assert tile["target"] == "target 120"
    assert _say_tile(row | {"low": None, "reason": "r"})["value"] == "cannot tell yet"
