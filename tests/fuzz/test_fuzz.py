"""Hostile files through the readers, and some through a whole ingest; `make fuzz` for more."""

import pytest
from fuzz import Reader
from hostile_files import make_file
from hypothesis import given, settings
from hypothesis import strategies as st

import evalbench as eb
from evalbench.errors import ReadError

NUMBERS = st.integers(0, 2**48)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("fuzz"))
    reader.read([make_file(number) for number in range(20)])  # what is imported late is, now
    return reader


@settings(max_examples=20, derandomize=True)
@given(st.lists(NUMBERS, min_size=100, max_size=100))
def test_no_file_breaks_or_stalls_a_reader_or_goes_uncounted(reader, numbers):
    reader.read([make_file(number) for number in numbers])


def test_every_record_of_an_ingest_is_accepted_rejected_or_a_duplicate(workspace, tmp_path):
    taken = 0
    for number in range(25):
        file = make_file(number)
        path = tmp_path / f"export-{number}"
        path.write_bytes(file.content)
        try:
            first = eb.observe.ingest(workspace, path, surface="fuzz")
        except ReadError:
            continue
        again = eb.observe.ingest(workspace, path, surface="fuzz")
        assert again.spans == 0
        assert again.records == again.rejected + again.duplicates + again.collisions
        assert again.records == first.records
        assert file.records in (None, first.records)
        taken += 1
    assert taken >= 10
