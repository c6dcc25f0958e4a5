import json

import polars as pl
import pytest
from make import said, user, workspace

from evalbench.errors import ReadError
from evalbench.release import golden
from evalbench.release.dataset_shapes import SHAPES, export_cases, import_cases
from evalbench.release.leakage import PLACES

NONE = pl.DataFrame(schema=PLACES)
TALK = [user("Hello, my parcel from Monday is late"), said("Which?"), user("=1+1 \u2014 that one")]
CASE = {
    "surface": "shop",
    "suite": "regression",
    "messages": TALK,
    "expected": "Says when it comes.\nApologises once.",
    "mode": "rude",
    "severity": "safety",
    "session_id": "s1",
    "release": "9",
    "segments": {"tier": "gold"},
}
PLAIN = {"messages": [user("Please cancel my subscription at the end of the year")]}
BARE = {"surface": "shop", "suite": "golden", "expected": "Cancels it.", "severity": "polish"}


@pytest.fixture
def ws(tmp_path):
    ws = workspace(tmp_path / "one")
    golden.add_cases(ws, [golden.name_case(CASE), golden.name_case(BARE | PLAIN)])
    return ws


@pytest.mark.parametrize("shape", [None, *SHAPES])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_written_is_read_back_whole(tmp_path, ws, shape, suffix):
    if shape and suffix == "csv":
        return
    path, other = tmp_path / f"cases.{suffix}", workspace(tmp_path / "two")
    assert export_cases(ws, path, shape=shape) == 2
    report = import_cases(other, path, places=NONE, shape=shape)
    assert (report.added, report.rejected, report.duplicates) == (2, 0, 0)
    asked = pl.exclude("added_at", "added_by")
    first, second = (golden.read_cases(each.ledger).select(asked) for each in (ws, other))
    assert first.equals(second)
    assert import_cases(other, path, places=NONE, shape=shape).duplicates == 2


def test_each_tool_finds_its_own_names(tmp_path, ws):
    def rows(shape):
        export_cases(ws, path := tmp_path / "out", shape=shape, suite="golden")
        text = path.read_text()
        return json.loads(text if shape == "deepeval" else f"[{text}]")[0]

    asked = PLAIN["messages"][0]["content"]
    assert rows("inspect").keys() == {"id", "input", "target", "metadata"}
    assert rows("braintrust")["input"][0]["content"] == rows("deepeval")["input"] == asked
    assert rows("langfuse")["expectedOutput"] == "Cancels it."
    foo = rows("promptfoo")
    assert foo["assert"] == [{"type": "llm-rubric", "value": "Cancels it."}]
    assert json.loads(foo["vars"]["messages"])[0]["content"] == foo["vars"]["input"] == asked


def test_other_files_are_read_by_their_columns(tmp_path, ws):
    (file := tmp_path / "q.csv").write_text(
        "Question,ideal\nMay I pay later?,Says no.\n,Nothing.\n"
    )
    report = import_cases(ws, file, places=NONE, surface="shop", suite="policy")
    assert (report.added, report.rejected) == (1, 1)
    made = golden.read_cases(ws.ledger).filter(suite="policy").row(0, named=True)
    assert (made["expected"], made["severity"]) == ("Says no.", "user impact")
    assert "--map input=COLUMN" in report.rejects_path.read_text()
    assert import_cases(ws, file, places=NONE).rejected == 2


def test_a_row_that_leaks_is_rejected_with_the_place(tmp_path, ws):
    text = PLAIN["messages"][0]["content"]
    (file := tmp_path / "q.jsonl").write_text(json.dumps({"input": text, "expected": "Other."}))
    report = import_cases(ws, file, places=NONE, surface="shop")
    assert (report.added, report.rejected) == (0, 1)
    assert "stands in case" in report.rejects_path.read_text()


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ("promptfoo", {"vars": "x", "assert": [{"value": "y"}]}),
        ("promptfoo", {"vars": {"input": "q"}, "assert": ["contains: x"]}),
        ("langfuse", {"input": {"question": "q"}, "expectedOutput": "e", "metadata": "text"}),
    ],
)
def test_a_row_of_another_tool_that_is_no_case_is_a_reject(tmp_path, ws, shape, row):
    (file := tmp_path / "q.jsonl").write_text(json.dumps(row))
    report = import_cases(ws, file, places=NONE, surface="shop", shape=shape)
    assert (report.added, report.rejected) == (0, 1)


def test_a_shape_that_is_not_known_is_refused_by_name(tmp_path, ws):
    with pytest.raises(ReadError, match=r"no shape is 'ragas'; there are promptfoo"):
        export_cases(ws, tmp_path / "x", shape="ragas")
