"""A project folder is laid without overwriting, and ``doctor`` says what is wrong with a remedy."""

import os
import re
import sqlite3

import pytest

import evalbench as eb
from evalbench.cli import main
from evalbench.cli.project import SETTINGS
from evalbench.errors import SettingsError
from evalbench.report import runbook
from evalbench.settings import Settings, load_settings

DEFAULT = re.compile(r"^#(?=\S)", re.MULTILINE)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("EVALBENCH_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE"))]:
        monkeypatch.delenv(name)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return stop.value.code, capsys.readouterr().out

    return run


def test_a_project_folder_has_what_is_edited_and_nothing_is_overwritten(call, tmp_path):
    mine = tmp_path / "project/notebooks/11_impact.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    status, out = call("init", "project")
    assert (status, mine.read_text()) == (0, "mine")
    assert "kept as they are: notebooks/11_impact.ipynb" in out
    made = {str(path.relative_to(mine.parents[1])) for path in mine.parents[1].rglob("*.*")}
    notebooks = {f"notebooks/{path.name}" for path in runbook.NOTEBOOKS.glob("*.ipynb")}
    others = "data/workspace/evalbench.toml docs/ci/gate.sh docs/ci/github.yml .gitignore"
    assert notebooks | {*others.split()} <= made
    assert os.access(mine.parents[1] / "docs/ci/gate.sh", os.X_OK)
    status, out = call("init", "project")
    assert out.startswith("0 files made")


def test_run_takes_the_notebook_of_the_folder_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runbook.find_notebook("01_observe").parent == runbook.NOTEBOOKS
    own = tmp_path / "notebooks/01_observe.ipynb"
    own.parent.mkdir()
    own.touch()
    assert runbook.find_notebook("01_observe").resolve() == own


def test_the_settings_that_init_lays_are_the_defaults_and_examples_that_can_be_read(tmp_path):
    text = SETTINGS.read_text()
    assert load_settings(SETTINGS) == Settings()
    (tmp_path / "defaults.toml").write_text(DEFAULT.sub("", text))
    assert load_settings(tmp_path / "defaults.toml") == Settings()
    examples = re.sub(r"^# (?=\[|\w+ = )", "", DEFAULT.sub("", text), flags=re.MULTILINE)
    (tmp_path / "examples.toml").write_text(examples)
    settings = load_settings(tmp_path / "examples.toml")
    assert settings.surfaces["support"].columns == {"messages": "traj", "outcome": "reward"}
    assert settings.decisions["support_release"].rows[0].owner == "mara"
    (tmp_path / "wrong.toml").write_text(f"{examples}oops = 1\n")
    with pytest.raises(SettingsError, match="oops"):
        load_settings(tmp_path / "wrong.toml")


def test_doctor_finds_a_new_and_a_filled_workspace_sound_and_makes_nothing(
    call, tmp_path, monkeypatch
):
    status, out = call("doctor", "--workspace", "none")
    assert (status, [*tmp_path.iterdir()]) == (0, [])
    assert re.search(r"^note +database +no workspace at .*Remedy: evalbench ingest", out, re.M)
    assert re.search(r"^note +models +no key.*offline/rubric", out, re.M)
    ws = eb.open("ws")
    ws.ledger.append("note.added", "a", {"surface": "s", "session_id": "a", "text": "x"})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    monkeypatch.setattr(runbook, "_BROWSERS", ())
    status, out = call("doctor", "--workspace", "ws")
    assert (status, "sk-hidden" in out) == (0, False)
    for told in (
        "ok +environment",
        "ok +database +1 events",
        "note +browser",
        "ok +models +OPENAI_API_KEY",
    ):
        assert re.search(f"^{told}", out, re.M), out


def test_doctor_names_each_fault_with_its_remedy_and_no_secret(call, tmp_path):
    ws = eb.open("ws")
    (ws.path / "secret").chmod(0o644)
    (ws.path / "ledger.sqlite").unlink(missing_ok=True)
    sqlite3.connect(ws.path / "ledger.sqlite").close()
    status, out = call("doctor", "--workspace", "ws")
    assert status == 1
    assert re.search(r"^broken +secrets .*ws/secret. Remedy: chmod 600", out, re.M)
    assert re.search(r"^broken +database .*Remedy: put it back", out, re.M)
    settings = ws.path / "evalbench.toml"
    settings.write_text('ledger = "postgresql://eva:hidden@db.example/x"\nlake = "s3://b/lake"\n')
    status, out = call("doctor", "--workspace", "ws")
    assert status == 1
    assert "hidden" not in out
    assert re.search(r"^note +database +db.example/x, not asked", out, re.M)
    assert re.search(r"^note +lake +s3://b/lake, not asked", out, re.M)
    settings.write_text("lakes = 1")
    status, out = call("doctor", "--workspace", "ws", "--model", "gpt-4o-mini")
    assert status == 1
    assert re.search(r"^broken +settings .*lakes.*Remedy: mend", out, re.M)
    assert re.search(r"^broken +models +.*OPENAI_API_KEY.*Remedy: mend its name, key", out, re.M)
