"""Majority votes against the slow definition: a loop over sessions, modes and annotators."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from evalbench.label.consensus import any_failure, majority

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
    votes = majority(labels, MODES)
    assert votes.columns == OUT
    assert votes.rows() == slow(
        rows,
        lambda surface: MODES.filter(surface=surface)["mode"].to_list(),
        lambda what, mode: mode in what[1],
    )
    assert any_failure(labels).rows() == slow(
        rows, lambda _: ["any"], lambda what, _: what[0] == "fail"
    )
    assert_frame_equal(labels, before)


def test_three_reasons_fail_a_session_but_no_mode():
    labels = make_labels(
        [
            ("support", "x", "ana", "fail", ["tone"]),
            ("support", "x", "ben", "fail", ["facts"]),
            ("support", "x", "eva", "fail", []),
        ]
    )
    assert majority(labels, MODES)["fails"].to_list() == [False, False]
    assert any_failure(labels).rows() == [("support", "x", "any", True, 3, 3)]
