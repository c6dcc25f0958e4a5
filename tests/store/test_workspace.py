import getpass
from pathlib import Path

import pytest

from evalbench.errors import SettingsError, StoreError
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
    ("variable", "expected"), [("", "data/workspace"), ("elsewhere", "elsewhere")]
)
def test_the_default_folder(tmp_path, monkeypatch, variable, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALBENCH_WORKSPACE", variable)
    assert open_workspace().path == tmp_path / expected


def test_settings_say_where_lake_and_ledger_are(tmp_path):
    Path(tmp_path, "evalbench.toml").write_text(
        'lake = "s3://bucket/lake"\nledger = "postgresql://localhost/team"\n'
        '[lake_options]\nAWS_REGION = "eu-north-1"\n'
    )
    workspace = open_workspace(tmp_path, user="ana")
    assert workspace.lake.url == "s3://bucket/lake"
    assert workspace.lake.options == {"AWS_REGION": "eu-north-1"}
    assert workspace.ledger.url == "postgresql://localhost/team"


def test_relative_places_are_in_the_workspace(tmp_path):
    Path(tmp_path, "evalbench.toml").write_text('lake = "big"\nledger = "people.sqlite"\n')
    workspace = open_workspace(tmp_path)
    assert workspace.lake.url == str(tmp_path / "big")
    assert workspace.ledger.url == f"sqlite:///{tmp_path / 'people.sqlite'}"


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_path_that_is_no_folder_is_refused(tmp_path, path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make this folder"):
        open_workspace(tmp_path / path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(StoreError, match="cannot write to this folder"):
        open_workspace(tmp_path)


def test_wrong_settings_are_refused(tmp_path):
    Path(tmp_path, "evalbench.toml").write_text("lakes = 1\n")
    with pytest.raises(SettingsError, match="lakes"):
        open_workspace(tmp_path)
