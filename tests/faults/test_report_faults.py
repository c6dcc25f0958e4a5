"""A report is there whole or not at all, whenever the run is killed."""

import signal

import make
import pytest
from forked import kill_at, start

import evalbench as eb
from evalbench.report import runbook

WHOLE = {"tiny.ipynb", "report.html", "result.json", "manifest.json", "tables"}


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of one cell that leaves a report."""
    return make.notebook(tmp_path / "tiny.ipynb", make.REPORTING)


def report(folder, notebook, reports, moment):
    runbook._BROWSERS = ()
    kill_at(moment, runbook, "write_json", "_print_pdf", "_publish")
    runbook.run(notebook, {}, workspace=eb.open(folder), reports=reports)


@pytest.fixture
def kill(workspace, notebook, tmp_path):
    """Run the notebook in a process that dies at a moment; give the reports that there are."""

    def run(moment):
        process = start(report, workspace.path, str(notebook), tmp_path / "reports", moment)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        folders = (tmp_path / "reports" / "tiny").iterdir()
        return [folder for folder in folders if not folder.name.startswith(".")]

    return run


def read(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_leaves_the_report_before_whole_or_none(
    workspace, notebook, tmp_path, kill, no_browser
):
    assert kill("after write_json 1") == []
    assert workspace.ledger.bodies("report.published").is_empty()
    done = runbook.run(str(notebook), {}, workspace=workspace, reports=tmp_path / "reports")
    assert {path.name for path in done.folder.iterdir()} == WHOLE
    assert str(done.folder) in done.notebook.read_text()
    assert "unfinished" not in done.notebook.read_text()
    done.html.write_text("the report before")
    held = read(done.folder)
    assert kill("after _print_pdf 1") == [done.folder]
    assert read(done.folder) == held
    assert workspace.ledger.bodies("report.published")["run"].to_list() == [done.folder.name]


def test_a_report_is_published_only_once_it_is_whole_and_in_its_place(
    workspace, notebook, tmp_path, kill, no_browser
):
    [folder] = kill("before _publish 1")
    assert {path.name for path in folder.iterdir()} == WHOLE
    assert workspace.ledger.bodies("report.published").is_empty()
    done = runbook.run(str(notebook), {}, workspace=workspace, reports=tmp_path / "reports")
    assert done.folder == folder
    assert workspace.ledger.bodies("report.published")["run"].to_list() == [folder.name]
