"""The project's own files say the same thing, and importing evalbench stays light."""

import os
import re
import resource
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain, product
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"psycopg[binary]": "psycopg"}
# What is to be installed: each Python that is promised, on each system.
SYSTEMS = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")


def _project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_is_the_conda_form_of_pyproject():
    declared = set()
    for requirement in _project()["dependencies"]:
        name, _, version = requirement.partition(">=")
        declared.add(f"{CONDA_NAMES.get(name, name)}>={version}")
    *conda, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {*conda, *by_pip["pip"]} - {"pip", "-e ."} == {
        f"python{_project()['requires-python']}",
        *declared,
    }


def test_every_dependency_has_one_pin_with_hashes_for_every_python_and_system():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"https?://|--(?!hash=sha256:)", text)
    pins = []
    for line in text.replace("\\\n", "").splitlines():
        pin, *hashes = line.split("--hash=")
        assert hashes, pin
        pins.append(Requirement(pin))
    project = _project()
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    for requirement in map(Requirement, wanted):
        own = [
            pin
            for pin in pins
            if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        ]
        for python, (system, (platform, os_name)) in product(PYTHONS, SYSTEMS.items()):
            place = {"python_full_version": python, "python_version": python[:4]}
            place |= {"sys_platform": system, "platform_system": platform, "os_name": os_name}
            [pin] = [pin for pin in own if pin.marker is None or pin.marker.evaluate(place)]
            [version] = pin.specifier
            assert requirement.specifier.contains(version.version), pin


def test_a_wheel_holds_all_that_the_package_reads_and_the_notebooks(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    lists = subprocess.check_output(
        ["git", "ls-files", "evalbench", "notebooks", "docs/ci"], cwd=ROOT, text=True
    ).splitlines()
    wanted = {name if name.startswith("evalbench/") else f"evalbench/{name}" for name in lists}
    assert wanted - packed == set()


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


def test_help_comes_at_once():
    command = [sys.executable, "-c", "from evalbench.cli import main; main(['--help'])"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_lab_opens_on_the_workspace_that_was_worked_in_last(tmp_path):
    for name in ("pyproject.toml", "constraints.txt", ".venv/base"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for workspace in ("workspace", "demo"):
        command = ["make", "--no-print-directory", "-n", "-f", str(ROOT / "Makefile"), "lab"]
        before = subprocess.check_output(command, cwd=tmp_path, text=True)
        assert f'EVALBENCH_WORKSPACE="{tmp_path}/data/workspace"' in before
        (tmp_path / "data" / workspace).mkdir(parents=True)
    os.utime(tmp_path / "data/workspace", (1, 1))
    after = subprocess.check_output(command, cwd=tmp_path, text=True)
    assert f'EVALBENCH_WORKSPACE="{tmp_path}/data/demo"' in after
