"""Published judges and detectors through import and 07_calibrate, as anybody would run it."""

from pathlib import Path

import orjson
import polars as pl
import pytest

import evalbench as eb
from evalbench.report import runbook
from evalbench.schema import SESSION

DATA = Path(__file__).parents[3] / "shared" / "data" / "judge_vs_human"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")
PANDALM = DATA / "pandalm_testset_v1.jsonl"
FRANK = DATA / "frank_detectors_vs_human.csv"
SUMMARY = "{hash}-{model_name}"


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """Import what people said, from both files, and what the summaries of one text share."""
    ws = eb.open(tmp_path_factory.mktemp("ws"), user="importer")
    for number in (1, 2, 3):
        name = f"annotator{number}"
        report = eb.label.import_labels(
            ws,
            PANDALM,
            surface="pandalm",
            annotator=name,
            criterion="preference",
            columns={"session_id": "idx", "value": name},
            traces_elsewhere=True,
        )
        assert (report.added, report.rejected) == (999, 0)
    report = eb.label.import_labels(
        ws,
        FRANK,
        surface="frank",
        annotator="people",
        criterion="factuality",
        columns={"session_id": SUMMARY, "value": "Factuality"},
        traces_elsewhere=True,
    )
    assert (report.added, report.rejected) == (2246, 0)
    summaries = pl.read_csv(FRANK).select(
        surface=pl.lit("frank"),
        session_id=pl.format("{}-{}", "hash", "model_name"),
        group_key="hash",
        segments=pl.struct("dataset").struct.json_encode(),
    )
    empty = pl.DataFrame(schema=SESSION)
    ws.lake.append("session", pl.concat([empty, summaries], how="diagonal"))
    return ws


@pytest.fixture(scope="module")
def imported(ws):
    """Import the verdicts, and give what became of each evaluator's."""
    reports = {}
    for name, column in (("gpt-3.5", "gpt35"), ("pandalm-7b", "pandalm7b")):
        columns = {"session_id": "idx", "score": f"judge_{column}_raw"}
        columns["rationale"] = f"judge_{column}_reason"
        reports[name] = eb.evaluate.import_verdicts(
            ws,
            PANDALM,
            surface="pandalm",
            evaluator=name,
            version="1",
            mode="",
            columns=columns,
            values={"Tie": "0"},
            fails_when="=1",
        )
    for name in ("FactCC", "QAGS"):
        reports[name] = eb.evaluate.import_verdicts(
            ws,
            FRANK,
            surface="frank",
            evaluator=name,
            version="1",
            mode="",
            columns={"session_id": SUMMARY, "score": name},
            fails_when="<0.5",
        )
    return reports


@pytest.fixture(scope="module")
def reports(ws, imported, tmp_path_factory):
    """Run the notebook on each surface; give the report and its result."""
    folder = tmp_path_factory.mktemp("reports")
    how = {
        "pandalm": {"criterion": "preference", "fails_when": "=1", "tie": "0", "silent_as": "0"},
        "frank": {"criterion": "factuality", "fails_when": "<1"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runbook, "_BROWSERS", ())  # no PDF, as in no_browser
        done = {
            surface: runbook.run(
                "07_calibrate", {"surface": surface, **each}, workspace=ws, reports=folder
            )
            for surface, each in how.items()
        }
    return {name: (run, orjson.loads(run.result.read_bytes())) for name, run in done.items()}


def by_evaluator(rows):
    return {row["evaluator_id"]: row for row in rows}


def test_garbage_is_kept_and_counted(imported):
    said = {name: (each.added, each.silent, each.rejected) for name, each in imported.items()}
    assert said["gpt-3.5"] == (999, 25, 0)
    assert said["pandalm-7b"] == (999, 0, 0)


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        ("gpt-3.5", (0.7107, 0.5879, 0.5736, 0.5755, 0.4974)),
        ("pandalm-7b", (0.6677, 0.5738, 0.5750, 0.5743, 0.4355)),
    ],
)
def test_three_categories_are_as_published(reports, judge, expected):
    row = by_evaluator(reports["pandalm"][1]["categories"])[judge]
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "mcc")
    assert tuple(round(row[name], 4) for name in names) == expected
    assert row["n"] == 999


def test_ties_dropped_leave_two_categories(reports):
    row = by_evaluator(reports["pandalm"][1]["evaluators"])["gpt-3.5"]
    assert (row["n"], row["tp"], row["fn"], row["fp"], row["tn"]) == (849, 332, 71, 86, 360)
    assert round(row["mcc"], 4) == 0.6303
    assert row["mcc_low"] < 0.6 < row["mcc_high"]  # more than .6 is not shown
    assert row["status"] == "insufficient"
    assert row["ceiling"] > row["mcc_high"]


def test_detectors(reports):
    rows = by_evaluator(reports["frank"][1]["evaluators"])
    factcc = rows["FactCC"]
    assert (factcc["tp"], factcc["fp"], factcc["fn"], factcc["tn"]) == (903, 119, 533, 691)
    assert (round(factcc["mcc"], 4), round(rows["QAGS"]["mcc"], 4)) == (0.4647, 0.4027)
    assert {row["status"] for row in rows.values()} == {"not aligned"}


def test_a_detector_that_errs_otherwise_by_dataset_is_told(reports):
    parts = reports["frank"][1]["parts"]
    read = {
        (row["evaluator_id"], row["value"]): row["reading"]
        for row in parts
        if row["trait"] == "segment dataset"
    }
    assert read["FactCC", "cnndm"] == read["FactCC", "bbc"] == "errs otherwise"
    assert "cnndm" in reports["frank"][0].html.read_text()


def test_summaries_of_one_text_are_resampled_together(reports):
    rows = by_evaluator(reports["frank"][1]["evaluators"])
    assert rows["FactCC"]["n_groups"] < rows["FactCC"]["n"] == 2246


def test_the_page_shows_the_numbers_and_the_garbage(reports):
    page = reports["pandalm"][0].html.read_text().replace("\u00a0", " ")
    for said in ("0.71 (", "0.58 (", "0.50 (", "garbage", "25", ">332<", ">360<", "aligned"):
        assert said in page
    [silence] = reports["pandalm"][1]["silence"]
    assert (silence["evaluator_id"], silence["said"], silence["n"]) == (
        "gpt-3.5",
        "says 'garbage'",
        25,
    )
