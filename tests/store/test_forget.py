"""Who is forgotten is in no file any more, and what is left verifies, also beside old anchors."""

import gzip
import json
import zipfile
from datetime import UTC, datetime

import boto3
import make
import played
import polars as pl
import pytest
from deltalake import DeltaTable
from test_old_workspace import WRITTEN

import evalbench as eb
from evalbench.cli import main
from evalbench.label.annotation.retraction import read_notes
from evalbench.report import runbook
from evalbench.store import database
from evalbench.store.anchor import write_anchor
from evalbench.store.forget import cut, find_expired, forget
from evalbench.store.verification import verify
from evalbench.store.workspace import open_workspace

USER = "user-7"
THEIRS = pl.DataFrame({"surface": "shop", "session_id": ["session-7", "session-47", "session-87"]})
ASKED = "My grandmother Quendolina wants her teapot mended by Friday"
PLANTED = b"Quendolina", b"teapot", ASKED.encode()
LOCAL = pytest.mark.parametrize("workspace", ["folder and SQLite"], indirect=True)
SHOW = """
report = eb.report(eb.snapshot(workspace), folder)
spans = report.view.spans.filter(session_id="session-{}").select("input").collect()
report.say(spans["input"][0] + "<b>" + spans["input"][0])
report.keep(spans=spans)
report.write()"""


@pytest.fixture
def told(workspace, tmp_path):
    """A workspace in which a user was heard, judged, quoted and rejected."""
    ws, name = workspace, THEIRS["session_id"][0]
    played.play(ws, played.write_traces(tmp_path / "traces.jsonl", {USER: ASKED}))
    about = {"surface": "shop", "session_id": name}
    quote = {"span_id": "7", "quote": "teapots of grandmothers are waste", "mode": "rude"}
    case = {"surface": "shop", "suite": "golden", "case": "c0ffee", "severity": "polish"}
    case |= {"messages": [{"role": "user", "content": ASKED}], "session_id": name}
    ws.ledger.extend(
        [
            ("note.added", name, about | {"text": "It tells Quendolina that nobody mends them"}),
            ("note.added", "session-8", about | {"session_id": "session-8", "text": "Fine here"}),
            ("label.set", name, about | {"verdict": "fail", "anchors": [quote]}),
            ("golden.added", "c0ffee", case | {"expected": "It mends the teapot."}),
            ("mode.defined", "odd", {"surface": "shop", "mode": "odd", "name": "Odd"}
             | {"example": f"As in: {ASKED}."}),
        ]
    )  # fmt: skip
    rows = ws.lake.verdicts().join(THEIRS.lazy(), on=THEIRS.columns, how="semi").collect()
    ws.lake.upsert("verdict", rows.with_columns(rationale=pl.lit(f"She says: {ASKED}")))
    DeltaTable(f"{ws.lake.url}/verdict", storage_options=ws.lake.options).create_checkpoint()
    line = {"line": 3, "reason": "odd", "text": json.dumps({"user": USER, "says": "teapot"})}
    other = {"line": 4, "reason": "odd", "text": "user-77 says little"}
    (ws.rejected / "shop.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
    (ws.path / "scoring").mkdir()
    (ws.path / "scoring/a.b.jsonl").write_text(json.dumps(about | {"rationale": ASKED}) + "\n")
    copied = ws.path / "search" / b"shop".hex() / "1-0"
    copied.mkdir(parents=True)
    pl.DataFrame({"session_id": [name], "text": [ASKED]}).write_ipc(copied / "a.arrow")
    return ws


def find_planted(ws):
    """Find what holds a planted text: as it is, or unpacked, in folder, bucket and database."""
    held = {str(file): file.read_bytes() for file in ws.path.rglob("*") if file.is_file()}
    if ws.lake.options:
        own = {name.removesuffix("_url"): each for name, each in ws.lake.options.items()}
        about = {"endpoint_url": own.pop("aws_endpoint"), "region_name": own.pop("aws_region")}
        bucket = boto3.resource("s3", **about, **dict(list(own.items())[:2])).Bucket("traces")
        objects = bucket.objects.filter(Prefix=ws.lake.url.removeprefix("s3://traces/"))
        held |= {each.key: each.get()["Body"].read() for each in objects}
        with ws.ledger.engine.connect().execution_options(reads=True) as connection:
            for table in ("event", "event_text"):
                rows = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
                held[table] = str(rows).encode()
    for name, content in held.items():
        if name.endswith(".parquet"):
            held[name] += pl.read_parquet(content).write_ndjson().encode()
        if content.startswith(b"\x1f\x8b"):
            held[name] += gzip.decompress(content)
    return [name for name, content in held.items() if any(each in content for each in PLANTED)]


def test_a_user_who_is_forgotten_is_in_no_file_and_the_workspace_verifies(
    told, tmp_path, capsys, monkeypatch, no_browser
):
    ws, folder = told, told.path
    for shown, n in (("quoting", 7), ("other", 8)):
        path = make.notebook(tmp_path / f"{shown}.ipynb", "import evalbench as eb", SHOW.format(n))
        runbook.run(str(path), {}, workspace=ws, reports=folder / "reports")
    before = {version: ws.lake.verdicts(version=version).collect() for version in (1, 2)}
    write_anchor(folder, tmp_path / "anchor")
    assert verify(folder, anchor=tmp_path / "anchor").flaws == []
    assert len(find_planted(ws)) > 10
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["forget", USER, "--yes", "--workspace", str(folder)])
    told_of = capsys.readouterr()
    assert told_of.out == "sessions=3\n"
    assert "removed: " in told_of.err
    assert find_planted(ws) == []
    assert [report.parent.name for report in folder.glob("reports/*/*")] == ["other"]
    assert json.loads((ws.rejected / "shop.jsonl").read_text())["line"] == 4
    assert verify(folder, anchor=tmp_path / "anchor").flaws == []

    ws = eb.open(folder, user="tester")
    assert ws.lake.sessions().collect().height == played.SESSIONS - 3
    for version, rows in before.items():
        now = ws.lake.verdicts(version=version).collect().sort("session_id")
        assert now.equals(rows.join(THEIRS, on=THEIRS.columns, how="anti").sort("session_id"))
    notes = read_notes(ws.ledger)["text"].to_list()
    assert (notes.count("Fine here"), len(notes)) == (1, 92)
    assert 1 <= notes.count("[erased]") <= 4
    assert ws.ledger.bodies("golden.retired")["case"].to_list() == ["c0ffee"]
    assert ws.ledger.bodies("mode.defined").filter(mode="odd")["example"].item() == "[erased]"
    assert eb.snapshot(ws).rates["estimate"].null_count() == 0
    record = ws.ledger.bodies("sessions.forgotten").row(0, named=True)
    assert (record["reason"], record["sessions"]) == ("asked", 3)
    assert forget(ws, THEIRS, reason="asked") == []
    assert verify(folder).flaws == []


@LOCAL
def test_an_erasure_that_is_not_on_record_shows(told):
    with told.ledger.engine.connect().execution_options(reads=False) as connection:
        connection.exec_driver_sql("DELETE FROM event_text WHERE seq > 100")
        connection.commit()
    assert "lacks its text, and nothing on record says" in verify(told.path).flaws[0]


@LOCAL
def test_a_killed_erasure_is_made_good_by_the_same_again(told, monkeypatch):
    how = {"reason": "asked", "names": [USER]}
    with monkeypatch.context() as killed:
        killed.setattr("evalbench.store.erasing._rewrite_log", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget(told, THEIRS, **how)
    assert "it was written with" in "".join(verify(told.path).flaws)
    forget(told, THEIRS, **how)
    assert find_planted(told) == []
    assert verify(told.path).flaws == []


def test_who_reads_the_ledger_keeps_what_was_erased_in_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "SQLITE_PATIENCE", 50)
    ws = open_workspace(tmp_path)
    ws.ledger.append("note.added", "s", {"text": ASKED, "surface": "shop", "session_id": "s"})
    theirs = pl.DataFrame({"surface": ["shop"], "session_id": ["s"]})
    with database.transact(ws.ledger.engine, reads=True) as reading:
        reading.exec_driver_sql("SELECT * FROM event").all()
        assert "another program reads" in forget(ws, theirs, reason="asked")[-1]
    assert forget(ws, theirs, reason="asked") == []
    assert find_planted(ws) == []


def test_what_0_1_wrote_into_the_chain_itself_is_erased_and_its_hash_stays(tmp_path):
    with zipfile.ZipFile(WRITTEN) as packed:
        packed.extractall(tmp_path / "ws")
    ws = open_workspace(tmp_path / "ws", user="ana")
    name = ws.ledger.events("note.added")["subject"][0]
    forget(ws, THEIRS[:1].with_columns(session_id=pl.lit(name)), reason="asked")
    written = (ws.path / "ledger.sqlite").read_bytes()
    assert f"What stood out is how it answered {name}.".encode() not in written
    assert verify(ws.path, anchor=ws.path / "anchor.json").flaws == []
    with ws.ledger.engine.connect().execution_options(reads=False) as connection:
        connection.exec_driver_sql("DROP TRIGGER event_update")
        connection.exec_driver_sql("UPDATE event SET body = '{}' WHERE body LIKE '%[erased]%'")
        connection.commit()
    assert "was changed after it was written" in verify(ws.path).flaws[0]


def test_retention_is_by_surface_and_removes_no_other_report(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/page.pdf").write_bytes(b"\0%PDF")
    rows = make.sessions("old", "new", ended_at=make.START)
    ended = pl.when(session_id="new").then(pl.lit(datetime(2026, 5, 1, tzinfo=UTC)))
    workspace.lake.append("session", rows.with_columns(ended_at=ended.otherwise("ended_at")))
    workspace.lake.append("session", make.sessions("old", surface="desk", ended_at=make.START))
    with (workspace.path / "evalbench.toml").open("a") as settings:
        settings.write("[retention]\nshop = 30\n")
    ws = open_workspace(workspace.path)
    assert find_expired(ws, now=datetime(2026, 5, 2, tzinfo=UTC)).rows() == [("shop", "old")]
    with pytest.raises(SystemExit, match="0"):
        main(["forget", "--expired", "--yes", "--workspace", str(ws.path)])
    assert ws.lake.sessions().collect()["surface"].to_list() == ["desk"]
    assert (tmp_path / "reports/page.pdf").exists()


def test_pieces_of_a_text_are_found_where_it_was_cut():
    [first, second, *_] = cut(json.dumps([{"content": f"<p>{ASKED}"}]))
    assert first + second == ASKED[:40]
    assert list(cut("2026-01-01T00:00:00.000 12345")) == []
