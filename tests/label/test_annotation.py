import make
import polars as pl
import pytest

from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue
from evalbench.pii import redact_text
from evalbench.schema import SESSION, SPAN, VERDICT
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
    assert annotation.answer({"act": "skip", "session_id": "s2", "reason": "by a@b.com"}) is None
    assert names(sit(shop)) == names(annotation) == ("s3", "s4")
    assert names(sit(shop, "ben")) == ("s2", None)  # what ana holds is hers
    [skipped] = shop.ledger.bodies("item.skipped").to_dicts()
    assert skipped["session_id"] == "s2"
    assert skipped["reason"] == redact_text("by a@b.com", "s2", secret=shop.secret)
    assert "a@b.com" not in skipped["reason"]


def test_previous_next_and_undo_go_through_ones_own_labels(shop):
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
    again = sit(shop)  # also after the kernel was started anew
    again.answer({"act": "undo"})
    assert names(again) == ("s2", "s3")
    assert again.answer(passes("s2"))["tell"] == "saved"
    assert names(again) == ("s3", "s4")
    labels = shop.ledger.bodies("label.set")
    assert labels.select("session_id", "verdict").rows()[-1] == ("s2", "pass")
    assert shop.ledger.bodies("note.added")["text"].to_list() == ["curt"]


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
        (passes("s2"), "not before you"),
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
        ({"act": "undo"}, "no session that way"),
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
    annotation.answer({"act": "undo"})
    told = annotation.answer({"act": "suggestion"})
    draft = {"evaluator_id": "judge/rude", "fails": True, "rationale": "curt"}
    assert told == {"tell": "suggestion", "session_id": "s1", "verdicts": [draft]}
    annotation.answer({**passes("s1"), "after_suggestion": False})  # the browser forgot
    assert shop.ledger.bodies("label.set")["after_suggestion"].to_list() == [False, True]


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
    assert annotation.answer({"act": "undo"}) is None
    assert names(annotation) == ("s4", None)


def test_a_queue_is_told_as_it_stood_at_an_event(shop):
    annotation = sit(shop)
    queue, then = annotation._queue, shop.ledger.head()
    before = queue.state()
    annotation.answer(passes("s1"))
    assert queue.state()["state"].to_list() == ["done", "held", "open", "open"]
    assert queue.state(until=then).equals(before)
