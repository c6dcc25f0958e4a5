"""A stranger's first hour: an empty folder, a new environment, the wheel, traces of tau-bench.

What the wheel depends on comes from the environment of the tests; evalbench itself does not.
"""

import csv
import json
import shlex
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = ROOT.parent / "shared/data/traces/taubench_gpt-4o-airline.json"

MODES = """mode,name,definition,example,severity,failure_class,owner
wrong_end,Wrong end,It is not what was asked.,Another flight.,user impact,answer quality,ben
"""
LABELS = ["session_id,annotator,verdict,modes,note"]


@pytest.fixture(scope="module")
def evalbench(tmp_path_factory):
    """Install the wheel, and give what runs its command in an empty folder."""
    folder = tmp_path_factory.mktemp("stranger")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    program = folder / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(program), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    work = folder / "work"
    work.mkdir()
    environment = {"HOME": str(folder), "PATH": str(program.parent)}  # so that it finds no browser
    environment["JUPYTER_PATH"] = str(Path(sys.prefix, "share/jupyter"))

    def run(command):
        done = subprocess.run(
            shlex.split(command), cwd=work, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    where = run("python -c 'import evalbench; print(evalbench.__file__)'")
    assert Path(where).is_relative_to(packages)
    run.folder = work
    return run


def test_the_demo_ends_in_a_report(evalbench):
    *_, page = evalbench("evalbench demo --sessions 60").splitlines()
    assert "2026Q3" in Path(page).read_text("utf-8")


@pytest.mark.skipif(not RUNS.exists(), reason="public data is not in this checkout")
def test_the_five_steps_end_in_the_report(evalbench):
    evalbench("evalbench init")
    assert "broken" not in evalbench("evalbench doctor")
    said = evalbench(f"evalbench ingest --explain {RUNS} --surface airline")
    assert "sessions=200 spans=3818" in evalbench(said.splitlines()[-1])
    evalbench("evalbench run 01_observe -p surface airline")
    drawn = evalbench("evalbench run 02_sample -p surface airline -p n 40").strip()
    with Path(drawn).with_name("tables").joinpath("items.csv").open(newline="") as file:
        names = [row["session_id"] for row in csv.DictReader(file)]
    passed = {
        f"{run['task_id']}-{run['trial']}" for run in json.loads(RUNS.read_bytes()) if run["reward"]
    }
    said = {True: "pass,,", False: "fail,wrong_end,It is not what was asked."}
    labels = [*LABELS, *(f"{name},ana,{said[name in passed]}" for name in names)]
    (evalbench.folder / "labels.csv").write_text("\n".join(labels))
    (evalbench.folder / "modes.csv").write_text(MODES)
    told = evalbench("evalbench codebook import modes.csv --surface airline")
    assert told.strip() == "added=1 rejected=0 duplicates=0"
    told = evalbench("evalbench labels import labels.csv --surface airline")
    assert told.strip() == "added=40 rejected=0 duplicates=0"
    evalbench("evalbench run 03_discover -p surface airline")
    page = Path(evalbench("evalbench run 11_impact -p surface airline").strip())
    [rate] = json.loads(page.with_name("result.json").read_bytes())["rates"]
    assert (rate["n_labels"], rate["low"] < 0.58 < rate["high"]) == (40, True)
    assert page.with_name("manifest.json").exists()
    assert evalbench("evalbench verify").strip() == "0"
