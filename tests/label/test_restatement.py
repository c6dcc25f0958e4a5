"""Merge, split and undo on the demo company: what its rates do, and what the ledger keeps."""

import shutil

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.demo.journey import play_year
from evalbench.label.agreement.consensus import decide, judgements
from evalbench.label.codebook import acts as codebook
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.codebook.restate import (
    count_restated,
    restate,
    restate_verdicts,
)
from evalbench.operate import impact
from evalbench.schema import VERDICT
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import open_workspace

SURFACE = "support_copilot"
SOURCES = ["asks_again", "second_question_dropped"]
SPLIT = "refund_window_misquoted"
FULL = {
    "definition": "Written by hand.",
    "example": "Such as this.",
    "severity": "user impact",
    "failure_class": "answer quality",
    "owner": "ana",
}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    ws = open_workspace(tmp_path_factory.mktemp("demo") / "workspace", user="ana")
    play_year(
        ws,
        seed=7,
        sessions_per_surface=800,
        quarters=("2025Q4", "2026Q1"),
        progress=lambda title, done, total: None,
    )
    return ws


@pytest.fixture
def ws(played, tmp_path):
    """A copy of its own of the company's workspace."""
    shutil.copytree(played.path, tmp_path / "workspace")
    return open_workspace(tmp_path / "workspace", user="ana")


def given(ws):
    return ws.ledger.bodies("label.set").filter(surface=SURFACE)


def vote(labels, modes):
    return decide(labels, labels.clear(), modes)


def merge_two(ws):
    codebook.define(ws.ledger, SURFACE, "question_lost", name="Question lost", **FULL)
    return codebook.merge(ws.ledger, SURFACE, SOURCES, "question_lost", reason="one cause")


def split_one(ws):
    """Every second session with the mode is of the first part."""
    for part in ("window_too_long", "window_too_short"):
        codebook.define(ws.ledger, SURFACE, part, name=part, **FULL)
    shown = given(ws).filter(pl.col("modes").list.contains(SPLIT))["session_id"].unique().sort()
    parts = {"window_too_long": shown[::2].to_list(), "window_too_short": []}
    return codebook.split(ws.ledger, SURFACE, SPLIT, parts, otherwise="window_too_short")


def estimate(ws, labels, modes):
    """Rates by release and mode, as the impact report works them out from labels alone."""
    frame = take_snapshot(ws, SURFACE).frame
    rng, silent = np.random.default_rng(5), pl.DataFrame(schema=VERDICT)
    rates = impact.mode_rates(frame, labels, silent, modes, level=0.95, rng=rng)
    return {
        (rate.release, rate.mode): rate.measured.rate.estimate for rate in rates if rate.measured
    }


def rates_now(ws):
    book = read_codebook(ws.ledger)
    modes = book.live.filter(surface=SURFACE)
    return estimate(ws, vote(restate(given(ws), book), modes), modes)


def releases(rates):
    found = sorted({release for release, _ in rates})
    assert len(found) >= 2
    return found


def test_rates_of_the_parts_add_up_to_the_former_rate_in_every_release(ws):
    before = rates_now(ws)
    split_one(ws)
    after = rates_now(ws)
    for release in releases(before):
        parts = [after[release, part] for part in ("window_too_long", "window_too_short")]
        assert min(parts) > 0 or before[release, SPLIT] == 0
        assert sum(parts) == pytest.approx(before[release, SPLIT], abs=1e-12)
        assert (release, SPLIT) not in after
    rest = before.keys() & after.keys()
    assert {key: after[key] for key in rest} == {key: before[key] for key in rest}
    assert len(rest) == len(before) - len(releases(before))


def test_a_merged_mode_is_the_union_of_its_sources_and_a_session_with_both_counts_once(ws):
    """One annotator: rate(merged) = rate(a) + rate(b) - rate(a and b), release by release."""
    own = given(ws).filter(actor="bruno")
    both = own.filter(pl.col("modes").list.set_intersection(SOURCES).list.len() == 2)
    assert not both.is_empty()
    marked = own.with_columns(
        modes=pl.when(pl.col("seq").is_in(both["seq"].implode()))
        .then(pl.col("modes").list.concat(pl.lit(["both"])))
        .otherwise("modes")
    )
    modes = pl.DataFrame({"surface": SURFACE, "mode": [*SOURCES, "both"], "name": ""})
    before = estimate(ws, vote(marked, modes), modes)
    merge_two(ws)
    book = read_codebook(ws.ledger)
    live = book.live.filter(surface=SURFACE)
    after = estimate(ws, vote(restate(own, book), live), live)
    for release in releases(before):
        union = sum(before[release, mode] for mode in SOURCES) - before[release, "both"]
        assert after[release, "question_lost"] == pytest.approx(union, abs=1e-12)


def test_no_session_that_a_majority_gave_a_source_lacks_the_merged_mode(ws):
    book = read_codebook(ws.ledger)
    failed = vote(given(ws), book.live).filter("fails", pl.col("mode").is_in(SOURCES))
    merge_two(ws)
    book = read_codebook(ws.ledger)
    merged = vote(restate(given(ws), book), book.live).filter(mode="question_lost")
    found = merged.filter("fails")["session_id"]
    assert set(failed["session_id"]) <= set(found)
    said = judgements(restate(given(ws), book), book.live).filter("value", mode="question_lost")
    named = given(ws).filter(pl.col("modes").list.set_intersection(SOURCES).list.len() > 0)
    assert set(said.select("session_id", "annotator").rows()) == set(
        named.select("session_id", "actor").rows()
    )


def test_undo_brings_back_fold_labels_and_rates_and_the_chain_holds(ws):
    book, rates = read_codebook(ws.ledger), rates_now(ws)
    written = [merge_two(ws), split_one(ws)]
    assert rates_now(ws).keys() != rates.keys()
    defined = [seq for seq in ws.ledger.bodies("mode.defined")["seq"] if seq >= min(written) - 1]
    for seq in [*reversed(written), *reversed(defined)]:
        codebook.undo(ws.ledger, seq)
    assert read_codebook(ws.ledger) == book
    assert rates_now(ws) == rates
    assert_frame_equal(restate(given(ws), read_codebook(ws.ledger)), given(ws))
    assert ws.ledger.verify() is None


def test_labels_of_retired_modes_and_drafts_are_left_out_and_counted(ws):
    labels, before = given(ws), given(ws)
    codebook.retire(ws.ledger, SURFACE, "asks_again", reason="not a failure")
    codebook.edit(ws.ledger, SURFACE, "amount_misread", owner="")
    codebook.merge(ws.ledger, SURFACE, ["wrong_language"], "dismissive_tone")
    book = read_codebook(ws.ledger)
    restated = restate(labels, book)
    named = set(restated["modes"].explode().drop_nulls())
    assert not named & {"asks_again", "amount_misread", "wrong_language"}
    assert restated.drop("modes").equals(labels.drop("modes"))
    assert_frame_equal(labels, before)
    counted = count_restated(labels, pl.DataFrame(schema=VERDICT), book)
    assert counted.select("mode", "becomes").rows() == [
        ("amount_misread", None),
        ("asks_again", None),
        ("wrong_language", "dismissive_tone"),
    ]
    for mode, n in counted.select("mode", "n_labels").iter_rows():
        assert n == labels.filter(pl.col("modes").list.contains(mode)).height


def test_without_labels_there_is_nothing_to_restate(ws):
    none = given(ws).clear()
    book = read_codebook(ws.ledger)
    assert_frame_equal(restate(none, book), none)
    assert count_restated(none, pl.DataFrame(schema=VERDICT), book).is_empty()


LIVE = {"definition": "d", "example": "e", "severity": "polish", "failure_class": "recovery"}
LIVE |= {"owner": "ana", "promoted": True}


def test_verdicts_follow_merges_and_stop_at_splits():
    modes = [
        Mode("shop", "curt", "Curt", ended="merged", heirs=("rude",), otherwise="rude"),
        Mode("shop", "late", "Late", ended="split", heirs=("rude", "slow"), otherwise="slow"),
        Mode("shop", "rude", "Rude", **LIVE),
        Mode("shop", "slow", "Slow", **LIVE),
    ]
    book = Codebook({(each.surface, each.mode): each for each in modes}, {})
    names = ["curt", "late", "rude", "tone"]
    verdicts = pl.DataFrame({"surface": "shop", "mode": names, "fails": [True] * 4})
    restated = restate_verdicts(verdicts, book)
    assert restated["mode"].to_list() == ["rude", "rude", "tone"]
    assert restated.drop("mode").equals(verdicts.filter(pl.col("mode") != "late").drop("mode"))
    assert restate_verdicts(verdicts.clear(), book).is_empty()
    labels = pl.DataFrame({"surface": "shop", "session_id": ["x", "y"], "modes": [["late"], []]})
    assert count_restated(labels, verdicts, book).rows() == [
        ("shop", "curt", "rude", 0, 1),
        ("shop", "late", None, 0, 1),
        ("shop", "late", "slow", 1, 0),
    ]
