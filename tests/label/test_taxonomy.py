"""A taxonomy as a file: the round trip is equal, bad rows are told, nothing is written twice."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evalbench.demo.company import load_company
from evalbench.errors import ReadError
from evalbench.label.codebook import acts as codebook
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.taxonomy import FIELDS, export_taxonomy, import_taxonomy
from evalbench.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="ana")


@pytest.fixture
def company(ledger):
    """The demo's codebook, with a draft and a mode that ended."""
    for surface in load_company().surfaces:
        for mode in surface.modes:
            fields = {name: getattr(mode, name) for name in FIELDS[2:]}
            codebook.define(ledger, surface.surface, mode.mode, **fields)
    codebook.define(
        ledger, "code_reviewer", "new", name='Sagt "nein": – #1', definition="Two\nlines: yes."
    )
    codebook.retire(ledger, "code_reviewer", "nit_flood")
    return ledger


def test_what_is_written_reads_back_equal_and_changes_nothing(company, tmp_path):
    path, again = tmp_path / "modes.yaml", tmp_path / "again.yaml"
    assert export_taxonomy(read_codebook(company), path) == 44
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.sqlite'}", actor="bruno")
    report = import_taxonomy(fresh, path)
    assert (report.added, report.changed, report.unchanged) == (44, 0, 0)
    assert report.refused == ()
    export_taxonomy(read_codebook(fresh), again)
    assert again.read_bytes() == path.read_bytes()
    assert_frame_equal(read_codebook(fresh).live, read_codebook(company).live)
    head = fresh.head()
    assert import_taxonomy(fresh, path).unchanged == 44
    assert fresh.head() == head


def test_a_table_with_the_same_fields_says_the_same(company, tmp_path):
    path = tmp_path / "modes.csv"
    standing = read_codebook(company).to_frame().filter(pl.col("status").is_in(["live", "draft"]))
    standing.select(FIELDS).write_csv(path)
    assert import_taxonomy(company, path).unchanged == 44
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.sqlite'}", actor="bruno")
    assert import_taxonomy(fresh, path).added == 44
    assert_frame_equal(read_codebook(fresh).live, read_codebook(company).live)


def test_an_empty_codebook_is_an_empty_list(ledger, tmp_path):
    path = tmp_path / "modes.yaml"
    assert export_taxonomy(read_codebook(ledger), path) == 0
    assert import_taxonomy(ledger, path).added == 0


def test_one_changed_word_is_one_changed_line_and_one_new_version(company, tmp_path):
    path = tmp_path / "modes.yaml"
    export_taxonomy(read_codebook(company), path)
    before = path.read_text().splitlines()
    codebook.edit(company, "code_reviewer", "new", owner="chiara")
    export_taxonomy(read_codebook(company), path)
    after = path.read_text().splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("  owner: ''", "  owner: chiara")]
    path.write_text(path.read_text().replace("owner: chiara", "owner: dora"))
    report = import_taxonomy(company, path)
    assert (report.added, report.changed, report.unchanged) == (0, 1, 43)
    assert read_codebook(company).find("code_reviewer", "new").version == 3


YAML = """\
- mode: rude
  name: Is rude
  severity: user impact
- mode: slow
  name: Slow
  severity: terrible
- just words
- mode: cold
- mode: rude
  name: Twice
- mode: loud
  name: Loud
  colour: red
- mode: code
  name: !!python/object/apply:os.getcwd []
- mode: nit
  name: Nit
- mode: plain
  name: no
- mode: double
  name: One
  name: Two
"""


def test_each_bad_row_is_told_with_its_line_and_the_others_are_taken(ledger, tmp_path):
    codebook.define(ledger, "shop", "nit", name="Nit")
    codebook.retire(ledger, "shop", "nit")
    path = tmp_path / "modes.yaml"
    path.write_text(YAML)
    report = import_taxonomy(ledger, path, surface="shop")
    assert report.added == 1
    told = {refused.line: refused.reason for refused in report.refused}
    assert list(told) == [4, 7, 8, 9, 11, 14, 16, 18, 20]
    assert "severity: Input should be 'safety'" in told[4]
    assert told[7] == "no mode: a mapping of fields is needed"
    assert told[8] == "name: Field required"
    assert told[9] == "mode: 'rude' stands in the file twice"
    assert "no field is 'colour'; there are surface, mode" in told[11]
    assert "could not determine a constructor" in told[14]
    assert "'nit' was retired" in told[16]
    assert told[20] == "name: stands in the row twice"
    assert told[18] == "name: Input should be a valid string"
    assert "terrible" in report.refused[0].text
    assert read_codebook(ledger).find("shop", "rude").status == "draft"


def test_lines_of_a_table_are_those_of_the_file_though_cells_span_some(ledger, tmp_path):
    path = tmp_path / "modes.csv"
    path.write_text(
        'surface,mode,name,definition\nshop,a,A,"two\nlines"\n\nshop,,B,x\nshop,c,C,x,too much\n'
    )
    report = import_taxonomy(ledger, path)
    assert report.added == 1
    assert [refused.line for refused in report.refused] == [5, 6]
    assert report.refused[0].reason.startswith("mode: String should have at least 1")
    assert read_codebook(ledger).find("shop", "a").definition == "two\nlines"


def test_a_file_with_few_columns_changes_only_those(company, tmp_path):
    path = tmp_path / "owners.csv"
    path.write_text("mode,owner\nwrong_line,dora\n")
    before = read_codebook(company).find("code_reviewer", "wrong_line")
    assert import_taxonomy(company, path, surface="code_reviewer").changed == 1
    after = read_codebook(company).find("code_reviewer", "wrong_line")
    assert (after.owner, after.definition, after.name) == ("dora", before.definition, before.name)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("modes.yaml", b"mode: a\n", "not a list of modes"),
        ("modes.yaml", b"", "not a list of modes"),
        ("modes.yaml", b"- [a\n", "no YAML"),
        ("modes.yaml", b"\xff\xfe", "not UTF-8"),
        ("modes.csv", b"surface,name\nshop,A\n", "must name each column once"),
        ("modes.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_taxonomy_is_refused_whole(ledger, tmp_path, name, content, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError, match=why):
        import_taxonomy(ledger, tmp_path / name)
    assert ledger.head() == 0
