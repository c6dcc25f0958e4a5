"""A codebook as a file: the round trip is equal, bad rows are told, nothing is written twice."""

import make
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import insert

from evalbench.label import export_codebook, import_codebook
from evalbench.label.codebook import acts
from evalbench.store.workspace import open_workspace


@pytest.fixture
def ws(workspace):
    """Two modes that count, a draft, and one that ended."""
    make.modes(workspace.ledger, "rude", "slow", "old")
    draft = {"name": 'Sagt "nein": – #1', "definition": "Two\nlines: yes."}
    acts.define(workspace.ledger, "other", "new", **draft)
    acts.retire(workspace.ledger, "shop", "old")
    return workspace


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_written_reads_back_equal_and_changes_nothing(ws, tmp_path, suffix):
    path, again = tmp_path / f"modes.{suffix}", tmp_path / f"again.{suffix}"
    assert export_codebook(ws, path) == 3
    fresh = open_workspace(tmp_path / "fresh", user="bruno")
    report = import_codebook(fresh, path)
    assert (report.added, report.duplicates, report.rejected, report.unused) == (3, 0, 0, ())
    export_codebook(fresh, again)
    assert again.read_bytes() == path.read_bytes()
    live = [acts.read_codebook(each.ledger).live for each in (ws, fresh)]
    assert_frame_equal(*live)
    head = fresh.ledger.head()
    assert import_codebook(fresh, path).duplicates == 3
    assert fresh.ledger.head() == head
    assert export_codebook(ws, again, surface="shop") == 2


def test_bad_rows_are_told_good_ones_taken_and_what_is_empty_stays(ws, tmp_path):
    path = tmp_path / "modes.csv"
    path.write_text(
        "failure,name,owner,severity,colour\n"
        "rude,,dora,,red\n"
        "slow,Slow,ana,polish,\n"
        "cold,Cold,,terrible,\n"
        "dull,,,,\n"
        "rude,Twice,,,\n"
        "rude,,dora,,blue\n"
        "old,Old,,,\n"
        ",Nameless,,,\n"
    )
    report = import_codebook(ws, path, surface="shop", columns={"mode": "failure"})
    assert (report.added, report.duplicates, report.rejected) == (1, 2, 5)
    assert report.unused == ("colour",)
    rejects = dict(pl.read_ndjson(report.rejects_path).select("line", "reason").iter_rows())
    assert list(rejects) == [4, 5, 6, 8, 9]
    assert "severity: Input should be 'safety'" in rejects[4]
    assert "name: Field required" in rejects[5]
    assert rejects[6] == "mode: 'rude' stands in the file twice"
    assert "'old' was retired" in rejects[8]
    assert "mode: String should have at least 1" in rejects[9]
    mode = acts.read_codebook(ws.ledger).find("shop", "rude")
    assert (mode.name, mode.owner, mode.severity, mode.version) == ("Rude", "dora", "polish", 2)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_import_killed_at_any_write_and_repeated_ends_as_an_undisturbed_one(
    ws, tmp_path, monkeypatch, call
):
    path, calls = tmp_path / "modes.csv", []
    path.write_text("mode,name,owner\nrude,,dora\ncold,Cold,\ndull,Dull,\n")

    def die(table):
        calls.append(table.name)
        if calls.count("event") == call:
            raise KeyboardInterrupt
        return insert(table)

    with monkeypatch.context() as patch:
        patch.setattr("evalbench.store.ledger.insert", die)
        with pytest.raises(KeyboardInterrupt):
            import_codebook(ws, path, surface="shop")
    head = ws.ledger.head()
    assert import_codebook(ws, path, surface="shop").added == 4 - call
    assert ws.ledger.head() == head + 4 - call
    assert acts.read_codebook(ws.ledger).find("shop", "rude").version == 2
    assert import_codebook(ws, path, surface="shop").duplicates == 3
