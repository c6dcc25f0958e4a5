"""What a report shows is headed by the glossary; what it keeps is the same bytes again."""

import math
from datetime import UTC, datetime

import orjson
import polars as pl
import pytest
from IPython.display import Markdown

import evalbench as eb
from evalbench.report import report as module
from evalbench.report.glossary import COLUMNS, PARTICULAR, TABLES
from evalbench.report.report import write_json
from evalbench.report.tables import set_table
from evalbench.store.tabular import read_rejects


@pytest.fixture
def shown(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", shown.append)
    return shown


@pytest.fixture
def report(workspace, tmp_path, shown):
    return eb.report(eb.snapshot(workspace), tmp_path / "new")


def changes(**columns):
    row = {"surface": "shop", "release": "2", "mode": "rude", "name": "Is <rude>"}
    row |= {"severity": "polish", "owner": "ana"}
    numbers = {"delta": -0.0123, "low": -0.03, "high": 0.004, "loss_survived": 0.1}
    return pl.DataFrame(
        [row | numbers | {"reading": "likely improvement", "target": "yes"} | columns]
    )


def test_json_is_sorted_and_undefined_numbers_are_null(tmp_path):
    value = {"b": 1 / 3, "a": math.nan, "at": datetime(2026, 7, 1, tzinfo=UTC)}
    write_json(tmp_path / "new" / "a.json", value)
    text = (tmp_path / "new" / "a.json").read_text()
    assert (
        text == '{\n  "a": null,\n  "at": "2026-07-01T00:00:00Z",\n  "b": 0.3333333333333333\n}\n'
    )
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"folder": tmp_path})


def test_kept_tables_are_rows_of_the_result_and_files_of_their_own(report, tmp_path):
    frame = pl.DataFrame({"mode": ["a,b", None], "rate": [0.1 + 0.2, 2.0], "ids": [["x", "y"], []]})
    report.keep(rates=frame, none=frame.clear())
    report.write()
    tables = tmp_path / "new" / "tables"
    assert (tables / "rates.csv").read_text() == (
        'mode,rate,ids\n"a,b",0.30000000000000004,x; y\n,2.0,""\n'
    )
    assert (tables / "none.csv").read_text() == "mode,rate,ids\n"
    result = orjson.loads((tmp_path / "new" / "result.json").read_bytes())
    assert result == {"rates": frame.to_dicts(), "none": []}


def test_a_table_that_is_kept_runs_nothing_in_a_spreadsheet(report, tmp_path):
    frame = pl.DataFrame({"mode": ["=1+1", "a=1"], "rate": [-0.5, 2.0], "ids": [["@x"], ["y"]]})
    report.keep(rates=frame)
    report.write()
    written = (tmp_path / "new" / "tables" / "rates.csv").read_text()
    assert written == "mode,rate,ids\n'=1+1,-0.5,'@x\na=1,2.0,y\n"
    result = orjson.loads((tmp_path / "new" / "result.json").read_bytes())
    assert result == {"rates": frame.to_dicts()}


def test_a_table_is_shown_as_the_glossary_heads_it_and_kept_whole(report, shown):
    report.table("changes", changes(), by=["surface", "release"])
    [table] = shown
    page = table.data
    for text in (
        "Shop, release 2",
        "Change per 1,000 (95% interval)",
        "−12\u00a0(−30\u00a0to\u00a0+4)",
    ):
        assert text in page
    assert "Is &lt;rude&gt;" in page
    assert "Is <rude>" not in page
    assert report.tables["changes"].equals(changes())


def test_an_empty_table_is_said_and_kept_and_a_long_one_is_cut_on_the_page_alone(report, shown):
    report.table("changes", changes().clear(), empty="None at all.")
    assert isinstance(shown[0], Markdown)
    assert shown[0].data == "None at all."
    rows = pl.concat([changes(name=f"mode {number}") for number in range(5)])
    report.table("changes", rows, first=2)
    assert "mode 1" in shown[1].data
    assert "mode 2" not in shown[1].data
    assert report.tables["changes"].height == 5
    report.table("rates", rows.clear(), keep=False)
    assert "rates" not in report.tables


def test_cells_say_what_is_missing_what_fails_and_how_many_more(workspace):
    row = {"session_id": "s", "said": "x", "labels": list(range(8)), "disputed": ["rude"]}
    page = set_table("queue", pl.DataFrame([row]), by=[], level=0.9).data
    assert "0, 1, 2, 3, 4 and 3 more" in page
    flips = {"who": "judge", "session_id": "s", "before": True, "after": False, "truth": None}
    frame = pl.DataFrame([flips | {"turned": "wrong", "rationale": ""}])
    page = set_table("flips", frame, by=[], level=0.9).data
    assert page.count(">–<") == 2
    assert ">fails<" in page
    assert ">passes<" in page


def test_charts_are_drawn_part_by_part_and_the_empty_state_is_said(report, shown):
    frame = pl.DataFrame({"surface": ["b", "a", "b"], "n": [1, 2, 3]})
    report.charts(lambda part, plus: part["n"].sum() + plus, frame, plus=10)
    assert shown == [14, 12]
    report.charts(len, frame.clear(), empty="Nothing.")
    assert shown[2].data == "Nothing."


def test_the_glossary_heads_every_column_of_every_table_and_no_other():
    assert {column for columns in TABLES.values() for column in columns} == COLUMNS.keys()
    assert all(heads.keys() <= set(TABLES[name]) for name, heads in PARTICULAR.items())


def test_rejects_of_every_file_are_read_without_their_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"line":3,"reason":"not JSON","text":"{{"}\n')
    (tmp_path / "b.jsonl").write_text('{"line":1,"reason":"no id","text":"{}"}\n')
    (tmp_path / "c.unfinished").write_text("{")
    assert read_rejects(tmp_path).rows() == [("a.jsonl", 3, "not JSON"), ("b.jsonl", 1, "no id")]
    assert read_rejects(tmp_path / "absent").is_empty()
