"""Rates stand for the whole frame, not for what was read; too few labels give no number."""

import make
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.operate.impact import (
    FEWEST,
    OUTCOME,
    estimate_surfaces,
    rates_table,
    release_changes,
    shifted_table,
    trends_table,
)

NUMBER = pl.int_range(pl.len())


def estimate(frame, labels, verdicts, modes):
    rng = np.random.default_rng(3)
    return estimate_surfaces(frame, verdicts, labels, modes, level=0.95, rng=rng)


def rates_of(*inputs, quarter="all"):
    return rates_table(estimate(*inputs), quarter=quarter)


def changes_of(frame, labels, verdicts, modes, shipped, margin=0.1):
    surfaces = estimate(frame, labels, verdicts, modes)
    return release_changes(surfaces, frame, shipped, margin=margin, level=0.95)


def split_releases(frame, n):
    """Cut the frame's 400 sessions into so many releases."""
    return frame.with_columns(release=pl.format("1.{}", NUMBER // (400 // n)))


def test_a_rate_weighs_each_stratum_by_its_share_of_the_release(frame, labels, verdicts, modes):
    rates = rates_of(frame, labels, verdicts, modes, quarter="2026Q3")
    assert rates["release"].to_list() == ["9", "10"]
    seen = frame.join(labels, on=["surface", "session_id"])
    for row in rates.iter_rows(named=True):
        part, read = frame.filter(release=row["release"]), seen.filter(release=row["release"])
        expected = sum(
            part.filter(stratum=stratum).height
            / part.height
            * read.filter(stratum=stratum)["fails"].mean()
            for stratum in ("signals", "no signals")
        )
        assert row["low"] < expected < row["high"]
        assert row["estimate"] == pytest.approx(expected, abs=0.015)
        assert row["low"] < row["estimate"] < row["high"]
        assert row["process_low"] < row["low"] < row["high"] < row["process_high"]
        assert row["per_1000"] == pytest.approx(1000 * row["estimate"])
        assert row["estimate"] < read["fails"].mean()  # reading where it hurts does not inflate
        assert (row["n_sessions"], row["n_labels"]) == (part.height, read.height)
        assert (row["quarter"], row["status"], row["evaluator"]) == ("2026Q3", "ok", "")


def test_what_a_good_evaluator_says_of_all_sessions_narrows_a_rate(frame, labels, verdicts, modes):
    truth = frame.join(labels.select("session_id", "fails"), on="session_id", how="left")
    judged = make.verdicts(truth, pl.col("fails").fill_null(NUMBER % 15 == 0))
    alone, helped, other = (
        rates_of(frame, labels, given, modes)
        for given in (verdicts, judged, judged.with_columns(mode=pl.lit("cold")))
    )
    assert helped["evaluator"].to_list() == ["judge"] * 2
    widths = [table.select(pl.col("high") - pl.col("low")).to_series() for table in (alone, helped)]
    assert (widths[1] < 0.7 * widths[0]).all()
    assert_frame_equal(other, alone)


def test_too_few_labels_are_insufficient_and_never_a_number(frame, labels, verdicts, modes):
    few = labels.head(FEWEST - 1)
    rates = rates_of(frame, few, verdicts, modes)
    numbers = ["estimate", "low", "high", "per_1000", "low_per_1000", "high_per_1000"]
    numbers += ["process", "process_low", "process_high", "level"]
    assert rates["status"].to_list() == ["insufficient"] * 2
    assert rates.select(numbers).null_count().row(0) == (2,) * 10
    assert rates["reason"].to_list() == [
        f"{n} labelled sessions; at least 30 are needed" for n in (29, 0)
    ]


def test_a_release_smaller_than_that_is_enough_when_it_is_read_whole(frame, verdicts, modes):
    small = frame.filter((NUMBER < 12) | (NUMBER >= 200)).with_columns(drawn=pl.lit(True))
    labels = small.select("surface", "session_id", mode=pl.lit("rude"), fails=NUMBER % 4 == 0)
    [first, _] = rates_of(small, labels, verdicts, modes).to_dicts()
    ends = first["estimate"], first["low"], first["high"]
    assert ends == pytest.approx((0.25, 0.25, 0.25), abs=1e-12)


def test_labels_of_sessions_that_were_not_drawn_do_not_count(frame, labels, verdicts, modes):
    extra = frame.filter(~pl.col("drawn")).select(
        "surface", "session_id", mode=pl.lit("rude"), fails=pl.lit(True)
    )
    chosen = rates_of(frame, pl.concat([labels, extra]), verdicts, modes)
    assert_frame_equal(chosen, rates_of(frame, labels, verdicts, modes))


def test_a_surface_in_no_draw_says_so(frame, labels, verdicts, modes, shipped):
    undrawn = frame.with_columns(stratum=pl.lit(None, pl.String), drawn=False)
    rates = rates_of(undrawn, labels, verdicts, modes)
    assert rates["reason"].to_list() == ["no draw covers these sessions"] * 2
    assert rates["n_labels"].to_list() == [0, 0]
    changes = changes_of(undrawn, labels, verdicts, modes, shipped)
    assert changes["reading"].to_list() == ["cannot tell"]


def test_a_release_in_no_draw_stands_between_those_that_are(
    frame, labels, verdicts, modes, shipped
):
    four = split_releases(frame, 4)
    gap = four.with_columns(stratum=pl.when(pl.col("release") != "1.1").then("stratum"))
    rates = rates_of(gap, labels, verdicts, modes)
    assert rates["release"].to_list() == ["1.0", "1.1", "1.2", "1.3"]
    assert rates["status"].to_list() == ["ok", "insufficient", "ok", "ok"]
    changes = changes_of(gap, labels, verdicts, modes, shipped)
    assert changes["previous_release"].to_list() == ["1.0", "1.1", "1.2"]
    assert changes["delta"].is_null().to_list() == [True, True, False]


def test_strata_that_nobody_read_leave_nothing_to_tell(frame, labels, verdicts, modes, shipped):
    unread = pl.col("reported") & (pl.col("release") == "10")
    apart = frame.with_columns(stratum=pl.when(unread).then(pl.lit("new")).otherwise("stratum"))
    left = labels.join(apart.filter(stratum="new"), on="session_id", how="anti")
    [old, new] = rates_of(apart, left, verdicts, modes).to_dicts()
    assert old["status"] == "ok"
    assert new["estimate"] is None
    assert new["reason"] == "nobody read any session of strata that hold 25% of the sessions"
    [change] = changes_of(apart, left, verdicts, modes, shipped).to_dicts()
    assert (change["reading"], change["delta"]) == ("cannot tell", None)


def test_without_labels_the_recorded_outcome_is_reported_by_group(frame, labels, verdicts, modes):
    recorded = frame.with_columns(outcome=(NUMBER // 10) % 2 == 0)
    grouped = recorded.with_columns(group_key=pl.format("task {}", NUMBER // 10))
    found = {}
    for name, given in (("tasks", grouped), ("sessions", recorded)):
        rates = rates_of(given, labels.clear(), verdicts, modes)
        assert rates["mode"].to_list() == [OUTCOME] * 2
        assert rates["estimate"].to_list() == [0.5, 0.5]
        found[name] = rates
    assert found["tasks"]["n_groups"].to_list() == [20, 20]
    width = {name: (rates["high"] - rates["low"])[0] for name, rates in found.items()}
    assert width["tasks"] > 2 * width["sessions"]
    labelled = rates_of(recorded, labels, verdicts, modes)
    assert labelled["mode"].to_list() == ["rude"] * 2


def test_changes_follow_the_order_of_releases_and_the_margin(
    frame, labels, verdicts, modes, shipped
):
    worse = labels.join(frame.select("session_id", "release"), on="session_id").with_columns(
        fails=pl.col("release") == "9"
    )
    [change] = changes_of(frame, worse.drop("release"), verdicts, modes, shipped).to_dicts()
    assert (change["previous_release"], change["release"]) == ("9", "10")
    assert change["after"] < 0.05 < 0.9 < change["before"] < change["before_high"] <= 1
    assert change["low"] < change["delta"] < change["high"] < -0.8
    assert (change["reading"], change["target"]) == ("confirmed improvement", "yes")
    for margin, reading in ((0.001, "cannot tell"), (0.9, "no change shown")):
        changes = changes_of(frame, labels, verdicts, modes, shipped, margin)
        assert changes["reading"].to_list() == [reading]


def test_only_releases_of_these_sessions_are_compared_and_firm_readings_come_first(
    frame, labels, verdicts, modes, shipped
):
    both = pl.concat([modes, modes.with_columns(mode=pl.lit("cold"), name=pl.lit("Is cold"))])
    both = both.sort("mode")
    cold = labels.with_columns(mode=pl.lit("cold"), fails=NUMBER % 30 == 0)
    four, said = split_releases(frame, 4), pl.concat([labels, cold])
    risen = said.join(four.select("session_id", "release"), on="session_id").with_columns(
        fails=pl.col("fails") | ((pl.col("release") == "1.3") & (pl.col("mode") == "rude"))
    )
    surfaces = estimate(four, risen.drop("release"), verdicts, both)
    last = four.filter(release="1.3")
    changes = release_changes(surfaces, last, shipped, margin=0.02, level=0.95)
    assert changes["release"].unique().to_list() == ["1.3"]
    assert changes["mode"].to_list() == ["rude", "cold"]
    assert changes["reading"][0] == "confirmed regression"
    assert changes["target"].to_list() == ["", ""]
    assert release_changes(surfaces, last.clear(), shipped, margin=0.02, level=0.95).is_empty()


def test_a_change_of_an_insufficient_rate_cannot_be_told(frame, labels, verdicts, modes, shipped):
    few = labels.join(frame.filter(release="9").select("session_id"), on="session_id")
    [change] = changes_of(frame, few, verdicts, modes, shipped.clear()).to_dicts()
    assert (change["reading"], change["target"]) == ("cannot tell", "")
    numbers = ("before", "after", "delta", "low", "high", "p_value", "loss_survived")
    assert [change[name] for name in numbers] == [None] * 7


def test_a_trend_needs_three_releases_and_says_from_which_to_which(frame, labels, verdicts, modes):
    assert trends_table(estimate(frame, labels, verdicts, modes)).is_empty()
    four = split_releases(frame, 4)
    often = pl.col("release").replace_strict({"1.0": 2, "1.1": 4, "1.2": 8, "1.3": 16})
    falling = (
        four.filter("drawn")
        .with_columns(place=NUMBER)
        .with_columns(mode=pl.lit("rude"), fails=pl.col("place") % often == 0)
    )
    falling = falling.select("surface", "session_id", "mode", "fails")
    [trend] = trends_table(estimate(four, falling, verdicts, modes)).to_dicts()
    assert (trend["first"], trend["last"], trend["n_releases"]) == ("1.0", "1.3", 4)
    assert trend["times_low"] < 0.5 < trend["times_high"] < 1
    assert trend["clear"] is True


def test_a_release_whose_evaluator_errs_otherwise_is_listed(frame, labels, modes):
    four = split_releases(frame, 4)
    truth = four.join(labels.select("session_id", "fails"), on="session_id", how="left")
    fails = pl.col("fails").fill_null(NUMBER % 15 == 0)
    steady = make.verdicts(truth, fails)
    loose = make.verdicts(truth, fails | ((pl.col("release") == "1.3") & (NUMBER % 4 == 1)))
    assert shifted_table(estimate(four, labels, steady, modes)).is_empty()
    listed = shifted_table(estimate(four, labels, loose, modes))
    assert listed.rows() == [("shop", "1.3")]


def test_the_same_seed_gives_the_same_frames_and_no_input_changes(
    frame, labels, verdicts, modes, shipped
):
    inputs = [frame, labels, verdicts, modes, shipped]
    before = [each.clone() for each in inputs]
    first, second = (rates_of(*inputs[:4]) for _ in range(2))
    assert first.equals(second)
    first, second = (changes_of(*inputs) for _ in range(2))
    assert first.equals(second)
    for each, copy in zip(inputs, before, strict=True):
        assert_frame_equal(each, copy)
