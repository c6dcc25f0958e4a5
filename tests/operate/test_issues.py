"""Issues move only as they can, and are verified only by what is shown."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from shop import START, fill

import evalbench as eb
from evalbench.errors import IssueError
from evalbench.operate.fixes import check_fixes, find_stale
from evalbench.operate.issues import (
    ISSUES,
    describe_failure,
    issue_table,
    move_issue,
    open_issue,
    read_issues,
)
from evalbench.report.tables import set_table

FIELDS = {"surface": "shop", "title": "Is rude", "severity": "safety", "owner": "ana"}
VERIFIED = {"delta": -0.1, "low": -0.2, "high": -0.05, "exposure": 0.8}
SHOWN = pl.DataFrame(
    [{"issue": "shop-1", "proposed": "verified", "reason": "", "carriers": ["10"], **VERIFIED}]
)


@pytest.fixture
def ledger(workspace):
    """A clock that goes on by an hour with each look at it."""
    clock = iter(START + timedelta(hours=hour) for hour in range(10_000))
    return replace(workspace.ledger, clock=lambda: next(clock))


def states(ledger):
    return {name: issue.state for name, issue in read_issues(ledger).items()}


def test_an_issue_goes_its_way_and_is_listed_with_what_is_next(ledger):
    name = open_issue(ledger, **FIELDS, mode="rude", session_ids=("s1",))
    for state, fields in (
        ("confirmed", {}),
        ("reproduced", {}),
        ("fix shipped", {"release": "10"}),
        ("verified", {"fixes": SHOWN}),
        ("regressed", {"release": "10", "fixes": SHOWN}),
        ("fix shipped", {"release": "11"}),
    ):
        move_issue(ledger, name, state, **fields)
    [row] = issue_table(read_issues(ledger)).to_dicts()
    assert (row["issue"], row["state"], row["release"]) == ("shop-1", "fix shipped", "11")
    assert row["next_step"] == "show that the rate is lower"
    verified = next(move for _, move in read_issues(ledger)[name].moves if move.state == "verified")
    assert verified.model_dump(include=set(VERIFIED)) == VERIFIED


@pytest.mark.parametrize(
    ("state", "fields", "why"),
    [
        ("verified", {}, "shop-1 is observed, so it cannot be verified: next it may be confirmed"),
        ("confirmed", {"moved_at": START - timedelta(days=9)}, "is observed since 2026-07-01"),
        ("confirmed", {"moved_at": datetime(2030, 1, 1)}, "in the future"),  # noqa: DTZ001
        ("won't fix", {}, "--reason"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(ledger, state, fields, why):
    open_issue(ledger, **FIELDS)
    with pytest.raises(IssueError, match=why):
        move_issue(ledger, "shop-1", state, **fields)
    assert states(ledger) == {"shop-1": "observed"}


def test_a_fix_names_its_release_is_verified_by_a_lower_rate_and_an_old_release_reopens_nothing(
    ledger,
):
    open_issue(ledger, confirmed=True, **FIELDS)
    with pytest.raises(IssueError, match="--release"):
        move_issue(ledger, "shop-1", "fix shipped")
    move_issue(ledger, "shop-1", "fix shipped", release="10")
    unproven = SHOWN.with_columns(proposed=pl.lit(""), reason=pl.lit("release 10: likely"))
    for fixes in (None, unproven):
        with pytest.raises(IssueError, match="lower: it stays fix shipped"):
            move_issue(ledger, "shop-1", "verified", fixes=fixes)
    move_issue(ledger, "shop-1", "verified", fixes=SHOWN)
    with pytest.raises(IssueError, match="older release does reopens nothing"):
        move_issue(ledger, "shop-1", "regressed", release="9", fixes=SHOWN)
    assert states(ledger) == {"shop-1": "verified"}


def test_events_that_could_not_be_are_left_out_and_counted(ledger):
    name = open_issue(ledger, **FIELDS)
    moved = {"issue": name, "moved_at": START + timedelta(hours=2)}
    ledger.append("issue.moved", name, moved | {"state": "verified"})
    ledger.append("issue.moved", "none", moved | {"state": "confirmed", "issue": "none"})
    opened = {**FIELDS, "issue": name, "source": "incident", "observed_at": START}
    ledger.append("issue.opened", name, opened | {"severity": "polish"})
    [row] = issue_table(read_issues(ledger)).to_dicts()
    assert (row["state"], row["severity"], row["refused"]) == ("observed", "safety", 2)
    with pytest.raises(IssueError, match="already"):
        open_issue(ledger, **FIELDS, issue=name)
    open_issue(ledger, **FIELDS, issue="shop-3")
    assert [open_issue(ledger, **FIELDS) for _ in range(2)] == ["shop-2", "shop-4"]


def test_the_window_leaves_out_what_was_closed_before_or_came_after(ledger):
    for _ in range(2):
        open_issue(ledger, **FIELDS)
    move_issue(ledger, "shop-1", "won't fix", reason="rare")
    issues, later = read_issues(ledger), START + timedelta(days=90)
    assert issue_table(issues)["issue"].to_list() == ["shop-2", "shop-1"]
    assert issue_table(issues, start=later)["issue"].to_list() == ["shop-2"]
    assert issue_table(issues, end=START).is_empty()


@pytest.fixture
def shop(tmp_path):
    return fill(tmp_path / "shop")


def test_a_failure_that_people_confirmed_is_opened_in_one_call(shop):
    view = eb.snapshot(shop, "shop")
    failing = view.truth.filter("fails")["session_id"][0]
    passing = view.truth.filter(~pl.col("fails"))["session_id"][0]
    found = (view.modes, view.sessions, view.truth, "rude")
    assert view.open_issue("rude", failing) == "shop-1"
    [row] = eb.snapshot(shop, "shop").issues.to_dicts()
    assert (row["state"], row["severity"], row["owner"]) == ("confirmed", "user impact", "ana")
    assert row["observed_at"] == view.sessions.filter(session_id=failing)["started_at"][0]
    page = set_table("issues", pl.DataFrame([row], ISSUES), by=["surface"], level=0.95).data
    assert f"<td>{row['state_at']:%Y-%m-%d}</td>" in page
    assert not describe_failure(*found, [passing])["confirmed"]
    for wrong, told in ((("cold", []), "there are rude"), (("rude", ["no"]), "browse")):
        with pytest.raises(IssueError, match=told):
            describe_failure(*found[:3], *wrong)


CHANGE = {"surface": "shop", "release": "10", "mode": "rude", "delta": -0.1, "low": -0.2}
CHANGE |= {"high": -0.05, "before": 0.2, "after": 0.1}


def changed(reading, **fields):
    names = ["before_low", "before_high", "after_low", "after_high"]
    return pl.DataFrame([CHANGE | fields | {"reading": reading}]).with_columns(
        **dict.fromkeys(names, pl.lit(0.1))
    )


@pytest.mark.parametrize(
    ("state", "release", "reading", "proposed"),
    [
        ("fix shipped", "10", "confirmed improvement", "verified"),
        ("fix shipped", "10", "likely improvement", ""),
        ("fix shipped", "10", "confirmed regression", "regressed"),
        ("verified", "10", "confirmed improvement", ""),
        ("confirmed", None, "confirmed regression", "escalating"),
        ("confirmed", None, "likely regression", ""),
    ],
)
def test_what_the_rates_speak_for(frame, labels, shipped, state, release, reading, proposed):
    issue = {
        "issue": "i",
        "title": "Is rude",
        "surface": "shop",
        "mode": "rude",
        "state": state,
        "release": release,
    }
    since = pl.when(pl.col("release") == "10").then(START + timedelta(hours=200)).otherwise(START)
    frame = frame.with_columns(since=since)
    issues = pl.DataFrame([issue], schema_overrides={"release": pl.String})
    changes = changed(reading)
    [row] = check_fixes(issues, changes, frame, labels, shipped).to_dicts()
    assert (row["proposed"], row["reading"]) == (proposed, reading)
    if release:
        assert (row["exposure"], row["n_carrying"], row["carriers"]) == (1, 200, ["10"])
        assert row["again"] == labels.filter("fails", pl.col("session_id") >= "s200").height


def test_exposure_counts_the_sessions_that_do_not_carry_the_fix_and_a_name_used_twice_is_said(
    frame, labels, shipped
):
    since = pl.when(pl.col("release") == "10").then(START + timedelta(hours=100)).otherwise(START)
    issue = {
        "issue": "i",
        "title": "Is rude",
        "surface": "shop",
        "mode": "rude",
        "state": "verified",
        "release": "10",
    }
    twice = pl.concat([shipped, shipped])
    found = check_fixes(
        pl.DataFrame([issue, issue | {"issue": "j", "release": "8"}, issue | {"mode": None}]),
        changed("cannot tell").clear(),
        frame.with_columns(since=since),
        labels,
        twice,
    ).to_dicts()
    assert (found[0]["n_sessions"], found[0]["exposure"]) == (300, pytest.approx(2 / 3))
    late = labels.filter("fails", pl.col("session_id").is_between(pl.lit("s100"), pl.lit("s199")))
    assert found[0]["old"] == late.height > 0
    assert "announced twice" in found[0]["reason"]
    assert found[1]["reason"] == "no session of release 8 is known"
    assert "name one" in found[2]["reason"]


def test_an_evaluator_of_what_is_not_seen_for_90_days_is_proposed_for_the_archive(sessions):
    row = {"evaluator_id": "e", "surface": "shop", "mode": "rude", "kind": "judge", "owner": "ana"}
    day = pl.lit(START) + pl.duration(days=pl.int_range(pl.len()))
    frame = sessions.with_columns(started_at=day)
    number = pl.int_range(pl.len())
    verdicts = frame.select("surface", "session_id", mode=pl.lit("rude"), evaluator_id=pl.lit("e"))
    verdicts = verdicts.with_columns(fails=number == 200)
    truth = verdicts.select("surface", "session_id", "mode", fails=number < 0)

    def propose(status, fails=number == 200, said=0):
        judged, statuses = verdicts.with_columns(fails=fails), pl.DataFrame([row])
        statuses = statuses.with_columns(status=pl.lit(status))
        [found] = find_stale(statuses, judged, truth.head(said), frame).to_dicts()
        return found["proposed"]

    assert propose("aligned") == "archive"
    assert propose("aligned", number == 350) == ""
    assert propose("aligned", number == 350, 400) == "archive"  # people say otherwise
    assert propose("archived") == ""
    assert propose("archived", number == 350) == "bring back"
    assert propose("aligned", pl.lit(None, pl.Boolean)) == ""


def test_views_without_sessions_or_issues_end_well(workspace, shop):
    empty = eb.snapshot(workspace)
    assert empty.issues.is_empty()
    assert empty.fixes.is_empty()
    assert empty.stale.is_empty()
    assert empty.resolution["reason"].str.contains("0 done").all()
    open_issue(workspace.ledger, **FIELDS, mode="rude", confirmed=True)
    move_issue(workspace.ledger, "shop-1", "fix shipped", release="10")
    [row] = eb.snapshot(workspace, quarter="all").fixes.to_dicts()
    assert row["reason"] == "no session of release 10 is known"
    open_issue(shop.ledger, **FIELDS, mode="rude", confirmed=True)
    move_issue(shop.ledger, "shop-1", "fix shipped", release="10")
    [row] = eb.snapshot(shop, "shop", "2026Q4").fixes.to_dicts()
    assert row["reason"].startswith("release 10: cannot tell; label more")
    assert row["exposure"] == 1
