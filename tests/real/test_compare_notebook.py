"""AlpacaEval's published verdicts through the command line and 10_compare, as anybody would."""

from pathlib import Path

import orjson
import pytest
from test_versions import PAIRS

import evalbench as eb
from evalbench.cli import main
from evalbench.release import compare
from evalbench.report import runbook

DATA = Path(__file__).parents[3] / "shared" / "data" / "versions" / "alpacaeval_verdicts.csv"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")
MARGIN = 0.05


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """Import the verdicts of eight models as eight runs, in one command."""
    folder = tmp_path_factory.mktemp("ws")
    mapped = [("--map", "session_id=item_id"), ("--map", "score=preference")]
    how = ["--fails-when", "=1", "--mode", "", "--evaluator", "alpaca_eval_gpt4"]
    where = ["--surface", "alpaca@{model}", "--workspace", str(folder)]
    command = [
        "verdicts",
        "import",
        str(DATA),
        *how,
        *where,
        *(word for pair in mapped for word in pair),
    ]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    return eb.open(folder)


def read(row):
    names = ("n", "before", "after", "delta", "newly_failing", "fixed", "p_value")
    return (*(round(row[name], 4) for name in names), row["reading"])


@pytest.mark.parametrize(("models", "expected"), PAIRS)
def test_pairs_read_as_published(ws, models, expected):
    view, found = eb.snapshot(ws, surface="alpaca").read_candidates(models[1], models[0])
    how = {"margin": MARGIN, **view.measured}
    [row] = compare.compare_runs(found.outcomes, models[0], **how).to_dicts()
    assert read(row)[:6] == expected[:6]
    assert read(row)[6] == pytest.approx(expected[6], abs=1e-4)
    assert read(row)[7] == expected[7]
    turned = compare.list_turned(found.outcomes, found.asked, models[0])["turned"].to_list()
    assert (turned.count("newly failing"), turned.count("fixed")) == expected[4:6]


def test_the_report_lists_each_newly_failing_case(ws, tmp_path, no_browser):
    (old, new), expected = PAIRS[0]
    asked = {"surface": "alpaca", "baseline": old, "runs": new}
    done = runbook.run("10_compare", asked, workspace=ws, reports=tmp_path)
    result = orjson.loads(done.result.read_bytes())
    [row] = result["compared"]
    assert read(row)[4:6] == expected[4:6] == (70, 44)
    assert row["reading"] == "regression"
    assert len({row["case"] for row in result["turned"]}) == 70
    assert len(result["all_turned"]) == 70 + 44
    html = done.html.read_text()
    assert all(f"<td>{row['case']}</td>" in html for row in result["turned"])
    assert "8 runs on record were tried on these cases" in html
