"""What the examples of a schedule run is there: the notebook, its parameters, the command line."""

import re
from pathlib import Path

import papermill
import pytest
import yaml

from evalbench.report import runbook

FOLDER = Path(__file__).parents[1] / "docs/schedule"


@pytest.mark.parametrize("name", ["crontab", "monitor.yml", "monitor_dag.py"])
def test_it_runs_a_notebook_with_parameters_that_it_knows(name):
    text = (FOLDER / name).read_text("utf-8")
    known = papermill.inspect_notebook(runbook.find_notebook("09_monitor"))
    assert "evalbench run 09_monitor" in text
    assert {"surface", "judge", "record"} <= set(re.findall(r"-p (\w+)", text)) <= set(known)


def test_the_files_are_read_as_what_they_are():
    steps = yaml.safe_load((FOLDER / "monitor.yml").read_text("utf-8"))["jobs"]["monitor"]["steps"]
    assert [step["run"].split()[-1] for step in steps if "09_monitor" in step.get("run", "")] == [
        "true"
    ]
    compile((FOLDER / "monitor_dag.py").read_text("utf-8"), "monitor_dag.py", "exec")
    [line] = [
        each for each in (FOLDER / "crontab").read_text("utf-8").splitlines() if "* *" in each
    ]
    assert line.split()[:5] == ["0", "6", "*", "*", "*"]
