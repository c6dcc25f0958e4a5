"""Published models through the gate: the three readings, and each newly failing case."""

from pathlib import Path

import polars as pl
import pytest

import evalbench as eb
from evalbench import cli
from evalbench.errors import ReleaseError
from evalbench.release import gate

DATA = Path(__file__).parents[3] / "shared" / "data" / "versions"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")
SETTINGS = """[decisions.model]
title = "May this model replace the old one?"
surface = "alpaca"
risk = "low"
rollback = "none"
rows = [{metric = "any", role = "watch", limit = 0.05, owner = "ana"}]
"""
TRUSTED = 'trusted = ["gpt4"]\n'
PAIRS = [
    ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-1106", 803, 70, 44, "block", "shown to be worse"),
    ("gpt4_0314", "gpt4_1106_preview", 804, 9, 28, "pass", "shown to be better"),
    ("claude", "claude-2", 804, 16, 14, "pass", "no change shown"),
]


@pytest.fixture(scope="module")
def verdicts():
    return pl.read_csv(DATA / "alpacaeval_verdicts.csv")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, verdicts):
    folder = tmp_path_factory.mktemp("alpaca")
    (folder / "evalbench.toml").write_text(SETTINGS.replace("rows", TRUSTED + "rows"))
    for model in [model for pair in PAIRS for model in pair[:2]]:
        table = folder / "verdicts.csv"
        verdicts.filter(model=model).drop("model").write_csv(table)
        how = ["--evaluator", "gpt4", "--mode", "", "--fails-when", "=1"]
        how += ["--map", "session_id=item_id", "--map", "score=preference"]
        where = ["--surface", f"alpaca@{model}", "--workspace", str(folder)]
        with pytest.raises(SystemExit) as stop:
            cli.main(["verdicts", "import", str(table), *how, *where])
        assert stop.value.code == 0
    return eb.open(folder)


@pytest.mark.parametrize(("old", "new", "n", "failing", "fixed", "reading", "reason"), PAIRS)
def test_a_pair_reads_as_it_must(workspace, verdicts, old, new, n, failing, fixed, reading, reason):
    view, case = eb.snapshot(workspace).read_gate("model", new, old)
    decided = gate.answer(case, **view.measured)
    [row] = decided.rows
    assert (row.n, row.newly_failing, row.fixed) == (n, failing, fixed)
    silent = f"; {805 - n} of 805 cases were not judged"
    assert (row.reading, row.reason, decided.verdict) == (reading, reason + silent, reading)
    before, after = (
        verdicts.filter(model=model).drop_nulls("preference").select("item_id", "preference")
        for model in (old, new)
    )
    turned = before.join(after, on="item_id").filter(
        pl.col("preference") != 1, pl.col("preference_right") == 1
    )
    listed = gate.list_turned(case, fails=True)["case"]
    assert sorted(listed) == sorted(turned["item_id"].cast(pl.String))


def test_an_evaluator_that_nobody_measured_or_trusts_blocks_nothing(workspace):
    (workspace.path / "evalbench.toml").write_text(SETTINGS)
    _, case = eb.snapshot(workspace.path).read_gate("model", "claude-2", "claude")
    with pytest.raises(ReleaseError, match="no evaluator of alpaca is gating"):
        gate.answer(case, level=0.95, rng=None)
