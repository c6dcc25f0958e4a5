import getpass
import traceback
from contextlib import suppress
from pathlib import Path

import pytest

from evalbench.errors import ReadError, SettingsError, StoreError
from evalbench.label import import_labels
from evalbench.observe import ingest
from evalbench.store.files import Place
from evalbench.store.ledger import Ledger
from evalbench.store.verification import verify
from evalbench.store.workspace import open_workspace


def test_a_workspace_is_made_on_first_use(tmp_path):
    workspace = open_workspace(tmp_path / "new/one")
    assert workspace.path.is_dir()
    assert workspace.user == workspace.ledger.actor == getpass.getuser()
    assert workspace.rejected == workspace.path / "rejected"
    assert workspace.ledger.append("note.added", "s", {"text": "x"}) == 1
    assert (workspace.path / "ledger.sqlite").exists()
    assert open_workspace(tmp_path / "new/one", user="ana").ledger.head() == 1


@pytest.mark.parametrize(
    ("variable", "where", "expected"),
    [
        ("", "", "data/workspace"),
        ("elsewhere", "", "elsewhere"),
        ("", "notebooks", "data/workspace"),
        ("elsewhere", "notebooks", "notebooks/elsewhere"),
    ],
)
def test_the_default_folder(tmp_path, monkeypatch, variable, where, expected):
    (tmp_path / where).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / where)
    monkeypatch.setenv("EVALBENCH_WORKSPACE", variable)
    assert open_workspace().path == tmp_path / expected


@pytest.mark.parametrize(
    ("lake", "ledger", "lake_url", "ledger_url"),
    [
        ("s3://bucket/lake", "postgresql://h/team", "s3://bucket/lake", "postgresql://h/team"),
        ("big", "people.sqlite", "{folder}/big", "sqlite:///{folder}/people.sqlite"),
    ],
)
def test_settings_say_where_lake_and_ledger_are(tmp_path, lake, ledger, lake_url, ledger_url):
    text = f'lake = "{lake}"\nledger = "{ledger}"\n[lake_options]\nAWS_REGION = "eu-north-1"\n'
    Path(tmp_path, "evalbench.toml").write_text(text)
    workspace = open_workspace(tmp_path)
    assert workspace.lake.url == lake_url.format(folder=tmp_path)
    assert workspace.lake.options == {"AWS_REGION": "eu-north-1"}
    assert workspace.ledger.url == ledger_url.format(folder=tmp_path)


def test_a_folder_or_settings_that_cannot_be_used_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        with pytest.raises(StoreError, match="cannot make it"):
            open_workspace(tmp_path / path)
    (tmp_path / "evalbench.toml").write_text("lakes = 1\n")
    with pytest.raises(SettingsError, match="lakes"):
        open_workspace(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(StoreError, match="cannot write to it"):
        open_workspace(tmp_path)


HIDDEN = "hunter2"


def test_no_secret_is_in_what_is_shown_of_a_workspace(tmp_path):
    Path(tmp_path, "evalbench.toml").write_text(
        f'ledger = "postgresql://ana:{HIDDEN}@h/x"\nuser_key_secret = "{HIDDEN}"\n'
        f'[lake_options]\nAWS_SECRET_ACCESS_KEY = "{HIDDEN}"\n'
    )
    workspace = open_workspace(tmp_path)
    own = (tmp_path / "secret").read_text()
    place = Place("s3://bucket/lake", workspace.settings.lake_options, "span")
    for shown in (workspace, workspace.settings, workspace.lake, workspace.ledger, place):
        for written in (repr(shown), str(shown)):
            assert HIDDEN not in written
            assert own not in written


@pytest.mark.parametrize(
    "text",
    [
        f'user_key_secrets = "{HIDDEN}"',
        f'user_key_secret = ["{HIDDEN}"]',
        f'lake_options = "{HIDDEN}"',
        f'[lake_option]\nAWS_SECRET_ACCESS_KEY = "{HIDDEN}"',
        f'user_key_secret = "{HIDDEN}',
    ],
)
def test_bad_settings_are_named_without_their_values(tmp_path, text):
    (tmp_path / "evalbench.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"evalbench\.toml: ") as refused:
        open_workspace(tmp_path)
    assert HIDDEN not in "".join(traceback.format_exception(refused.value))


def test_every_workspace_has_a_secret_of_its_own(tmp_path):
    one, two = (open_workspace(tmp_path / name) for name in ("one", "two"))
    assert len({one.secret, two.secret, "", "evalbench"}) == 4
    assert open_workspace(one.path).secret == one.secret
    assert one.identity != two.identity
    assert (one.path / "secret").stat().st_mode & 0o777 == 0o600
    (two.path / "evalbench.toml").write_text('user_key_secret = "our own"\n')
    assert open_workspace(two.path).secret == "our own"
    (one.path / "secret").unlink()
    with pytest.raises(SettingsError, match=r"secret: .*put the workspace's secret back, or set"):
        _ = open_workspace(one.path).secret


@pytest.mark.parametrize("after", ["mkdir", "touch", "head", "secret"])
def test_a_first_opening_that_was_killed_is_gone_on_with(tmp_path, after):
    whole, cut = open_workspace(tmp_path / "whole"), tmp_path / "cut"
    cut.mkdir()
    if after != "mkdir":
        (cut / "ledger.sqlite").touch()
    if after in ("head", "secret"):
        Ledger(f"sqlite:///{cut / 'ledger.sqlite'}", actor="ana").head()
    if after == "secret":
        (cut / "secret").write_text(whole.secret)
    assert open_workspace(cut).secret
    assert verify(cut).flaws == []


def test_a_secret_that_was_lost_is_not_made_anew_beside_events(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="ana")
    ledger.append("note.added", "s", {"text": "x"})
    with pytest.raises(SettingsError, match="put the workspace's secret back"):
        _ = open_workspace(tmp_path).secret


def test_rows_that_were_rejected_are_for_nobody_else(tmp_path):
    workspace = open_workspace(tmp_path / "ws")
    (tmp_path / "table.csv").write_text("session_id,verdict\ns,maybe\n")
    report = import_labels(workspace, tmp_path / "table.csv", surface="shop", annotator="ana")
    (tmp_path / "traces.jsonl").write_text('{"messages": [{"role": "user"}]}\nnothing\n')
    with suppress(ReadError):
        ingest(workspace, tmp_path / "traces.jsonl", surface="shop", format="openai-chat")
    files = [path for path in workspace.rejected.rglob("*") if path.is_file()]
    assert report.rejects_path in files
    assert len(files) == 2
    for path in [workspace.rejected, *workspace.rejected.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o600 if path in files else 0o700)
