"""Majority votes against the slow definition: a loop over sessions, modes and annotators."""

from datetime import UTC, datetime

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
from evalbench.label.agreement.measures import measure_agreement, measure_drift, with_week
from evalbench.label.annotation.workload import measure_cadence

MODES = pl.DataFrame(
    {"surface": ["support", "support", "review"], "mode": ["tone", "facts", "tone"]}
)
SCHEMA = {
    "seq": pl.Int64,
    "surface": pl.String,
    "session_id": pl.String,
    "actor": pl.String,
    "verdict": pl.String,
    "modes": pl.List(pl.String),
}
OUT = ["surface", "session_id", "mode", "fails", "n_annotators", "n_fail"]


def make_labels(rows):
    numbered = [(seq, *row) for seq, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=SCHEMA, orient="row")


said = st.one_of(
    st.just(("pass", [])),
    st.just(("unsure", [])),
    st.lists(st.sampled_from(["tone", "facts"]), max_size=2).map(lambda modes: ("fail", modes)),
)
labelled = st.tuples(
    st.sampled_from(["support", "review"]), st.sampled_from("xy"), st.sampled_from("abc"), said
)


def slow(rows, modes_of, sees):
    latest = {(surface, session, actor): what for surface, session, actor, what in rows}
    out = []
    for surface, session in sorted({key[:2] for key in latest}):
        sure = [
            what
            for key, what in latest.items()
            if key[:2] == (surface, session) and what[0] != "unsure"
        ]
        for mode in sorted(modes_of(surface)):
            fail = sum(sees(what, mode) for what in sure)
            fails = None if 2 * fail == len(sure) else 2 * fail > len(sure)
            out.append((surface, session, mode, fails, len(sure), fail))
    return out


@given(st.lists(labelled, max_size=20))
def test_votes_equal_the_slow_definition(rows):
    labels = make_labels(
        [(surface, session, actor, *what) for surface, session, actor, what in rows]
    )
    before = labels.clone()
    votes = decide(labels, labels.clear(), MODES)
    assert votes.columns == OUT
    assert votes.rows() == slow(
        rows,
        lambda surface: MODES.filter(surface=surface)["mode"].to_list(),
        lambda what, mode: mode in what[1],
    )
    assert_frame_equal(labels, before)


def test_three_reasons_fail_a_session_but_no_mode():
    labels = as_events(
        [
            ("support", "x", "ana", "fail", ["tone"]),
            ("support", "x", "ben", "fail", ["facts"]),
            ("support", "x", "eva", "fail", []),
        ]
    )
    assert decide(labels, labels.clear(), MODES)["fails"].to_list() == [False, False]
    said = judgements(labels, MODES, with_any=True)
    assert said.filter(mode="any")["value"].to_list() == [True, True, True]


def as_events(rows, **columns):
    return make_labels(rows).with_columns(
        **{"at": pl.lit(None), "labelled_at": pl.lit(None), **columns}
    )


SPLIT = [
    ("support", "x", "ana", "fail", ["tone"]),
    ("support", "x", "ben", "pass", []),
    ("support", "y", "ana", "fail", ["tone"]),
    ("support", "y", "ben", "fail", ["tone"]),
]


def test_the_adjudicator_wins_where_there_is_a_ruling():
    labels, codebook = as_events(SPLIT), MODES.filter(surface="support")
    rulings = make_labels(
        [
            ("support", "x", "eva", "pass", []),
            ("support", "x", "eva", "fail", ["facts"]),
            ("support", "y", "eva", "unsure", []),
        ]
    )
    assert decide(labels, rulings, codebook).rows() == [
        ("support", "x", "facts", True, 2, 0),
        ("support", "x", "tone", False, 2, 1),
        ("support", "y", "facts", None, 2, 0),
        ("support", "y", "tone", None, 2, 2),
    ]


def test_a_disagreement_waits_until_an_adjudicator_has_seen_every_label(workspace):
    def write(actor, session, verdict, *modes):
        body = {"surface": "support", "session_id": session, "verdict": verdict, "modes": modes}
        return workspace.ledger.extend([("label.set", session, body)], actor=actor)

    def queue():
        events = [workspace.ledger.bodies(kind) for kind in ("label.set", "label.adjudicated")]
        return disagreements(events[0], MODES, events[1])

    for mode in ("tone", "facts"):
        kind = {"severity": "polish", "failure_class": "recovery", "owner": "ana"}
        text = {"name": mode, "definition": "d", "example": "e"}
        workspace.ledger.append(
            "mode.defined", mode, {"surface": "support", "mode": mode, **text, **kind}
        )
    assert queue().is_empty()
    first, second = write("ana", "x", "fail", "tone"), write("ben", "x", "pass")
    write("ana", "y", "fail", "tone")
    [row] = queue().to_dicts()
    assert row["disputed"] == ["any", "tone"]
    assert row["said"] == "ana: fail (tone); ben: pass"
    assert (row["labels"], row["waits"]) == ([first, second], True)
    rule = {"verdict": "fail", "modes": ["tone"], "reason": "the last turn is curt"}
    adjudicate(workspace.ledger, "support", "x", **rule)
    [ruling] = workspace.ledger.bodies("label.adjudicated").to_dicts()
    assert (ruling["actor"], ruling["labels"]) == ("tester", [first, second])
    assert queue()["waits"].to_list() == [False]
    write("eva", "x", "fail", "facts")
    assert queue()["waits"].to_list() == [True]
    with pytest.raises(LabelError, match="has 1 labels"):
        adjudicate(workspace.ledger, "support", "y", **rule)
    with pytest.raises(LabelError, match="no mode 'mood'"):
        adjudicate(workspace.ledger, "support", "x", **{**rule, "modes": ["mood"]})


def test_agreement_is_that_of_the_statistics_or_insufficient_aloud():
    rng = np.random.default_rng(0)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    rows = [
        (
            "support",
            f"s{i:03d}",
            who,
            *(("fail", ["tone"]) if (i + slip * (i % 9 == 0)) % 4 == 0 else ("pass", [])),
        )
        for i in range(120)
        for slip, who in enumerate(("ana", "ben"))
    ]
    labels = as_events(
        [*rows, ("review", "z", "ana", "pass", [])],
        at=pl.lit(start) + pl.duration(weeks=pl.col("seq") // 80),
    )
    judged = with_week(judgements(labels, MODES, with_any=True))
    found = measure_agreement(judged, by=["surface", "mode"], level=0.95, rng=rng)
    assert found.select("surface", "mode", "n_items", "reading").rows() == [
        ("review", "any", 0, "insufficient"),
        ("review", "tone", 0, "insufficient"),
        ("support", "any", 120, "people agree"),
        ("support", "facts", 120, "insufficient"),
        ("support", "tone", 120, "people agree"),
    ]
    reasons = found["reason"].to_list()
    assert reasons[0] == "0 sessions with two labels; 30 are needed"
    assert reasons[3] == "nobody saw it"
    tone = judged.filter(surface="support", mode="tone")
    slow = stats.agreement(
        tone["session_id"], tone["annotator"], tone["value"], rng=np.random.default_rng(1)
    )
    [row] = found.filter(surface="support", mode="tone").to_dicts()
    for name in ("percent", "kappa", "alpha", "ac1"):
        assert row[name] == pytest.approx(getattr(slow, name).estimate)
    weeks = measure_agreement(judged, by=["surface", "mode", "week"], level=0.95, rng=rng)
    assert weeks.filter(surface="support", mode="tone")["n_items"].to_list() == [40, 40, 40]
    drift = measure_drift(judged, level=0.95, rng=rng)
    [moved] = drift.filter(mode="tone").to_dicts()
    assert (moved["n_before"], moved["n_items"], moved["reading"]) == (80, 40, "no drift shown")
    assert moved["change_low"] < moved["change"] < moved["change_high"]


def test_a_mode_that_people_guess_at_is_ambiguous_and_a_fall_is_seen():
    rng = np.random.default_rng(5)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    truth = rng.random(300) < 0.4
    rows = []
    for i, there in enumerate(truth):
        for who in ("ana", "ben"):
            facts = rng.random() < 0.3
            tone = there if i < 200 else rng.random() < 0.4
            modes = [name for name, seen in (("facts", facts), ("tone", tone)) if seen]
            rows.append(("support", f"s{i:03d}", who, "fail" if modes else "pass", modes))
    labels = as_events(rows, at=pl.lit(start) + pl.duration(weeks=pl.col("seq") // 400))
    judged = with_week(judgements(labels, MODES))
    found = measure_agreement(judged, by=["surface", "mode"], level=0.95, rng=rng)
    codebook = MODES.with_columns(name="mode", definition=pl.lit("what it means"))
    disputes = disagreements(labels, codebook, labels.clear().with_columns(labels=pl.lit([1])))
    first = ambiguous_modes(found, disputes, codebook).to_dicts()[0]
    assert (first["mode"], first["reading"]) == ("facts", "ambiguous")
    assert first["n_disputed"] == len(first["session_ids"]) > 80
    drift = measure_drift(judged, level=0.95, rng=rng)
    assert dict(drift.select("mode", "reading").iter_rows()) == {
        "facts": "no drift shown",
        "tone": "fell",
    }


def test_cadence_counts_minutes_against_the_slot():
    at = pl.lit(datetime(2026, 3, 2, tzinfo=UTC)) + pl.duration(weeks=pl.col("seq") // 3)
    labels = as_events(SPLIT, at=at, seconds=pl.lit(600.0))
    pace = measure_cadence(labels, slot_minutes=120)
    columns = ("annotators", "labels", "minutes", "slot_percent", "sessions_an_hour")
    assert pace.select(columns).rows() == [
        (2, 3, pytest.approx(30), pytest.approx(12.5), pytest.approx(6)),
        (1, 1, pytest.approx(10), pytest.approx(100 / 12), pytest.approx(6)),
    ]
    unknown = measure_cadence(
        labels.with_columns(seconds=pl.lit(None, pl.Float64)).head(2), slot_minutes=120
    )
    assert unknown["minutes"].to_list() == [None]
