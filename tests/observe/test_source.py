import gzip
import json
import random
import time
from functools import partial

import polars as pl
import pyarrow
import pytest

from evalbench.errors import ReadError
from evalbench.observe import json_values, source
from evalbench.observe.batch import decode
from evalbench.observe.json_values import Flaw
from evalbench.observe.source import Chunk, read_chunks
from evalbench.settings import Limits


def read(path):
    """Every record as (line, value), and every flaw, of a source."""
    records, flaws = [], []
    for part in read_chunks(path):
        if isinstance(part, Flaw):
            flaws.append(part)
        else:
            records += [(line, json.loads(text)) for line, text in part.records]
    return records, flaws


def write(tmp_path, content, name="export"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


LINES = b"".join(b'{"n": %d, "text": "line %d"}\n' % (n, n) for n in range(2000))
VALUES = [{"n": n, "text": f"line {n}"} for n in range(2000)]
PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": partial(pyarrow.compress, codec="zstd", asbytes=True),
}


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(source, "CHUNK", 1000)
    monkeypatch.setattr(json_values, "CHUNK", 1000)
    monkeypatch.setattr(json_values, "LIMIT", 5000)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_lines_are_all_there_once_in_order_with_their_numbers(tmp_path, small_chunks, pack):
    records, flaws = read(write(tmp_path, pack(LINES)))
    assert records == list(enumerate(VALUES, 1))
    assert flaws == []


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_list_is_cut_by_its_brackets(tmp_path, small_chunks, pack):
    items = [{"n": n, "text": '}{[]" \\" \\\\', "more": [{"deep": [n]}]} for n in range(300)]
    text = json.dumps(items, indent=1)
    records, flaws = read(write(tmp_path, pack(text.encode())))
    assert [value for _, value in records] == items
    assert flaws == []
    lines = text.split("\n")
    assert all(lines[number - 1].strip() == "{" for number, _ in records)


@pytest.mark.parametrize("pack", [gzip.compress, PACKERS["zstd"]], ids=["gzip", "zstd"])
def test_what_stands_before_a_cut_is_kept_and_the_rest_is_one_flaw(tmp_path, pack):
    chooser = random.Random(3)
    values = [{"n": n, "noise": chooser.getrandbits(256)} for n in range(5000)]
    packed = pack("".join(json.dumps(value) + "\n" for value in values).encode())
    records, flaws = read(write(tmp_path, packed[: len(packed) * 2 // 3]))
    assert [value for _, value in records] == values[: len(records)]
    assert len(records) > 2500
    assert [flaw.reason.split(":")[0] for flaw in flaws] == [
        "the compressed data end or break here"
    ]


def test_a_truncated_list_keeps_its_whole_items(tmp_path):
    text = b'\xef\xbb\xbf[\n{"n": 1},\n{"n": 2},\n{"n": 3, "te'
    records, flaws = read(write(tmp_path, text))
    assert records == [(2, {"n": 1}), (3, {"n": 2})]
    assert flaws == [Flaw(4, "the JSON list ends before it is closed", b'{"n": 3, "te')]


def test_what_is_between_the_items_of_a_list_is_a_flaw(tmp_path):
    records, flaws = read(write(tmp_path, b'[1, "x",\n{"n": 1}, null, {"n": 2}]'))
    assert [value for _, value in records] == [{"n": 1}, {"n": 2}]
    assert [flaw.text for flaw in flaws] == [b'1, "x"', b"null"]


def test_an_otlp_document_is_read_resource_by_resource_and_another_is_one_record(tmp_path):
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"n": n}]}]} for n in range(3)]}
    records, _ = read(write(tmp_path, json.dumps(document, indent=2).encode()))
    assert [value for _, value in records] == [
        {"resourceSpans": [each]} for each in document["resourceSpans"]
    ]
    document = {"observations": [{"id": "a"}], "scores": []}
    records, _ = read(write(tmp_path, json.dumps(document, indent=2).encode()))
    assert records == [(1, document)]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_line_over_the_limit_is_a_flaw_with_its_place(tmp_path, small_chunks, pack):
    before, after = b'{"n": 1}\n', b'{"n": 2}\n'
    long = b'{"text": "' + b"x" * 9000 + b'"}\n'
    records, flaws = read(write(tmp_path, pack(before + long + after)))
    assert [value for _, value in records] == [{"n": 1}, {"n": 2}]
    assert len(flaws) == 1
    assert flaws[0].reason.startswith("9,013 bytes long")
    assert long.startswith(flaws[0].text)


def test_an_item_over_the_limit_ends_the_list(tmp_path, small_chunks):
    text = b'[{"n": 1}, {"text": "' + b"x" * 9000 + b'"}, {"n": 2}]'
    records, flaws = read(write(tmp_path, text))
    assert [value for _, value in records] == [{"n": 1}]
    assert len(flaws) == 1
    assert "all that follows it is left out" in flaws[0].reason


def test_a_csv_row_keeps_its_line_and_its_line_breaks(tmp_path):
    text = b'\xef\xbb\xbfid,name,empty\n1,"two\nlines",\n2,b,c\n'
    records, flaws = read(write(tmp_path, text))
    assert records == [
        (3, {"id": "1", "name": "two\nlines"}),
        (4, {"id": "2", "name": "b", "empty": "c"}),
    ]
    assert flaws == []


def test_a_csv_row_that_does_not_fit_is_a_flaw(tmp_path):
    records, flaws = read(write(tmp_path, b"id,name\n1,a\n2\n3,b,c\n4,\xff\n5,e\n"))
    assert [value["id"] for _, value in records] == ["1", "5"]
    assert [(flaw.line, flaw.reason) for flaw in flaws] == [
        (3, "1 cells under 2 column names"),
        (4, "3 cells under 2 column names"),
        (5, "not UTF-8"),
    ]


def test_parquet_rows_become_records(tmp_path):
    frame = pl.DataFrame({"id": ["a", "b"], "n": [1, None], "at": [None, "2026-01-01"]})
    frame = frame.with_columns(pl.col("at").str.to_datetime("%Y-%m-%d", time_unit="ns"))
    path = tmp_path / "export"
    frame.write_parquet(path)
    records, _ = read(path)
    assert records == [(1, {"id": "a", "n": 1}), (2, {"id": "b", "at": "2026-01-01 00:00:00"})]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n \n", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "neither text"),
        ('{"a": 1}'.encode("utf-16-le"), "neither text"),
        (gzip.compress(b"", mtime=0), "empty"),
        (gzip.compress(b"x" * 1000, mtime=0)[:12], "end or break"),
        (gzip.compress(b"PAR1 and more", mtime=0), "unpack it first"),
        (None, "no such file"),
    ],
)
def test_what_cannot_be_read_at_all_is_an_error(tmp_path, content, says):
    path = tmp_path / "nothing" if content is None else write(tmp_path, content)
    with pytest.raises(ReadError, match=says):
        list(read_chunks(path))


@pytest.mark.parametrize("pack", [gzip.compress, PACKERS["zstd"]])
@pytest.mark.parametrize(
    "opening", [b'{"n": 1}\n', b'{"n": 1,\n"b": 2}\n', b'[{"n": 1},', b"n\n1\n"]
)
def test_what_unpacks_to_more_than_is_allowed_is_a_flaw_that_names_the_setting(
    tmp_path, monkeypatch, pack, opening
):
    monkeypatch.setattr(source, "FREE", 100_000)
    path = write(tmp_path, pack(opening + b" " * 2_000_000))
    parts = list(read_chunks(path, Limits(unpacked_times=2)))
    assert any(
        "unpacked_times under [limits]" in each.reason for each in parts if type(each) is Flaw
    )
    sound = write(tmp_path, pack(LINES))
    wide, narrow = Limits(unpacked_times=2), Limits(unpacked_gb=5e-5)
    assert not any(isinstance(part, Flaw) for part in read_chunks(sound, wide))
    [flaw] = [part for part in read_chunks(sound, narrow) if isinstance(part, Flaw)]
    assert "unpacked_gb" in flaw.reason


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_broken_parquet_is_a_flaw(tmp_path, keep):
    path = tmp_path / "export"
    pl.DataFrame(VALUES).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    [flaw] = read_chunks(path)
    assert flaw.reason.startswith("nothing can be read from here on: ")


def test_a_row_of_too_many_cells_that_are_no_text_is_a_flaw(tmp_path):
    path = write(tmp_path, b"a,b\n1,\xff,3\n1,\xff\n1,2\n")
    flaws = [part for part in read_chunks(path) if isinstance(part, Flaw)]
    assert [(flaw.line, flaw.text) for flaw in flaws] == [(2, b"1,\xff,3"), (3, b"1,\xff")]


def test_a_chunk_of_empty_lines_ends_too(tmp_path):
    path = write(tmp_path, b'{"n": 1}\n' + b"\n" * 1_000_000)
    assert max(len(part.records) for part in read_chunks(path)) < 200_000


def test_chunks_are_numbered_and_say_how_far_they_came(tmp_path, small_chunks):
    path = write(tmp_path, LINES)
    chunks = [part for part in read_chunks(path) if isinstance(part, Chunk)]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    positions = [chunk.position for chunk in chunks]
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size


LIST = json.dumps(VALUES[:10])
PRETTY = json.dumps(VALUES[:10], indent=2)
JSONL = "".join(json.dumps(value) + "\n" for value in VALUES[:10])
MIXTURES = {
    "two lists": LIST + LIST,
    "two pretty lists": PRETTY + "\n" + PRETTY,
    "a list, then lines": LIST + "\n" + JSONL,
    "lines, then a pretty list": JSONL + PRETTY,
    "values in one line": JSONL.replace("\n", " ") + JSONL.replace("\n", ""),
    "values with commas": JSONL.replace("\n", ",\n") + LIST,
    "pretty values": "\n".join(json.dumps(value, indent=4) for value in VALUES[:10]) + JSONL,
    "a sequence with its marks": JSONL.replace("{", "\x1e{") + LIST,
    "files put together, each with its mark": "\ufeff" + JSONL + "\ufeff" + LIST,
}
ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, the other way": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode("utf-8-sig")),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("text", MIXTURES.values(), ids=MIXTURES)
def test_no_value_of_any_mixture_is_lost(tmp_path, small_chunks, text, encode):
    path, found = write(tmp_path, encode(text)), []
    for part in read_chunks(path):
        assert not isinstance(part, Flaw)
        found += [record.value for _, line in part.records for record in decode(line)]
    assert found == VALUES[:10] * 2


OTLP = json.dumps({"resourceSpans": [{"scopeSpans": [], "n": n} for n in range(5)]}, indent=2)


@pytest.mark.parametrize("between", ["", "\n", "\n\n", " , "], ids=repr)
def test_otlp_documents_one_after_the_other_are_all_read(tmp_path, small_chunks, between):
    records, flaws = read(write(tmp_path, between.join([OTLP] * 4).encode()))
    numbers = [value["resourceSpans"][0]["n"] for _, value in records]
    assert (numbers, flaws) == ([*range(5)] * 4, [])


def test_a_torn_line_takes_none_of_its_neighbours_with_it(tmp_path):
    torn = b'{"n": 1}\n{"n": 2, "text": "to\n{"n": 3}\n{"n": [4, \n{"n": 5}\n'
    (chunk,) = read_chunks(write(tmp_path, torn))
    values = [record.value for _, line in chunk.records for record in decode(line)]
    assert values == [{"n": 1}, None, {"n": 3}, None, {"n": 5}]
    assert [line for line, _ in chunk.records] == [1, 2, 3, 4, 5]


def test_a_file_of_torn_lines_is_read_in_time(tmp_path):
    torn = b'{"n": 1, "text": ["a torn line of some length",\n' * 40_000
    start = time.process_time()
    (chunk,) = read_chunks(write(tmp_path, torn + b'{"n": 2}\n'))
    assert time.process_time() - start < 5
    assert chunk.records[-1] == (40_001, b'{"n": 2}')
    assert len(chunk.records) == 40_001
