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
