"""Who is forgotten is in no file any more, and what is left verifies, also beside old anchors."""

import gzip
import json
import zipfile
from datetime import UTC, datetime

import make
import played
import polars as pl
import pytest
from test_old_workspace import WRITTEN

import evalbench as eb
from evalbench.cli import main
from evalbench.label.annotation.retraction import read_notes
from evalbench.report import runbook
from evalbench.store.anchor import write_anchor
from evalbench.store.forget import cut, find_expired, forget
from evalbench.store.lake import Lake
from evalbench.store.verification import verify
from evalbench.store.workspace import open_workspace

USER = "user-7"
THEIRS = ("session-7", "session-47", "session-87")
ASKED = "My grandmother Quendolina wants her teapot mended by Friday"
NOTED = "It tells Quendolina that nobody mends a teapot here"
QUOTED = "teapots of grandmothers are waste"
PLANTED = ("Quendolina", "teapot", ASKED, QUOTED)


@pytest.fixture
def told(tmp_path, no_browser):
    """A workspace in which a user was heard, read, quoted, reported and rejected."""
    ws = open_workspace(tmp_path / "ws", user="ana")
    fill(ws, tmp_path)
    return ws


def fill(ws, tmp_path):
    played.play(ws, played.write_traces(tmp_path / "traces.jsonl", {USER: ASKED}))
    name = THEIRS[0]
    about = {"surface": "shop", "session_id": name}
    quote = {"span_id": "7", "quote": QUOTED, "mode": "rude"}
    case = {"surface": "shop", "suite": "golden", "case": "c0ffee", "severity": "polish"}
    case |= {"messages": [{"role": "user", "content": ASKED}], "session_id": name}
    draft = {"surface": "shop", "mode": "odd", "name": "Odd", "example": f"As in: {ASKED}."}
    ws.ledger.extend(
        [
            ("note.added", name, about | {"text": NOTED}),
            ("note.added", "session-8", about | {"session_id": "session-8", "text": "Fine here"}),
            ("label.set", name, about | {"verdict": "fail", "anchors": [quote]}),
            ("golden.added", "c0ffee", case | {"expected": "It mends the teapot."}),
            ("mode.defined", "odd", draft),
        ]
    )
    rows = ws.lake.verdicts().filter(pl.col("session_id").is_in(THEIRS)).collect()
    ws.lake.upsert("verdict", rows.with_columns(rationale=pl.lit(f"She says: {ASKED}")))
    line = {"line": 3, "reason": "odd", "text": json.dumps({"user": USER, "says": "teapot"})}
    other = {"line": 4, "reason": "odd", "text": "user-77 says little"}
    rejects = ws.rejected / "shop.jsonl"
    rejects.write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
    (ws.path / "scoring").mkdir()
    left = {"surface": "shop", "session_id": name, "rationale": ASKED}
    (ws.path / "scoring/job.run.jsonl").write_text(json.dumps(left) + "\n")
    copied = ws.path / "search" / b"shop".hex() / "1-0"
    copied.mkdir(parents=True)
    pl.DataFrame({"session_id": [name], "text": [ASKED]}).write_ipc(copied / "a.arrow")
    for shown, n in (("quoting", 7), ("other", 8)):
        cell = f"""
report = eb.report(eb.snapshot(workspace), folder)
spans = report.view.spans.filter(session_id="session-{n}").select("input").collect()
report.say(spans["input"][0] + "<b>" + spans["input"][0])
report.keep(spans=spans)
report.write()"""
        path = make.notebook(tmp_path / f"{shown}.ipynb", "import evalbench as eb", cell)
        runbook.run(str(path), {}, workspace=ws, reports=ws.path / "reports")


def read(file):
    """Read a file as whoever looks for something in it does: as it is, and unpacked."""
    content = file.read_bytes()
    if file.suffix == ".parquet":
        content += pl.read_parquet(file).write_ndjson().encode()
    if content.startswith(b"\x1f\x8b"):
        content += gzip.decompress(content)
    return content


def find_planted(*folders):
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return [str(file) for file in files if any(each.encode() in read(file) for each in PLANTED)]


def test_a_user_who_is_forgotten_is_in_no_file_and_the_workspace_verifies(
    told, tmp_path, capsys, monkeypatch
):
    ws, folder = told, told.path
    before = {version: ws.lake.verdicts(version=version).collect() for version in (1, 2)}
    write_anchor(folder, tmp_path / "anchor")
    assert len(find_planted(folder)) > 10
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["forget", USER, "--yes", "--workspace", str(folder)])
    told_of = capsys.readouterr()
    assert told_of.out.startswith("sessions=3 events=")
    assert "removed: " in told_of.err
    assert find_planted(folder) == []
    assert [report.parent.name for report in folder.glob("reports/*/*")] == ["other"]
    assert json.loads((ws.rejected / "shop.jsonl").read_text())["line"] == 4
    assert verify(folder, anchor=tmp_path / "anchor").flaws == []

    ws = eb.open(folder, user="ana")
    after = ws.lake.sessions().collect()["session_id"]
    assert len(after) == played.SESSIONS - 3
    assert not set(after) & set(THEIRS)
    for version, rows in before.items():
        now = ws.lake.verdicts(version=version).collect()
        kept = rows.filter(~pl.col("session_id").is_in(THEIRS))
        assert now.sort("session_id").equals(kept.sort("session_id"))
    notes = read_notes(ws.ledger).filter(pl.col("session_id").is_in([*THEIRS, "session-8"]))
    assert set(notes["text"]) >= {"[erased]", "Fine here"}
    assert ws.ledger.bodies("golden.retired")["case"].to_list() == ["c0ffee"]
    assert ws.ledger.bodies("mode.defined").filter(mode="odd")["example"].item() == "[erased]"
    assert eb.snapshot(ws).rates["estimate"].null_count() == 0
    record = ws.ledger.bodies("sessions.forgotten").row(0, named=True)
    assert (record["reason"], record["sessions"]) == ("asked", 3)
    assert len(record["texts"]) >= 5
    again = forget(ws, pl.DataFrame({"surface": "shop", "session_id": THEIRS}), reason="asked")
    assert (again.events, again.removed) == (0, [])
    assert verify(folder).flaws == []


def test_an_erasure_that_is_not_on_record_shows(told):
    with told.ledger.engine.connect().execution_options(reads=False) as connection:
        connection.exec_driver_sql("DELETE FROM event_text WHERE seq > 100")
        connection.commit()
    assert "lacks its text, and nothing on record says" in verify(told.path).flaws[0]


def test_a_killed_erasure_is_made_good_by_the_same_again(told, monkeypatch):
    sessions = pl.DataFrame({"surface": "shop", "session_id": THEIRS})
    with monkeypatch.context() as killed:
        killed.setattr("evalbench.store.erasing._rewrite_log", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget(told, sessions, reason="asked", names=[USER])
    assert "it was written with" in "".join(verify(told.path).flaws)
    forget(told, sessions, reason="asked", names=[USER])
    assert find_planted(told.path) == []
    assert verify(told.path).flaws == []


def test_what_0_1_wrote_into_the_chain_itself_is_erased_and_its_hash_stays(tmp_path):
    with zipfile.ZipFile(WRITTEN) as packed:
        packed.extractall(tmp_path / "ws")
    ws = open_workspace(tmp_path / "ws", user="ana")
    name = ws.ledger.events("note.added")["subject"][0]
    forget(ws, pl.DataFrame({"surface": ["shop"], "session_id": [name]}), reason="asked")
    assert f"What stood out is how it answered {name}".encode() not in read(
        ws.path / "ledger.sqlite"
    )
    assert verify(ws.path, anchor=ws.path / "anchor.json").flaws == []
    with ws.ledger.engine.connect().execution_options(reads=False) as connection:
        for trigger in ("update", "delete", "replace"):
            connection.exec_driver_sql(f"DROP TRIGGER event_{trigger}")
        connection.exec_driver_sql("UPDATE event SET body = '{}' WHERE body LIKE '%[erased]%'")
        connection.commit()
    assert "was changed after it was written" in verify(ws.path).flaws[0]


def test_retention_is_by_surface(workspace, monkeypatch):
    rows = make.sessions("old", "new", ended_at=make.START)
    ended = pl.when(session_id="new").then(pl.lit(datetime(2026, 5, 1, tzinfo=UTC)))
    workspace.lake.append("session", rows.with_columns(ended_at=ended.otherwise("ended_at")))
    workspace.lake.append("session", make.sessions("old", surface="desk", ended_at=make.START))
    (workspace.path / "evalbench.toml").write_text("[retention]\nshop = 30\n")
    ws = open_workspace(workspace.path)
    assert find_expired(ws, now=datetime(2026, 5, 2, tzinfo=UTC)).rows() == [("shop", "old")]
    with pytest.raises(SystemExit, match="0"):
        main(["forget", "--expired", "--yes", "--workspace", str(ws.path)])
    left = Lake(ws.lake.url).sessions().collect().sort("surface")
    assert left.select("surface", "session_id").rows() == [("desk", "old")]


def test_pieces_of_a_text_are_found_where_it_was_cut():
    [first, second, *_] = cut(json.dumps([{"content": f"<p>{ASKED}"}]))
    assert first + second == ASKED[:40]
    assert list(cut("2026-01-01T00:00:00.000 12345")) == []
