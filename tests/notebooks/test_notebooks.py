"""Every notebook is written as rule 18 of the house style asks."""

import ast

import nbformat
import pytest

from evalbench.report import runbook
from evalbench.schema import BODIES

NAMES = sorted(path.stem for path in runbook.NOTEBOOKS.glob("*.ipynb"))
FORBIDDEN = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.AsyncFunctionDef, ast.Lambda)


def read(name):
    return nbformat.read(runbook.NOTEBOOKS / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_written_as_the_house_style_asks(name):
    notebook = nbformat.read(runbook.NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.nbformat_minor >= 5  # cells have an id, as JupyterLab 4 and Notebook 7 write
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # no editor's own
    assert notebook.metadata.kernelspec.name == "python3"  # the one of any environment
    first, *_ = notebook.cells
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert first.source.splitlines()[0].endswith("?")  # the decision it serves
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    assert code[0].metadata.tags == ["parameters"]
    trees = [ast.parse(cell.source) for cell in code]
    imports = [
        any(isinstance(part, ast.Import | ast.ImportFrom) for part in ast.walk(tree))
        for tree in trees
    ]
    assert imports == [False, True] + [False] * (len(code) - 2)
    for cell, tree in zip(code, trees, strict=True):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert "sys.path" not in cell.source
        assert not any(isinstance(part, FORBIDDEN) for part in ast.walk(tree))
    for cell in code[2:]:
        assert len(cell.source.splitlines()) <= 8


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_one_snapshot_and_names_no_event_and_no_pin(name):
    code = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    _, imports, *rest = code
    written = "\n".join([imports, *rest])
    assert not [kind for kind in BODIES if f'"{kind}"' in written]
    assert not [
        word for word in ("restate(", "decide(", "sampling_frame", "headings") if word in written
    ]
    [asking] = [cell for cell in rest if "eb.snapshot(" in cell]
    others = "\n".join(cell for cell in rest if cell is not asking)
    assert "lake_versions=lake_versions" in asking or "**pins" in asking
    assert "lake_versions" not in others
    assert "ledger_seq" not in others


def test_all_of_them_together_are_short():
    code = [cell.source for name in NAMES for cell in read(name).cells if cell.cell_type == "code"]
    lines = [line for source in code for line in source.splitlines()]
    written = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(written) < 47 * len(NAMES)
