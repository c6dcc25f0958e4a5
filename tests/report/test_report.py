"""The same value is the same bytes."""

import math
from datetime import UTC, datetime

import orjson
import polars as pl
import pytest

from evalbench.report.report import Report, write_json
from evalbench.store.tabular import read_rejects


def test_json_is_sorted_and_undefined_numbers_are_null(tmp_path):
    write_json(
        tmp_path / "new" / "a.json",
        {"b": 1 / 3, "a": math.nan, "at": datetime(2026, 7, 1, tzinfo=UTC)},
    )
    text = (tmp_path / "new" / "a.json").read_text()
    assert (
        text == '{\n  "a": null,\n  "at": "2026-07-01T00:00:00Z",\n  "b": 0.3333333333333333\n}\n'
    )


def test_a_frame_becomes_rows_of_the_result_and_a_table_of_its_own(tmp_path):
    frame = pl.DataFrame({"mode": ["a,b", None], "rate": [0.1 + 0.2, 2.0]})
    Report(tmp_path / "new").write({"rates": frame, "none": frame.clear()})
    tables = tmp_path / "new" / "tables"
    assert (tables / "rates.csv").read_text() == 'mode,rate\n"a,b",0.30000000000000004\n,2.0\n'
    assert (tables / "none.csv").read_text() == "mode,rate\n"
    result = orjson.loads((tmp_path / "new" / "result.json").read_bytes())
    assert result == {"rates": frame.to_dicts(), "none": []}


def test_what_json_cannot_hold_is_an_error_and_not_a_string(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"folder": tmp_path})


def test_rejects_of_every_file_are_read_without_their_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"line":3,"reason":"not JSON","text":"{{"}\n')
    (tmp_path / "b.jsonl").write_text('{"line":1,"reason":"no id","text":"{}"}\n')
    (tmp_path / "c.unfinished").write_text("{")
    assert read_rejects(tmp_path).rows() == [("a.jsonl", 3, "not JSON"), ("b.jsonl", 1, "no id")]
    assert read_rejects(tmp_path / "absent").is_empty()
