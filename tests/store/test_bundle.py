"""An audit bundle shows by itself that a report is of its ledger; whatever is changed shows."""

import hashlib
import zipfile

import orjson
import pytest

from evalbench.cli import main
from evalbench.errors import StoreError
from evalbench.report.report import write_json
from evalbench.store.bundle import verify_bundle, write_bundle


@pytest.fixture
def report(workspace, tmp_path):
    """Make a report's folder as the runbook leaves one."""
    for number in range(3):
        workspace.ledger.append("note.added", f"s{number}", {"text": "seen"})
    folder = tmp_path / "reports" / "11_impact" / "abc"
    write_json(folder / "result.json", {"rates": []})
    (folder / "tables").mkdir()
    (folder / "tables" / "rates.csv").write_text("mode\n")
    last = workspace.ledger.events(since=1, until=2)["hash"][0]
    digest = hashlib.sha256((folder / "result.json").read_bytes()).hexdigest()
    about = {"ledger": {"seq": 2, "hash": last}, "result_sha256": digest}
    write_json(folder / "manifest.json", about | {"lake_versions": {"session": -1}})
    return folder


def rewrite(bundle, name, content):
    """Replace one file of a bundle."""
    with zipfile.ZipFile(bundle) as packed:
        files = {each: packed.read(each) for each in packed.namelist()}
    with zipfile.ZipFile(bundle, "w") as packed:
        for each, held in (files | {name: content}).items():
            packed.writestr(each, held)


def test_a_bundle_is_the_same_bytes_again_and_verifies_without_its_workspace(
    workspace, report, tmp_path, capsys
):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    assert write_bundle(workspace, report, first) == 2
    write_bundle(workspace, report, second)
    assert first.read_bytes() == second.read_bytes()
    assert verify_bundle(first).flaws == []
    with pytest.raises(SystemExit) as done:
        main(["verify", "--bundle", str(first)])
    assert done.value.code == 0
    assert capsys.readouterr().out == "0\n"


@pytest.mark.parametrize("name", ["result.json", "ledger.jsonl", "tables/rates.csv", "more.csv"])
def test_whatever_was_changed_in_a_bundle_shows(workspace, report, tmp_path, name):
    bundle = tmp_path / "a.zip"
    write_bundle(workspace, report, bundle)
    with zipfile.ZipFile(bundle) as packed:
        held = packed.read(name) if name in packed.namelist() else b""
        hashes = orjson.loads(packed.read("hashes.json"))
    rewrite(bundle, name, held.replace(b"note", b"else") + b"\n")
    assert verify_bundle(bundle).flaws
    assert hashes["result.json"]
    with pytest.raises(SystemExit) as exit_:
        main(["verify", "--bundle", str(bundle)])
    assert exit_.value.code == 1


def test_what_is_no_bundle_and_no_report_is_said(workspace, report, tmp_path):
    (tmp_path / "x.zip").write_text("no zip")
    assert "no audit bundle" in verify_bundle(tmp_path / "x.zip").flaws[0]
    with pytest.raises(StoreError, match="holds no report"):
        write_bundle(workspace, tmp_path, tmp_path / "y.zip")
    write_json(report / "result.json", {"rates": [1]})
    with pytest.raises(StoreError, match="not the one that the manifest names"):
        write_bundle(workspace, report, tmp_path / "y.zip")
    assert not (tmp_path / "y.zip").exists()
