"""A workspace that version 0.1 wrote opens, verifies, and says the same numbers."""

import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

import evalbench as eb
from evalbench.store.verification import verify

# Made by tests/played.py with the code before ledgers had versions; the report is its own.
WRITTEN = Path(__file__).parent / "fixtures/workspace_0_1.zip"


@pytest.fixture
def old(tmp_path):
    with zipfile.ZipFile(WRITTEN) as packed:
        packed.extractall(tmp_path / "ws")
    return tmp_path / "ws"


def test_it_verifies_with_its_report_and_its_anchor_before_and_after_it_is_written_to(old):
    for _ in range(2):
        assert verify(old, anchor=old / "anchor.json").flaws == []
        eb.open(old).ledger.append("note.added", "session-1", {"text": "seen today"})


def test_it_says_the_same_numbers(old):
    [report] = old.glob("reports/11_impact/*")
    result = json.loads((report / "result.json").read_text())
    manifest = json.loads((report / "manifest.json").read_text())
    asked = {name: manifest[name] for name in ("lake_versions", "ledger_seq", "seed")}
    view = eb.snapshot(eb.open(old, user="ana"), **asked)
    for name, rows in (("rates", view.rates), ("changes", view.changes)):
        numbers = rows.select(pl.selectors.numeric()).with_columns(
            pl.selectors.float().fill_nan(None)
        )
        assert numbers.width > 5
        for now, then in zip(numbers.to_dicts(), result[name], strict=True):
            assert now == {column: then[column] for column in now}
    assert view.rates["estimate"].null_count() == 0
