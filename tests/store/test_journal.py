"""A journal on a disk that is full or damaged: nothing else is lost, and it is said."""

import resource
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson
import pytest

from evalbench.errors import StoreError
from evalbench.store.journal import TRIES, open_journal, read_tries, recover

JUDGED_AT = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)


def make_row(number):
    names = ("surface", "mode", "evaluator_id", "evaluator_version")
    row = {"session_id": f"s{number:04}", "repeat": 0, "fails": True, "judged_at": JUDGED_AT}
    return dict.fromkeys(names, "x") | row


@contextmanager
def full_disk(size):
    """Let no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def read_ids(workspace):
    return lambda: workspace.lake.verdicts().collect()["session_id"].sort().to_list()


def test_a_full_disk_is_one_clear_error_and_what_was_judged_is_kept(workspace, read_ids):
    path, written = workspace.path / "scoring" / "job.run.jsonl", []
    message = r"run\.jsonl: cannot write: File too large; make room and run the same again"

    def write_on(journal):
        while len(written) < 1000:
            journal.write(make_row(len(written)))
            written.append(f"s{len(written):04}")

    with open_journal(path, workspace.lake) as journal:
        with full_disk(4000), pytest.raises(StoreError, match=message):
            write_on(journal)
        assert path.read_bytes().count(b"\n") == len(written) > 10
        assert path.read_bytes().endswith(b"\n")
        journal.write(make_row(len(written)))
    assert read_ids() == [*written, f"s{len(written):04}"]


@pytest.mark.parametrize(
    "damage", [b"\0" * 512, b"\xff" * 512, b'[1]\n{}\n"x"\n{"session_id": 5}\n', b"\n\n"]
)
def test_a_damaged_page_of_a_killed_run_costs_its_own_verdicts_and_is_said(
    workspace, read_ids, damage
):
    path = workspace.path / "scoring" / "job.run.jsonl"
    path.parent.mkdir()
    content = b"".join(orjson.dumps(make_row(number)) + b"\n" for number in range(50))
    path.write_bytes(content[:1024] + damage + content[1024 + len(damage) :])
    whole = {line for line in path.read_bytes().split(b"\n") if line in content.split(b"\n")}
    with pytest.warns(UserWarning, match=r"of \d+ lines are damaged .*: their sessions are judged"):
        assert recover(path.parent, workspace.lake, "job") == "run"
    assert read_ids() == sorted(orjson.loads(line)["session_id"] for line in whole - {b""})
    assert len(read_ids()) >= 50 - 6
    assert path.read_bytes() == b""


def test_a_damaged_note_of_tries_costs_itself(tmp_path):
    lines = b'["a",[1,0,0,0]]\n\0\0\0\n["a",[2,0,0,0]]\n["b",[1'
    (tmp_path / f"job.run{TRIES}").write_bytes(lines)
    assert read_tries(tmp_path, "job") == {"a": [2, 0, 0, 0]}
