"""A report is there whole or not at all, whenever the run is killed."""

import signal
import subprocess
import sys

import make
import pytest

from evalbench.report import runbook

SCRIPT = """
import os, signal, sys
import evalbench as eb
from evalbench.report import runbook

folder, notebook, reports, moment = sys.argv[1:5]
runbook._BROWSERS = ()

def die_at(name, original):
    def wrapped(*arguments):
        if moment == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments)
        if moment == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

for name in ("_execute", "write_json", "_render_html", "_print_pdf", "_publish"):
    setattr(runbook, name, die_at(name, getattr(runbook, name)))
runbook.run(notebook, {}, workspace=eb.open(folder), reports=reports)
"""
WHOLE = {"tiny.ipynb", "report.html", "result.json", "manifest.json", "tables"}


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of one cell that leaves a report."""
    return make.notebook(tmp_path / "tiny.ipynb", make.REPORTING)


@pytest.fixture
def kill(workspace, notebook, tmp_path):
    """Run the notebook in a process that dies at a moment; give the reports that there are."""

    def run(moment):
        arguments = [str(workspace.path), str(notebook), str(tmp_path / "reports"), moment]
        killed = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False)
        assert killed.returncode == -signal.SIGKILL
        folders = (tmp_path / "reports" / "tiny").iterdir()
        return [folder for folder in folders if not folder.name.startswith(".")]

    return run


def read(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_leaves_the_report_before_whole_or_none(
    workspace, notebook, tmp_path, kill, no_browser
):
    assert kill("after write_json") == []
    assert workspace.ledger.bodies("report.published").is_empty()
    done = runbook.run(str(notebook), {}, workspace=workspace, reports=tmp_path / "reports")
    assert {path.name for path in done.folder.iterdir()} == WHOLE
    assert str(done.folder) in done.notebook.read_text()
    assert "unfinished" not in done.notebook.read_text()
    done.html.write_text("the report before")
    held = read(done.folder)
    assert kill("after _print_pdf") == [done.folder]
    assert read(done.folder) == held
    assert workspace.ledger.bodies("report.published")["run"].to_list() == [done.folder.name]


def test_a_report_is_published_only_once_it_is_whole_and_in_its_place(
    workspace, notebook, tmp_path, kill, no_browser
):
    [folder] = kill("before _publish")
    assert {path.name for path in folder.iterdir()} == WHOLE
    assert workspace.ledger.bodies("report.published").is_empty()
    done = runbook.run(str(notebook), {}, workspace=workspace, reports=tmp_path / "reports")
    assert done.folder == folder
    assert workspace.ledger.bodies("report.published")["run"].to_list() == [folder.name]
