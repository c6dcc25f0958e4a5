"""Verdicts of evaluators elsewhere: of a mode, whole, silent, or rejected, and never lost."""

from dataclasses import replace
from datetime import UTC, datetime

import make
import numpy as np
import polars as pl
import pytest

import evalbench as eb
from evalbench.errors import ReadError
from evalbench.evaluate.importing import import_verdicts, read_rule
from evalbench.label.annotation.queue import record_draw
from evalbench.schema import Design, Label

HOW = {"surface": "shop", "evaluator": "x"}


@pytest.fixture
def read(workspace, tmp_path):
    """Import a text; give the counts and the verdicts that are in the lake then."""

    def run(text, **how):
        path = tmp_path / "verdicts"
        path.write_text(text)
        report = import_verdicts(workspace, path, **HOW, **how)
        counts = (report.added, report.silent, report.duplicates, report.rejected)
        return counts, workspace.lake.verdicts().sort(
            "session_id", "mode", "evaluator_version"
        ).collect()

    return run


def test_columns_by_their_names_need_no_mapping(read, workspace):
    text = "session_id,mode,fails\na,rude,1\na,slow,no\nb,rude,\nb,,true\n,rude,true\na,rude,1\n"
    counts, verdicts = read(text)
    assert counts == (3, 1, 1, 2)
    said = verdicts.select("session_id", "mode", "fails", "evaluator_id", "error").rows()
    assert said == [
        ("a", "rude", True, "x", None),
        ("a", "slow", False, "x", None),
        ("b", "rude", None, "x", "says nothing"),
    ]
    assert read(text)[0] == (0, 1, 4, 2)
    [recorded] = workspace.ledger.bodies("verdicts.imported").to_dicts()  # once, not twice
    assert (recorded["evaluator"], recorded["version"], recorded["verdicts"]) == ("x", "1", 4)
    counts, verdicts = read(text, version="2")
    assert counts == (3, 1, 1, 2)
    assert verdicts["evaluator_version"].to_list() == ["1", "2"] * 3
    counts, verdicts = read(text, mode="")
    assert counts == (1, 1, 4, 1)
    assert verdicts.filter(mode="")["session_id"].to_list() == ["b"]


def test_scores_fail_by_a_rule(read, workspace):
    text = "id,says,why\na,0.2,bad\nb,0.9,\nc,garbage,\nd,inf,\ne,0.1,x,5\n"
    columns = {"session_id": "id", "score": "says", "rationale": "why"}
    how = {"mode": "rude", "columns": columns, "fails_when": "<0.5"}
    counts, verdicts = read(text, **how)
    assert counts == (4, 2, 0, 1)
    assert verdicts["fails"].to_list() == [True, False, None, None]
    assert verdicts["score"].to_list() == [0.2, 0.9, None, None]
    assert verdicts["error"].to_list() == [None, None, "says 'garbage'", "says 'inf'"]
    assert verdicts["rationale"].to_list() == ["bad", None, None, None]
    [reject] = (workspace.rejected / "verdicts").glob("*.jsonl")
    assert pl.read_ndjson(reject)["line"].to_list() == [6]


def test_other_words_are_read_by_their_values(read):
    text = '{"session_id": 1, "score": "A"}\n{"session_id": 2, "score": "Tie"}\n'
    counts, verdicts = read(text, mode="", values={"A": "1", "Tie": "0"}, fails_when="=1")
    assert counts == (2, 0, 0, 0)
    assert verdicts["fails"].to_list() == [True, False]
    _, verdicts = read(
        "session_id,fails,score\n3,Tie,0.5\n4,no,none\n", mode="", values={"Tie": "no"}
    )
    assert verdicts["fails"].to_list()[2:] == [False, None]
    assert verdicts["score"].to_list() == [1, 0, 0.5, None]


def test_what_is_not_said_is_refused(read):
    with pytest.raises(ReadError, match="--mode MODE says it, or --map mode=COLUMN; --mode ''"):
        read("session_id,fails\na,1\n")
    with pytest.raises(ReadError, match="--map fails=COLUMN names the column, or --fails-when"):
        read("session_id,score\na,1\n", mode="rude")
    with pytest.raises(ReadError, match=r"--map score=COLUMN names the column$"):
        read("session_id,fails\na,1\n", mode="rude", fails_when="<1")
    with pytest.raises(ReadError, match="no field is 'verdict'"):
        read("session_id,fails\na,1\n", mode="rude", columns={"verdict": "fails"})


def test_a_rule_is_a_sign_and_a_number():
    assert [read_rule("<0.5")(number) for number in (0.4, 0.5)] == [True, False]
    assert [read_rule(">=-1")(number) for number in (-1, -2)] == [True, False]
    assert read_rule("= 1")(1.0)
    with pytest.raises(ReadError, match="'half' is no rule"):
        read_rule("half")


def test_imported_verdicts_enter_the_rates_and_narrow_them(workspace, read):
    rude = {f"s{number}": number % 4 == 0 for number in range(400)}
    august = datetime(2026, 8, 1, tzinfo=UTC)
    workspace.lake.append("session", make.sessions(*rude, started_at=august, release="1"))
    make.modes(workspace.ledger, "rude")
    view = eb.snapshot(workspace, surface="shop", quarter="2026Q3")
    design, rng = Design(), np.random.default_rng(7)
    items = eb.observe.draw(view.sessions, 100, design=design, rng=rng).items
    items = items.with_columns(annotators=1)
    queue = record_draw(workspace.ledger, items, design=design, **view.drawn_from)
    for name in items["session_id"]:
        seen = {"verdict": "fail", "modes": ("rude",)} if rude[name] else {"verdict": "pass"}
        label = Label(surface="shop", session_id=name, queue=queue, **seen)
        workspace.ledger.append("label.set", name, label)
    rows = "".join(f"{name},rude,{fails}\n" for name, fails in rude.items())
    assert read(f"session_id,mode,fails\n{rows}")[0] == (400, 0, 0, 0)
    after = eb.snapshot(workspace, surface="shop", quarter="2026Q3")
    before = replace(after, lake_versions={**after.lake_versions, "verdict": -1})
    assert after.verdicts["evaluator_id"].unique().to_list() == ["x"]
    [without], [with_them] = before.rates.to_dicts(), after.rates.to_dicts()
    assert with_them["estimate"] == pytest.approx(0.25, abs=0.02)
    assert with_them["high"] - with_them["low"] < (without["high"] - without["low"]) / 2
