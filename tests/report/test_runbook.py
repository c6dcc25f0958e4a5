"""A notebook runs with known parameters only, and its report says what it was made from."""

import socket
import sys

import make
import orjson
import polars as pl
import pytest

from evalbench.errors import NotebookError
from evalbench.report import runbook
from evalbench.report.kernel import Kernel
from evalbench.store.chain import GENESIS

PARAMETERS = """
workspace = ""
folder = ""
lake_versions = {}
ledger_seq = None
n = 3
share = 0.5
flag = False
names = []
title = "a"
"""
WRITE = """
import sys
import polars as pl
import evalbench as eb
print("</pre><script>alert(1)</script>")
row = {"n": n, "share": share, "flag": flag, "names": ",".join(names), "title": title}
report = eb.report(eb.snapshot(workspace), folder)
report.keep(given=pl.DataFrame([row | {"python": sys.executable}]))
report.write()
"""

LEAVE = """
from pathlib import Path
Path(folder, "result.json").write_text("{}")
"""
"""Leaves a result without loading the package, which takes seconds a run."""


@pytest.fixture
def start(tmp_path, workspace):
    """Run a tiny notebook of the cells given, after the parameters."""

    def run(*cells, parameters=PARAMETERS, progress=lambda done, total: None, **given):
        path = make.notebook(tmp_path / "tiny.ipynb", *cells, parameters=parameters)
        reports = tmp_path / "reports"
        where = {"workspace": workspace, "reports": reports, "progress": progress}
        return runbook.run(str(path), given, **where)

    return run


def test_text_is_read_as_the_type_of_the_default_and_the_page_is_safe(start, no_browser):
    seen = []
    required = PARAMETERS.replace('"a"', "...")
    given = {"n": "4", "share": ".25", "flag": "true", "names": '["x", "y"]', "title": "1"}
    done = start(WRITE, parameters=required, progress=lambda *counts: seen.append(counts), **given)
    [row] = orjson.loads(done.result.read_bytes())["given"]
    expected = {"n": 4, "share": 0.25, "flag": True, "names": "x,y", "title": "1"}
    assert row == expected | {"python": sys.executable}
    assert seen == sorted(seen)
    assert seen[-1] == (4, 4)
    page = done.html.read_text()
    for safe in ("<title>What is &lt;b&gt;given&lt;/b&gt;?</title>", "Content-Security-Policy"):
        assert safe in page
    assert "&lt;script&gt;" in page
    for unsafe in ("import polars", "<script", "src=", "url("):
        assert unsafe not in page
    assert done.pdf is None


def test_a_run_is_named_by_its_parameters_and_pins(start, workspace, no_browser):
    first, same, other = start(LEAVE), start(LEAVE, n=3), start(LEAVE, n=4)
    assert first.folder == same.folder != other.folder
    workspace.ledger.append("note.added", "s", {"text": "seen"})
    later, pinned = start(LEAVE), start(LEAVE, ledger_seq="0")
    assert later.folder != first.folder == pinned.folder
    manifest = orjson.loads(later.manifest.read_bytes())
    parameters = {"n": 3, "share": 0.5, "flag": False, "names": [], "title": "a"}
    assert manifest["parameters"] == parameters
    assert manifest["ledger_seq"] == 3  # two reports of the first state, then the note
    assert {"evalbench", "polars", "numpy"} <= manifest["packages"].keys()
    assert set(manifest) >= {"git_commit", "python", "seed", "lake_versions", "notebook"}


@pytest.mark.parametrize(
    ("declared", "parameters", "said"),
    [
        (PARAMETERS, {"quartre": "1"}, "no parameter 'quartre'; it knows: .*title"),
        (PARAMETERS, {"workspace": "x"}, "no parameter 'workspace'"),
        (PARAMETERS, {"n": "many"}, "'n': .*integer.*'many'"),
        (PARAMETERS, {"names": "x"}, "'names'"),
        (PARAMETERS, {"ledger_seq": "last"}, "'ledger_seq'"),
        (PARAMETERS, {"lake_versions": '{"span": "new"}'}, "'lake_versions'"),
        (PARAMETERS.replace('"a"', "..."), {}, "needs a value for: title"),
        (PARAMETERS.replace('folder = ""', ""), {}, "must have the parameters: folder"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(
    start, tmp_path, declared, parameters, said
):
    with pytest.raises(NotebookError, match=said):
        start("raise SystemExit", parameters=declared, **parameters)
    assert not (tmp_path / "reports").exists()


def test_an_unknown_notebook_is_named_beside_those_there_are(workspace, tmp_path):
    with pytest.raises(NotebookError, match=r"99_nothing.*11_impact"):
        runbook.run("99_nothing", {}, workspace=workspace, reports=tmp_path)


def test_a_failing_cell_is_one_line_with_the_notebook_to_look_at(start, tmp_path):
    with pytest.raises(NotebookError) as failure:
        start("1 / 0")
    [executed] = (tmp_path / "reports").rglob("tiny.ipynb")
    assert "ZeroDivisionError: division by zero" in str(failure.value)
    assert str(executed) in str(failure.value)
    assert "\n" not in str(failure.value)
    with pytest.raises(NotebookError, match=r"no result\.json"):
        start("1 + 1")


def test_what_lies_in_the_folder_one_is_in_stands_in_for_no_package(
    start, tmp_path, monkeypatch, no_browser
):
    for name in ("evalbench", "polars"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").write_text("raise ImportError('hidden')")
    monkeypatch.chdir(tmp_path / "here")
    [row] = orjson.loads(start(WRITE).result.read_bytes())["given"]
    assert row["python"] == sys.executable


def test_the_next_notebook_finds_nothing_of_the_one_before(
    start, tmp_path, monkeypatch, no_browser
):
    start("import os", "left, os.environ['LEFT'] = 1, 'x'; os.chdir('/')", LEAVE)
    monkeypatch.setenv("MINE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    there = "import os", "assert not {'left', 'Path'} & {*globals()} and 'LEFT' not in os.environ"
    start(*there, "assert os.environ['MINE'] == os.getcwd()", LEAVE)


def test_a_report_names_the_last_event_it_knows_and_its_hash(start, workspace, no_browser):
    ledger = workspace.ledger
    empty = start(LEAVE, ledger_seq=0)
    assert orjson.loads(empty.manifest.read_bytes())["ledger"] == {"seq": 0, "hash": GENESIS}
    ledger.append("note.added", "s", {"text": "seen"})
    done = start(LEAVE)
    ledger.append("note.added", "s", {"text": "seen later"})
    known = ledger.events("note.added").filter(pl.col("seq") == 2)["hash"].item()
    assert orjson.loads(done.manifest.read_bytes())["ledger"] == {"seq": 2, "hash": known}
    footer = done.html.read_text().split("<footer>")[1]
    assert "event 2" in footer
    assert known in footer
    with pytest.raises(NotebookError, match=r"ends with event 4 \(got 9\)"):
        start(LEAVE, ledger_seq=9)


NETWORK = ("TCP_CONNECT", "UDP_BYTES_SENT", "SOCKET_BYTES_SENT", "DNS_TRANSACTION")
RESOLVED = ("HOST_RESOLVER_MANAGER_JOB", "HOST_RESOLVER_SYSTEM_TASK", "HOST_RESOLVER_DNS_TASK")
CALLING = "".join(
    f'<img src="{address}/x.png">'
    for address in ("http://evil.example", "http://192.0.2.1", "http://127.0.0.1:{port}")
)


def test_a_browser_that_is_found_prints_the_pdf_and_calls_nobody(tmp_path, monkeypatch):
    if not runbook.find_browser():
        pytest.skip("no Chromium or Chrome on this machine")
    log = tmp_path / "net.json"
    monkeypatch.setattr(runbook, "_HEADLESS", (*runbook._HEADLESS, f"--log-net-log={log}"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        html = tmp_path / "calling.html"
        html.write_text(CALLING.format(port=listener.getsockname()[1]))
        assert runbook._print_pdf(html, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
        with pytest.raises(BlockingIOError):
            listener.accept()
    told = orjson.loads(log.read_bytes())
    kinds = {number: name for name, number in told["constants"]["logEventTypes"].items()}
    assert {*NETWORK, *RESOLVED} <= set(kinds.values())
    seen = {kinds[event["type"]] for event in told["events"]}
    assert "URL_REQUEST_START_JOB" in seen  # it was asked to
    assert not seen & {*NETWORK, *RESOLVED}


def test_two_runs_in_one_folder_never_share_a_socket():
    first, second = Kernel(), Kernel()
    assert first.ip != second.ip
