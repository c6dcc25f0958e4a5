"""Whatever is done to a workspace behind its back, ``verify`` says; an untouched one it lets be."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing

import make
import polars as pl
import pytest
from deltalake import DeltaTable

from evalbench.store.anchor import write_anchor
from evalbench.store.chain import GENESIS, Event, seal
from evalbench.store.database import GUARDS
from evalbench.store.verification import verify
from evalbench.store.workspace import open_workspace

REPORT = "reports/11_impact/0123456789ab"
LOG = "ws/lake/session/_delta_log/{:020}.json"


def fill(path):
    """Make a workspace with a lake, a ledger half of whose events are in its log, and a report."""
    ws = open_workspace(path, user="ana")
    for number in range(3):
        ws.lake.append("session", make.sessions(f"s{number}", f"t{number}"))
    rows = make.sessions("a", "b", first_input="x")
    staged = ws.lake.stage("session", rows, folder=path.parent)
    ws.lake.commit("session", [staged], folder=path.parent)
    make.notes(ws.ledger, "one", "two", "three", "four")
    with closing(sqlite3.connect(path / "ledger.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    make.notes(ws.ledger, "five", "six")
    folder = path / REPORT
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    about = {"notebook": "11_impact", "parameters": {"seed": 7}, "ledger_seq": 6}
    about |= {"lake_versions": ws.lake.versions(), "result_sha256": make.sha256(b"{}")}
    head = {"seq": 6, "hash": ws.ledger.events()["hash"][-1]}
    manifest = {**about, "ledger": head, "workspace": ws.identity}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    body = {**about, "run": folder.name}
    ws.ledger.append("report.published", f"11_impact/{folder.name}", body)
    return ws


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two workspaces; the signed anchors of both, and the signers who may."""
    folder = tmp_path_factory.mktemp("template")
    open_ledgers = [fill(folder / "ws").ledger, fill(folder / "other").ledger]
    for key in ("key", "strange"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    (folder / "signers").write_text(f"ana@example.com {(folder / 'key.pub').read_text()}")
    write_anchor(folder / "ws", folder / "anchor", key=folder / "key")
    write_anchor(folder / "other", folder / "foreign", key=folder / "key")
    write_anchor(folder / "ws", folder / "unasked", key=folder / "strange")
    yield folder
    assert len(open_ledgers) == 2  # closed, they would put their logs away


@pytest.fixture
def place(template, tmp_path):
    shutil.copytree(template, tmp_path / "place")
    return tmp_path / "place"


def look(place, anchor="anchor"):
    return verify(place / "ws", anchor=place / anchor, signers=place / "signers")


def raw(*statements):
    """Run statements on the database."""

    def run(place):
        with closing(sqlite3.connect(place / "ws/ledger.sqlite", isolation_level=None)) as database:
            for statement in statements:
                database.execute(statement)

    return run


def sql(*statements):
    """Run statements as somebody who takes the guards away and puts them back."""
    guards = GUARDS["sqlite"]
    return raw(*(f"DROP TRIGGER {name}" for name in guards), *statements, *guards.values())


def read_rows(place):
    with closing(sqlite3.connect(place / "ws/ledger.sqlite")) as database:
        return [Event(*row) for row in database.execute("SELECT * FROM event ORDER BY seq")]


def reseal(since):
    """Write the chain anew from an event on, by another actor, as somebody who knows how."""

    def run(place):
        written, *kept = read_rows(place), f"DELETE FROM event WHERE seq >= {since}"
        previous = written[since - 2].hash if since > 1 else GENESIS
        for each in written[since - 1 :]:
            event = seal(each.seq, each.at, "eve", *each[3:6], previous_hash=previous)
            kept.append(f"INSERT INTO event VALUES {tuple(event)}")
            previous = event.hash
        sql(*kept, f"UPDATE event_head SET hash = '{previous}'")(place)

    return run


def seal_one(place):
    """Change an event and seal it, and not those after it."""
    old = read_rows(place)[3]
    new = seal(old.seq, old.at, "eve", *old[3:6], previous_hash=old.previous_hash)
    sql("DELETE FROM event WHERE seq = 4", f"INSERT INTO event VALUES {tuple(new)}")(place)


def unlink(path):
    return lambda place: (place / path).unlink()


def write(path, content):
    def run(place):
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_bytes(content)

    return run


def edit(path, **fields):
    """Change fields of a JSON file."""

    def run(place):
        known = json.loads((place / path).read_text())
        (place / path).write_text(json.dumps(known | fields))

    return run


def swap_ledger(place):
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.copyfile(place / "other" / name, place / "ws" / name)


def overwrite_page(place):
    raw("PRAGMA wal_checkpoint(TRUNCATE)")(place)
    with (place / "ws/ledger.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def lose_ledger(place):
    for path in place.glob("ws/ledger.sqlite*"):
        path.unlink()


def parquet(place, *, staged):
    files = (place / "ws/lake/session").rglob("*.parquet")
    return sorted(path for path in files if path.name.startswith("part-") != staged)


def swap_parquet(place):
    one, two = parquet(place, staged=False)[:2]
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def change_parquet(change, *, staged=True):
    def run(place):
        path = parquet(place, staged=staged)[0]
        path.write_bytes(change(path.read_bytes()))

    return run


def fewer_rows(place):
    """Put a file in the place of another, with its size in the log, but not its rows."""
    path = parquet(place, staged=False)[0]
    size = path.stat().st_size
    pl.read_parquet(path).head(1).write_parquet(path)
    for entry in (place / "ws/lake/session/_delta_log").glob("*.json"):
        text = entry.read_text()
        if path.name in text:
            entry.write_text(text.replace(f":{size},", f":{path.stat().st_size},"))


def change_checkpoint(place):
    table = DeltaTable(str(place / "ws/lake/session"))
    table.create_checkpoint()
    [path] = (place / "ws/lake/session/_delta_log").glob("*.checkpoint.parquet")
    rows = pl.read_parquet(path)
    adds = rows["add"].struct.field("path").is_not_null()
    rows.filter(~(adds & (adds.cum_sum() == 1))).write_parquet(path)


def flip(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


INSERT = "INSERT INTO event SELECT {}, at, actor, kind, subject, body, previous_hash, hash"
TAMPERINGS = {
    "no workspace": (lambda place: shutil.rmtree(place / "ws"), "there is no workspace at"),
    "ledger deleted": (lose_ledger, "there is no ledger at"),
    "ledger emptied to no byte": (
        lambda place: (lose_ledger(place), write("ws/ledger.sqlite", b"")(place)),
        "is empty: it has no events",
    ),
    "ledger emptied of events": (
        sql("DELETE FROM event", f"UPDATE event_head SET seq = 0, hash = '{GENESIS}'"),
        "it ends at event 0",
    ),
    "ledger swapped": (swap_ledger, "event 6 is not the one that"),
    "lost log of the database": (unlink("ws/ledger.sqlite-wal"), "it ends at event 4"),
    "tail cut": (sql("DELETE FROM event WHERE seq > 5"), "event 6 is missing, with all up to 7"),
    "tail cut and head set": (
        sql(
            "DELETE FROM event WHERE seq > 5",
            "UPDATE event_head SET seq = 5, hash = (SELECT hash FROM event WHERE seq = 5)",
        ),
        "it ends at event 5",
    ),
    "chain rewritten": (reseal(1), "event 6 is not the one that"),
    "end of the chain rewritten": (reseal(7), "event 7 is not the one that the anchor"),
    "head lost": (sql("DELETE FROM event_head"), "event 1 was put in"),
    "trigger dropped": (raw("DROP TRIGGER event_delete"), "tampered with: event_delete"),
    "trigger without teeth": (
        raw(
            "DROP TRIGGER event_update",
            "CREATE TRIGGER event_update BEFORE UPDATE ON event BEGIN SELECT 1; END",
        ),
        "tampered with: event_update",
    ),
    "trigger that swallows events": (
        raw("CREATE TRIGGER x BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); END"),
        "tampered with: x",
    ),
    "body edited": (
        sql("UPDATE event SET body = replace(body, 's3', 'fine') WHERE seq = 3"),
        "event 3 was changed after",
    ),
    "text edited": (
        raw("UPDATE event_text SET body = replace(body, 'three', 'fine') WHERE seq = 3"),
        "event 3 has another text",
    ),
    "text deleted": (raw("DELETE FROM event_text WHERE seq = 3"), "event 3 lacks its text"),
    "ledger of a later program": (
        raw("UPDATE event_version SET version = 99"),
        "it is of version 99, and this program knows up to 2: install a newer evalbench",
    ),
    "actor edited": (sql("UPDATE event SET actor = 'eve' WHERE seq = 2"), "event 2 was changed"),
    "time edited": (
        sql("UPDATE event SET at = replace(at, 'T', ' ') WHERE seq = 5"),
        "event 5 was changed",
    ),
    "event edited and sealed": (seal_one, "event 5 does not follow event 4"),
    "events reordered": (
        sql(
            "UPDATE event SET seq = 0 WHERE seq = 3",
            "UPDATE event SET seq = 3 WHERE seq = 4",
            "UPDATE event SET seq = 4 WHERE seq = 0",
        ),
        "event 3 does not follow event 2",
    ),
    "event taken out": (sql("DELETE FROM event WHERE seq = 4"), "event 4 is missing"),
    "number twice": (
        sql(
            "CREATE TABLE loose AS SELECT * FROM event",
            "DROP TABLE event",
            "ALTER TABLE loose RENAME TO event",
            f"{INSERT.format('seq')} FROM event WHERE seq = 3",
        ),
        "event 3 stands twice",
    ),
    "event put in at the end": (
        sql(f"{INSERT.format('8')} FROM event WHERE seq = 7"),
        "event 8 does not follow event 7",
    ),
    "event of no text": (
        sql("UPDATE event SET body = x'00ff' WHERE seq = 2"),
        "event 2 was changed after",
    ),
    "page of the database overwritten": (overwrite_page, "malformed"),
    "Parquet missing": (lambda place: parquet(place, staged=False)[0].unlink(), "is missing"),
    "Parquet truncated": (change_parquet(lambda content: content[:-9]), "it was written with"),
    "Parquet swapped": (swap_parquet, "is not the file that was written"),
    "Parquet changed by a byte": (change_parquet(flip), "is not the file that was written"),
    "Parquet with other rows": (fewer_rows, "has 1 rows; it was written with 2"),
    "Parquet that is none": (
        change_parquet(lambda content: b"x" * len(content)),
        "cannot be read",
    ),
    "log entry of no byte": (write(f"{LOG.format(5)}", b""), "entry 5 of its log cannot be read"),
    "log entry of garbage": (write(f"{LOG.format(2)}", b"{oops"), "entry 2 of its log cannot be"),
    "log entry missing": (unlink(LOG.format(2)), "entry 2 of its log is missing"),
    "last log entry missing": (unlink(LOG.format(4)), "version 4, which"),
    "lake deleted": (lambda place: shutil.rmtree(place / "ws/lake"), "version 4, which"),
    "checkpoint changed": (change_checkpoint, "a wrong checkpoint"),
    "manifest with another head": (
        edit(f"ws/{REPORT}/manifest.json", ledger={"seq": 6, "hash": "0" * 64}),
        "event 6 is not the one that",
    ),
    "manifest with other parameters": (
        edit(f"ws/{REPORT}/manifest.json", parameters={"seed": 8}),
        "the ledger knows of no such report",
    ),
    "manifest without a hash": (edit(f"ws/{REPORT}/manifest.json", ledger=[6]), "cannot be read"),
    "manifest that is none": (write(f"ws/{REPORT}/manifest.json", b"{"), "cannot be read"),
    "result changed": (write(f"ws/{REPORT}/result.json", b"{ }"), "not of the result beside it"),
    "anchor edited": (edit("anchor", hash="0" * 64), "it has no good signature"),
    "anchor without signature": (unlink("anchor.sig"), "it has no good signature"),
    "anchor that is none": (write("anchor", b"[]"), "anchor: cannot be read"),
}


def test_an_untouched_workspace_verifies(place):
    found = look(place)
    assert (found.flaws, found.notes) == ([], [])


def test_reports_of_other_workspaces_and_unfinished_ones_are_left_out(place):
    shutil.move(place / "ws" / REPORT, place / "ws/reports/11_impact/.unfinished")
    shutil.copytree(place / "other/reports", place / "reports")
    write("reports/old/result.json", b"{}")(place)
    write("reports/old/manifest.json", b"{}")(place)
    found = verify(place / "ws", reports=place / "reports")
    assert found.flaws == []
    assert [note.split(": ")[1] for note in found.notes] == [
        "not checked, it is of another workspace"
    ] * 2


def test_a_file_that_a_killed_writer_left_is_noted_and_no_flaw(place):
    stray = parquet(place, staged=False)[0].with_name("0.parquet")
    stray.write_bytes(b"x")
    found = look(place)
    assert found.flaws == []
    [note] = found.notes
    assert f"session: files left over: 1, such as {stray.parent.name}/0.parquet" in note


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_said(place, name):
    tamper, flaw = TAMPERINGS[name]
    tamper(place)
    flaws = look(place).flaws
    assert flaw in "\n".join(flaws)


@pytest.mark.parametrize(
    ("anchor", "flaw"),
    [("foreign", "is of another workspace"), ("unasked", "it has no good signature")],
)
def test_an_anchor_of_another_ledger_or_a_stranger_is_refused(place, anchor, flaw):
    assert flaw in "\n".join(look(place, anchor).flaws)


def test_triggers_are_restored_and_said(place):
    TAMPERINGS["trigger dropped"][0](place)
    assert look(place).notes == ["the ledger's own triggers were restored"]
    assert look(place).flaws == []


def test_a_read_only_copy_verifies_and_stays_as_it_is(place):
    def state():
        return {path: path.is_file() and path.read_bytes() for path in (place / "ws").rglob("*")}

    for log in (True, False):
        if not log:
            with closing(sqlite3.connect(place / "ws/ledger.sqlite")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = state()
        for path in [place / "ws", *before]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert look(place).flaws == []
        assert state() == before
        for path in [place / "ws", *before]:
            path.chmod(0o755 if path.is_dir() else 0o644)
