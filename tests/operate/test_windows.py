"""Who speaks for a mode in a release, which labels correct it, and what they are worth."""

import make
import numpy as np
import polars as pl
import pytest

from evalbench.operate.windows import count_windows, design_effect
from evalbench.stats.pooled import FAILED, NO_EVALUATOR, PASSED, SILENT

FAILS = pl.col("fails").fill_null(False)


@pytest.fixture
def truth(frame, labels):
    """Every session with what people say of it, null where nobody read it."""
    said = labels.select("session_id", "fails")
    return frame.join(said, on="session_id", how="left", maintain_order="left")


def count(frame, labels, *verdicts):
    given = pl.concat(verdicts)
    return count_windows(frame, labels, given, ["rude"], rng=np.random.default_rng(1))


def test_sessions_and_labels_are_counted_by_what_the_evaluator_says(frame, labels, truth):
    abstains = pl.col("reported") & (pl.int_range(pl.len()) % 16 == 4)
    flagged = pl.when(~abstains).then(FAILS)
    counted = count(frame, labels, make.verdicts(truth, flagged))
    sessions = counted.counts.sessions[:, 0]
    assert sessions.sum(0).tolist() == [200, 200]
    judged = truth.with_columns(said=flagged).group_by("release", maintain_order=True)
    assert sessions[FAILED].tolist() == judged.agg(pl.col("said").sum())["said"].to_list()
    assert sessions[SILENT].tolist() == judged.agg(pl.col("said").null_count())["said"].to_list()
    assert counted.counts.failures[PASSED].tolist() == [[0, 0]]  # it is never wrong
    assert counted.counts.failures[FAILED] == pytest.approx(counted.counts.labels[FAILED])
    assert counted.n_labels.sum() == labels.height
    assert counted.releases == ["9", "10"]
    assert counted.evaluators.tolist() == [["judge", "judge"]]


def test_the_better_of_two_evaluators_leads(frame, labels, truth):
    number = pl.int_range(pl.len())
    noisy = make.verdicts(truth, FAILS | (number % 5 == 0), evaluator="a noisy one")
    exact = make.verdicts(truth, FAILS, evaluator="an exact one")
    for pair in ((noisy, exact), (exact, noisy)):
        counted = count(frame, labels, *pair)
        assert counted.evaluators.tolist() == [["an exact one"] * 2]
        assert counted.counts.sessions[FAILED].sum() == truth["fails"].sum()


def test_the_version_that_judged_most_of_a_release_speaks_for_it(frame, labels, truth):
    new = truth.filter((pl.col("release") == "10") | (pl.int_range(pl.len()) % 3 > 0))
    old = truth.filter((pl.col("release") == "9") | (pl.int_range(pl.len()) % 3 > 0))
    versions = [make.verdicts(old, FAILS), make.verdicts(new, FAILS, version="2")]
    counted = count(frame, labels, *versions)
    [[before, after]] = counted.counts.version.tolist()
    assert before != after
    assert NO_EVALUATOR not in (before, after)
    assert counted.counts.sessions[SILENT].tolist() == [[0, 0]]


def test_an_evaluator_that_judged_under_half_of_a_release_does_not_speak_for_it(
    frame, labels, truth
):
    some = truth.filter((pl.col("release") == "10") | (pl.int_range(pl.len()) < 99))
    counted = count(frame, labels, make.verdicts(some, FAILS))
    assert counted.evaluators.tolist() == [["", "judge"]]
    assert counted.counts.version[0, 0] == NO_EVALUATOR
    assert counted.counts.sessions[:, 0, 0].tolist() == [0, 0, 200]
    half = truth.filter((pl.col("release") == "10") | (pl.int_range(pl.len()) < 100))
    assert count(frame, labels, make.verdicts(half, FAILS)).evaluators[0, 0] == "judge"


def test_labels_of_the_train_split_do_not_correct_an_evaluator_that_learnt_from_them(
    frame, labels, truth
):
    memorised = pl.when(pl.col("split") == "train").then(FAILS).otherwise("reported")
    learnt, foreign = (
        make.verdicts(truth, memorised, learnt=learnt, evaluator="memory")
        for learnt in (True, False)
    )
    test = truth.filter(pl.col("split") == "test", pl.col("drawn"))
    assert 0 < test.height < labels.height
    assert count(frame, labels, learnt).n_labels.sum() == test.height
    assert count(frame, labels, foreign).n_labels.sum() == labels.height
    # Nor do they let it lead, as they would if it had not seen them.
    number = pl.int_range(pl.len())
    noisy = make.verdicts(truth, FAILS ^ (number % 7 == 0), evaluator="noisy")
    assert set(count(frame, labels, learnt, noisy).evaluators.ravel()) == {"noisy"}
    assert set(count(frame, labels, foreign, noisy).evaluators.ravel()) == {"memory"}


def test_the_latest_verdict_of_an_evaluator_counts(frame, labels, truth):
    first = make.verdicts(truth, ~FAILS)
    again = make.verdicts(truth, FAILS).with_columns(repeat=pl.lit(1))
    counted = count(frame, labels, again, first)
    assert counted.counts.sessions[FAILED].sum() == truth["fails"].sum()


def test_strata_of_all_draws_are_one(frame, labels, verdicts):
    draws = pl.int_range(pl.len()) % 2
    numbered = frame.with_columns(stratum=pl.format("draw {}: {}", draws, "stratum"))
    same, other = (count(each, labels, verdicts).counts for each in (frame, numbered))
    assert (same.labels == other.labels).all()
    assert (same.failures == other.failures).all()


def test_strata_that_nobody_read_are_measured(frame, labels, verdicts):
    unread = pl.col("reported") & (pl.col("release") == "10")
    apart = frame.with_columns(stratum=pl.when(unread).then(pl.lit("new")).otherwise("stratum"))
    left = labels.join(apart.filter(stratum="new"), on="session_id", how="anti")
    assert count(apart, left, verdicts).unread.tolist() == [[0, 0.25]]
    assert count(apart, labels, verdicts).unread.tolist() == [[0, 0]]


def test_undecided_labels_and_those_of_sessions_that_were_not_drawn_do_not_count(
    frame, labels, verdicts
):
    tied = pl.when(pl.int_range(pl.len()) >= 20).then("fails")
    undrawn = frame.filter(~pl.col("drawn"))
    extra = undrawn.select("surface", "session_id", mode=pl.lit("rude"), fails=pl.lit(True))
    counted = count(frame, pl.concat([labels.with_columns(fails=tied), extra]), verdicts)
    assert counted.n_labels.sum() == labels.height - 20


def test_a_release_that_was_read_whole_keeps_all_its_labels(frame, verdicts):
    whole = frame.with_columns(
        drawn=pl.lit(True), group_key=pl.format("u{}", pl.int_range(400) // 4)
    )
    fails = pl.int_range(pl.len()) // 4 % 5 == 0
    labels = whole.select("surface", "session_id", mode=pl.lit("rude"), fails=fails)
    counted = count(whole, labels, verdicts)
    assert counted.design_effect == pytest.approx(4)
    assert counted.counts.labels[SILENT].tolist() == [[200, 200]]
    assert counted.n_groups.tolist() == [[50, 50]]
    half = count(whole, labels.filter(pl.int_range(pl.len()) // 4 % 2 == 0), verdicts)
    # Half was read, and the other half is as uncertain as fourth-parts of labels leave it.
    assert half.counts.labels[SILENT] == pytest.approx(100 / (1 + 3 * 0.5))


def test_single_users_have_a_design_effect_of_one_and_four_equal_trials_a_task_of_four():
    rng = np.random.default_rng(2)
    window = np.repeat([0, 1], 400)
    known = (rng.random((3, 800)) < 0.1).astype(float)
    known[0, 700:] = np.nan
    assert design_effect(known, window, np.arange(800)) == 1
    trials = np.repeat((rng.random((3, 200)) < 0.2).astype(float), 4, axis=1)
    assert design_effect(trials, window, np.arange(800) // 4) == pytest.approx(4)
    assert design_effect(np.full((1, 800), np.nan), window, np.arange(800)) == 1


def test_no_verdict_has_more_effective_labels_than_sessions():
    """All flagged ones were read, by luck; those of the stratum read by half did not fail."""
    number = pl.int_range(pl.len())
    frame = make.sessions(*map(str, range(300)), release="9").with_columns(
        stratum=pl.when(number < 100).then(pl.lit("whole")).otherwise(pl.lit("half")),
        drawn=number < 200,
        split=pl.lit("test"),
    )
    labels = frame.select("surface", "session_id", mode=pl.lit("rude"), fails=number < 30)
    flagged = (number < 30) | number.is_between(100, 129)
    counts = count(frame, labels, make.verdicts(frame, flagged)).counts
    assert counts.labels[FAILED, 0, 0] == pytest.approx(counts.sessions[FAILED, 0, 0]) == 60
    assert counts.failures[FAILED, 0, 0] == pytest.approx(60 * 30 / 90)  # by the strata's weights


def test_no_input_is_changed(frame, labels, truth):
    inputs = [frame, labels, make.verdicts(truth, FAILS)]
    before = [each.clone() for each in inputs]
    count_windows(*inputs, ["rude"], rng=np.random.default_rng(1))
    assert all(each.equals(copy) for each, copy in zip(inputs, before, strict=True))
