import hashlib
import io
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sides import session_ids, users
from sklearn.decomposition import TruncatedSVD
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from evalbench.errors import EvaluatorError
from evalbench.evaluate.classifier import (
    choose_threshold,
    classify,
    dump_classifier,
    features,
    load_classifier,
    train_classifier,
)


class _Harm:
    """Unpickling it runs code."""

    def __reduce__(self):
        return print, ("this must never run",)


def of_user(session, name):
    return replace(session, row={**session.row, "group_key": name})


@pytest.fixture(scope="module")
def labelled(make_session):
    """Make 150 sessions of 50 users: a failing one promises, and takes more tokens."""
    rng = np.random.default_rng(5)
    fails = rng.random(150) < 0.35
    sessions, of_train = [], users("train", 50)
    for number, bad in enumerate(fails):
        promise = "We guarantee delivery tomorrow." if bad else "It should arrive this week."
        session = make_session(
            f"{promise} Order R-{rng.integers(9999)}.",
            session_id=f"s{number}",
            completion_tokens=int(rng.integers(20, 60) + 20 * bad),
            thumbs=None if number % 3 else int(1 - 2 * bad),
        )
        sessions.append(of_user(session, of_train[number % 50]))
    return sessions, fails


@pytest.fixture(scope="module")
def trained(labelled):
    return train_classifier(*labelled)


def test_it_learns_and_says_by_which_words(labelled, trained, make_session):
    _, fails = labelled
    assert matthews_corrcoef(fails, trained.scores >= trained.threshold) == trained.value
    assert trained.value > 0.9
    made = [make_session("We GUARANTEE it."), make_session("It should arrive.")]
    bad, good = classify(trained.pipeline, made, threshold=trained.threshold)
    assert (bad.fails, good.fails) == (True, False)
    assert bad.score > trained.threshold > good.score
    assert {"span_id": "1-llm", "turn": 2, "quote": "GUARANTEE"} in bad.evidence
    assert "guarantee" in bad.rationale


def test_scores_of_a_group_come_from_models_that_have_not_seen_it(make_session):
    """Text that names the user tells all about its label, and nothing about another user's."""
    of_train, failing = users("train", 20), np.random.default_rng(1).permutation(20) < 10
    alone = [
        make_session(f"Hello user{number % 20}name", session_id=name)
        for number, name in enumerate(session_ids("train", 80))
    ]
    grouped = [of_user(each, of_train[number % 20]) for number, each in enumerate(alone)]
    fails = [bool(failing[number % 20]) for number in range(80)]
    grouped, alone = (train_classifier(each, fails) for each in (grouped, alone))
    assert alone.value > 0.9
    assert grouped.value < 0.5


def test_a_session_of_the_test_split_teaches_nothing(labelled):
    sessions, fails = labelled
    leaked = of_user(sessions[3], *users("test", 1))
    with pytest.raises(EvaluatorError, match="'s3' of support is in the test split"):
        train_classifier([*sessions[:3], leaked, *sessions[4:]], fails)


def test_training_twice_gives_the_same(labelled, trained):
    again = train_classifier(*labelled)
    assert np.array_equal(again.scores, trained.scores)
    assert (again.threshold, again.value) == (trained.threshold, trained.value)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40))
def test_no_threshold_is_better_than_the_chosen(pairs):
    scores, fails = np.array([score / 9 for score, _ in pairs]), np.array([f for _, f in pairs])
    if fails.all() or not fails.any():
        return
    threshold, value = choose_threshold(scores, fails)
    best = max(matthews_corrcoef(fails, scores >= each) for each in np.unique(scores))
    assert value == pytest.approx(best) or best == 0
    if best > 0:
        assert matthews_corrcoef(fails, scores >= threshold) == pytest.approx(best)


@pytest.mark.parametrize(
    ("n_failing", "n_users", "said"),
    [(19, 50, "19 failing"), (60, 4, "of 4 groups"), (131, 50, "19 passing")],
)
def test_too_few_of_a_class_is_insufficient(labelled, n_failing, n_users, said):
    sessions, _ = labelled
    of_train = users("train", n_users)
    few = [of_user(each, of_train[number % n_users]) for number, each in enumerate(sessions)]
    with pytest.raises(EvaluatorError, match=f"insufficient: .*{said}.*label more"):
        train_classifier(few, np.arange(150) < n_failing)


def test_the_file_gives_back_the_same_scores_and_another_than_the_specified_is_refused(
    labelled, trained
):
    content, sha256 = dump_classifier(trained.pipeline)
    loaded, some = load_classifier(content, sha256=sha256), labelled[0][:40]
    before, after = (classify(each, some, threshold=0.5) for each in (trained.pipeline, loaded))
    assert before == after
    with pytest.raises(EvaluatorError, match="not the one"):
        load_classifier(content, sha256="0" * 64)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pickle.dumps(_Harm()), "not a zip"),
        (lambda: b"", "not a zip"),
        (lambda: b"PK\x03\x04 and nothing more", "not a zip"),
        (lambda: _zip({"schema.json": b"{"}), "line 1 column 2"),
        (lambda: _zip({"data.pkl": pickle.dumps(_Harm())}), "schema.json"),
        (lambda: skops.io.dumps(make_pipeline(FunctionTransformer(_Harm))), "Untrusted.*_Harm"),
        (lambda: skops.io.dumps(TruncatedSVD()), "TruncatedSVD"),
    ],
    ids=["pickle", "empty", "no zip", "broken", "pickle in a zip", "own type", "no pipeline"],
)
def test_a_file_that_is_not_ours_is_refused(make, said, capsys):
    content = make()
    with pytest.raises(EvaluatorError, match=f"not a classifier's file .*{said}.*train it again"):
        load_classifier(content, sha256=hashlib.sha256(content).hexdigest())
    assert capsys.readouterr().out == ""


def _zip(members):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def test_what_nobody_recorded_is_missing_and_not_zero(make_session):
    frame = features([make_session("a", thumbs=0), make_session(None, question=None)])
    assert frame["thumbs"].to_list()[0] == 0
    assert np.isnan(frame["thumbs"].to_list()[1])
    assert frame["text"].to_list() == ["[1] user: Where is my order?\n[2] assistant: a", ""]
