"""A codebook as a file: the round trip is equal, bad rows are told, nothing is written twice."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.demo.company import load_company
from evalbench.label import export_codebook, import_codebook
from evalbench.label.codebook import acts
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.table import FIELDS
from evalbench.store.workspace import open_workspace


@pytest.fixture
def company(workspace):
    """The demo's codebook, with a draft and a mode that ended."""
    for surface in load_company().surfaces:
        for mode in surface.modes:
            fields = {
                name: getattr(mode, name) for name in FIELDS if name not in ("surface", "mode")
            }
            acts.define(workspace.ledger, surface.surface, mode.mode, **fields)
    draft = {"name": 'Sagt "nein": – #1', "definition": "Two\nlines: yes."}
    acts.define(workspace.ledger, "code_reviewer", "new", **draft)
    acts.retire(workspace.ledger, "code_reviewer", "nit_flood")
    return workspace


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_written_reads_back_equal_and_changes_nothing(company, tmp_path, suffix):
    path, again = tmp_path / f"modes.{suffix}", tmp_path / f"again.{suffix}"
    assert export_codebook(company, path) == 44
    fresh = open_workspace(tmp_path / "fresh", user="bruno")
    report = import_codebook(fresh, path)
    assert (report.added, report.duplicates, report.rejected, report.unused) == (44, 0, 0, ())
    export_codebook(fresh, again)
    assert again.read_bytes() == path.read_bytes()
    assert_frame_equal(read_codebook(fresh.ledger).live, read_codebook(company.ledger).live)
    head = fresh.ledger.head()
    assert import_codebook(fresh, path).duplicates == 44
    assert fresh.ledger.head() == head
    assert 0 < export_codebook(company, again, surface="code_reviewer") < 44


def test_a_changed_word_is_a_new_version_and_what_is_empty_stays(company, tmp_path):
    path = tmp_path / "owners.csv"
    path.write_text("mode,owner,severity\nwrong_line,dora,\nnew,,polish\n")
    before = read_codebook(company.ledger)
    report = import_codebook(company, path, surface="code_reviewer")
    assert (report.added, report.rejected) == (2, 0)
    after = read_codebook(company.ledger)
    old, new = (book.find("code_reviewer", "wrong_line") for book in (before, after))
    assert (new.owner, new.version) == ("dora", old.version + 1)
    assert (new.definition, new.name, new.severity) == (old.definition, old.name, old.severity)
    assert after.find("code_reviewer", "new").severity == "polish"


def test_each_bad_row_is_told_with_its_line_and_the_others_are_taken(company, tmp_path):
    path = tmp_path / "modes.csv"
    path.write_text(
        "failure,name,severity,colour\n"
        "rude,Is rude,user impact,red\n"
        "slow,Slow,terrible,\n"
        "cold,,,\n"
        "rude,Twice,,\n"
        "rude,Is rude,user impact,blue\n"
        "nit_flood,Nit,,\n"
        ",Nameless,,\n"
    )
    report = import_codebook(company, path, surface="code_reviewer", columns={"mode": "failure"})
    assert (report.added, report.duplicates, report.rejected) == (1, 1, 5)
    assert report.unused == ("colour",)
    rejects = dict(pl.read_ndjson(report.rejects_path).select("line", "reason").iter_rows())
    assert list(rejects) == [3, 4, 5, 7, 8]
    assert "severity: Input should be 'safety'" in rejects[3]
    assert rejects[4] == "name: Field required"
    assert rejects[5] == "mode: 'rude' stands in the file twice"
    assert "'nit_flood' was retired" in rejects[7]
    assert rejects[8] == "mode: Field required"
    assert read_codebook(company.ledger).find("code_reviewer", "rude").name == "Is rude"
