"""Decided labels against the slow definition, and what is reported of agreement."""

import make
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from evalbench import stats
from evalbench.errors import LabelError
from evalbench.label.agreement.adjudication import adjudicate, ambiguous_modes, disagreements
from evalbench.label.agreement.consensus import decide, judgements
from evalbench.label.agreement.measures import (
    latest_ratings,
    measure_agreement,
    measure_pairs,
    measure_repeats,
    with_week,
)

MODES = pl.DataFrame({"surface": ["shop", "shop", "bank"], "mode": ["tone", "facts", "tone"]})
SHOP = MODES.filter(surface="shop")
JUDGED = st.one_of(
    st.just(("pass", [])),
    st.just(("unsure", [])),
    st.lists(st.sampled_from(["tone", "facts"]), max_size=2).map(lambda modes: ("fail", modes)),
)
LABELS = st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("abc"), JUDGED), max_size=20)
RULINGS = st.lists(st.tuples(st.sampled_from("xyz"), JUDGED), max_size=3)


def decide_slowly(labels, rulings):
    """Loop over sessions, modes and annotators."""
    latest = {(session, actor): what for session, actor, what in labels}
    ruled = dict(rulings)
    for session in sorted({session for session, _ in latest}):
        said = [what for (name, _), what in latest.items() if name == session]
        sure = [modes for verdict, modes in said if verdict != "unsure"]
        for mode in ("facts", "tone"):
            fail = sum(mode in modes for modes in sure)
            fails = None if 2 * fail == len(sure) else 2 * fail > len(sure)
            if session in ruled:
                verdict, modes = ruled[session]
                fails = None if verdict == "unsure" else mode in modes
            yield "shop", session, mode, fails, len(sure), fail


@given(LABELS, RULINGS)
def test_decided_labels_equal_the_slow_definition(labels, rulings):
    given_labels = make.labels(*((session, who, *what) for session, who, what in labels))
    ruled = make.labels(*((session, "eva", *what) for session, what in rulings))
    before = given_labels.clone(), ruled.clone()
    decided = decide(given_labels, ruled, MODES)
    names = ["surface", "session_id", "mode", "fails", "n_annotators", "n_fail"]
    assert decided.columns == names
    assert decided.rows() == list(decide_slowly(labels, rulings))
    for frame, old in zip((given_labels, ruled), before, strict=True):
        assert_frame_equal(frame, old)


def test_three_reasons_fail_a_session_but_no_mode():
    labels = make.labels(
        ("x", "ana", "fail", ["tone"]), ("x", "ben", "fail", ["facts"]), ("x", "eva", "fail", [])
    )
    assert decide(labels, labels.clear(), MODES)["fails"].to_list() == [False, False]
    judged = judgements(labels, MODES, with_any=True)
    assert judged.filter(mode="any")["value"].to_list() == [True, True, True]
    assert judged.filter(mode="tone")["value"].to_list() == [True, False, False]


def test_a_disagreement_waits_until_an_adjudicator_has_seen_every_label(workspace):
    ledger = workspace.ledger
    make.modes(ledger, "tone", "facts")

    def write(actor, session, verdict, *modes):
        body = {"surface": "shop", "session_id": session, "verdict": verdict, "modes": modes}
        return ledger.extend([("label.set", session, body)], actor=actor)

    def waiting():
        return disagreements(ledger.bodies("label.set"), MODES, ledger.bodies("label.adjudicated"))

    assert waiting().is_empty()
    first, second = write("ana", "x", "fail", "tone"), write("ben", "x", "pass")
    write("ana", "y", "fail", "tone")
    assert waiting().rows(named=True) == [
        {
            "surface": "shop",
            "session_id": "x",
            "disputed": ["any", "tone"],
            "said": "ana: fail (tone); ben: pass",
            "labels": [first, second],
            "waits": True,
        }
    ]
    rule = {"verdict": "fail", "modes": ["tone"], "reason": "the last turn is curt"}
    adjudicate(ledger, "shop", "x", **rule)
    [ruling] = ledger.bodies("label.adjudicated").to_dicts()
    assert (ruling["actor"], ruling["labels"]) == ("tester", [first, second])
    assert waiting()["waits"].to_list() == [False]
    write("eva", "x", "fail", "facts")
    assert waiting()["waits"].to_list() == [True]
    with pytest.raises(LabelError, match="has 1 labels"):
        adjudicate(ledger, "shop", "y", **rule)
    with pytest.raises(LabelError, match="no mode 'mood'"):
        adjudicate(ledger, "shop", "x", **{**rule, "modes": ["mood"]})


@pytest.fixture(scope="module")
def labels():
    """Two read 300 sessions: alike of tone until the third week, at random of facts."""
    rng, rows = np.random.default_rng(5), []
    for number, there in enumerate(rng.random(300) < 0.4):
        for who in ("ana", "ben"):
            seen = {"facts": rng.random() < 0.3, "tone": there}
            if number >= 200:
                seen["tone"] = rng.random() < 0.4
            modes = [mode for mode, value in seen.items() if value]
            rows.append((f"s{number:03d}", who, "fail" if modes else "pass", modes))
    weeks = pl.lit(make.START) + pl.duration(weeks=(pl.col("seq") - 1) // 200)
    return make.labels(*rows).with_columns(at=weeks)


def test_agreement_is_that_of_the_statistics_and_a_mode_people_guess_at_is_ambiguous(labels):
    rng = np.random.default_rng(0)
    judged = judgements(labels, SHOP)
    measured = measure_agreement(judged, by=["surface", "mode"], level=0.95, rng=rng)
    assert measured.select("mode", "n_items", "n_annotators", "reading").rows() == [
        ("facts", 300, 2, "ambiguous"),
        ("tone", 300, 2, "not settled"),
    ]
    tone = judged.filter(mode="tone")
    expected = stats.agreement(
        tone["session_id"], tone["annotator"], tone["value"], rng=np.random.default_rng(1)
    )
    for name in ("percent", "kappa", "alpha", "ac1"):
        assert measured[name][1] == pytest.approx(getattr(expected, name).estimate)
    pairs = measure_pairs(judged, level=0.95, rng=rng).sort("mode")
    assert pairs["pair"].unique().to_list() == ["ana, ben"]
    assert pairs["kappa"].to_list() == pytest.approx(measured["kappa"].to_list())
    codebook = SHOP.with_columns(name="mode", definition=pl.lit("what it means"))
    disputes = disagreements(labels, codebook, labels.clear().with_columns(labels=pl.lit([1])))
    facts, _ = ambiguous_modes(measured, disputes, codebook).to_dicts()
    assert (facts["mode"], facts["definition"]) == ("facts", "what it means")
    assert facts["n_disputed"] == len(facts["session_ids"]) > 80


def test_agreement_is_measured_week_by_week(labels):
    rng = np.random.default_rng(0)
    judged = with_week(judgements(labels, SHOP))
    weeks = measure_agreement(judged, by=["surface", "mode", "week"], level=0.95, rng=rng)
    assert weeks.filter(mode="tone")["n_items"].to_list() == [100] * 3
    readings = weeks.filter(mode="tone")["reading"].to_list()
    assert readings == ["people agree", "people agree", "ambiguous"]


def test_what_cannot_be_told_is_insufficient_aloud():
    rng = np.random.default_rng(0)
    few = make.labels(*((f"s{n}", who, "pass", []) for n in range(29) for who in "ab"))
    same = make.labels(*((f"s{n}", who, "pass", []) for n in range(30) for who in "ab"))
    for labels, reason in (
        (few, "29 sessions with two labels; 30 are needed"),
        (same, "nobody saw it"),
    ):
        judged = judgements(labels, SHOP)
        measured = measure_agreement(judged, by=["surface", "mode"], level=0.95, rng=rng)
        assert measured.select("status", "reading", "reason").unique().rows() == [
            ("insufficient", "insufficient", reason)
        ]
        assert measured["alpha"].null_count() == 2


def test_a_scale_is_read_as_names_and_as_steps_and_the_last_rating_counts():
    rng = np.random.default_rng(1)
    values = [
        (f"s{n}", who, str(1 + (n + (who == "b" and n % 3 == 0)) % 5))
        for n in range(60)
        for who in "ab"
    ]
    rows = [("s0", "a", "5"), *values]
    frame = pl.DataFrame(rows, schema=["session_id", "actor", "value"], orient="row")
    about = {"surface": "shop", "criterion": "helpful", "at": make.START, "labelled_at": None}
    literals = {name: pl.lit(value) for name, value in about.items()}
    latest = latest_ratings(frame.with_row_index("seq").with_columns(**literals))
    assert latest.height == 120
    assert latest.filter(session_id="s0", annotator="a")["value"].item() == "1"
    [row] = measure_agreement(latest, by=["surface", "mode"], level=0.95, rng=rng).to_dicts()
    assert row["mode"] == "helpful"
    assert row["alpha_ordinal"] > row["alpha"]


def test_repeats_are_of_one_person_in_two_queues():
    rng = np.random.default_rng(1)
    rows = [("ana", f"s{n}", queue, "pass") for n in range(10) for queue in (1, 2)]
    rows += [("ana", "s0", 2, "fail"), ("ana", "s1", 2, "unsure"), ("ben", "s2", 1, "fail")]
    rows += [("ana", "s3", 2, "fail"), ("ana", "s3", 2, "pass"), ("ben", "s2", None, "pass")]
    labels = pl.DataFrame(rows, schema=["actor", "session_id", "queue", "verdict"], orient="row")
    labels = labels.with_row_index("seq").with_columns(surface=pl.lit("shop"))
    [row] = measure_repeats(labels, level=0.95, rng=rng).to_dicts()
    # s0 changed; of s1 the last word in queue 2 is unsure.
    assert (row["annotator"], row["n_items"]) == ("ana", 9)
    assert row["same"] == pytest.approx(8 / 9)
    assert row["same_low"] < 8 / 9 < row["same_high"]
