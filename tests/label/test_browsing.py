"""The browser of sessions: what a query finds, what is shown of it, and what goes out."""

import json
import time

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.errors import EvalbenchError, LabelError
from evalbench.label.annotation.alike import rank_terms
from evalbench.label.annotation.queue import Queue
from evalbench.label.browsing.browsing import Browsing
from evalbench.label.browsing.queries import parse_query
from evalbench.observe.ingestion import ingest
from evalbench.operate.evidence import read_draws
from evalbench.session import copies, read_session
from evalbench.store.search import open_index
from evalbench.store.workspace import open_workspace

SCHEMA = pl.Schema(
    {"release": pl.String, "n": pl.Int64, "good": pl.Boolean, "at": pl.Datetime("us", "UTC")}
)
ROWS = pl.DataFrame(
    [
        ("2.1", 3, True, "2026-07-01 10:00"),
        ("2.10", 0, False, "2026-08-02 09:30"),
        (None, None, None, None),
    ],
    schema=["release", "n", "good", "at"],
    orient="row",
).with_columns(pl.col("at").str.to_datetime("%Y-%m-%d %H:%M", time_zone="UTC", time_unit="us"))


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("release=2.1", [0]),
        ("release:2.1", [0, 1]),
        ("-release=2.1", [1, 2]),
        ("release:none", [2]),
        ("-release:none n>=0", [0, 1]),
        ("n>0", [0]),
        ("n=0", [1]),
        ("n<3 good:no", [1]),
        ("good:yes", [0]),
        ("-good:yes", [1, 2]),
        ("good:none", [2]),
        ("at:2026-07", [0]),
        ("at>=2026-08-01", [1]),
        ("at<2026-08-01T00:00", [0]),
        ('release="2.10"', [1]),
    ],
)
def test_filters_find_rows(line, rows):
    asked = parse_query(line, SCHEMA)
    assert asked.words == ()
    assert ROWS.with_row_index().filter(*asked.filters)["index"].to_list() == rows


def test_what_is_no_column_is_a_word():
    asked = parse_query('refund "next week" note: https://a.example/x=1 -sorry a.b=c n>1', SCHEMA)
    assert asked.words == (
        "refund",
        "next week",
        "note:",
        "https://a.example/x=1",
        "-sorry",
        "a.b=c",
    )
    assert len(asked.filters) == 1


@pytest.mark.parametrize("line", ["n>many", "good:maybe"])
def test_a_value_that_does_not_fit_is_refused(line):
    with pytest.raises(EvalbenchError, match=r"or none, not"):
        parse_query(line, SCHEMA)


def make_chat(number, said):
    words = [("user", f"Question {number}: {said}"), ("assistant", f"Answer {number} (50% *off*)")]
    messages = [{"role": role, "content": text} for role, text in words]
    about = {"release": f"2.{number % 2}", "tier": "pro" if number else "free"}
    return {"id": f"s{number}", "messages": messages, "thumbs": -1 if number == 2 else 1, **about}


COLUMNS = {"session_id": "id", "release": "release", "segments.tier": "tier", "thumbs": "thumbs"}
SAID = ("where is my PARCEL", "im Straßenverkehr", "返品したいのですが", "a 50% *off* coupon")


@pytest.fixture
def ws(tmp_path):
    ws = open_workspace(tmp_path / "ws", user="ana")
    for surface, texts in (("shop", SAID), ("bank", SAID[:1])):
        traces = tmp_path / f"{surface}.jsonl"
        chats = [make_chat(number, said) for number, said in enumerate(texts)]
        traces.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
        ingest(ws, traces, surface=surface, columns=COLUMNS, redact=False)
    copies.copy_texts(ws.path, "shop")
    return ws


@pytest.fixture
def ask(ws):
    browsing = Browsing(ws, surface="shop")

    def find(query, **how):
        return browsing.answer({"act": "ask", "surface": "shop", "query": query, **how})

    find.browsing = browsing
    return find


def ids(answer):
    return sorted(row["session_id"] for row in answer["rows"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["s0", "s1", "s2", "s3"]),
        ("parcel", ["s0"]),
        ("STRASSENVERKEHR", []),
        ("straßen", ["s1"]),
        ("返品", ["s2"]),
        ('"50% *off*"', ["s0", "s1", "s2", "s3"]),
        ("question coupon", ["s3"]),
        ("s2", ["s2"]),
        ("answer release=2.1", ["s1", "s3"]),
        ("thumbs<0", ["s2"]),
        ("tier=free", ["s0"]),
    ],
)
def test_sessions_are_found_by_all_they_say_and_by_every_column(ask, query, found):
    answer = ask(query)
    assert (ids(answer), answer["total"], answer["of"]) == (found, len(found), 4)
    assert answer["searched"] == 4


def test_a_list_says_where_a_word_was_found_and_what_the_columns_hold(ask):
    answer = ask("50%")
    assert all("50% *off*" in row["text"] for row in answer["rows"])
    facets = {facet["name"]: facet for facet in answer["facets"]}
    assert sorted(facets["release"]["values"]) == [("2.0", 2), ("2.1", 2)]
    assert facets["thumbs"]["bounds"] == ["-1", "1"]
    assert "outcome" not in facets  # nobody recorded it
    assert ask("", start=100)["rows"] == []


def test_people_and_evaluators_are_columns(ws):
    body = {
        "mode": "late",
        "surface": "shop",
        "name": "Late",
        "owner": "ana",
        "definition": "It is.",
    }
    kind = {"example": "So.", "severity": "polish", "failure_class": "answer quality"}
    ws.ledger.append("mode.defined", "late", body | kind)
    for session, said in (
        ("s0", {"verdict": "fail", "modes": ["late"]}),
        ("s1", {"verdict": "pass"}),
    ):
        ws.ledger.append("label.set", session, {"surface": "shop", "session_id": session, **said})
    browsing = Browsing(ws, surface="shop")
    for query, found in (
        ("people:late", ["s0"]),
        ("people=pass", ["s1"]),
        ("people:none", ["s2", "s3"]),
    ):
        answer = browsing.answer({"act": "ask", "surface": "shop", "query": query})
        assert ids(answer) == found
    answer = browsing.answer({"act": "ask", "surface": "shop", "query": ""})
    [people] = [facet for facet in answer["facets"] if facet["name"] == "people"]
    assert sorted(people["values"]) == [("Late", 1), ("none", 2), ("pass", 1)]


def test_sessions_like_one_come_first_and_what_all_say_weighs_nothing(ask, ws):
    twin = make_chat(9, "my parcel, where is it")
    traces = ws.path / "twin.jsonl"
    traces.write_text(json.dumps(twin))
    ingest(ws, traces, surface="shop", columns=COLUMNS, redact=False)
    browsing = Browsing(ws, surface="shop")
    asked = {"act": "ask", "surface": "shop", "query": "alike:s0"}
    assert "s9" not in ids(browsing.answer(asked))  # it has no copy yet
    copies.copy_texts(ws.path, "shop")
    rows = browsing.answer(asked)["rows"]
    assert rows[0]["session_id"] == "s9"
    assert 0.3 < rows[0]["alike"] <= 1
    assert ids(browsing.answer(asked | {"query": "alike:s0 tier=pro release=2.1"})) == ["s9"]
    refused = browsing.answer(asked | {"query": "alike:s77"})
    assert "ask again in a minute" in refused["why"]


def test_likeness_is_the_cosine_of_terms_weighed_by_rarity():
    sets = pl.Series([[1, 2, 3], [1, 2], [1, 4], [1, 3]], dtype=pl.List(pl.UInt32))
    rarity = {1: 0.0, 2: np.log(5 / 3), 3: np.log(5 / 3), 4: np.log(5 / 2)}
    points = np.array([[rarity[t] * (t in one) for t in rarity] for one in sets.to_list()])
    lengths = np.linalg.norm(points, axis=1)
    cosines = points @ points[0] / np.maximum(lengths * lengths[0], 1e-12)
    np.testing.assert_allclose(rank_terms(sets, 0), cosines, atol=1e-12)


def test_a_session_is_read_whole_and_what_is_wrong_is_said(ask):
    ask("")
    opened = ask.browsing.answer({"act": "open", "session_id": "s1"})
    assert opened["item"]["session_id"] == "s1"
    assert len(opened["item"]["turns"]) == 2
    for message, why in (
        ({"act": "open", "session_id": "none"}, "no session none"),
        ({"act": "ask", "surface": "moon", "query": ""}, "no sessions of moon"),
        ({"act": "ask", "surface": "shop", "query": "thumbs:up"}, "thumbs is a number"),
        ({"act": "export", "form": "xls"}, "jsonl or parquet"),
    ):
        refused = ask.browsing.answer(message)
        assert refused["tell"] == "refused"
        assert why in refused["why"]
    with pytest.raises(LabelError, match="there are: bank, shop"):
        Browsing(ask.browsing._ws, surface="moon")


def test_sessions_picked_by_hand_make_a_queue_that_is_no_draw(ask, ws):
    ask("release=2.1")
    queued = ask.browsing.answer({"act": "draw", "query": "release=2.1"})
    assert (queued["tell"], queued["sessions"]) == ("queued", 2)
    [first, _] = Queue(ws.ledger, queued["queue"]).body.items
    assert (first.inclusion_probability, first.reason) == (None, "picked by hand: release=2.1")
    assert Queue(ws.ledger, queued["queue"]).reserve(minutes=5)[0].session_id in ("s1", "s3")
    events = ws.ledger.events("queue.drawn")
    assert read_draws(events, surface="shop", start=None, end=None) == {}
    queued = ask.browsing.answer({"act": "draw", "sessions": ["s0"]})
    assert [item.session_id for item in Queue(ws.ledger, queued["queue"]).body.items] == ["s0"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_was_found_is_written_whole(ask, ws, form):
    ask("release=2.1")
    told = ask.browsing.answer({"act": "export", "form": form})
    read = {"jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[form]
    rows = read(told["path"]).sort("session_id")
    assert rows["session_id"].to_list() == ["s1", "s3"]
    assert rows["text"].to_list() == [
        read_session(ws, "shop", each).text() for each in ("s1", "s3")
    ]
    if form == "parquet":
        stored = ws.lake.sessions(surface="shop").collect().filter(session_id="s1")
        assert_frame_equal(rows[:1].drop("text"), stored, check_column_order=False)
    assert (ws.path / "exports").stat().st_mode & 0o077 == 0


def test_copies_follow_the_lake_and_forget_what_was_read_anew(ws, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "BATCH", 2)
    keys = list(copies.KEY)
    stored = ws.lake.sessions(surface="bank").select(keys).collect()
    found, n = copies.find_copies(ws, "bank", stored)
    assert n == 0
    end = time.monotonic() + 60
    while copies.find_copies(ws, "bank", stored)[1] < 1 and time.monotonic() < end:
        time.sleep(0.1)  # a process of its own is at it
    found, n = copies.find_copies(ws, "bank", stored)
    assert n == 1
    assert "PARCEL" in found.collect()["text"].item()
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in (ws.path / "search").glob("*"))
    replaced = {"surface": "bank", "by": "j", "replaced": ["i"], "n_spans": 1}
    ws.ledger.append("traces.replaced", "bank", replaced)
    assert open_index(ws, "bank", version=1).scan().collect().is_empty()
    assert not list((ws.path / "search" / b"bank".hex()).rglob("*.arrow"))
