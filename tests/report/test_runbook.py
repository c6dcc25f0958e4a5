"""A notebook runs with known parameters only, and its report says what it was made from."""

import sys

import nbformat
import orjson
import pytest

from evalbench.errors import NotebookError
from evalbench.report import runbook

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


@pytest.fixture
def start(tmp_path, workspace):
    """Run a tiny notebook of the cells given, after the parameters."""

    def run(*cells, parameters=PARAMETERS, progress=lambda done, total: None, **given):
        kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        tagged = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
        code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
        notebook.cells = [nbformat.v4.new_markdown_cell("# What is <b>given</b>?"), tagged, *code]
        path, reports = tmp_path / "tiny.ipynb", tmp_path / "reports"
        nbformat.write(notebook, path)
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
    first, same, other = start(WRITE), start(WRITE, n=3), start(WRITE, n=4)
    assert first.folder == same.folder != other.folder
    workspace.ledger.append("note.added", "s", {"text": "seen"})
    later, pinned = start(WRITE), start(WRITE, ledger_seq="0")
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


def test_a_browser_that_is_found_prints_the_pdf(start):
    if not runbook.find_browser():
        pytest.skip("no Chromium or Chrome on this machine")
    assert start(WRITE).pdf.read_bytes().startswith(b"%PDF")


def test_two_runs_in_one_folder_never_share_a_socket():
    first, second = runbook._Kernel(), runbook._Kernel()
    assert first.ip != second.ip
