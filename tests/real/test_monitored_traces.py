"""Langfuse exports of other people's agents, watched without a label, a judge or a target."""

from pathlib import Path

import pytest

import evalbench as eb
from evalbench.report import monitoring

FOLDER = Path(__file__).parents[3] / "shared/data/traces/langfuse_exports"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data is not there")


def test_traffic_is_told_and_what_is_missing_is_said(tmp_path):
    ws = eb.open(tmp_path)
    for path in sorted(FOLDER.glob("*.trace.json")):
        eb.observe.ingest(ws, path, surface="agents")
    view = eb.snapshot(ws, surface="agents")
    sessions, now = view.sessions, view.watched["now"]
    assert sessions.height >= 7
    days = (now - sessions["started_at"].min()).days // 2 + 1
    traffic = view.compare_traffic(days, tolerance=0.05)
    assert {"length in turns", "model", "tool"} <= set(traffic["trait"])
    assert set(traffic["reading"]) == {"cannot tell"}  # a few sessions on either side
    causes, budgets = view.find_causes(days, segment="intent"), view.spend_budgets(share=1.0)
    assert causes.is_empty()
    said = monitoring.monitor_headline(
        view.alerts, budgets, causes, traffic, sessions=view.sessions.height
    )
    assert said == "- **No failure has a target**, so none can alert."
