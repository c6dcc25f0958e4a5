"""The committed example is one whole run: its page, tables and manifest are of its result."""

import csv
import hashlib
from pathlib import Path

import orjson

from evalbench.report.sentences import say_interval

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"


def test_the_example_is_held_to_its_result():
    written = (EXAMPLE / "result.json").read_bytes()
    manifest = orjson.loads((EXAMPLE / "manifest.json").read_bytes())
    assert manifest["notebook"] == "11_impact"
    assert manifest["result_sha256"] == hashlib.sha256(written).hexdigest()
    result = orjson.loads(written)
    assert {path.stem for path in (EXAMPLE / "tables").iterdir()} == result.keys()
    for name, rows in result.items():
        with (EXAMPLE / "tables" / f"{name}.csv").open(newline="") as table:
            kept = [{key: bool(cell) for key, cell in row.items()} for row in csv.DictReader(table)]
        assert kept == [
            {key: value not in (None, "") for key, value in row.items()} for row in rows
        ]
    page = (EXAMPLE / "report.html").read_text().replace("\u00a0", " ")
    known = [row for row in result["rates"] if row["status"] == "ok"]
    assert known
    for row in known:
        ends = (row["per_1000"], row["low_per_1000"], row["high_per_1000"])
        assert say_interval(*ends) in page
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 1_500_000
