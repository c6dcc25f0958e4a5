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
TARGET = {"metric": "failure_rate", "surface": "shop", "mode": "rude", "target": 0.1}
TARGET |= {"owner": "ana"}


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


def clocks_backwards_and_a_release_twice(ws):
    shop.fill(ws.path)
    late = replace(ws.ledger, clock=lambda: JULY - timedelta(days=900))
    again = {"surface": "shop", "release": "10", "shipped_at": shop.START + timedelta(hours=300)}
    late.append("release.shipped", "10", again)
    late.append("target.set", "rude", TARGET)


LACKS = [empty, one_session, without_time, nothing_but_sessions]


@pytest.mark.parametrize("notebook", ["09_monitor", "11_impact"])
@pytest.mark.parametrize("quarter", ["all", "2026Q3", "2027Q1"])
@pytest.mark.parametrize("lack", [*LACKS, clocks_backwards_and_a_release_twice])
def test_a_workspace_that_lacks_things_is_reported_on(workspace, tmp_path, lack, quarter, notebook):
    lack(workspace)
    about = {"quarter": quarter} | ({"judge": True, "record": True} if "09" in notebook else {})
    result = play(notebook, workspace, tmp_path / "report", **about)
    known = {row["reason"] for row in result["rates"]} == {""}
    assert known == (lack not in LACKS and quarter != "2027Q1")
