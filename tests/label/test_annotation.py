import json

import make
import polars as pl
import pytest

from evalbench.label.agreement.consensus import latest_labels
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.codebook import acts
from evalbench.label.discovery.texts import read_notes
from evalbench.label.entries import export_labels
from evalbench.pii import redact_text
from evalbench.schema import SESSION, SPAN, VERDICT, DraftedMode
from evalbench.store.workspace import open_workspace

LONG = "x" * 50_000


@pytest.fixture
def shop(tmp_path):
    """A workspace of four sessions of one answer each, all drawn; a judge read the first."""
    ws = open_workspace(tmp_path, user="ana")
    names = [f"s{number}" for number in range(1, 5)]
    base = pl.DataFrame({"surface": "shop", "session_id": names, "started_at": make.START})
    spans = base.with_columns(
        trace_id="session_id", span_id=pl.format("{}/1", "session_id"), kind=pl.lit("llm"),
        input=pl.lit("May I?"), output=pl.lit(LONG), source_format=pl.lit("x"),
    )  # fmt: skip
    judged = base.head(1).with_columns(
        mode=pl.lit("rude"), evaluator_id=pl.lit("judge/rude"), evaluator_version=pl.lit("1"),
        repeat=pl.lit(0, pl.Int64), fails=True, rationale=pl.lit("curt"), judged_at="started_at",
    ).drop("started_at")  # fmt: skip
    rows = {"span": (SPAN, spans), "session": (SESSION, base), "verdict": (VERDICT, judged)}
    for table, (schema, frame) in rows.items():
        ws.lake.append(table, pl.concat([pl.DataFrame(schema=schema), frame], how="diagonal"))
    make.modes(ws.ledger, "rude")
    make.queue(ws.ledger, 1, 1, 1, 1, lake_versions=ws.lake.versions())
    return ws


def sit(ws, user="ana"):
    ws = open_workspace(ws.path, user=user)
    return Annotation(ws, Queue(ws.ledger, ws.ledger.bodies("queue.drawn")["seq"].item()))


def names(annotation):
    return annotation.item.get("session_id"), annotation.upcoming.get("session_id")


def passes(name):
    return {"act": "submit", "session_id": name, "verdict": "pass", "seconds": 4.2}


def test_a_label_is_in_the_ledger_when_its_receipt_is_given(shop):
    annotation = sit(shop)
    assert names(annotation) == ("s1", "s2")
    told = annotation.answer(passes("s1"))
    [label] = shop.ledger.bodies("label.set").to_dicts()
    assert told == {"tell": "saved", "session_id": "s1", "seq": label["seq"]}
    assert (label["actor"], label["session_id"], label["verdict"]) == ("ana", "s1", "pass")
    assert label["seconds"] == 4.2
    assert names(annotation) == ("s2", None)  # shown from what was fetched, before anything is read
    assert annotation.answer({"act": "touch"}) is None
    assert names(annotation) == ("s2", "s3")
    assert annotation.progress["by_me"] == 1


def test_an_annotation_taken_up_again_begins_at_the_same_item(shop):
    annotation = sit(shop)
    annotation.answer(passes("s1"))
    told = annotation.answer({"act": "skip", "session_id": "s2", "reason": "by a@b.com"})
    assert told["tell"] == "done"
    assert names(sit(shop)) == names(annotation) == ("s3", "s4")
    assert names(sit(shop, "ben")) == ("s2", None)  # what ana holds is hers
    [skipped] = shop.ledger.bodies("item.skipped").to_dicts()
    assert skipped["session_id"] == "s2"
    assert skipped["reason"] == redact_text("by a@b.com", "s2", secret=shop.secret)
    assert "a@b.com" not in skipped["reason"]


def test_previous_and_next_go_through_ones_own_labels(shop):
    annotation = sit(shop)
    fail = {"verdict": "fail", "modes": ["rude"], "note": "curt"}
    for name, said in (("s1", {}), ("s2", fail)):
        annotation.answer({**passes(name), **said})
        annotation.answer({"act": "touch"})
    assert annotation.answer({"act": "previous"}) is None
    assert names(annotation) == ("s2", "s3")
    assert annotation.item["label"]["modes"] == ["rude"]
    annotation.answer({"act": "previous"})
    assert names(annotation) == ("s1", "s3")
    assert annotation.answer({"act": "previous"})["tell"] == "refused"
    annotation.answer({"act": "next"})
    annotation.answer({"act": "next"})
    assert names(annotation) == ("s3", "s4")
    assert annotation.answer({"act": "next"})["tell"] == "refused"


def read_standing(ws):
    """The labels and notes that every count sees."""
    labels = read_bodies(ws.ledger, "label.set").select("session_id", "verdict").rows()
    return labels, read_notes(ws.ledger, "shop", until=ws.ledger.head())["text"].to_list()


def test_undo_takes_back_label_note_and_skip_and_redo_does_them_again(shop):
    annotation = sit(shop)
    annotation.answer({**passes("s1"), "verdict": "fail", "modes": ["rude"], "note": "curt"})
    annotation.answer({"act": "skip", "session_id": "s2", "reason": "too long"})
    again = sit(shop)  # also after the server was started anew
    assert again.answer({"act": "undo"})["said"] == "Undone: the skip"
    assert names(again)[0] == "s2"
    told = again.answer({"act": "undo"})
    assert told["said"] == "Undone: the label 'fail' and its note"
    assert told["draft"]["modes"] == ["rude"]
    assert told["draft"]["note"] == "curt"
    assert names(again)[0] == "s1"
    assert "label" not in again.item
    assert again.item["note"] == ""
    assert read_standing(shop) == ([], [])
    assert again.progress["by_me"] == 0
    assert again.answer({"act": "undo"})["tell"] == "refused"
    again = sit(shop)  # what was undone outlives the server too
    assert again.answer({"act": "redo"})["tell"] == "done"
    assert read_standing(shop) == ([("s1", "fail")], ["curt"])
    again = sit(shop)
    assert again.answer({"act": "redo"})["said"] == "Done again: the skip"
    assert names(again)[0] == "s3"
    assert again.answer({"act": "redo"})["tell"] == "refused"
    assert shop.ledger.verify() is None
    assert shop.ledger.bodies("label.set").height == 2  # the chain keeps both
    again.answer({"act": "undo"})
    again.answer(passes("s2"))
    assert sit(shop).answer({"act": "redo"})["tell"] == "refused"  # something else was done since


def test_a_note_loads_changes_and_goes_with_its_label(shop):
    annotation = sit(shop)
    first = annotation.answer({**passes("s1"), "verdict": "fail", "note": "curt"})["seq"]
    annotation.answer({"act": "previous"})
    assert annotation.item["note"] == "curt"
    changed = {**passes("s1"), "verdict": "fail", "base": first, "note": "curt and late"}
    second = annotation.answer(changed)["seq"]
    assert read_standing(shop)[1] == ["curt and late"]
    annotation.answer({**passes("s1"), "base": second, "note": ""})
    assert read_standing(shop)[1] == []  # none becomes a cluster in 03
    annotation.answer({"act": "undo"})
    assert read_standing(shop)[1] == ["curt and late"]
    assert annotation.item["label"]["verdict"] == "fail"
    annotation.answer({"act": "undo"})
    assert read_standing(shop)[1] == ["curt"]
    [note] = export(shop, "note")
    assert note == "curt"


def export(ws, field):
    export_labels(ws, ws.path / "out.jsonl")
    rows = map(json.loads, (ws.path / "out.jsonl").read_text().splitlines())
    return [row[field] for row in rows if field in row]


def test_a_note_taken_back_leaves_its_cluster(shop):
    make.notes(shop.ledger, "late", "very late")
    [first, second] = shop.ledger.bodies("note.added")["seq"]
    drafts = [DraftedMode(mode="slow", name="Slow", notes=(first, second))]
    acts.propose(shop.ledger, "shop", drafts, seed=1, ledger_seq=second)
    about = {"surface": "shop", "session_id": "s1", "note": first}
    shop.ledger.append("note.changed", "s1", {**about, "text": ""})
    assert acts.read_codebook(shop.ledger).find("shop", "slow").notes == (second,)
    shop.ledger.append("note.changed", "s1", {**about, "text": "late again"})
    assert acts.read_codebook(shop.ledger).find("shop", "slow").notes == (first, second)


def test_what_comes_twice_is_done_once_and_two_desks_overwrite_nothing(shop):
    here, there = sit(shop), sit(shop)
    told = here.answer(passes("s1"))
    assert here.answer(passes("s1")) == told  # its receipt was lost on the way
    assert sit(shop).answer(passes("s1")) == told
    refused = there.answer({**passes("s1"), "verdict": "unsure"})
    assert "elsewhere" in refused["why"]
    assert read_standing(shop)[0] == [("s1", "pass")]
    assert shop.ledger.bodies("label.set").height == 1


def test_a_blind_queue_tells_what_came_of_a_session_after_the_label(shop):
    annotation = sit(shop)
    assert annotation.item["blind"]
    assert (annotation.item["reason"], annotation.item["signals"]) == ("", [])
    assert annotation.upcoming["reason"] == ""
    annotation.answer(passes("s1"))
    annotation.answer({"act": "previous"})
    assert annotation.item["reason"] == "random"
    annotation.answer({"act": "next"})
    told = annotation.answer({"act": "reveal"})
    assert (told["session_id"], told["reason"]) == ("s2", "random")
    annotation.answer(passes("s2"))
    assert shop.ledger.bodies("label.set")["unblinded"].to_list() == [False, True]


def test_the_list_tells_of_others_only_what_one_has_labelled_oneself(tmp_path, shop):
    make.queue(shop.ledger, 2, 2, 2)
    number = shop.ledger.bodies("queue.drawn")["seq"].to_list()[-1]
    ana, ben = (
        Annotation(ws, Queue(ws.ledger, number))
        for ws in (open_workspace(shop.path, user=user) for user in ("ana", "ben"))
    )
    for name in ("s1", "s2"):
        ben.answer(passes(name))
    ana.answer({**passes("s1"), "verdict": "fail", "modes": ["rude"]})
    ana.answer({"act": "skip", "session_id": "s2", "reason": "too long"})
    rows = ana.answer({"act": "items"})["rows"]
    assert [row["state"] for row in rows] == ["mine", "skipped", "waiting"]
    assert [row["differs"] for row in rows] == [True, False, False]
    assert [row["verdict"] for row in rows] == ["fail", None, None]
    ana.answer({"act": "open", "session_id": "s2"})  # a skip is taken back by opening it
    assert names(ana) == ("s2", "s3")
    assert ana.answer({"act": "items"})["rows"][1]["state"] == "waiting"


def test_keys_stay_where_they_are_when_a_mode_is_added(shop):
    assert [(each["mode"], each["key"]) for each in sit(shop).codebook] == [("rude", "1")]
    make.modes(shop.ledger, "absent")  # before it in the alphabet
    annotation = sit(shop)
    assert [(each["mode"], each["key"]) for each in annotation.codebook] == [
        ("rude", "1"),
        ("absent", "2"),
    ]
    assert "that of Absent" in annotation.answer({"act": "pin", "mode": "rude", "key": "2"})["why"]
    assert annotation.answer({"act": "pin", "mode": "rude", "key": "k"})["tell"] == "done"
    assert [each["mode"] for each in annotation.codebook] == ["absent", "rude"]
    assert [each["key"] for each in sit(shop, "ben").codebook] == ["2", "k"]


def test_a_proposed_mode_is_a_draft_and_a_comment_is_kept(shop):
    annotation = sit(shop)
    said = {"act": "propose", "name": "Too slow", "definition": "The answer comes too late."}
    assert annotation.answer(said)["said"] == "Proposed to the analyst: Too slow"
    book = acts.read_codebook(shop.ledger)
    assert book.find("shop", "too_slow").status == "draft"
    assert [each["mode"] for each in annotation.codebook] == ["rude"]
    annotation.answer({"act": "comment", "session_id": "s1", "text": "by a@b.com?"})
    [comment] = shop.ledger.bodies("comment.added").to_dicts()
    assert (comment["session_id"], "a@b.com" in comment["text"]) == ("s1", False)


@pytest.mark.parametrize("redact", [True, False])
def test_a_note_is_kept_without_personal_data(shop, redact):
    (shop.path / "evalbench.toml").write_text(f"redact = {str(redact).lower()}\n")
    sit(shop).answer({**passes("s1"), "note": "told ann@example.com the price"})
    [text] = shop.ledger.bodies("note.added")["text"]
    said = "told ann@example.com the price"
    assert text == (redact_text(said, "s1", secret=shop.secret) if redact else said)
    assert ("ann@example.com" in text) is not redact


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (passes("s9"), "no session s9"),
        ({**passes("s1"), "base": 3}, "labelled s1 elsewhere"),
        ({**passes("s1"), "verdict": "splendid"}, "verdict"),
        ({**passes("s1"), "seconds": -1}, "seconds"),
        ({**passes("s1"), "modes": ["rude"]}, "rude"),
        ({**passes("s1"), "verdict": "fail", "modes": ["kind"]}, "kind"),
        ({**passes("s1"), "verdict": "fail"}, "needs a failure mode, or a note"),
        ({**passes("s1"), "anchors": [{"span_id": "s2/1", "quote": "x"}]}, "no span s2/1"),
        ({**passes("s1"), "colour": "blue"}, "colour"),
        ({"act": "skip", "session_id": "s1", "reason": " "}, "reason"),
        ({"act": "text", "place": "turns.0.nothing", "start": 0}, "nothing"),
        ({"act": "suggestion"}, "your own label"),
        ({"act": "previous"}, "no session that way"),
        ({"act": "undo"}, "left to undo"),
        ({"act": "redo"}, "done again"),
        ({"act": "open", "session_id": "s9"}, "no session s9"),
        ({"act": "pin", "mode": "rude", "key": "p"}, "key"),
        ({"act": "propose", "name": "Slow", "definition": " "}, "one sentence"),
        ({"act": "comment", "session_id": "s1", "text": ""}, "text"),
        ({"act": "dance"}, "dance"),
        ("submit", "Error"),
    ],
)
def test_what_is_wrong_is_refused_with_a_reason_and_changes_nothing(shop, message, why):
    annotation = sit(shop)
    head = shop.ledger.head()
    told = annotation.answer(message)
    assert told["tell"] == "refused"
    assert why in told["why"]
    assert shop.ledger.head() == head
    assert names(annotation) == ("s1", "s2")
    assert annotation.answer(passes("s1"))["tell"] == "saved"


def test_a_draft_is_shown_after_ones_own_label_and_marks_the_next_one(shop):
    annotation = sit(shop)
    annotation.answer(passes("s1"))
    annotation.answer({"act": "previous"})
    told = annotation.answer({"act": "suggestion"})
    draft = {"evaluator_id": "judge/rude", "fails": True, "rationale": "curt"}
    assert told == {"tell": "suggestion", "session_id": "s1", "verdicts": [draft]}
    base = shop.ledger.bodies("label.set")["seq"].item()
    annotation.answer({**passes("s1"), "verdict": "unsure", "base": base})
    given = read_bodies(shop.ledger, "label.set")
    assert given["after_suggestion"].to_list() == [False, True]
    assert latest_labels(given)["verdict"].to_list() == ["pass"]  # what they said by themselves


def test_a_queue_that_suggests_shows_the_judge_before_the_label_but_not_on_a_random_fifth(shop):
    about = {"lake_versions": shop.lake.versions(), "suggests": "judge/rude"}
    for seed, shown in ((1, True), (14, False)):
        number = make.queue(shop.ledger, 1, seed=seed, **about)
        annotation = Annotation(shop, Queue(shop.ledger, number))
        assert (
            annotation.item.get("suggestion", [])
            == [{"evaluator_id": "judge/rude", "fails": True, "rationale": "curt"}] * shown
        )
        annotation.answer(passes("s1") | {"verdict": "unsure" if shown else "pass"})
        assert shop.ledger.bodies("label.set")["after_suggestion"][-1] == shown
    draw = Queue(shop.ledger, number).body
    assert sum(draw.shows_first(f"s{n}") for n in range(10_000)) == pytest.approx(8_000, abs=150)


def test_a_page_reads_on_and_searches_in_the_session_that_it_names(shop):
    annotation = sit(shop)
    cut = annotation.item["turns"][-1]["text"]
    read, start = "", 0
    while start < len(LONG):
        asked = {"act": "text", "place": cut["place"], "start": start, "session_id": "s1"}
        told = annotation.answer(asked)
        read, start = read + told["text"], told["shown"]
    assert read == LONG
    found = annotation.answer({"act": "find", "query": LONG[-30:], "session_id": "s1"})
    assert found["hits"][0]["place"] == cut["place"]
    assert annotation.answer({"act": "turns", "start": 1})["left_out"] == 0
    assert annotation.answer({"act": "find", "query": "x", "session_id": "s4"})["tell"] == "refused"


def test_the_end_of_a_queue_is_an_empty_item(shop):
    annotation = sit(shop)
    for name in ("s1", "s2", "s3", "s4"):
        assert annotation.answer(passes(name))["tell"] == "saved"
        annotation.answer({"act": "touch"})
    assert (names(annotation), annotation.progress["left"]) == ((None, None), 0)
    assert annotation.answer({"act": "undo"})["said"] == "Undone: the label 'pass'"
    assert names(annotation) == ("s4", None)
    assert annotation.progress["left"] == 1


def test_a_queue_is_told_as_it_stood_at_an_event(shop):
    annotation = sit(shop)
    queue, then = annotation._queue, shop.ledger.head()
    before = queue.state()
    annotation.answer(passes("s1"))
    assert queue.state()["state"].to_list() == ["done", "held", "open", "open"]
    assert queue.state(until=then).equals(before)
