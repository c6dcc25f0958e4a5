"""Traces and reports stay on this computer: no process of a command looks up or calls anybody."""

import json
import os
import subprocess
import sys

import make
import pytest

WATCH = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = (arguments[0],)
    else:
        return
    if isinstance(address, tuple):
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{address[0]}}\\n")

sys.addaudithook(watch)
"""
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture
def run(tmp_path):
    """Run Python, and all that it starts, with every address noted; give these."""
    log = tmp_path / "addresses"
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched/sitecustomize.py").write_text(WATCH.format(log=str(log)))
    path = os.pathsep.join([str(tmp_path / "watched"), *filter(None, sys.path)])

    def start(code):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path)
        assert done.returncode == 0
        return {line.split()[1] for line in log.read_text().splitlines()} if log.exists() else set()

    return start


def test_ingest_and_run_call_nobody(run, tmp_path):
    assert run("import socket; socket.getaddrinfo('192.0.2.1', 80)") == {"192.0.2.1"}
    (tmp_path / "addresses").unlink()
    messages = [{"role": "user", "content": "see http://evil.example"}]
    (tmp_path / "traces").write_text(json.dumps({"id": "a", "messages": messages}))
    make.notebook(tmp_path / "tiny.ipynb", make.REPORTING)
    for command in (
        ["ingest", "traces", "--surface", "s", "--map", "session_id=id"],
        ["run", "tiny.ipynb"],
    ):
        assert run(f"from evalbench.cli import main; main({command})") <= LOOPBACK
    assert list(tmp_path.glob("reports/tiny/*/report.html"))
