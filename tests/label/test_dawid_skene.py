"""Annotators' errors against planted ones, the most likely ones, and a coverage simulation."""

import numpy as np
import polars as pl
import pytest

from evalbench.label.agreement.dawid_skene import annotator_errors

NAMES = ("sensitivity", "specificity")


def judge(rng, *, sensitivity, specificity, sessions=300, modes=8, read=1.0):
    """Let annotators of known errors judge; whoever does not read a session says nothing of it."""
    truth = rng.random((sessions, modes)) < rng.uniform(0.01, 0.1, modes)
    said = np.array(
        [
            rng.random(truth.shape) < np.where(truth, tpr, 1 - tnr)
            for tpr, tnr in zip(sensitivity, specificity, strict=True)
        ]
    )
    reads = rng.random((len(sensitivity), sessions)) < read
    reads[rng.integers(len(sensitivity), size=sessions), np.arange(sessions)] = True
    annotator, session, mode = np.nonzero(np.broadcast_to(reads[:, :, None], said.shape))
    return pl.DataFrame(
        {
            "surface": "shop",
            "session_id": session.astype(str),
            "mode": mode.astype(str),
            "annotator": annotator.astype(str),
            "value": said[annotator, session, mode],
        }
    )


def covers(found, name, planted):
    low, high = found[f"{name}_low"].to_numpy(), found[f"{name}_high"].to_numpy()
    return (low <= planted) & (planted <= high)


def most_likely(judged):
    """Slow definition: expectation maximisation, item by item, on one mode that all judged."""
    items = judged.group_by("session_id").agg(pl.col("value").sort_by("annotator"))
    said = np.array(items["value"].to_list(), dtype=float)
    p = said.mean(axis=1)
    for _ in range(500):
        sensitivity = (p @ said) / p.sum()
        specificity = ((1 - p) @ (1 - said)) / (1 - p).sum()
        there = p.mean() * np.where(said == 1, sensitivity, 1 - sensitivity).prod(axis=1)
        absent = (1 - p.mean()) * np.where(said == 1, 1 - specificity, specificity).prod(axis=1)
        p = there / (there + absent)
    return sensitivity, specificity


def test_the_estimate_is_near_the_most_likely_errors_and_planted_ones_are_in_the_interval():
    rng = np.random.default_rng(1)
    planted = {"sensitivity": [0.8, 0.7, 0.9], "specificity": [0.9, 0.95, 0.85]}
    judged = judge(rng, **planted, sessions=4000, modes=1).with_columns(mode=pl.lit("tone"))
    before = judged.clone()
    found = annotator_errors(judged, level=0.95, rng=rng)
    assert judged.equals(before)
    assert found["annotator"].to_list() == ["0", "1", "2"]
    assert set(found["status"]) == {"ok"}
    assert found.select("n_sessions", "n_shared").unique().rows() == [(4000, 4000)]
    for name, likely in zip(NAMES, most_likely(judged), strict=True):
        assert found[name].to_numpy() == pytest.approx(likely, abs=0.03)
        assert covers(found, name, np.array(planted[name])).all()
        assert covers(found, name, found[name].to_numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize(("people", "read"), [(3, 0.3), (2, 1.0)])
def test_the_intervals_cover_together_as_often_as_they_say(people, read):
    sensitivity = np.array([0.97, 0.93, 0.95])[:people]
    specificity = np.array([0.998, 0.996, 0.997])[:people]
    rng = np.random.default_rng(2)
    together = []
    for _ in range(40):
        judged = judge(rng, sensitivity=sensitivity, specificity=specificity, read=read)
        found = annotator_errors(judged, level=0.8, rng=rng)
        held = covers(found, "sensitivity", sensitivity) & covers(found, "specificity", specificity)
        together.append(held.all())
    assert np.mean(together) > 0.7  # .8 less two standard errors of 40 simulations, and a hair


def test_what_cannot_be_told_is_insufficient():
    rng = np.random.default_rng(3)
    one_mode = judge(rng, sensitivity=[0.9, 0.9], specificity=[0.99, 0.99], modes=1)
    quiet = judge(rng, sensitivity=[0.9] * 3, specificity=[1.0] * 3).with_columns(value=False)
    few = judge(rng, sensitivity=[0.9] * 3, specificity=[0.99] * 3, sessions=20)
    few = few.with_columns(value=pl.col("session_id").cast(int) < 15)
    reasons = {
        "it takes three annotators, or two and several modes; there are 2 and 1": one_mode,
        "about 0 failures seen; 10 are needed": quiet,
        "20 sessions labelled by others too; 30 are needed": few,
    }
    for reason, judged in reasons.items():
        found = annotator_errors(judged, level=0.95, rng=rng)
        assert found["reason"].unique().to_list() == [reason]
        assert set(found["status"]) == {"insufficient"}
        assert found["sensitivity"].null_count() == found["specificity_high"].null_count()
        assert found["sensitivity"].null_count() == found.height > 0
    assert annotator_errors(few.clear(), level=0.95, rng=rng).is_empty()
