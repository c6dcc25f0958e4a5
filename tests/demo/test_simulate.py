import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from evalbench.demo.company import ANNOTATORS, QUARTERS, quarter_bounds
from evalbench.demo.conversation import draw_facts
from evalbench.demo.judgements import (
    JOINTS,
    evaluator_id,
    judge_sessions,
    label_sessions,
    note_failures,
)
from evalbench.schema import VERDICT

INFORMATIVE = {
    "support_copilot": ("outcome", "thumbs", "stars", "escalated"),
    "code_reviewer": ("outcome", "thumbs", "edited_chars", "confidence"),
    "sales_research": ("outcome", "thumbs", "stars", "edited_chars", "confidence"),
}


def test_planted_rates_are_realised_within_binomial_error(year):
    p_values = []
    for simulated in year:
        rates = simulated.surface.planted_rates()
        for release, planted in zip(simulated.surface.releases, rates, strict=True):
            failing = simulated.failing[(simulated.sessions["release"] == release.release)]
            for column, rate in zip(failing.T, planted, strict=True):
                p_values.append(stats.binomtest(int(column.sum()), column.size, rate).pvalue)
    assert min(p_values) > 0.001 / len(p_values)
    assert np.mean(np.array(p_values) < 0.05) < 0.08


def test_sessions_are_unique_in_order_inside_the_year_and_shared_by_users(year):
    start, end = quarter_bounds(QUARTERS[0])[0], quarter_bounds(QUARTERS[-1])[1]
    for simulated in year:
        sessions = simulated.sessions
        assert sessions["session_id"].n_unique() == sessions.height
        assert sessions["started_at"].is_sorted()
        assert sessions["started_at"].is_between(start, end, closed="left").all()
        assert 2 < sessions.height / sessions["user"].n_unique() < 6
        for release in simulated.surface.releases:
            own = sessions.filter(release=release.release)
            assert own["started_at"].min() >= release.shipped_at


def test_signals_are_recorded_now_and_then_and_follow_failures_imperfectly(year):
    for simulated in year:
        for name, signal in simulated.surface.signals.items():
            recorded = 1 - simulated.sessions[name].null_count() / simulated.sessions.height
            assert recorded == pytest.approx(signal.recorded, abs=0.03)
        truth = pl.Series("failing", simulated.failing.any(axis=1))
        for name in INFORMATIVE[simulated.surface.surface]:
            recorded = simulated.sessions.with_columns(truth).drop_nulls(name)
            auc = roc_auc_score(recorded["failing"], recorded[name].cast(pl.Float64))
            assert 0.6 < max(auc, 1 - auc) < 0.9, (simulated.surface.surface, name)


def test_the_judge_errs_by_mode_as_planted(year):
    for simulated in year:
        verdicts = judge_sessions(simulated, rng=np.random.default_rng(2))
        assert verdicts.schema == VERDICT
        for column, mode in enumerate(simulated.surface.modes):
            said = verdicts.filter(evaluator_id=evaluator_id(mode.mode))
            assert said["session_id"].to_list() == simulated.sessions["session_id"].to_list()
            fails, truth = said["fails"].to_numpy(), simulated.failing[:, column]
            for right, chance in (
                (fails[truth], mode.judge.sensitivity),
                (~fails[~truth], mode.judge.specificity),
            ):
                assert stats.binomtest(int(right.sum()), right.size, chance).pvalue > 1e-4


def test_the_majority_of_three_annotators_is_almost_always_right(year):
    for simulated in year:
        ids = simulated.sessions["session_id"].to_list()
        labels = label_sessions(simulated, ids, queue=1, rng=np.random.default_rng(8))
        names = [mode.mode for mode in simulated.surface.modes]
        votes = np.zeros(simulated.failing.shape)
        for annotator, reader in ANNOTATORS.items():
            seen = np.array(
                [[name in label.modes for name in names] for label in labels[annotator]]
            )
            sure = np.array([label.verdict != "unsure" for label in labels[annotator]])
            truth = simulated.failing[sure]
            assert seen[sure][truth].mean() == pytest.approx(reader.sensitivity, abs=0.025)
            assert sure.mean() > 0.98
            votes += seen
        wrong = ((votes >= 2) != simulated.failing).mean(axis=0)
        assert wrong.max() < 0.003


def test_notes_are_about_failing_sessions_in_words_of_their_modes_and_facts(year):
    simulated, facts = year[0], {}
    for session, uniforms in zip(
        simulated.sessions["session_id"],
        np.random.default_rng(3).random((simulated.sessions.height, 50)).tolist(),
        strict=True,
    ):
        facts[session] = draw_facts(simulated.surface, iter(uniforms))
    failing = simulated.sessions.filter(pl.col("modes").list.len() > 0)["session_id"].to_list()
    passing = simulated.sessions.filter(pl.col("modes").list.len() == 0)["session_id"].to_list()
    notes = note_failures(simulated, failing, facts, rng=np.random.default_rng(1))
    assert 0 < len(notes) < len(failing)
    assert note_failures(simulated, failing, facts, rng=np.random.default_rng(1)) == notes
    assert note_failures(simulated, passing, facts, rng=np.random.default_rng(1)) == []
    shows = dict(simulated.sessions.select("session_id", "modes").iter_rows())
    several = []
    for note in notes:
        told = [
            mode.mode
            for mode in simulated.surface.modes
            if any(
                each.format_map(facts[note.session_id]).rstrip(".") in note.text
                for each in mode.notes
            )
        ]
        assert set(told) & set(shows[note.session_id])
        if len(shows[note.session_id]) > 1:
            several.append(any(joint in note.text for joint in JOINTS))
    assert 0.2 < np.mean(several) < 0.7
