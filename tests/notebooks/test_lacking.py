"""Whatever a workspace lacks, 09 and 11 say so and end well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import make
import nbformat
import orjson
import pytest
import shop

from evalbench.report import runbook

JULY = datetime(2026, 7, 2, tzinfo=UTC)


def play(notebook, ws, folder, **parameters):
    """Play a notebook's cells in this process; give what it keeps."""
    cells = nbformat.read(runbook.find_notebook(notebook), as_version=4).cells
    names = {}
    given = {"surface": "shop", "workspace": str(ws.path), "folder": str(folder), **parameters}
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        exec(cell.source, names)
        names |= given if "parameters" in cell.metadata.get("tags", ()) else {}
    return orjson.loads((folder / "result.json").read_bytes())


def empty(ws):
    """Have nothing at all."""


def one_session(ws):
    ws.lake.append("session", make.sessions("s1", started_at=JULY))
    make.modes(ws.ledger, "rude")


def without_time(ws):
    ws.lake.append("session", make.sessions("s1", "s2"))


def nothing_but_sessions(ws):
    ws.lake.append("session", shop.make_sessions(release=None, reported=None))
    make.modes(ws.ledger, "rude")
    ws.ledger.append("target.set", "rude", TARGET)


TARGET = {"metric": "failure_rate", "surface": "shop", "mode": "rude", "target": 0.1}
TARGET |= {"owner": "ana"}


@pytest.mark.parametrize("notebook", ["09_monitor", "11_impact"])
@pytest.mark.parametrize("quarter", ["all", "2026Q3", "2027Q1"])
@pytest.mark.parametrize("lack", [empty, one_session, without_time, nothing_but_sessions])
def test_a_workspace_that_lacks_things_is_reported_on(workspace, tmp_path, lack, quarter, notebook):
    lack(workspace)
    about = {"quarter": quarter} | ({"judge": True, "record": True} if "09" in notebook else {})
    result = play(notebook, workspace, tmp_path / "report", **about)
    assert result.get("alerts", []) == [] or lack is nothing_but_sessions
    assert {row["status"] for row in result["rates"] if "status" in row} <= {"insufficient"}


@pytest.mark.parametrize("notebook", ["09_monitor", "11_impact"])
@pytest.mark.parametrize("quarter", ["2026Q3", "2026Q4"])
def test_clocks_backwards_a_release_twice_and_a_quarter_after_all(tmp_path, quarter, notebook):
    ws = shop.fill(tmp_path / "shop")
    late = replace(ws.ledger, clock=lambda: JULY - timedelta(days=900))
    again = {"surface": "shop", "release": "10", "shipped_at": shop.START + timedelta(hours=300)}
    late.append("release.shipped", "10", again)
    late.append("target.set", "rude", TARGET)
    result = play(notebook, ws, tmp_path / "report", quarter=quarter)
    assert bool(result["rates"]) == (quarter == "2026Q3")
