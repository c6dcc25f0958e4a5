"""What production shows after a gate: of overrides, and of what gates had let through."""

from datetime import timedelta

import polars as pl
import pytest
import shop
from claim_lint import find_claims

import evalbench as eb
from evalbench import cli
from evalbench.operate import figures, impact
from evalbench.report import record

ROW = {"row": "Is rude", "role": "watch", "owner": "ana", "unit": "change", "limit": 0.1}
GATE = {"decision": "ship", "surface": "shop", "candidate": "10", "baseline": "9"}
GATE |= {"suite": "golden", "suite_version": "v", "lake_versions": {}, "verdict": "block"}
GATE |= {"rows": [ROW | {"n": 10, "reading": "block"}], "ledger_seq": 0}
GATE |= dict.fromkeys(("false_block", "false_block_low", "false_block_high"), 0.01)


@pytest.fixture
def overridden(tmp_path):
    ws = shop.fill(tmp_path / "shop")
    seq = ws.ledger.append("gate.decided", "ship/10", GATE)
    said = {"gate": seq, "role": "head", "rows": ["Is rude"], "reason": "r", "evidence": "e"}
    until = ws.ledger.clock() + timedelta(days=5)
    said |= {"rollback": "At once.", "expires_at": until}
    return ws, ws.ledger.append("gate.overridden", "ship/10", said)


@pytest.fixture
def see(monkeypatch):
    """Give a snapshot in which production shows this change of the one failure."""
    return lambda ws, **change: change_view(ws, monkeypatch, **change)


def change_view(ws, monkeypatch, **change):
    view = eb.snapshot(ws, quarter="2026Q3")
    numbers = {"delta": 0.02, "low": 0.01, "high": 0.03} | change
    row = {"surface": "shop", "release": "10", "mode": "rude", "name": "Is rude"} | numbers
    seen = pl.DataFrame([row], schema=impact.CHANGES)
    for name in ("every_change", "changes"):
        monkeypatch.setattr(type(view), name, seen)
    return view


def test_what_happened_after_an_override_is_filled_in_until_it_is_closed(
    overridden, see, capsys, monkeypatch
):
    ws, number = overridden
    said = {
        "confirmed regression": "Is rude confirmed worse: +20 (+10 to +30) per 1,000 sessions.",
        "no change shown": "No failure is shown to be more frequent in 1 rate.",
        "cannot tell": "Production cannot tell yet.",
    }
    assert [*map(find_claims, said.values())] == [[], [], []]
    for reading, outcome in said.items():
        assert record.list_overrides(see(ws, reading=reading))["outcome"].to_list() == [outcome]
    monkeypatch.undo()
    with pytest.raises(SystemExit):
        cli.main(["override", "close", str(number), "--workspace", str(ws.path)])
    own = record.say_aftermath(eb.snapshot(ws), "shop", "10")
    assert own in capsys.readouterr().out
    assert record.list_overrides(see(ws, reading="likely regression"))["outcome"].to_list() == [own]


def test_regressions_are_set_beside_what_their_gate_had_said(overridden, see):
    view = see(overridden[0], reading="likely regression")
    [row] = record.list_caught(view).to_dicts()
    assert (row["release"], row["gate"]) == ("10", "block")
    rate = figures._releases(view.shipped, view._facts, **view.measured)
    assert (rate["gate_catch_rate"].estimate, rate["gate_catch_rate"].n) == (1.0, 1)
    assert record.list_caught(see(overridden[0], reading="no change shown")).is_empty()
