"""What each role may not do, PostgreSQL refuses, whatever program asks."""

import psycopg
import pytest
from sqlalchemy import make_url

from evalbench.cli import main
from evalbench.errors import LedgerError, StoreError
from evalbench.schema import BODIES, ROLES
from evalbench.store.chain import seal
from evalbench.store.ledger import Ledger
from evalbench.store.verification import verify
from evalbench.store.workspace import open_workspace

LABEL = {"surface": "shop", "session_id": "s1", "verdict": "pass"}
GOLDEN = {"surface": "shop", "suite": "golden", "case": "c", "reason": "It is wrong."}
QUEUE = {"surface": "shop", "seed": 1, "design": {}, "lake_versions": {}, "items": []}
AT = "2026-01-01T00:00:00.000000+00:00"


@pytest.fixture
def connect_as(postgresql_url, tmp_path):
    """Give a ledger as a user of the database has it; the owner has granted each their role."""
    owner = Ledger(postgresql_url, actor="postgres")
    owner.append("note.added", "s1", {"text": "an early wörd 🎈 of the owner"})
    address = make_url(postgresql_url)
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for name in ("annotator", "analyst", "release_owner", "reader", "stranger"):
            if not connection.execute(f"SELECT FROM pg_roles WHERE rolname = '{name}'").rowcount:
                connection.execute(f"CREATE ROLE {name} LOGIN")
            if name in ROLES:
                owner.grant(name, name)

    def connect(name):
        url = address.set(username=name).render_as_string(hide_password=False)
        return Ledger(url, actor=name)

    return connect


def test_every_kind_is_somebodys_but_what_only_owners_do():
    theirs = {kind for kinds in ROLES.values() for kind in kinds}
    assert BODIES.keys() - theirs == {"role.granted", "sessions.forgotten"}
    assert theirs < BODIES.keys()


@pytest.mark.parametrize(
    ("role", "kind", "body", "needed"),
    [
        ("annotator", "label.set", LABEL, ""),
        ("annotator", "label.set", LABEL | {"annotator": "ben"}, "analyst"),
        ("annotator", "queue.drawn", QUEUE, "analyst"),
        ("annotator", "golden.retired", GOLDEN, "release_owner"),
        ("analyst", "queue.drawn", QUEUE, ""),
        ("analyst", "label.set", LABEL, "annotator"),
        ("analyst", "golden.retired", GOLDEN, "release_owner"),
        ("release_owner", "golden.retired", GOLDEN, ""),
        ("release_owner", "queue.drawn", QUEUE, "analyst"),
        ("reader", "note.added", {"text": "x"}, "ROLE"),
    ],
)
def test_a_role_appends_its_kinds_and_no_other(connect_as, role, kind, body, needed):
    ledger = connect_as(role)
    if not needed:
        assert ledger.append(kind, "s1", body) == ledger.head() == 6
        assert ledger.events(kind, since=5)["actor"].item() == role
    else:
        with pytest.raises(StoreError, match=f"{role} may .*: evalbench grant {role} {needed}$"):
            ledger.append(kind, "s1", body)
    assert ledger.verify() is None


def test_nobody_appends_in_anothers_name_and_a_stranger_sees_nothing(connect_as, postgresql_url):
    for ledger in (connect_as("annotator"), Ledger(postgresql_url, actor="postgres")):
        with pytest.raises(StoreError, match=r"takes no event of ben from you; leave the user out"):
            ledger.extend([("note.added", "s", {"text": "x"})], actor="ben")
    with pytest.raises(StoreError, match=r"; ask its owner: evalbench grant stranger ROLE$"):
        connect_as("stranger").events()
    with pytest.raises(LedgerError, match="only the owner of the ledger's tables grants roles"):
        connect_as("annotator").grant("annotator", "analyst")
    with pytest.raises(LedgerError, match="no user nobody; make it: CREATE ROLE nobody LOGIN"):
        Ledger(postgresql_url, actor="postgres").grant("nobody", "analyst")


def forge(last, *, actor="annotator", kind="note.added", **changed):
    """Write the statement that appends an event as it should be, but for what was changed."""
    event = seal(6, AT, actor, kind, "s", '{"text":"[erased]"}', previous_hash=last)
    return f"INSERT INTO event VALUES {tuple(event._replace(**changed))}"


FUNCTION = "CREATE OR REPLACE FUNCTION check_event() RETURNS trigger LANGUAGE plpgsql AS"
ROLE_TABLE = "CREATE TEMP TABLE event_role AS SELECT 'annotator' AS role, 'golden.retired' AS kind"
RAW = [
    ({"actor": "ben"}, "takes no event of ben from you"),
    ({"kind": "golden.retired"}, "annotator may not append golden.retired"),
    ({"hash": "0"}, "event 6 does not follow"),
    ({"seq": 9}, "event 9 does not follow"),
    ("UPDATE event SET actor = 'eve'", "denied for table event"),
    ("DELETE FROM event", "denied for table event"),
    ("TRUNCATE event", "denied for table event"),
    ("DELETE FROM event_text", "denied for table event_text"),
    ("INSERT INTO event_text VALUES (2, '', '{}')", "not the one that event 2 has sealed"),
    ("UPDATE event_head SET seq = 1", "denied for table event_head"),
    ("INSERT INTO event_grant VALUES ('annotator', 'analyst')", "denied for table event_grant"),
    ("DROP TRIGGER event_check ON event", "must be owner"),
    ("ALTER TABLE event DISABLE TRIGGER ALL", "must be owner"),
    (f"{FUNCTION} 'BEGIN RETURN NEW; END'", "permission denied|must be owner"),
    ("SET session_replication_role = replica", "permission denied to set"),
    ("SET SESSION AUTHORIZATION postgres", "permission denied to set"),
]


@pytest.mark.parametrize(("write", "refusal"), RAW)
def test_a_user_of_the_database_does_no_more_by_hand(connect_as, write, refusal):
    ledger = connect_as("annotator")
    if isinstance(write, dict):
        write = forge(ledger.events()["hash"][-1], **write)
    url = str(ledger.url).replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        connection.execute(ROLE_TABLE)  # in the place of the ledger's, which asks its own
        with pytest.raises(psycopg.Error, match=refusal):
            connection.execute(write)
    assert ledger.head() == 5
    assert ledger.verify() is None


def test_roles_are_granted_by_command_and_reader_ends_them(
    connect_as, postgresql_url, tmp_path, monkeypatch, capsys
):
    (tmp_path / "evalbench.toml").write_text(f"ledger = {postgresql_url!r}\n")
    assert open_workspace(tmp_path).user == "postgres"
    monkeypatch.setenv("EVALBENCH_WORKSPACE", str(tmp_path))
    ledger = connect_as("analyst")
    for role in ("release_owner", "reader"):
        with pytest.raises(SystemExit, match="0"):
            main(["grant", "analyst", role])
        assert capsys.readouterr().out == f"analyst: {role}\n"
        if role == "release_owner":
            ledger.extend([("golden.retired", "c", GOLDEN), ("queue.drawn", "shop", QUEUE)])
    with pytest.raises(StoreError, match="analyst may only read"):
        ledger.append("golden.retired", "c", GOLDEN)
    granted = Ledger(postgresql_url, actor="postgres").bodies("role.granted")
    assert granted["role"].to_list()[-2:] == ["release_owner", "reader"]
    assert verify(tmp_path).flaws == []


def test_sqlite_knows_no_roles(tmp_path):
    with pytest.raises(LedgerError, match="for roles, keep the ledger in PostgreSQL"):
        open_workspace(tmp_path).ledger.grant("ana", "analyst")
