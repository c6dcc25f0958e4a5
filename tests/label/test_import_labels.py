"""What goes out comes back the same, and what cannot be used is counted with line and reason."""

from contextlib import suppress
from datetime import UTC, datetime

import make
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalbench.label import export_labels, import_labels
from evalbench.label.discovery.texts import read_notes
from evalbench.label.entries import Entry, from_record, to_record
from evalbench.pii import redact_text
from evalbench.schema import Anchor, Label, Note, Rating
from evalbench.store import ledger
from evalbench.store.workspace import open_workspace

PLACE = {"surface": "shop", "session_id": "s1"}
EARLY = datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def open_shop(path):
    """Make a workspace with three sessions, two modes, and no label."""
    ws = open_workspace(path, user="curator")
    ws.lake.append("session", make.sessions("s1", "s2", "7"))
    make.modes(ws.ledger, "rude", "a;b")
    return ws


@pytest.fixture
def ws(tmp_path):
    return open_shop(tmp_path / "ws")


@pytest.fixture
def read(ws, tmp_path):
    """Import a text into the shop, and give the counts and what was rejected."""

    def run(text, **how):
        path = tmp_path / "table"
        path.write_text(text, newline="")
        report = import_labels(ws, path, **{"surface": "shop", **how})
        rejects = report.rejects_path.read_bytes().splitlines() if report.rejected else []
        counts = (report.added, report.duplicates, report.rejected)
        return counts, {each["line"]: each["reason"] for each in map(orjson.loads, rejects)}

    return run


def test_notes_come_in_without_personal_data(ws, tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("session_id,annotator,note\ns1,ana,told ann@example.com\n")
    for again in (False, True):
        report = import_labels(ws, path, surface="shop", traces_elsewhere=True)
        assert (report.added, report.duplicates) == (not again, again)
    [text] = ws.ledger.bodies("note.added")["text"]
    assert text == redact_text("told ann@example.com", "s1", secret=ws.secret)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_goes_out_comes_back_the_same(ws, tmp_path, suffix):
    anchor = Anchor(span_id="a", quote='x\u2028 "y",\r\n;z', mode="rude")
    seen = {"verdict": "fail", "modes": ("rude", "a;b"), "severity": "safety", "anchors": (anchor,)}
    given = [
        ("ana", "label.set", Label(**PLACE, verdict="pass", queue=4, seconds=70.1)),
        ("ana", "label.set", Label(**PLACE, **seen)),
        ("ana", "rating.set", Rating(**PLACE, criterion="order", value="first\n, then")),
        ("ana", "note.added", Note(**PLACE, text="quotes, last year's policy")),
        ("ana", "rating.set", Rating(**PLACE, criterion="tone", value="4")),
        ("ben, jr", "label.set", Label(**PLACE, verdict="fail", labelled_at=EARLY)),
        ("ana", "rating.set", Rating(**PLACE, criterion="tone", value="2")),
        ("ana", "label.set", Label(**PLACE, verdict="unsure", after_suggestion=True)),
    ]
    for annotator, kind, body in given:
        ws.ledger.extend([(kind, body.session_id, body)], actor=annotator)
    first, again = tmp_path / f"first.{suffix}", tmp_path / f"again.{suffix}"
    assert export_labels(ws, first) == 8
    assert first.read_text()[:9] == {"csv": "surface,s", "jsonl": '{"surface'}[suffix]
    assert export_labels(ws, again, surface="elsewhere") == 0
    other = open_shop(tmp_path / "other")
    report = import_labels(other, first)
    assert (report.added, report.duplicates, report.rejected, report.unused) == (8, 0, 0, ())
    assert other.ledger.verify() is None
    assert export_labels(other, again) == 8
    assert again.read_bytes() == first.read_bytes()
    labels = other.ledger.bodies("label.set")
    assert labels["queue"].to_list() == [4, None, None, None]
    assert set(labels["actor"]) == {"ana", "ben, jr"}
    [event] = other.ledger.bodies("labels.imported").to_dicts()
    assert (event["actor"], event["file"], event["added"]) == ("curator", first.name, 8)
    for each in (ws, other):
        head = each.ledger.head()
        report = import_labels(each, first)
        assert (report.added, report.duplicates, each.ledger.head()) == (0, 8, head)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times = st.datetimes(timezones=st.just(UTC))
places = {"surface": st.just("shop"), "session_id": st.sampled_from(["s1", "s2", "7"])}
bodies = st.one_of(
    st.builds(
        Label,
        **places,
        verdict=st.sampled_from(["pass", "fail", "unsure"]),
        modes=st.lists(st.sampled_from(["rude", "a;b"]), unique=True).map(tuple),
        seconds=st.none() | st.floats(0, 1e6),
        anchors=st.lists(st.builds(Anchor, span_id=texts, quote=texts), max_size=2).map(tuple),
        labelled_at=times,
    ),
    st.builds(Rating, **places, criterion=texts, value=texts, labelled_at=times),
    st.builds(Note, **places, text=texts),
)


@given(st.builds(Entry, texts, bodies))
def test_any_entry_is_read_as_it_was_written(entry):
    assert from_record(to_record(entry)) == [entry]


def test_who_imports_is_on_record_whoever_the_labels_name(ws, read):
    text = "session_id,annotator,verdict,value,note\ns1,ana,pass,4,calm\ns2,curator,pass,,\n"
    assert read(text, criterion="tone")[0] == (2, 0, 0)
    imported = ws.ledger.events(since=2)
    assert imported["kind"][0] == "labels.imported"
    assert imported["actor"].unique().to_list() == ["curator"]
    labels = ws.ledger.bodies("label.set").select("actor", "annotator")
    assert labels.rows() == [("ana", "ana"), ("curator", "curator")]
    make.queue(ws.ledger, 1)
    assert read("session_id,annotator,verdict,queue\ns1,ben,fail,9\n")[0] == (1, 0, 0)
    own = Label(surface="shop", session_id="s2", verdict="pass")
    ws.ledger.append("label.set", "s2", own)
    assert ws.ledger.bodies("label.set").select("actor", "annotator").rows()[2:] == [
        ("ben", "ben"),
        ("curator", None),
    ]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("act", ["insert", "update"])
def test_an_import_killed_at_any_write_and_repeated_adds_what_an_undisturbed_one_does(
    ws, tmp_path, monkeypatch, act, call
):
    path, before = tmp_path / "t.csv", ws.ledger.head()
    rows = [f"s{number},{who},fail,rude\n" for number in (1, 2) for who in ("ana", "ben", "eva")]
    path.write_text("session_id,annotator,verdict,modes\n" + "".join(rows))
    write, calls = getattr(ledger, act), []

    def die(table):
        calls.append(table)
        if len(calls) == call:
            raise KeyboardInterrupt
        return write(table)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(ledger, act, die)
        import_labels(ws, path, surface="shop")
    import_labels(ws, path, surface="shop")
    [said] = ws.ledger.bodies("labels.imported")["added"]
    assert said == ws.ledger.bodies("label.set").height == 6
    assert ws.ledger.head() == before + 7
    assert import_labels(ws, path, surface="shop").duplicates == 6
    assert ws.ledger.head() == before + 7


cells = st.sampled_from(["", "s1", "nowhere", "ana", "pass", "fail", "true", "0", "rude", "loud"])
row = st.lists(cells, min_size=5, max_size=6) | st.just(["s1"])
rows = st.lists(row, min_size=1, max_size=8)


@settings(max_examples=50)
@given(rows)
def test_every_row_of_any_table_is_added_a_duplicate_or_rejected(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    ws = open_workspace(folder / "ws", user="curator")
    header = "session_id,annotator,verdict,mode,fails,note"
    (folder / "t.csv").write_text("\n".join([header, *map(",".join, rows)]))
    report = import_labels(ws, folder / "t.csv", surface="shop", traces_elsewhere=True)
    assert report.added + report.duplicates + report.rejected == len(rows)
    again = import_labels(ws, folder / "t.csv", surface="shop", traces_elsewhere=True)
    assert (again.added, again.rejected) == (0, report.rejected)


def test_a_bad_row_is_told_and_the_others_are_taken(ws, read):
    counts, rejects = read(
        "Session ID,annotator,Label,failure modes\n"
        "s1,ana,FAIL,rude\n"
        "nowhere,ana,pass,\n"
        's2,ana,fail,"[""rude"", ""a;b""]"\n'
        "s2,ben,fail,tone\n"
        's2,"c\nd",maybe,\n'
        "s2,ben\n"
        "s1,ana,fail,rude\n"
        "s1,,pass,\n"
        "7,eva,pass,rude\n"
        "7,eva,,a; rude\n"
        "7,eva,,\n"
    )
    assert counts == (2, 1, 8)
    assert {line: reason.split(":")[0] for line, reason in rejects.items()} == {
        3: "session_id",
        5: "s2",
        6: "verdict",
        8: "2 cells; the header has 4",
        10: "annotator",
        11: "7",
        12: "7",
        13: "there is no verdict, no mode, no value and no note",
    }
    assert "no session 'nowhere' of 'shop' is in the lake" in rejects[3]
    assert "no mode 'tone'" in rejects[5]
    labels = ws.ledger.bodies("label.set")
    assert labels["modes"].to_list() == [["rude"], ["rude", "a;b"]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"verdict": "pass", "seconds": -1}, "seconds"),
        ({"verdict": "fail", "anchors": "["}, "anchors:"),
        ({"severity": "safety"}, "verdict"),
        ({"session_id": None, "verdict": "pass"}, "--map session_id=COLUMN"),
        ({"annotator": None, "verdict": "pass"}, "--annotator"),
        ({"fails": "maybe"}, "neither true nor false"),
        ({"surface": "x", "fails": 0}, "no session 's1'"),
    ],
)
def test_a_reject_says_what_is_wrong(read, row, reason):
    rows = {"session_id": "s2", "fails": True}, {"session_id": "s1", **row}
    table = b"\n".join(orjson.dumps({"annotator": "a", **each}) for each in rows)
    counts, rejects = read(table.decode())
    assert counts == (1, 0, 1)
    assert reason in rejects[2]


def test_a_note_column_gives_notes_that_discovery_clusters(ws, read):
    text = "session_id,annotator,verdict,comment\ns1,ana,pass,\ns2,ana,fail,Curt \n7,ben,,Slow\n"
    assert read(text)[0] == (3, 0, 0)
    assert read(text)[0] == (0, 3, 0)
    notes = read_notes(ws.ledger, "shop", until=ws.ledger.head())
    assert set(notes.select("session_id", "text").rows()) == {("s2", "Curt "), ("7", "Slow")}
    assert ws.ledger.bodies("note.added")["actor"].to_list() == ["ana", "ben"]
    assert ws.ledger.bodies("label.set")["session_id"].to_list() == ["s1", "s2"]


def test_rows_of_a_mode_each_make_one_label(ws, read):
    counts, rejects = read(
        "session_id,mode,fails,note\n"
        "s1,rude,1,curt\ns1,a;b,0,\n"  # both modes are said
        "s2,rude,0,\n"  # one is not
        "7,rude,yes,\n7,rude,no,\n",
        annotator="ana",
    )
    assert counts == (2, 0, 3)
    assert rejects[4] == "mode: no row says whether it shows 'a;b'"
    assert rejects[5] == rejects[6] == "mode: 'rude' both fails and passes"
    [label] = ws.ledger.bodies("label.set").to_dicts()
    assert (label["session_id"], label["verdict"], label["modes"]) == ("s1", "fail", ["rude"])
    assert ws.ledger.bodies("note.added")["text"].to_list() == ["curt"]
    counts, _ = read("session_id,mode,label\n7,rude,pass\n7,a;b,pass\n", annotator="ben")
    assert counts == (2, 0, 0)
    assert ws.ledger.bodies("label.set")["verdict"].to_list() == ["fail", "pass"]


def test_ratings_of_others(ws, read):
    text = "item,who,metric,score\nx,1,tone,3\nx,2,tone,4\nx,1,tone,3\n"
    columns = {"session_id": "item", "annotator": "who"}
    assert read(text, columns=columns)[0] == (0, 0, 3)
    assert read(text, columns=columns, traces_elsewhere=True)[0] == (2, 1, 0)
    columns = {"session_id": "{who}-{item}", "value": "score", "criterion": "metric"}
    how = {"columns": columns, "annotator": "eva", "traces_elsewhere": True}
    assert read(text, **how)[0] == (2, 1, 0)
    assert read("session_id,stars\ns1,5\n", columns={"value": "stars"}, annotator="eva")[0][0] == 1
    ratings = ws.ledger.bodies("rating.set")
    assert ratings.select("actor", "session_id", "criterion", "value").rows() == [
        ("1", "x", "tone", "3"),
        ("2", "x", "tone", "4"),
        ("eva", "1-x", "tone", "3"),
        ("eva", "2-x", "tone", "4"),
        ("eva", "s1", "stars", "5"),
    ]


def test_a_table_that_label_studio_writes(ws, read):
    text = """[{"session_id": "s1", "annotator": 10, "created_at": "2021-03-09T22:16:08.728353Z",
        "lead_time": 4.288, "verdict": "fail", "modes": {"choices": ["rude", "a;b"]}, "id": 9}]"""
    assert read(text)[0] == (1, 0, 0)
    label = ws.ledger.bodies("label.set").select("actor", "seconds", "modes", "labelled_at").row(0)
    time = datetime(2021, 3, 9, 22, 16, 8, 728353, tzinfo=UTC)
    assert label == ("10", 4.288, ["rude", "a;b"], time)
