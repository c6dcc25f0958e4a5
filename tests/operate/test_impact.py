"""Rates stand for the whole frame, not for what was read; too few labels give no number."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.operate.impact import (
    FEWEST,
    OUTCOME,
    mode_rates,
    rates_table,
    release_changes,
)


def estimate(frame, labels, verdicts, modes):
    rng = np.random.default_rng(3)
    return mode_rates(frame, labels, verdicts, modes, level=0.95, rng=rng)


def judge(frame, fails):
    return frame.select("surface", "session_id", "started_at").with_columns(
        mode=pl.lit("rude"),
        evaluator_id=pl.lit("judge"),
        evaluator_version=pl.lit("1"),
        repeat=pl.lit(0),
        fails=fails,
        judged_at="started_at",
    )


def test_a_rate_weighs_each_stratum_by_its_share_of_the_release(frame, labels, verdicts, modes):
    rates = rates_table(estimate(frame, labels, verdicts, modes), quarter="2026Q3")
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
        assert row["estimate"] == pytest.approx(expected)
        assert row["low"] < row["estimate"] < row["high"]
        assert row["per_1000"] == pytest.approx(1000 * row["estimate"])
        assert row["estimate"] < read["fails"].mean()  # reading where it hurts does not inflate
        assert (row["n_sessions"], row["n_labels"]) == (part.height, read.height)
        assert (row["quarter"], row["status"]) == ("2026Q3", "ok")


def test_verdicts_divide_the_strata(frame, labels, modes):
    truth = frame.select("session_id").join(labels, on="session_id", how="left")["fails"]
    verdicts = judge(frame, truth.fill_null(False))
    [before, _] = estimate(frame, labels, verdicts, modes)
    cells = {(cell.verdict, cell.rate) for cell in before.measured.by_stratum}
    assert {verdict for verdict, _ in cells} == {True, False}
    assert all(rate == verdict for verdict, rate in cells)  # this judge is never wrong
    other = judge(frame, truth.fill_null(False)).with_columns(mode=pl.lit("cold"))
    assert {
        cell.verdict for cell in estimate(frame, labels, other, modes)[0].measured.by_stratum
    } == {None}


def test_too_few_labels_are_insufficient_and_never_a_number(frame, labels, verdicts, modes):
    few = labels.head(FEWEST - 1)
    rates = rates_table(estimate(frame, few, verdicts, modes), quarter="all")
    numbers = ["estimate", "low", "high", "per_1000", "low_per_1000", "high_per_1000"]
    assert rates["status"].to_list() == ["insufficient"] * 2
    assert rates.select(numbers).null_count().row(0) == (2,) * 6
    assert str(FEWEST) in rates["reason"][0]


def test_labels_of_sessions_that_were_not_drawn_do_not_count(frame, labels, verdicts, modes):
    extra = frame.filter(~pl.col("drawn")).select(
        "surface", "session_id", mode=pl.lit("rude"), fails=pl.lit(True)
    )
    chosen = rates_table(
        estimate(frame, pl.concat([labels, extra]), verdicts, modes), quarter="all"
    )
    assert_frame_equal(chosen, rates_table(estimate(frame, labels, verdicts, modes), quarter="all"))


def test_a_surface_in_no_draw_says_so(frame, labels, verdicts, modes):
    undrawn = frame.with_columns(stratum=pl.lit(None, pl.String), drawn=False)
    assert {rate.reason for rate in estimate(undrawn, labels, verdicts, modes)} == {
        "no draw covers these sessions"
    }


def test_without_labels_the_recorded_outcome_is_reported_by_group(frame, labels, verdicts, modes):
    number = pl.int_range(pl.len())
    recorded = frame.with_columns(
        outcome=(number // 10) % 2 == 0, group_key=pl.format("task {}", number // 10)
    )
    alone = frame.with_columns(outcome=(number // 10) % 2 == 0)
    none = labels.clear()
    [grouped, _] = [r for r in estimate(recorded, none, verdicts, modes) if r.mode == OUTCOME]
    [single, _] = [r for r in estimate(alone, none, verdicts, modes) if r.mode == OUTCOME]
    assert grouped.measured.rate.estimate == single.measured.rate.estimate == 0.5
    assert grouped.n_groups == 20
    width = grouped.measured.rate.high - grouped.measured.rate.low
    assert width > 2 * (single.measured.rate.high - single.measured.rate.low)


def test_changes_follow_the_order_of_releases_and_the_margin(
    frame, labels, verdicts, modes, shipped
):
    worse = labels.join(frame.select("session_id", "release"), on="session_id").with_columns(
        fails=pl.when(release="9").then(True).otherwise(False)
    )
    rates = estimate(frame, worse.drop("release"), verdicts, modes)
    [change] = release_changes(rates, shipped, margin=0.1).to_dicts()
    assert (change["previous_release"], change["release"]) == ("9", "10")
    assert (change["before"], change["after"], change["delta"]) == (1, 0, -1)
    assert change["before_low"] < 1 > change["after_high"]
    assert (change["reading"], change["target"]) == ("improvement", "yes")
    same = estimate(frame, labels, verdicts, modes)
    for margin, reading in ((0.001, "insufficient"), (0.9, "no change shown")):
        assert release_changes(same, shipped, margin=margin)["reading"].to_list() == [reading]


def test_a_change_of_an_insufficient_rate_is_insufficient(frame, labels, verdicts, modes, shipped):
    few = labels.join(frame.filter(release="9").select("session_id"), on="session_id")
    rates = estimate(frame, few, verdicts, modes)
    [change] = release_changes(rates, shipped.clear(), margin=0.1).to_dicts()
    assert (change["reading"], change["delta"], change["target"]) == ("insufficient", None, "")
    assert change["before"] > 0
    assert change["after"] is None


def test_the_same_seed_gives_the_same_frames_and_no_input_changes(frame, labels, verdicts, modes):
    inputs = [frame, labels, verdicts, modes]
    before = [each.clone() for each in inputs]
    first, second = (rates_table(estimate(*inputs), quarter="all") for _ in range(2))
    assert first.equals(second)
    for each, copy in zip(inputs, before, strict=True):
        assert_frame_equal(each, copy)
