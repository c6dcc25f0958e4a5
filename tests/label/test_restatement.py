"""Labels and verdicts under a codebook that changed: what adds up, and what is counted."""

import make
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from evalbench.label.agreement.consensus import decide, judgements
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.codebook.restate import count_restated, restate, restate_verdicts

LIVE = {**make.MODE_FIELDS, "promoted": True}
MERGED = {"ended": "merged", "heirs": ("rude",), "otherwise": "rude"}
SPLIT = {"ended": "split", "heirs": ("early", "slow"), "otherwise": "slow"}
MODES = [
    Mode("shop", "curt", "Curt", **LIVE | MERGED),
    Mode("shop", "draft", "Draft"),
    Mode("shop", "early", "Early", **LIVE),
    Mode("shop", "gone", "Gone", **LIVE, ended="retired"),
    Mode("shop", "late", "Late", **LIVE | SPLIT, sessions={"x": "early", "z": "early"}),
    Mode("shop", "rude", "Rude", **LIVE),
    Mode("shop", "slow", "Slow", **LIVE),
]
BOOK = Codebook({(each.surface, each.mode): each for each in MODES}, {})
KEYS = [each.mode for each in MODES]
LABELS = st.lists(
    st.tuples(
        st.sampled_from("xyz"), st.sampled_from("ab"), st.lists(st.sampled_from(KEYS), unique=True)
    ),
    max_size=12,
)


def say(labels, modes):
    """Who sees which mode in which session."""
    named = pl.DataFrame({"surface": "shop", "mode": modes})
    seen = judgements(labels, named).filter("value")
    return set(seen.select("mode", "session_id", "annotator").rows())


@given(LABELS)
def test_parts_add_up_to_the_split_mode_and_a_merged_mode_is_the_union_of_its_sources(rows):
    labels = make.labels(*((session, who, "fail", modes) for session, who, modes in rows))
    before = labels.clone()
    restated = restate(labels, BOOK)
    assert_frame_equal(labels, before)
    assert restated.drop("modes").equals(labels.drop("modes"))
    assert set(restated["modes"].explode().drop_nulls()) <= set(BOOK.live["mode"])
    assert all(len(modes) == len(set(modes)) for modes in restated["modes"])
    old, new = say(labels, KEYS), say(restated, KEYS)
    for _, session, who in {key for key in old if key[0] == "late"}:
        assert ({"x": "early", "z": "early"}.get(session, "slow"), session, who) in new
    assert {key for key in new if key[0] == "rude"} == {
        ("rude", *rest) for mode, *rest in old if mode in ("rude", "curt")
    }
    assert {key for key in new if key[0] == "slow"} == {
        ("slow", session, who)
        for mode, session, who in old
        if mode == "slow" or (mode == "late" and session == "y")
    }
    assert_frame_equal(restate(restated, BOOK), restated)


def test_annotators_who_named_different_sources_agree_on_what_they_became():
    labels = make.labels(("x", "a", "fail", ["curt"]), ("x", "b", "fail", ["rude"]))
    decided = decide(restate(labels, BOOK), labels.clear(), BOOK.live)
    assert decided.filter("fails")["mode"].to_list() == ["rude"]


def test_verdicts_follow_merges_and_stop_at_splits_and_what_changed_is_counted():
    names = ["curt", "late", "rude", "tone", ""]
    verdicts = pl.DataFrame({"surface": "shop", "mode": names, "fails": [True] * 5})
    restated = restate_verdicts(verdicts, BOOK)
    assert restated["mode"].to_list() == ["rude", "rude", "tone", ""]
    assert restated.columns == verdicts.columns
    assert restate_verdicts(verdicts.clear(), BOOK).is_empty()
    labels = make.labels(("x", "a", "fail", ["late", "gone", "rude"]), ("y", "a", "pass", []))
    assert count_restated(labels, verdicts, BOOK).rows() == [
        ("shop", "curt", "rude", 0, 1),
        ("shop", "gone", None, 1, 0),
        ("shop", "late", None, 0, 1),
        ("shop", "late", "early", 1, 0),
    ]
    assert count_restated(labels.clear(), verdicts.clear(), BOOK).is_empty()
