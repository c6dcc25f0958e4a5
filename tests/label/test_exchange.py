"""What goes out comes back the same, and what cannot be used is counted with line and reason."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.cli import main
from evalbench.errors import LabelError, ReadError
from evalbench.label.exchange import export_labels, import_labels
from evalbench.label.records import Said, from_record, read_rows, to_record, write_csv
from evalbench.label.shapes import to_label_studio
from evalbench.schema import SESSION, Anchor, Label, Rating
from evalbench.store.workspace import Workspace, open_workspace

FORMATS = ("csv", "jsonl", "label-studio", "argilla")
MODE = {
    "surface": "shop",
    "definition": "d",
    "example": "e",
    "severity": "polish",
    "failure_class": "recovery",
    "owner": "ana",
}


def make(path: Path) -> Workspace:
    """Make a workspace with three sessions, two modes, and no label."""
    ws = open_workspace(path, user="curator")
    sessions = [
        {"surface": "shop", "session_id": name, "first_input": 'Hi, "you"\r\n', "n_turns": 1}
        for name in ("s1", "s2", "7")
    ]
    ws.lake.append("session", pl.DataFrame(sessions, schema=SESSION))
    for mode in ("rude", "a;b"):
        ws.ledger.append("mode.defined", mode, {**MODE, "mode": mode, "name": mode})
    return ws


def say(ws, annotator, *bodies):
    kinds = {Label: "label.set", Rating: "rating.set"}
    ws.ledger.extend([(kinds[type(b)], b.session_id, b) for b in bodies], actor=annotator)


@pytest.fixture
def shop(tmp_path):
    ws = make(tmp_path / "shop")
    place = {"surface": "shop", "session_id": "s1"}
    anchor = Anchor(span_id="a", quote='x\u2028 "y",\r\n;z', mode="rude")
    early = datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    say(
        ws,
        "ana",
        Label(**place, verdict="pass", queue=4, seconds=70.1),
        Label(**place, verdict="fail", modes=("rude", "a;b"), severity="safety", anchors=(anchor,)),
        Label(surface="shop", session_id="7", verdict="unsure", after_suggestion=True),
        Rating(**place, criterion="tone", value="4"),
        Rating(**place, criterion="order", value="first\n, then"),
    )
    say(ws, "ben, jr", Label(**place, verdict="fail", modes=("rude",), labelled_at=early))
    say(ws, "ana", Rating(**place, criterion="tone", value="2"))
    return ws


@pytest.mark.parametrize("format", FORMATS)
def test_what_goes_out_comes_back_the_same(shop, tmp_path, format):
    first, again = tmp_path / "first", tmp_path / "again"
    n = export_labels(shop, first, format=format)
    assert n == 7
    other = make(tmp_path / "other")
    report = import_labels(other, first)
    kept = 5 if format == "argilla" else 7  # one answer a person and question
    assert (report.added, report.rejected, report.duplicates) == (kept, 0, 0)
    assert other.ledger.verify() is None
    assert export_labels(other, again, format=format) == kept
    assert again.read_bytes() == first.read_bytes()
    head = other.ledger.head()
    twice = import_labels(other, first)
    assert (twice.added, twice.rejected, twice.duplicates) == (0, 0, kept)
    assert other.ledger.head() == head
    labels = other.ledger.bodies("label.set")
    assert set(labels["actor"]) == {"ana", "ben, jr"}
    assert labels["queue"].null_count() == labels.height
    [note] = other.ledger.bodies("labels.imported").to_dicts()
    assert (note["actor"], note["file"], note["added"]) == ("curator", "first", kept)


def test_a_ledger_takes_its_own_export_for_what_it_knows(shop, tmp_path):
    for format in FORMATS:
        export_labels(shop, tmp_path / "own", format=format)
        assert import_labels(shop, tmp_path / "own").rejected == 0
    events = shop.ledger.events(["label.set", "rating.set"])
    assert events.filter(kind="label.set").height == 4


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times = st.datetimes(timezones=st.just(UTC))
said = st.one_of(
    st.builds(
        Label,
        surface=st.just("shop"),
        session_id=st.sampled_from(["s1", "s2", "7"]),
        verdict=st.sampled_from(["pass", "fail", "unsure"]),
        modes=st.lists(st.sampled_from(["rude", "a;b"]), unique=True).map(tuple),
        seconds=st.none() | st.floats(0, 1e6),
        anchors=st.lists(st.builds(Anchor, span_id=texts, quote=texts), max_size=2).map(tuple),
        labelled_at=times,
    ),
    st.builds(
        Rating,
        surface=st.just("shop"),
        session_id=st.sampled_from(["s1", "7"]),
        criterion=st.sampled_from(["tone", "x y"]),
        value=texts | st.integers().map(str),
        labelled_at=times,
    ),
)


@given(st.lists(st.builds(Said, texts, said), max_size=5), st.sampled_from(FORMATS[:3]))
def test_any_text_comes_back_the_same(given, format):
    records = [to_record(each) for each in given]
    if format == "csv":
        text = write_csv(records)
    elif format == "jsonl":
        text = "".join(orjson.dumps(each).decode() + "\n" for each in records)
    else:
        tasks = [to_label_studio({**each, "first_input": None}, [each]) for each in records]
        text = orjson.dumps(tasks).decode()
    rows = list(read_rows(text))
    assert [from_record(row.record) for row in rows] == given
    assert [row.line for row in rows] == sorted(row.line for row in rows)


def test_every_row_is_added_a_duplicate_or_rejected_with_line_and_reason(tmp_path):
    ws = make(tmp_path / "ws")
    path = tmp_path / "table.csv"
    path.write_text(
        "session_id,annotator,verdict,modes\n"
        "s1,ana,fail,rude\n"
        "nowhere,ana,pass,\n"
        's2,ana,fail,"[""rude"", ""a;b""]"\n'
        "s2,ben,fail,tone\n"
        's2,"c\nd",maybe,\n'
        "s2,ben\n"
        "s1,ana,fail,rude\n"
        "s1,,pass,\n"
    )
    report = import_labels(ws, path, surface="shop")
    assert (report.added, report.rejected, report.duplicates) == (2, 5, 1)
    rejects = [orjson.loads(line) for line in report.rejects_path.read_text().splitlines()]
    assert [(each["line"], each["reason"].split(":")[0]) for each in rejects] == [
        (3, "session_id"),
        (5, "s2"),
        (6, "verdict"),
        (8, "2 cells; the header has 4"),
        (10, "annotator"),
    ]
    assert "nowhere" in rejects[0]["reason"]
    assert "tone" in rejects[1]["reason"]
    assert rejects[2]["text"] == 's2,"c\nd",maybe,'
    assert import_labels(ws, path, surface="shop").added == 0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"verdict": "pass"}\nnot json\n', 2, "not a JSON object"),
        ('[\n{"session_id": "s1"},\n{"oops\n]', 3, "not a JSON object"),
        ('[{"data": {}, "annotations": [{"result": 3}]}]', 1, "the answers cannot be read"),
        (
            '[{"data": {}, "annotations": [{"was_cancelled": true, "result": []}]}]',
            1,
            "was_cancelled",
        ),
        ('[{"data": {}, "annotations": [{"result": []}]}]', 1, "neither a verdict nor a rating"),
        ('{"responses": {"q": [{"value": 1, "user_id": null}]}}', 1, "annotator"),
        ('{"session_id": "s1", "annotator": "a", "verdict": "pass", "seconds": -1}', 1, "seconds"),
        ('{"session_id": "s1", "annotator": "a", "anchors": "[", "verdict": "pass"}', 1, "anchors"),
        ('{"session_id": "s1", "annotator": "a", "criterion": "modes", "value": 1}', 1, "field"),
    ],
)
def test_a_reject_says_what_is_wrong(tmp_path, text, line, reason):
    path = tmp_path / "labels.json"
    path.write_text(text)
    report = import_labels(make(tmp_path / "ws"), path, surface="shop")
    assert report.added == 0
    last = orjson.loads(report.rejects_path.read_text().splitlines()[-1])
    assert last["line"] == line
    assert reason in last["reason"]


def test_a_long_table_of_others_becomes_ratings(tmp_path):
    ws = make(tmp_path / "ws")
    path = tmp_path / "long.csv"
    path.write_text("item,who,metric,score\nx,1,tone,3\nx,2,tone,4\nx,1,tone,3\n")
    columns = {"session_id": "item", "annotator": "who", "criterion": "metric", "value": "score"}
    assert import_labels(ws, path, surface="shop", columns=columns).rejected == 3
    report = import_labels(ws, path, surface="shop", columns=columns, traces_elsewhere=True)
    assert (report.added, report.duplicates, report.rejects_path) == (2, 1, None)
    ratings = ws.ledger.bodies("rating.set")
    assert ratings.select("actor", "session_id", "criterion", "value").rows() == [
        ("1", "x", "tone", "3"),
        ("2", "x", "tone", "4"),
    ]


def test_the_shapes_are_those_of_the_tools(shop, tmp_path):
    export_labels(shop, tmp_path / "studio.json", format="label-studio")
    task = orjson.loads((tmp_path / "studio.json").read_bytes())[1]
    assert task["data"]["first_input"] == 'Hi, "you"\r\n'
    kinds = {
        (result["from_name"], result["type"])
        for annotation in task["annotations"]
        for result in annotation["result"]
    }
    assert kinds >= {("verdict", "choices"), ("anchors", "textarea"), ("tone", "rating")}
    export_labels(shop, tmp_path / "argilla.json", format="argilla")
    item = orjson.loads((tmp_path / "argilla.json").read_bytes())[1]
    assert item["id"] == "s1"
    assert {"value": 2, "user_id": "ana"} in item["responses"]["tone"]


def test_a_foreign_task_with_numbered_people_is_read(tmp_path):
    ws = make(tmp_path / "ws")
    verdict = {"from_name": "verdict", "to_name": "t", "type": "choices"}
    task = {
        "id": 1,
        "data": {"session_id": "s1"},
        "annotations": [
            {
                "id": 9,
                "completed_by": 10,
                "created_at": "2021-03-09T22:16:08.728353Z",
                "lead_time": 4.288,
                "result": [{**verdict, "value": {"choices": ["pass"]}}],
            }
        ],
    }
    (tmp_path / "tasks.json").write_bytes(orjson.dumps([task], option=orjson.OPT_INDENT_2))
    assert import_labels(ws, tmp_path / "tasks.json", surface="shop").added == 1
    [label] = ws.ledger.bodies("label.set").to_dicts()
    assert (label["actor"], label["verdict"], label["seconds"]) == ("10", "pass", 4.288)
    assert label["labelled_at"] == datetime(2021, 3, 9, 22, 16, 8, 728353, tzinfo=UTC)


def test_the_command_line_forwards_and_counts_last(shop, tmp_path, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["labels", *map(str, arguments)])
        out, err = capsys.readouterr()
        return stop.value.code, out.strip().splitlines()[-1], err

    path = tmp_path / "labels.json"
    there = ("--workspace", shop.path)
    done = run("export", path, "--format", "label-studio", "--surface", "shop", *there)
    assert done[:2] == (0, "written=7")
    done = run("import", path, "--workspace", shop.path)
    assert done[:2] == (0, "added=0 rejected=0 duplicates=7")
    table = tmp_path / "table.csv"
    table.write_text("item,annotator,verdict\ns2,eva,pass\nnowhere,eva,pass\n")
    how = ("--map", "session_id=item", "--surface", "shop")
    status, said, err = run("import", table, *how, *there)
    assert (status, said) == (0, "added=1 rejected=1 duplicates=0")
    assert "rejects, with line and reason" in err


def test_what_cannot_be_read_at_all_is_an_error(tmp_path):
    ws = make(tmp_path / "ws")
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="not UTF-8"):
        import_labels(ws, tmp_path / "odd")
    with pytest.raises(ReadError, match="cannot be read"):
        import_labels(ws, tmp_path / "none")
    with pytest.raises(ReadError, match="no field of a label is 'item'"):
        import_labels(ws, tmp_path / "odd", columns={"item": "id"})
    with pytest.raises(LabelError, match="no format 'xml'"):
        export_labels(ws, tmp_path / "out", format="xml")
    (tmp_path / "empty.csv").write_text("")
    assert import_labels(ws, tmp_path / "empty.csv").added == 0
