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
def make(tmp_path):
    """Write a tiny notebook; cells after the parameters."""

    def write(*cells, parameters=PARAMETERS):
        kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        tagged = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
        code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
        heading = nbformat.v4.new_markdown_cell("# What is <b>given</b>?")
        notebook.cells = [heading, tagged, *code]
        path = tmp_path / "tiny.ipynb"
        nbformat.write(notebook, path)
        return str(path)

    return write


@pytest.fixture
def start(workspace, tmp_path):
    def run(notebook, **parameters):
        return runbook.run(notebook, parameters, workspace=workspace, reports=tmp_path / "reports")

    return run


def given(done):
    return orjson.loads(done.result.read_bytes())["given"][0]


def test_text_is_read_as_the_type_of_the_default(make, start, no_browser):
    done = start(make(WRITE), n="4", share=".25", flag="true", names='["x", "y"]', title="1")
    assert given(done) == {
        "n": 4,
        "share": 0.25,
        "flag": True,
        "names": "x,y",
        "title": "1",
        "python": sys.executable,
    }


def test_a_run_is_named_by_its_parameters_and_pins(make, start, workspace, no_browser):
    notebook = make(WRITE)
    first, same, other = start(notebook), start(notebook, n=3), start(notebook, n=4)
    assert first.folder == same.folder != other.folder
    workspace.ledger.append("note.added", "s", {"text": "seen"})
    later, pinned = start(notebook), start(notebook, ledger_seq="0")
    assert later.folder != first.folder == pinned.folder
    manifest = orjson.loads(later.manifest.read_bytes())
    assert manifest["parameters"] == {
        "n": 3,
        "share": 0.5,
        "flag": False,
        "names": [],
        "title": "a",
    }
    assert manifest["ledger_seq"] == 3  # two reports of the first state, then the note
    assert {"evalbench", "polars", "numpy"} <= manifest["packages"].keys()
    assert set(manifest) >= {"git_commit", "python", "seed", "lake_versions", "notebook"}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"quartre": "1"}, "no parameter 'quartre'; it knows: .*title"),
        ({"workspace": "x"}, "no parameter 'workspace'"),
        ({"n": "many"}, "'n': .*integer.*'many'"),
        ({"names": "x"}, "'names'"),
        ({"ledger_seq": "last"}, "'ledger_seq'"),
        ({"lake_versions": '{"span": "new"}'}, "'lake_versions'"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(
    make, start, tmp_path, parameters, said
):
    with pytest.raises(NotebookError, match=said):
        start(make("raise SystemExit"), **parameters)
    assert not (tmp_path / "reports").exists()


def test_a_parameter_without_a_default_must_be_given(make, start, no_browser):
    notebook = make(WRITE, parameters=PARAMETERS.replace('"a"', "..."))
    with pytest.raises(NotebookError, match="needs a value for: title"):
        start(notebook)
    assert given(start(notebook, title="b"))["title"] == "b"


def test_a_notebook_must_take_what_every_run_sets(make, start):
    with pytest.raises(NotebookError, match="must have the parameters: folder"):
        start(make(WRITE, parameters=PARAMETERS.replace('folder = ""', "")))


def test_an_unknown_notebook_is_named_beside_those_there_are(start):
    with pytest.raises(NotebookError, match=r"99_nothing.*11_impact"):
        start("99_nothing")


def test_a_failing_cell_is_one_line_with_the_notebook_to_look_at(make, start, tmp_path):
    with pytest.raises(NotebookError) as failure:
        start(make("1 / 0"))
    [executed] = (tmp_path / "reports").rglob("tiny.ipynb")
    assert "ZeroDivisionError: division by zero" in str(failure.value)
    assert str(executed) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_notebook_that_writes_no_result_is_an_error(make, start):
    with pytest.raises(NotebookError, match=r"no result\.json"):
        start(make("1 + 1"))


def test_the_page_shows_no_code_runs_no_script_and_loads_nothing(make, start, no_browser):
    done = start(make(WRITE))
    page = done.html.read_text()
    assert "<title>What is &lt;b&gt;given&lt;/b&gt;?</title>" in page
    assert "Content-Security-Policy" in page
    assert "import polars" not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "url(" not in page
    assert done.pdf is None


def test_a_browser_that_is_found_prints_the_pdf(make, start):
    if not runbook.find_browser():
        pytest.skip("no Chromium or Chrome on this machine")
    done = start(make(WRITE))
    assert done.pdf.read_bytes().startswith(b"%PDF")


def test_progress_counts_the_cells(make, workspace, tmp_path, no_browser):
    seen = []
    runbook.run(
        make(WRITE, "1"),
        {},
        workspace=workspace,
        reports=tmp_path / "reports",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


def test_two_runs_in_one_folder_never_share_a_socket():
    first, second = runbook._Kernel(), runbook._Kernel()
    assert first.ip != second.ip
