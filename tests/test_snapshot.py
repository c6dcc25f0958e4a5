"""A snapshot is one state: whatever comes later, and in whatever order it is asked."""

from datetime import UTC, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from shop import fill, make_label

import evalbench as eb
from evalbench.errors import EvalbenchError
from evalbench.evaluate.spec import Specification, define
from evalbench.operate.impact import shifted_table, trends_table


@pytest.fixture
def shop(tmp_path):
    return fill(tmp_path / "shop")


def test_it_is_taken_of_a_path_or_a_workspace_and_checks_its_quarter(shop):
    assert eb.snapshot(shop.path).rates.equals(eb.snapshot(shop, "all", "all").rates)
    assert eb.snapshot(shop, surface="other").labels.is_empty()
    with pytest.raises(EvalbenchError, match="2026Q3"):
        eb.snapshot(shop, quarter="Q3")


def test_what_is_pinned_to_nothing_is_empty(shop):
    before = eb.snapshot(shop, ledger_seq=0, lake_versions={"verdict": -1})
    assert before.ledger_seq == 0
    assert before.labels.is_empty()
    assert before.modes.is_empty()
    assert before.draws == {}
    assert before.verdicts.is_empty()
    assert before.sessions.height == before.frame.height == 400
    assert eb.snapshot(shop, lake_versions={"session": 0}).lake_versions["session"] == 0


def test_what_comes_later_is_not_in_it_and_no_order_changes_a_number(shop):
    view = eb.snapshot(shop, "shop", "2026Q3")
    shop.ledger.extend([make_label("s012"), make_label("s013")], actor="ben")
    shop.lake.append(
        "verdict", shop.lake.verdicts().collect().with_columns(repeat=pl.lit(1, pl.Int64))
    )
    later = eb.snapshot(shop, "shop", "2026Q3", seed=7, **view.pins)
    assert_frame_equal(later.overall_rates, view.overall_rates)
    assert_frame_equal(view.changes, later.changes)
    assert_frame_equal(view.rates, later.rates)
    assert view.labels.height == 240
    assert eb.snapshot(shop).labels.height == 242


def test_one_rule_decides_labels_and_a_tie_is_undecided(shop):
    tied, ruled = eb.snapshot(shop).labels.filter(verdict="pass")["session_id"].head(2)
    fail = {"surface": "shop", "verdict": "fail", "modes": ["rude"]}
    for name in (tied, ruled):
        shop.ledger.extend([("label.set", name, fail | {"session_id": name})], actor="ben")
    eb.label.adjudicate(shop.ledger, "shop", ruled, verdict="fail", modes=["rude"], reason="r")
    truth = dict(eb.snapshot(shop).truth.select("session_id", "fails").iter_rows())
    assert truth[tied] is None
    assert truth[ruled] is True
    assert sum(truth[name] is None for name in truth) == 1


def test_rates_and_changes_read_the_labels_through_the_draw(shop):
    view = eb.snapshot(shop, "shop", "2026Q3", margin=0.2)
    assert view.rates["release"].to_list() == ["9", "10"]
    for row in view.rates.iter_rows(named=True):
        assert row["low"] <= 17 / 200 < row["high"]  # every twelfth session fails
    [change] = view.changes.to_dicts()
    assert (change["reading"], change["target"]) == ("no change shown", "yes")


def test_the_reports_of_a_quarter_and_of_the_year_agree_on_a_release(tmp_path, monkeypatch):
    """Release 9 lives from June 28 to July 6, and its rates are of its whole life."""
    monkeypatch.setattr("shop.START", datetime(2026, 6, 28, tzinfo=UTC))
    ws = fill(tmp_path / "june")
    second, third, year = (eb.snapshot(ws, "shop", each) for each in ("2026Q2", "2026Q3", "all"))
    assert 0 < second.frame.height < 200
    released = [view.rates["release"].to_list() for view in (second, third, year)]
    assert released == [["9"], ["9", "10"], ["9", "10"]]
    assert_frame_equal(third.rates.drop("quarter"), year.rates.drop("quarter"))
    assert_frame_equal(second.rates.drop("quarter"), year.rates.filter(release="9").drop("quarter"))
    assert second.changes.is_empty()
    assert_frame_equal(third.changes, year.changes)
    assert second.rates["n_sessions"].to_list() == [200]


def test_rates_learn_of_the_judge_in_every_release(shop):
    view = eb.snapshot(shop, "shop", "2026Q3")
    assert view.rates["evaluator"].to_list() == ["judge/rude"] * 2
    assert trends_table(view.estimated).is_empty()  # of two releases
    assert shifted_table(view.estimated).is_empty()


def test_every_session_of_the_frame_knows_how_it_could_come_to_be_labelled(shop):
    view = eb.snapshot(shop)
    [draw] = view.draws.values()
    chances = {item.session_id: item.inclusion_probability for item in draw.items}
    drawn = view.frame.filter("drawn")
    assert dict(drawn["session_id", "inclusion_probability"].iter_rows()) == pytest.approx(chances)
    assert view.frame["inclusion_probability"].sum() == pytest.approx(240)
    assert view.frame["labelled"].sum() == 240
    assert set(view.frame["split"]) == {"train", "test"}


def test_verdicts_of_drafts_are_left_out_and_those_of_others_are_used(shop):
    judge = Specification(
        surface="shop", mode="rude", kind="judge", owner="ana", prompt="Is it rude?", model="m"
    )
    define(shop.ledger, judge, modes=eb.snapshot(shop).modes)
    own = {"evaluator_id": judge.evaluator_id, "evaluator_version": judge.version}
    columns = [pl.lit(value).alias(name) for name, value in own.items()]
    shop.lake.append("verdict", shop.lake.verdicts().collect().with_columns(columns))
    view = eb.snapshot(shop)
    assert view.every_verdict.collect().height == 800
    assert view.verdicts["evaluator_id"].unique().to_list() == ["judge/rude"]
    assert view.statuses["status"].to_list() == ["draft"]


def test_a_draw_that_a_decision_aimed_is_placed_by_the_verdicts_it_went_by(shop):
    [drawn] = eb.snapshot(shop).draws.values()
    aimed = drawn.design.model_copy(update={"targets": ("judge/rude",)})
    body = drawn.model_copy(update={"design": aimed})
    shop.ledger.append("queue.drawn", "shop/all", body.model_dump(mode="json"))
    second = eb.snapshot(shop).frame["stratum"].str.split(" + ").list.last()
    assert second.str.contains(r"no signals \| not flagged$").any()
