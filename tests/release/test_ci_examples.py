"""The examples for continuous integration: read as YAML, and run as far as a shell can."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "docs" / "ci"
FAKE = """#!/usr/bin/env bash
case "$1 $2" in
  "ingest "*) exit ${INGEST:-0} ;;
  "gate "*)
    mkdir -p gate/08_gate/x
    for name in memo.md junit.xml; do echo "$name" > gate/08_gate/x/$name; done
    printf 'gate=7\\nverdict=x\\n%s\\n' "$PWD/gate/08_gate/x/report.html"
    exit $GATE ;;
  "override check") [ "$4" = 7 ] && exit ${OVERRIDE:-10} ;;
esac
exit 99
"""


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"GATE": "0"}, 0),
        ({"GATE": "10"}, 10),
        ({"GATE": "11"}, 11),
        ({"GATE": "3"}, 3),
        ({"GATE": "1"}, 1),
        ({"GATE": "3", "OVERRIDE": "0"}, 3),
        ({"GATE": "10", "OVERRIDE": "0"}, 0),
        ({"GATE": "0", "INGEST": "1"}, 3),
    ],
)
def test_the_script_ends_as_the_gate_does(tmp_path, given, status):
    fake = tmp_path / "bin" / "evalbench"
    fake.parent.mkdir()
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    where = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "SURFACE": "shop"}
    command = ["bash", str(EXAMPLES / "gate.sh"), "ship", "new", "outputs.jsonl"]
    done = subprocess.run(
        command, cwd=tmp_path, env=where | given, capture_output=True, check=False
    )
    assert done.returncode == status
    if "INGEST" not in given:
        assert (tmp_path / "gate" / "memo.md").read_text() == "memo.md\n"


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_each_pipeline_is_yaml_and_calls_the_script_by_its_arguments(name):
    pipeline = yaml.safe_load((EXAMPLES / name).read_text())
    steps = pipeline.get("jobs", pipeline)["gate"]
    lines = steps.get("script") or [step.get("run", "") for step in steps["steps"]]
    [call] = [line for line in lines if "gate.sh" in line]
    assert len(call.split("gate.sh ")[1].split()) >= 3
    for line in filter(None, lines):
        assert subprocess.run(["bash", "-nc", line], check=False).returncode == 0
    assert not subprocess.run(["bash", "-n", EXAMPLES / "gate.sh"], check=False).returncode
