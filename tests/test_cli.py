"""The command line forwards, says one clear line on error, and never shows a traceback unasked."""

import json
import sys

import pytest

from evalbench.cli import main

CHAT = {
    "id": "1",
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
}


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out.strip().splitlines(), err


def test_ingest_prints_its_counts_last_and_counts_duplicates_the_second_time(tmp_path, capsys):
    traces = tmp_path / "chat.jsonl"
    traces.write_text(json.dumps(CHAT) + "\nnot json\n")
    command = ("ingest", traces, "--surface", "s", "--workspace", tmp_path / "ws")
    status, out, err = run(capsys, *command, "--map", "session_id=id")
    assert (status, out[-1]) == (0, "sessions=1 spans=1 rejected=1 duplicates=0")
    assert "rejected" in err
    status, out, _ = run(capsys, *command, "--map", "session_id=id")
    assert (status, out[-1]) == (0, "sessions=0 spans=0 rejected=1 duplicates=1")
    traces.write_text('{"messages": "none"}\n')
    status, out, err = run(capsys, *command, "--format", "openai-chat")
    assert (status, out[-1]) == (1, "sessions=0 spans=0 rejected=1 duplicates=0")
    assert "every row was rejected. Line 1: " in err


def test_verify_prints_zero_for_a_chain_that_holds(tmp_path, capsys):
    status, out, _ = run(capsys, "verify", "--workspace", tmp_path / "ws")
    assert (status, out) == (0, ["0"])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("ingest", "no-such-file", "--surface", "s"), 3, "no-such-file"),
        (("ingest", __file__, "--surface", "s", "--map", "oops"), 2, "oops"),
        (("run", "99_nothing"), 3, "99_nothing"),
        (("run", "11_impact", "-p", "quartre", "2026Q3"), 3, "quartre"),
        (("verdicts", "import", __file__, "--surface", "s"), 2, "--evaluator"),
        (("bogus",), 2, "bogus"),
    ],
)
def test_an_error_is_one_line_and_a_status(tmp_path, capsys, monkeypatch, arguments, status, said):
    monkeypatch.setenv("EVALBENCH_WORKSPACE", str(tmp_path / "ws"))
    code, _, err = run(capsys, *arguments)
    assert code == status
    assert said in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "text", "counts"),
    [
        ("labels", "session_id,fails\n{},1\n", "added=1 rejected=0 duplicates=0"),
        ("codebook", "mode,name,session\nx{0},{0},\n", "added=1 rejected=0 duplicates=0"),
        ("verdicts", "session_id,mode,fails\n{},,1\n", "added=1 silent=0 rejected=0 duplicates=0"),
    ],
)
def test_imports_count_last_and_a_wholly_rejected_file_ends_with_status_1(
    tmp_path, capsys, command, text, counts
):
    path, there = tmp_path / "table.csv", ("--workspace", tmp_path / "ws", "--surface", "s")
    more = {
        "labels": ("--annotator", "ana", "--traces-elsewhere"),
        "verdicts": ("--evaluator", "x", "--mode", "", "--value", "1=0"),
    }
    path.write_text(text.format("a"))
    status, out, _ = run(capsys, command, "import", path, *there, *more.get(command, ()))
    assert (status, out[-1]) == (0, counts)
    path.write_text("odd,mode,fails\na,,1\n")
    status, out, err = run(capsys, command, "import", path, *there, *more.get(command, ()))
    assert (status, "rejected=1" in out[-1]) == (1, True)
    for said in ("not", "odd", "--map", "every row was rejected. Line 2: ", "table-"):
        assert said in err
    if command != "verdicts":
        status, out, _ = run(capsys, command, "export", tmp_path / "out.csv", *there)
        assert (status, out) == (0, ["written=1"])


def test_debug_shows_where(tmp_path):
    with pytest.raises(Exception, match="no-such-file"):
        main(["ingest", "no-such-file", "--surface", "s", "--workspace", str(tmp_path), "--debug"])


def test_annotate_without_voila_names_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila.app", None)
    status, _, err = run(capsys, "annotate", "--workspace", tmp_path / "ws")
    assert status == 3
    assert "pip install 'evalbench[app]'" in err
    assert len(err.strip().splitlines()) == 1
