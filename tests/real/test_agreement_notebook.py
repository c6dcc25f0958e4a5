"""Published agreement through import and 05_agreement, as anybody would run it."""

from pathlib import Path

import orjson
import pytest

from evalbench.label.importing import import_labels
from evalbench.report import runbook
from evalbench.store.workspace import open_workspace

DATA = Path(__file__).parents[3] / "shared" / "data" / "multi_annotator"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")
PANDALM = {"session_id": "item_id", "value": "label"}
RECIPES = {
    "session_id": "item_id",
    "annotator": "rater_slot",
    "criterion": "metric",
    "value": "score",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Import both tables into one workspace, and give the workspace and the report's result."""
    ws = open_workspace(tmp_path_factory.mktemp("ws"), user="importer")
    for file, surface, columns, rows in (
        ("pandalm_long.csv", "pandalm", PANDALM, 2997),
        ("recipe_crowd_ordinal_long.csv", "recipes", RECIPES, 6336),
    ):
        how = {"surface": surface, "columns": columns, "traces_elsewhere": True}
        report = import_labels(ws, DATA / file, **how)
        assert (report.added, report.rejected, report.duplicates) == (rows, 0, 0)
        again = import_labels(ws, DATA / file, **how)
        assert (again.added, again.duplicates) == (0, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runbook, "_BROWSERS", ())  # no PDF, as in no_browser
        done = runbook.run("05_agreement", {}, workspace=ws, reports=tmp_path_factory.mktemp("r"))
    return done, orjson.loads(done.result.read_bytes())


def test_cohens_kappa_of_each_pair(published):
    kappas = {
        row["pair"]: round(row["kappa"], 4)
        for row in published[1]["pairs"]
        if row["surface"] == "pandalm"
    }
    assert kappas == {
        "annotator1, annotator2": 0.8520,
        "annotator1, annotator3": 0.8789,
        "annotator2, annotator3": 0.8617,
    }


def test_three_annotators(published):
    [row] = [row for row in published[1]["ratings"] if row["surface"] == "pandalm"]
    assert (round(row["kappa"], 4), round(row["alpha"], 4), row["n_items"]) == (0.8642, 0.8642, 999)
    assert row["alpha_low"] < row["alpha"] < row["alpha_high"]
    # irrCAC 0.4.4: CAC(frame, digits=12).gwet() and its interval from the delta method
    assert row["ac1"] == pytest.approx(0.886444708023, abs=1e-9)
    assert (row["ac1_low"], row["ac1_high"]) == pytest.approx((0.8672, 0.9057), abs=0.004)


def test_ordinal_alphas_and_how_far_off_the_nominal_ones_are(published):
    recipes = [row for row in published[1]["ratings"] if row["surface"] == "recipes"]
    assert {row["mode"]: round(row["alpha_ordinal"], 5) for row in recipes} == {
        "grammar": 0.41513,
        "fluency": 0.43240,
        "verbosity": 0.39914,
        "structure": 0.39856,
        "success": 0.36272,
        "overall": 0.43510,
    }
    assert all(0.08 < row["alpha"] < 0.14 for row in recipes)


def test_the_page_prints_them_and_says_what_is_not_there(published):
    page = published[0].html.read_text().replace("\u00a0", " ")
    for said in ("0.85 (", "0.88 (", "0.42 (", "Nobody has labelled a session by failure modes"):
        assert said in page
