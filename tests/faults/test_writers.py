"""Colleagues who bring traces into one lake at once, each from a workspace of their own."""

import json
import os
import random
import signal
import time

import boto3
import make
import polars as pl
import pytest
from forked import start

import evalbench as eb
from evalbench.errors import ReadError
from evalbench.store.verification import verify

ROUNDS = os.environ.get("EVALBENCH_ROUNDS", "")
"""How often; a whole trial takes 50, of two writers and of eight. In every second round one is
killed."""
KEYS = ["trace_id", "span_id"]


def span(number):
    return {
        "name": "step",
        "context": {"trace_id": f"trace-{number // 5}", "span_id": f"{number}"},
        "start_time": "2026-01-01T00:00:00+00:00",
        "end_time": "2026-01-01T00:00:01+00:00",
        "attributes": {"session.id": f"session-{number // 5}", "input.value": f"text {number}"},
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files that share a third of their spans, cut within sessions."""
    folder, paths = tmp_path_factory.mktemp("traces"), []
    for name, numbers in (("a", range(80)), ("b", range(38, 120))):
        paths.append(folder / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(span(n)) + "\n" for n in numbers))
    return paths


@pytest.fixture(params=["folder", "object store"])
def lakes(request, tmp_path):
    """Give the settings of a lake by its number."""

    def describe(number):
        if request.param == "folder":
            return f'lake = "{tmp_path / f"lake-{number}"}"\n'
        options = request.getfixturevalue("object_store")
        return make.settings(options, lake=f"s3://traces/{tmp_path.name}/{number}")

    return describe


def write(folder, path, begin):
    time.sleep(max(0, begin - time.time()))
    report = eb.observe.ingest(eb.open(folder), path, surface="support")
    (folder / "done").write_text(str(report.spans))


@pytest.mark.parametrize("writers", [2, 8] if ROUNDS else [3])
def test_writers_of_one_lake_lose_nothing_and_store_nothing_twice(writers, lakes, files, tmp_path):
    chooser = random.Random(writers)
    for number in range(int(ROUNDS or 2)):
        folders = [tmp_path / f"{number}-{writer}" for writer in range(writers)]
        begin, processes = time.time() + 0.5, []
        for writer, folder in enumerate(folders):
            folder.mkdir()
            (folder / "evalbench.toml").write_text(lakes(number))
            processes.append(start(write, folder, files[writer % 2], begin))
        killed = number % 2 == 1
        if killed:
            time.sleep(max(0, begin - time.time()) + chooser.uniform(0, 1))
            processes[0].kill()
        for process in processes:
            process.join(120)
        assert {process.exitcode for process in processes[1:]} == {0}
        if processes[0].exitcode == -signal.SIGKILL:
            write(folders[0], files[0], 0)
        ws = eb.open(folders[0])
        spans = ws.lake.spans().collect()
        assert sorted(spans["span_id"].cast(int)) == list(range(120))
        assert not spans.select(KEYS).is_duplicated().any()
        sessions = ws.lake.sessions().collect()
        assert sorted(sessions["session_id"]) == sorted(f"session-{n}" for n in range(24))
        assert set(sessions["n_spans"]) == {5}
        counts = [int((folder / "done").read_text()) for folder in folders]
        assert sum(counts) == 120 or (killed and sum(counts) < 120)
        for table, version in ws.lake.versions().items():
            for each in range(version + 1):
                rows = ws.lake.scan(table, version=each).select(pl.len()).collect().item()
                assert rows <= 120
        assert verify(folders[0]).flaws == []


def test_traces_of_an_object_store_are_read_as_files_are(files, object_store, tmp_path):
    about = {"endpoint_url": object_store["aws_endpoint_url"], "region_name": "us-east-1"}
    keys = {name: object_store[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    for path in files:
        boto3.client("s3", **about, **keys).upload_file(path, "traces", f"exports/{path.name}")
    lines = "".join(f'{name} = "{value}"\n' for name, value in object_store.items())
    (tmp_path / "evalbench.toml").write_text(f"[lake_options]\n{lines}")
    ws = eb.open(tmp_path)
    report = eb.observe.ingest(ws, "s3://traces/exports/*.jsonl", surface="support")
    assert (report.spans, report.sessions, report.duplicates) == (120, 24, 42)
    with pytest.raises(ReadError, match="check the pattern"):
        eb.observe.ingest(ws, "s3://traces/exports/*.csv", surface="support")
