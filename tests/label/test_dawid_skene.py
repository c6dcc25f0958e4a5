"""Annotators' errors against planted ones, an exact enumeration, and a coverage simulation."""

import itertools

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.demo.company import load_company
from evalbench.demo.judgements import label_sessions
from evalbench.demo.simulate import simulate
from evalbench.label.agreement.consensus import consensus, judgements, majority
from evalbench.label.agreement.dawid_skene import annotator_errors, fit


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


def test_the_fit_is_no_less_likely_than_any_other_errors_nearby():
    """Slow definition: the likelihood, item by item, of the fit and of moved errors."""
    judged = judge(
        np.random.default_rng(1),
        sensitivity=[0.8, 0.7, 0.9],
        specificity=[0.9, 0.95, 0.85],
        sessions=120,
        modes=1,
    )
    found = fit(judged)
    prevalence = found.items["p"].mean()
    votes = judged.group_by("session_id").agg(pl.col("annotator").cast(int), "value").rows()

    def likelihood(sensitivity, specificity):
        total = 0.0
        for _, people, values in votes:
            there, absent = prevalence, 1 - prevalence
            for person, value in zip(people, values, strict=True):
                there *= sensitivity[person] if value else 1 - sensitivity[person]
                absent *= 1 - specificity[person] if value else specificity[person]
            total += np.log(there + absent)
        # The prior of half a case either way, on every share.
        shares = np.concatenate([sensitivity, specificity])
        return total + 0.5 * (np.log(shares) + np.log1p(-shares)).sum()

    best = likelihood(found.sensitivity, found.specificity)
    for place, step in itertools.product(range(6), (-0.02, 0.02)):
        moved = np.concatenate([found.sensitivity, found.specificity])
        moved[place] = np.clip(moved[place] + step, 0.001, 0.999)
        assert likelihood(moved[:3], moved[3:]) <= best


def test_each_simulated_annotator_of_the_demo_is_recovered_within_the_interval():
    company = load_company()
    rng = np.random.default_rng(7)
    parts = []
    for each in simulate(company, sessions_per_surface=400, rng=rng):
        modes = pl.DataFrame(
            [(each.surface.surface, mode.mode) for mode in each.surface.modes],
            schema=["surface", "mode"],
            orient="row",
        )
        ids = each.sessions["session_id"].to_list()
        given = label_sessions(company, each, ids, queue=1, rng=rng)
        labels = pl.DataFrame(
            [
                {"seq": 0, "at": None, "actor": name, **label.model_dump(exclude={"anchors"})}
                for name, own in given.items()
                for label in own
            ],
            infer_schema_length=None,
        )
        parts.append(judgements(labels, modes))
    found = annotator_errors(pl.concat(parts), level=0.95, rng=rng)
    planted = [company.annotators[name] for name in found["annotator"]]
    assert found["annotator"].to_list() == ["ana", "bruno", "chiara"]
    assert found["status"].to_list() == ["ok"] * 3
    for name in ("sensitivity", "specificity"):
        truth = np.array([getattr(reader, name) for reader in planted])
        assert covers(found, name, truth).all()
        assert (found[f"{name}_high"] - found[f"{name}_low"]).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("people", "read"), [(3, 1.0), (3, 0.3), (2, 1.0)])
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
    two = {"sensitivity": [0.9, 0.9], "specificity": [0.99, 0.99]}
    one_mode = judge(rng, **two, modes=1)
    with pytest.raises(ValueError, match="three annotators, or two and several modes"):
        fit(one_mode)
    quiet = judge(rng, sensitivity=[0.9] * 3, specificity=[1.0] * 3).with_columns(value=False)
    few = judge(rng, sensitivity=[0.9] * 3, specificity=[0.99] * 3, sessions=20)
    for judged in (one_mode, quiet, few.with_columns(value=pl.col("session_id") < "15")):
        found = annotator_errors(judged, level=0.95, rng=rng)
        assert set(found["status"]) == {"insufficient"}
        assert found["sensitivity"].null_count() == found.height
        assert all(found["reason"])
    assert annotator_errors(few.clear(), level=0.95, rng=rng).is_empty()


def test_a_consensus_weighs_the_better_reader_more():
    rng = np.random.default_rng(4)
    judged = judge(rng, sensitivity=[0.99, 0.6, 0.6], specificity=[0.999, 0.95, 0.95])
    rows = judged.filter("value").group_by("session_id", "annotator").agg(modes="mode")
    labels = (
        judged.select("surface", "session_id", "annotator")
        .unique()
        .join(rows, on=["session_id", "annotator"], how="left")
        .select(
            "surface",
            "session_id",
            actor="annotator",
            seq=pl.int_range(pl.len()),
            verdict=pl.when(pl.col("modes").is_null())
            .then(pl.lit("pass"))
            .otherwise(pl.lit("fail")),
            modes=pl.col("modes").fill_null([]),
            at=pl.lit(None),
            labelled_at=pl.lit(None),
        )
    )
    modes = judged.select("surface", "mode").unique()
    before = labels.clone()
    votes = majority(labels, modes)
    weighed = consensus(labels, modes, by="dawid-skene")
    assert_frame_equal(labels, before)
    assert weighed.columns == votes.columns
    assert_frame_equal(weighed.drop("fails"), votes.drop("fails"))
    best = judged.filter(annotator="0").select("session_id", "mode", "value")
    agree = weighed.join(best, on=["session_id", "mode"])
    wrong = (agree["fails"] != agree["value"]).sum()
    outvoted = votes.join(best, on=["session_id", "mode"]).select(
        pl.col("fails") != pl.col("value")
    )
    assert wrong < outvoted.to_series().sum() / 2
