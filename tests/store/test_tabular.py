"""A table of any format gives its rows with their lines, and each is accounted for."""

import csv
import io
import json

import orjson
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.errors import ReadError
from evalbench.store.tabular import quote_formula, read_flag, read_rejects, read_table, write_table

FIELDS = {"name": "title", "kind": "", "note": "comment"}
RECORDS = [{"name": "a", "kind": "x"}, {"name": 'b "c"\n;', "kind": "ü"}]
CSV = 'name,kind\na,x\n"b ""c""\n;",ü\n'


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pack(suffix):
    buffer = io.BytesIO()
    if suffix == "parquet":
        pl.DataFrame(RECORDS).write_parquet(buffer)
    else:
        rows = [RECORDS[0], {"name": ""}, {**RECORDS[1], 5: ""}]  # one is empty, a header a number
        pd.DataFrame(rows).to_excel(buffer, index=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (CSV, [2, 3]),
        (b"\xef\xbb\xbf" + CSV.encode(), [2, 3]),
        (CSV.replace(",", "\t"), [2, 3]),
        (CSV.replace(",", ";"), [2, 3]),
        ("".join(json.dumps(each) + "\n\n" for each in RECORDS), [1, 3]),
        (json.dumps(RECORDS, indent=2), [1, 2]),
        (pack("parquet"), [1, 2]),
        (pack("xlsx"), [2, 4]),
    ],
    ids=["csv", "bom", "tab", "semicolon", "jsonl", "list", "parquet", "xlsx"],
)
def test_every_format_gives_the_same_records_with_their_lines(tmp_path, content, lines):
    table = read_table(write(tmp_path / "table", content), FIELDS, {})
    records, reasons = table.read(kind="z", note="n")
    assert [row.line for row in table.rows] == lines
    assert reasons == {}
    assert list(records.values()) == [{**each, "note": "n"} for each in RECORDS]


def test_columns_are_found_by_name_synonym_or_mapping_and_the_rest_is_named(tmp_path):
    path = write(tmp_path / "t.csv", "Title,KIND,part,extra,Comment\na,x,1,2,\n")
    table = read_table(path, FIELDS, {"note": "{part}-{Title}"})
    assert table.sources == {"note": "{part}-{Title}", "kind": "KIND"}  # Title is taken
    assert table.read()[0] == {0: {"note": "1-a", "kind": "x"}}
    report = table.conclude({}, added=1, folder=tmp_path)
    assert report.unused == ("extra", "Comment")
    path = write(tmp_path / "t.csv", "title,name\nb,a\n")
    assert read_table(path, FIELDS, {}).sources == {"name": "name"}


def test_rows_that_are_none_are_kept_with_line_and_reason_and_can_be_mended(tmp_path):
    text = 'name,kind\na,x\n"c\nd"\n\ne,f,g\n"h"i,k\nl,"m\nn,o\n'
    table = read_table(write(tmp_path / "t.csv", text), FIELDS, {})
    records, reasons = table.read()
    assert list(records.values()) == [{"name": "a", "kind": "x"}]
    folder = tmp_path / "rejected"
    report = table.conclude(reasons, added=1, folder=folder)
    assert (report.added, report.duplicates, report.rejected) == (1, 0, 4)
    kept = [orjson.loads(line) for line in report.rejects_path.read_bytes().splitlines()]
    assert [each["line"] for each in kept] == [3, 6, 7, 8]
    assert kept[0]["reason"] == "1 cells; the header has 2"
    assert json.loads(kept[1]["text"]) == {"name": "e", "kind": "f", "": ["g"]}
    assert kept[3]["text"] == 'l,"m\nn,o\n'
    assert read_rejects(folder)["line"].to_list() == [3, 6, 7, 8]
    again = read_table(report.rejects_path, FIELDS, {})
    assert again.read()[0] == {0: {"name": "c\nd"}, 1: {"name": "e", "kind": "f"}}
    assert len(again.read()[1]) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe\x00", "utf-8"),
        ("name,name\na,b\n", "two columns are named 'name'"),
        ('[{"a": 1}, {"oops', "column"),
        (b"PAR1 is not all", "parquet|Parquet|File"),
        (b"PK\x03\x04 no archive", "zip"),
        ("name,kind\n", "there is no row in it"),
        ("", "there is no row in it"),
        ("kind\nx\n", "no column is 'there'; there are kind"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(tmp_path, content, why):
    path = tmp_path / "t"
    if content is not None:
        write(path, content)
    with pytest.raises(ReadError, match=why):
        read_table(path, FIELDS, {"name": "there"})
    with pytest.raises(ReadError, match="no field is 'colour'; there are name, kind, note"):
        read_table(path, FIELDS, {"colour": "there"})


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


ROW = st.fixed_dictionaries({"name": texts}, optional={"kind": texts, "note": texts})


@given(st.lists(ROW, min_size=1))
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_written_reads_back(tmp_path_factory, suffix, records):
    path = tmp_path_factory.getbasetemp() / f"round.{suffix}"
    write_table(path, records, FIELDS)
    table = read_table(path, FIELDS, {})
    assert list(table.read()[0].values()) == records
    again = path.with_suffix(f".again.{suffix}")
    write_table(again, table.read()[0].values(), FIELDS)
    assert again.read_bytes() == path.read_bytes()


def test_a_flag_is_a_word():
    assert [read_flag(word) for word in (True, "FAIL", 1, "0", " passed ")] == [1, 1, 1, 0, 0]
    with pytest.raises(ValueError, match="says 'maybe', neither true nor false"):
        read_flag("maybe")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("=5", "'=5"),
        ("-5", "-5"),
        ("+3.5e-2", "+3.5e-2"),
        ("'quoted'", "'quoted'"),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_quoted_and_a_number_is_not(tmp_path, text, cell):
    assert quote_formula(text) == cell
    write_table(tmp_path / "t.csv", [{"name": text, "kind": "-1"}], FIELDS)
    with (tmp_path / "t.csv").open(newline="") as table:
        [row] = csv.DictReader(table)
    assert (row["name"], row["kind"]) == (cell, "-1")
    [row] = read_table(tmp_path / "t.csv", FIELDS, {}).rows
    assert row.record["name"] == text


@given(st.text("'=+-@\t\r\n5.e", min_size=1, max_size=6))
def test_whatever_was_quoted_is_read_as_it_was(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("quoted") / "t.csv"
    write_table(path, [{"name": text, "kind": "x"}], FIELDS)
    assert [row.record["name"] for row in read_table(path, FIELDS, {}).rows] == [text]
