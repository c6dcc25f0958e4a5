from pathlib import Path

import polars as pl
import pytest

import evalbench as eb

RUNS = Path(__file__).parents[3] / "shared/data/traces/taubench_gpt-4o-airline.json"
COLUMNS = {
    "messages": "traj",
    "outcome": "reward",
    "group_key": "task_id",
    "session_id": "{task_id}-{trial}",
}
pytestmark = pytest.mark.skipif(not RUNS.exists(), reason="public data is not in this checkout")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    ws = eb.open(tmp_path_factory.mktemp("workspace"))
    first, second = (
        eb.observe.ingest(ws, RUNS, surface="airline", columns=COLUMNS) for _ in range(2)
    )
    return ws, first, second


def test_every_run_is_a_session_and_every_tool_call_a_span(reports):
    ws, first, _ = reports
    assert (first.sessions, first.rejected, first.duplicates) == (200, 0, 0)
    spans = ws.lake.spans(surface="airline").collect()
    assert spans.filter(kind="tool").height == 1164
    assert spans.filter(tool_name="get_reservation_details").height == 377
    assert first.spans == spans.height


def test_a_second_time_everything_is_a_duplicate(reports):
    ws, first, second = reports
    assert (second.sessions, second.spans, second.rejected) == (0, 0, 0)
    assert second.duplicates == second.records == 200
    assert ws.lake.spans().select(pl.len()).collect().item() == first.spans


def test_outcomes_and_groups_are_those_of_the_runs(reports):
    ws, _, _ = reports
    sessions = ws.lake.sessions(surface="airline").collect()
    assert sessions.height == 200
    assert sessions["outcome"].sum() == 84
    assert sessions["group_key"].value_counts()["count"].unique().to_list() == [4]
    assert sessions["n_tool_calls"].sum() == 1164
