"""Calibration on made verdicts and labels whose errors are known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evalbench.errors import EvaluatorError
from evalbench.evaluate import bias as scrutiny
from evalbench.evaluate import calibrate
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split
from evalbench.schema import SESSION, SPAN, VERDICT
from evalbench.settings import Evaluators

START = datetime(2026, 7, 1, tzinfo=UTC)
SESSIONS = [f"s{number:03d}" for number in range(400)]
MEASURED = {"settings": Evaluators(), "level": 0.95}
NAME = "shop/rude/judge"


def rng():
    return np.random.default_rng(3)


def fails(session_id):
    return int(session_id[1:]) % 4 == 0


def misjudged(session_id):
    return int(session_id[1:]) % 40 in (0, 1)


def verdict(session_id, said, *, version="1", repeat=0, **more):
    row = {"surface": "shop", "session_id": session_id, "mode": "rude", "fails": said}
    row |= {"evaluator_id": NAME, "evaluator_version": version}
    row |= {"repeat": repeat, "judged_at": START}
    return row | more


def frame(rows):
    return pl.DataFrame(rows, schema=VERDICT)


@pytest.fixture
def sessions():
    rows = [
        {
            "surface": "shop",
            "session_id": name,
            "segments": '{"locale": "de"}' if int(name[1:]) % 2 else '{"locale": "en"}',
            "final_output": "x" * (int(name[1:]) % 7),
        }
        for name in SESSIONS
    ]
    return pl.DataFrame(rows, schema=SESSION)


@pytest.fixture
def truth():
    schema = {"surface": pl.String, "session_id": pl.String, "mode": pl.String, "truth": pl.Boolean}
    rows = [("shop", name, "rude", fails(name)) for name in SESSIONS]
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture
def verdicts():
    return frame([verdict(name, fails(name) != misjudged(name)) for name in SESSIONS])


def specify(**more):
    fields = {"surface": "shop", "mode": "rude", "kind": "judge", "owner": "ana", "model": "m"}
    return Specification(**fields, prompt="Rude?", **more)


def pair(verdicts, truth, sessions, specification=None):
    known = {NAME: specification} if specification else {}
    if specification:
        verdicts = verdicts.with_columns(evaluator_version=pl.lit(specification.version))
    current = calibrate.current_verdicts(verdicts, known)
    return calibrate.pair_verdicts(current, truth, sessions, known)


def test_the_test_split_alone_measures_what_was_made_here(verdicts, truth, sessions):
    pairs = pair(verdicts, truth, sessions, specify())
    test = [name for name in SESSIONS if assign_split("shop", name, None) == "test"]
    assert pairs.filter(split="test")["session_id"].to_list() == test
    elsewhere = pair(verdicts, truth, sessions)
    assert elsewhere["split"].unique().to_list() == ["elsewhere"]
    [row] = calibrate.measure_alignment(
        elsewhere, by=calibrate.KEY, **MEASURED, rng=rng()
    ).to_dicts()
    assert (row["tp"], row["fn"], row["fp"], row["tn"], row["silent"]) == (90, 10, 10, 290, 0)
    assert row["status"] == "gating"


def test_an_example_of_the_test_split_is_refused(verdicts, truth, sessions):
    leaked = next(name for name in SESSIONS if assign_split("shop", name, None) == "test")
    shown = specify(parameters={"examples": [{"session_id": leaked, "fails": True}]})
    with pytest.raises(EvaluatorError, match=f"{leaked!r} of shop is in the test split"):
        pair(verdicts, truth, sessions, shown)


def test_silence_is_counted_and_wrong(verdicts, truth, sessions):
    said = pl.when(pl.col("session_id") < "s020").then(None).otherwise(pl.col("fails"))
    pairs = pair(verdicts.with_columns(fails=said), truth, sessions)
    [row] = calibrate.measure_alignment(pairs, by=calibrate.KEY, **MEASURED, rng=rng()).to_dicts()
    assert row["silent"] == 20
    assert row["tp"] + row["fn"] == 100
    assert row["fn"] == 14  # five silent on failing sessions, one of them misjudged anyway


def test_only_what_the_present_model_said_counts(verdicts):
    named = verdicts.with_columns(model_fingerprint=pl.lit("old"))
    later = {"judged_at": START + timedelta(days=1), "model_fingerprint": "new"}
    both = pl.concat([named, frame([verdict("s001", True, repeat=1, **later)])])
    assert calibrate.current_verdicts(both, {})["session_id"].to_list() == ["s001"]
    assert both.height == 401


def test_people_are_measured_as_evaluators_are(verdicts, truth, sessions):
    rows = [
        ("shop", name, "rude", who, fails(name) != (who == "ben" and misjudged(name)))
        for name in SESSIONS
        for who in ("ana", "ben")
    ]
    judged = pl.DataFrame(
        rows, schema=["surface", "session_id", "mode", "annotator", "value"], orient="row"
    )
    pairs = pair(verdicts, truth, sessions)
    [row] = calibrate.human_ceiling(judged, pairs, level=0.95, rng=rng()).to_dicts()
    [own] = calibrate.measure_alignment(pairs, by=calibrate.KEY, **MEASURED, rng=rng()).to_dicts()
    assert row["ceiling_n"] == 400
    assert row["ceiling"] == pytest.approx(own["mcc"])  # ben errs where the judge does
    few = calibrate.human_ceiling(judged.head(40), pairs, level=0.95, rng=rng())
    assert few["ceiling"].to_list() == [None]


def test_a_segment_in_which_it_errs_otherwise_is_told(truth, sessions):
    wrong = [verdict(name, fails(name) or int(name[1:]) % 8 == 2) for name in SESSIONS]
    pairs = pair(frame(wrong), truth, sessions)
    anchors = pl.List(pl.Struct({"span_id": pl.String, "quote": pl.String}))
    labels = {"surface": pl.String, "session_id": pl.String, "anchors": anchors}
    spans, labels = pl.DataFrame(schema=SPAN), pl.DataFrame(schema=labels)
    traits = scrutiny.list_traits(pairs, spans, labels)
    parts = scrutiny.compare_traits(traits, **MEASURED, rng=rng())
    read = {(row["trait"], row["value"]): row["reading"] for row in parts.to_dicts()}
    assert read["segment locale", "en"] == "errs otherwise"
    assert read["length of the answer", "longer half"] == "no difference shown"


def test_noise_is_how_often_two_verdicts_are_equal():
    names = SESSIONS[:40]
    once = [verdict(name, fails(name)) for name in names]
    again = [verdict(name, fails(name) != (name < "s010"), repeat=1) for name in names]
    current = calibrate.current_verdicts(frame(once + again), {})
    [row] = scrutiny.measure_noise(current, level=0.95, rng=rng()).to_dicts()
    assert (row["n_sessions"], row["n_verdicts"], row["same"]) == (40, 80, 0.75)


def test_flips_are_listed_one_by_one(verdicts, truth, sessions):
    later = verdicts.with_columns(
        evaluator_version=pl.lit("2"),
        judged_at=START + timedelta(days=1),
        fails=pl.col("fails") ^ pl.col("session_id").is_in(["s040", "s002"]),
    )
    both = pl.concat([verdicts, later])
    flips = scrutiny.list_flips(both, pair(both, truth, sessions))
    assert flips["session_id"].to_list() == ["s002", "s040"]
    assert flips["turned"].to_list() == ["wrong", "right"]
    assert flips["version_before"].to_list() == ["1", "1"]


def test_the_next_labels_are_divided_over_what_it_said(verdicts, truth, sessions):
    labelled = truth.head(60)
    current = calibrate.current_verdicts(verdicts, {})
    pairs = calibrate.pair_verdicts(current, labelled, sessions, {})
    found = calibrate.measure_alignment(pairs, by=calibrate.KEY, **MEASURED, rng=rng())
    open_one = found.with_columns(status=pl.lit("insufficient"))
    plan = scrutiny.plan_labels(open_one, current, sessions, labelled, most=30)
    assert plan["n"].sum() == 30
    assert set(plan["fails"]) == {True, False}
    aligned = found.with_columns(status=pl.lit("aligned"))
    assert scrutiny.plan_labels(aligned, current, sessions, labelled, most=30).is_empty()


def drawn_by_verdict(sessions, verdicts):
    """A frame: all sessions that the judge fails were drawn, and every tenth of the rest."""
    flagged = verdicts.select("session_id", flagged="fails")
    number = pl.col("session_id").str.slice(1).cast(pl.Int64)
    return sessions.join(flagged, on="session_id", maintain_order="left").with_columns(
        stratum=pl.when("flagged").then(pl.lit("flagged")).otherwise(pl.lit("rest")),
        drawn=pl.col("flagged") | (number % 10 == 0),
    )


def test_labels_of_a_draw_count_for_the_sessions_that_they_stand_for(verdicts, truth, sessions):
    frame = drawn_by_verdict(sessions, verdicts)
    pairs = pair(verdicts, truth, frame)
    assert set(pairs["sample"]) == {
        f"labels drawn at random; {400 - pairs.height} in no draw left out"
    }
    assert pairs["stands_for"].sum() == pytest.approx(400)
    [row] = calibrate.measure_alignment(pairs, by=calibrate.KEY, **MEASURED, rng=rng()).to_dicts()
    [whole] = calibrate.measure_alignment(
        pair(verdicts, truth, sessions), by=calibrate.KEY, **MEASURED, rng=rng()
    ).to_dicts()
    assert whole["sample"] == "labels that were not drawn at random"
    # Ten of the 300 sessions that it passes fail; of the 30 labelled ones all ten.
    assert (row["tp"], row["fn"]) == (90, 10)
    assert row["tpr"] == pytest.approx(90 / (90 + 10 * 300 / 30))


def test_kinds_of_sessions_that_nobody_labelled_keep_an_evaluator_from_counting(
    verdicts, truth, sessions
):
    frame = drawn_by_verdict(sessions, verdicts)
    unread = pl.when(pl.col("session_id") > "s350").then(pl.lit("new")).otherwise("stratum")
    frame = frame.with_columns(stratum=unread)
    pairs = pair(verdicts, truth.filter(pl.col("session_id") <= "s350"), frame)
    [row] = calibrate.measure_alignment(pairs, by=calibrate.KEY, **MEASURED, rng=rng()).to_dicts()
    assert row["status"] == "insufficient"
    assert "12% of the sessions are of kinds that nobody labelled" in row["sample"]


def test_ties_are_counted_with_what_they_could_change(verdicts, truth, sessions):
    tied = pl.when(pl.col("session_id") < "s020").then(None).otherwise("truth")
    pairs = pair(verdicts, truth.with_columns(truth=tied), sessions)
    schema = dict.fromkeys(calibrate.KEY, pl.String) | dict.fromkeys(calibrate.CELLS, pl.Int64)
    tried = pl.DataFrame(schema=schema)
    [row] = calibrate.measure_alignment(
        pairs, by=calibrate.KEY, tried=tried, **MEASURED, rng=rng()
    ).to_dicts()
    assert (row["n"], row["undecided"]) == (380, 20)
    assert "20 undecided left out: MCC between 0.76 and 0.88" in row["sample"]


def test_errors_of_people_who_read_twice_are_allowed_for(verdicts, truth, sessions):
    number = pl.int_range(pl.len())
    n_fail = pl.when(number % 25 == 3).then(1).otherwise(2 * pl.col("truth").cast(pl.Int64))
    voted = truth.with_columns(n_annotators=pl.lit(2, pl.Int64), n_fail=n_fail)
    voted = voted.with_columns(truth=pl.when(pl.col("n_fail") != 1).then(pl.col("truth")))
    schema = dict.fromkeys(calibrate.KEY, pl.String) | dict.fromkeys(calibrate.CELLS, pl.Int64)
    how = {"by": calibrate.KEY, "tried": pl.DataFrame(schema=schema), **MEASURED}
    once = voted.with_columns(n_annotators=1, n_fail=pl.col("truth").cast(pl.Int64).fill_null(0))
    [twice], [alone] = (
        calibrate.measure_alignment(pair(verdicts, each, sessions), rng=rng(), **how).to_dicts()
        for each in (voted, once)
    )
    assert "people's own errors allowed for: MCC" in twice["sample"]
    assert "16 undecided left out" in alone["sample"]
    assert twice["mcc"] == alone["mcc"]
    assert twice["mcc_shown"] < alone["mcc_shown"]


def test_a_second_look_at_a_mode_has_to_show_more(verdicts, truth, sessions):
    pairs = pair(verdicts, truth, sessions)
    schema = dict.fromkeys(calibrate.KEY, pl.String) | dict.fromkeys(calibrate.CELLS, pl.Int64)
    how = {"by": calibrate.KEY, **MEASURED}
    shown = []
    for cells in ([], [(90, 10, 10, 290)], [(9, 1, 1, 29)]):
        rows = [("shop", NAME, "1", "rude", *each) for each in cells]
        tried = pl.DataFrame(rows, schema=schema, orient="row")
        [row] = calibrate.measure_alignment(pairs, tried=tried, rng=rng(), **how).to_dicts()
        shown.append(row["mcc_shown"])
    assert shown[0] == shown[1] == row["mcc_low"]  # the same labels again are no second look
    assert shown[2] < shown[0]


def test_the_ceiling_is_of_all_sessions_that_two_read_disputed_ones_too(verdicts, truth, sessions):
    def differ(name):
        return int(name[1:]) % 10 == 3

    rows = [
        ("shop", name, "rude", who, fails(name) != (who == "ben" and differ(name)))
        for name in SESSIONS
        for who in ("ana", "ben")
    ]
    names = ["surface", "session_id", "mode", "annotator", "value"]
    judged = pl.DataFrame(rows, schema=names, orient="row")
    undecided = pl.when(pl.col("session_id").map_elements(differ, pl.Boolean)).then(None)
    pairs = pair(verdicts, truth.with_columns(truth=undecided.otherwise("truth")), sessions)
    [row] = calibrate.human_ceiling(judged, pairs, level=0.95, rng=rng()).to_dicts()
    assert row["ceiling_n"] == 400
    assert row["ceiling"] < 0.8  # on the undisputed ones alone it would be 1
    assert row["beside_people"] < 0.85
