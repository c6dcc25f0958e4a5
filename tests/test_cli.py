"""The command line forwards, says one clear line on error, and never shows a traceback unasked."""

import json

import pytest

from evalbench.cli import main

CHAT = {
    "id": "1",
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
}
LABELS = ("labels", "import", "table", "--surface", "s", "--annotator", "ana", "--traces-elsewhere")
VERDICTS = ("verdicts", "import", "table", "--surface", "s", "--evaluator", "x", "--mode", "")
MODES = ("codebook", "import", "table", "--surface", "s")


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EVALBENCH_WORKSPACE", str(tmp_path / "ws"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        return stop.value.code, out.strip().splitlines()[-1:], err

    return call


def test_ingest_prints_its_counts_last_and_counts_duplicates_the_second_time(run, tmp_path):
    traces = tmp_path / "traces"
    traces.write_text(json.dumps(CHAT) + "\nnot json\n")
    command = ("ingest", "traces", "--surface", "s")
    status, out, err = run(*command, "--map", "session_id=id")
    assert (status, out) == (0, ["sessions=1 spans=1 rejected=1 duplicates=0"])
    assert "rejected" in err
    status, out, _ = run(*command, "--map", "session_id=id")
    assert (status, out) == (0, ["sessions=0 spans=0 rejected=1 duplicates=1"])
    traces.write_text('{"messages": "none"}\n')
    status, out, err = run(*command, "--format", "openai-chat")
    assert (status, out) == (1, ["sessions=0 spans=0 rejected=1 duplicates=0"])
    assert "every row was rejected. Line 1: " in err


def test_a_source_read_otherwise_is_told_apart_and_read_anew_when_asked(run, tmp_path):
    (tmp_path / "traces").write_text(json.dumps(CHAT | {"build": "b"}) + "\n")
    command = ("ingest", "traces", "--surface", "s", "--map", "session_id=id")
    assert run(*command)[1] == ["sessions=1 spans=1 rejected=0 duplicates=0"]
    command = (*command, "--map", "release=build")
    status, out, err = run(*command)
    assert (status, out) == (1, ["sessions=0 spans=0 rejected=0 duplicates=0 collisions=1"])
    assert "--replace" in err
    status, out, _ = run(*command, "--replace")
    assert (status, out) == (0, ["sessions=0 spans=1 rejected=0 duplicates=0"])


def test_a_map_that_merges_traces_is_said_beside_the_counts(run, tmp_path):
    lines = (json.dumps(CHAT | {"trace_id": str(n), "team": "x"}) + "\n" for n in range(9))
    (tmp_path / "traces").write_text("".join(lines))
    status, out, err = run("ingest", "traces", "--surface", "s", "--map", "session_id=team")
    assert (status, out) == (0, ["sessions=1 spans=9 rejected=0 duplicates=0"])
    assert "session 'x' takes in 9 of 9 traces" in err


@pytest.mark.parametrize(
    ("command", "text", "counts"),
    [
        (LABELS, "session_id,fails\na,1\n", "added=1 rejected=0 duplicates=0"),
        (MODES, "mode,name\nx,X\n", "added=1 rejected=0 duplicates=0"),
        (VERDICTS, "session_id,mode,fails\na,,1\n", "added=1 silent=0 rejected=0 duplicates=0"),
    ],
)
def test_a_wholly_rejected_file_ends_with_status_1(run, tmp_path, command, text, counts):
    (tmp_path / "table").write_text(text)
    assert run(*command)[:2] == (0, [counts])
    if command is not VERDICTS:
        assert run(command[0], "export", "out.csv", "--surface", "s")[:2] == (0, ["written=1"])
    (tmp_path / "table").write_text("odd,mode,fails\na,,1\n")
    status, out, err = run(*command)
    assert (status, "rejected=1" in out[0]) == (1, True)
    for said in ("from: odd", "every row was rejected. Line 2: ", "--map", "table-"):
        assert said in err


def test_verify_makes_no_workspace_and_says_what_is_broken(run, tmp_path):
    status, out, _ = run("verify")
    assert (status, out) == (1, [f"there is no workspace at {tmp_path / 'ws'}"])
    (tmp_path / "table").write_text("session_id,fails\na,1\n")
    run(*LABELS)
    assert run("verify")[:2] == (0, ["0"])
    assert run("anchor", "kept")[1][0].startswith("seq=2 hash=")
    assert run("verify", "--anchor", "kept")[:2] == (0, ["0"])
    assert run("anchor", "kept")[0] == 3
    for file in (tmp_path / "ws").glob("ledger*"):
        file.unlink()
    status, out, _ = run("verify", "--anchor", "kept")
    assert (status, out[0].split(" at ")[0]) == (1, "there is no ledger")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("ingest", "no-such-file", "--surface", "s"), 3, "no-such-file"),
        (("ingest", __file__, "--surface", "s", "--map", "oops"), 2, "oops"),
        (("run", "99_nothing"), 3, "99_nothing"),
        (("run", "11_impact", "-p", "quartre", "2026Q3"), 3, "quartre"),
        (VERDICTS[:5], 2, "--evaluator"),
        (("bogus",), 2, "bogus"),
    ],
)
def test_an_error_is_one_line_and_a_status(run, arguments, status, said):
    code, _, err = run(*arguments)
    assert code == status
    assert said in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_debug_shows_where(tmp_path):
    with pytest.raises(Exception, match="no-such-file"):
        main(["ingest", "no-such-file", "--surface", "s", "--workspace", str(tmp_path), "--debug"])
