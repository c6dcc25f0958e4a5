"""tau-bench has no labels and no time: the report is of the recorded outcome, by task."""

from pathlib import Path

import orjson
import pytest

import evalbench as eb
from evalbench.report import runbook

RUNS = Path(__file__).parents[3] / "shared/data/traces/taubench_gpt-4o-airline.json"
WILSON = (0.5107, 0.6463)


@pytest.mark.skipif(not RUNS.exists(), reason="no public data beside this checkout")
def test_failure_is_58_percent_with_an_interval_that_resamples_the_50_tasks(workspace, tmp_path):
    columns = {
        "messages": "traj",
        "outcome": "reward",
        "group_key": "task_id",
        "session_id": "{task_id}-{trial}",
    }
    eb.observe.ingest(workspace, RUNS, surface="airline", columns=columns)
    done = runbook.run("11_impact", {}, workspace=workspace, reports=tmp_path / "reports")
    result = orjson.loads(done.result.read_bytes())
    [rate] = result["rates"]
    assert (rate["estimate"], rate["n_labels"], rate["n_groups"]) == (0.58, 200, 50)
    assert rate["low"] < WILSON[0]
    assert rate["high"] > WILSON[1]
    assert result["changes"] == result["sample"] == []
    limits = {row["limit"]: row["n"] for row in result["limits"]}
    assert limits == {"no labels": 1, "no release": 200, "no time": 200, "signals": 10}
    assert "580\u00a0(4" in done.html.read_text()
