"""The project's own files say the same thing, and importing evalbench stays light."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"psycopg[binary]": "psycopg"}


def _project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_is_the_conda_form_of_pyproject():
    declared = set()
    for requirement in _project()["dependencies"]:
        name, _, version = requirement.partition(">=")
        declared.add(f"{CONDA_NAMES.get(name, name)}>={version}")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = {item for item in environment["dependencies"] if isinstance(item, str)}
    assert listed - {"pip", f"python{_project()['requires-python']}"} == declared


def test_every_dependency_is_pinned_in_constraints():
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    project = _project()
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.split(r"[\[><=]", requirement)[0].lower() for requirement in wanted}
    assert names - pinned == set()


def test_constraints_name_no_index():
    assert not re.search(r"https?://|--", (ROOT / "constraints.txt").read_text())


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (
            "evalbench, evalbench.cli",
            "litellm sklearn altair papermill pandas deltalake polars scipy",
        ),
        (
            "evalbench.report.charts, evalbench.snapshot",
            "litellm papermill pandas statsmodels scipy.stats lark",
        ),
        ("evalbench.report.runbook", "litellm altair pandas statsmodels scipy.stats lark"),
    ],
)
def test_importing_loads_nothing_heavy(modules, heavy):
    code = f"import sys, {modules}; print([n for n in {heavy.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
