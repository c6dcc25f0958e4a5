"""Overrides: on the record or not at all, for a while, and never a pass."""

from datetime import UTC, datetime, timedelta

import pytest

import evalbench as eb
from evalbench import cli
from evalbench.errors import ReleaseError
from evalbench.release import overrides
from evalbench.settings import Decision, DecisionRow

NOW = datetime(2026, 9, 1, tzinfo=UTC)
ASKED = DecisionRow(metric="any", owner="ana", role="watch", limit=0.05)
DECISIONS = {"ship": Decision(title="?", surface="shop", risk="high", rollback="r", rows=(ASKED,))}
SAID = {
    "role": "head of support",
    "rows": ("Is rude", "Leaks"),
    "reason": "The old prompt is down.",
    "evidence": "Ticket 7",
    "expires_at": NOW + timedelta(days=5),
    "rollback": "On the first complaint.",
}


def decided(**readings):
    rows = [
        {"row": name.replace("_", " "), "role": "watch", "owner": "ana", "unit": "change"}
        | {"limit": 0.1, "n": 10, "reading": reading}
        for name, reading in readings.items()
    ]
    body = {"decision": "ship", "surface": "shop", "candidate": "new", "baseline": "old"}
    body |= {"suite": "golden", "suite_version": "v", "rows": rows, "lake_versions": {}}
    error = dict.fromkeys(("false_block", "false_block_low", "false_block_high"), 0.01)
    return body | error | {"verdict": "block", "ledger_seq": 0}


@pytest.fixture
def ledger(workspace):
    object.__setattr__(workspace.ledger, "clock", lambda: NOW)
    body = decided(Is_rude="block", Leaks="insufficient", Is_late="pass")
    workspace.ledger.append("gate.decided", "ship/new", body)
    return workspace.ledger


def override(ledger, **changed):
    return overrides.override(ledger, DECISIONS, **{"gate": 1, **SAID, **changed})


@pytest.mark.parametrize("name", ["role", "reason", "evidence", "rollback", "rows", "expires_at"])
def test_nothing_may_be_left_out(ledger, name):
    given = {"gate": 1, **{key: value for key, value in SAID.items() if key != name}}
    with pytest.raises(ReleaseError, match=f"an override needs {name}"):
        overrides.override(ledger, DECISIONS, **given)
    empty = () if name == "rows" else " "
    with pytest.raises(ReleaseError, match=f"an override needs {name}"):
        override(ledger, **{name: empty})
    assert ledger.head() == 1


def test_rows_are_open_ones_and_no_override_lasts(ledger):
    for row in ("Is late", "Nothing"):
        with pytest.raises(ReleaseError, match=rf"{row}' is no open row.*open are: Is rude; Leaks"):
            override(ledger, rows=("Is rude", row))
    for days in (8, 0, -1):
        with pytest.raises(ReleaseError, match="by 7 days at most at this risk"):
            override(ledger, expires_at=NOW + timedelta(days=days))
    with pytest.raises(ReleaseError, match=r"event 9 is no gate; there are 1"):
        override(ledger, gate=9)


def test_it_covers_until_it_expires_and_the_verdict_stays(ledger, workspace, capsys):
    def check():
        with pytest.raises(SystemExit) as stop:
            cli.main(["override", "check", "--gate", "1", "--workspace", str(workspace.path)])
        return stop.value.code, capsys.readouterr().out.strip()

    assert check() == (10, "Is rude\nLeaks")
    override(ledger, rows=("Is rude",))
    assert overrides.find_uncovered(ledger, 1)[1] == ["Leaks"]
    last = override(ledger, rows=("Leaks",))
    gate, uncovered = overrides.find_uncovered(ledger, 1)
    assert (gate.verdict, uncovered) == ("block", [])
    object.__setattr__(ledger, "clock", lambda: NOW + timedelta(days=6))
    assert overrides.find_uncovered(ledger, 1)[1] == ["Is rude", "Leaks"]  # it blocks again
    overrides.close(ledger, last, outcome="Nobody complained.")
    assert overrides.read_overrides(ledger)["standing"].to_list() == ["expired", "closed"]
    with pytest.raises(ReleaseError, match="no override that is open"):
        overrides.close(ledger, last, outcome="again")


def test_it_stands_in_every_report_until_it_is_closed(ledger, workspace, tmp_path, capsys):
    number = override(ledger)
    report = eb.report(eb.snapshot(workspace), tmp_path)
    report.write()
    assert report.tables["overrides"]["rows"].to_list() == [["Is rude", "Leaks"]]
    overrides.close(ledger, number, outcome="Nobody complained.")
    report = eb.report(eb.snapshot(workspace), tmp_path)
    report.write()
    assert report.tables == {}


def test_the_command_line_writes_one(workspace, capsys):
    workspace.ledger.append("gate.decided", "ship/new", decided(Is_rude="block"))
    until = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    said = {"gate": "1", "role": "cto", "row": "Is rude", "reason": "r", "evidence": "e"}
    words = [word for key, value in said.items() for word in (f"--{key}", value)]
    where = ["--until", until, "--rollback", "x", "--workspace", str(workspace.path)]
    with pytest.raises(SystemExit) as stop:
        cli.main(["override", "add", *words, *where])
    assert (stop.value.code, capsys.readouterr().out.strip()) == (0, "override=2")
    with pytest.raises(SystemExit) as stop:
        cli.main(["override", "add", *words[2:], *where])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        cli.main(["override", "check", "--gate", "1", "--workspace", str(workspace.path)])
    assert stop.value.code == 0
