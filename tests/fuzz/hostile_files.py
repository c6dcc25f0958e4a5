"""Whole export files as a broken or hostile source would write them, each made from its number."""

import copy
import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet

from evalbench.observe.batch import decode
from evalbench.observe.source import read_chunks

FIXTURES = sorted((Path(__file__).parents[1] / "observe/fixtures").glob("*/input.*"))
LONG_TEXT = "word " * 4000
SPLICES = {
    "@deep@": lambda rng: "[" * (depth := rng.choice((5, 150, 900, 5000))) + "]" * depth,
    "@objects@": lambda rng: (
        '{"a":' * (depth := rng.choice((5, 150, 900, 1100))) + "1" + "}" * depth
    ),
    "@huge@": lambda rng: rng.choice("-1") + "7" * rng.choice((20, 40, 400, 5000)),
    "@surrogate@": lambda _: '"\\ud800"',
    "@control@": lambda _: '"\\u0000\\u001b[2J\\u202e"',
    "@infinite@": lambda rng: rng.choice(("1e999", "NaN", "-Infinity", "1e308", "-0.0", "1E-400")),
}
"""JSON that Python's writer would not write, put in after it, by the text that it stands for."""
VALUES = (
    *SPLICES, None, "", " ", True, False, 0, -1, 2**63, -(2**63) - 1, 0.1, 1e17, [], {}, [[]],
    [None], [1, "a"], [{}], {"": ""}, {"a": [{"b": None}]}, "\x00", "\x1b[31m", "\u202e", "é\u0301",
    "🎈", "null", "NaN", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "2026-13-45T99:99",
    "1e400", "20240520", "-5", "{'a': 1, 'b': [None, True]}", "{'a': ", '{"a": 1', "[" * 400,
    "session.id", "llm", "resourceSpans", "%00%ff", "+1 415-555-2671", "ann@example.com", LONG_TEXT,
    {"role": "user", "content": 7}, [{"role": None, "content": [{"type": "text"}]}],
    {"stringValue": 5}, {"arrayValue": {"values": None}}, {"kvlistValue": {"values": [{"key": 1}]}},
)  # fmt: skip
CONTAINERS = (*("jsonl", "list", "document", "otlp", "joined", "csv") * 2, "parquet")
"""Parquet half as often: it costs more than all others."""


class File(NamedTuple):
    """A file, how it is written, and how many records are in it where that is certain."""

    number: int
    kind: str
    content: bytes
    records: int | None


def _read_seeds() -> list[dict]:
    texts = [
        text for path in FIXTURES for chunk in read_chunks(path) for _, text in chunk.records[:6]
    ]
    return [record.value for text in texts for record in decode(text)]


SEEDS = [json.dumps(seed) for seed in _read_seeds()]


def make_file(number: int) -> File:
    """Make the file of a number."""
    rng = random.Random(number)
    kind = rng.choice(CONTAINERS)
    records = [_make_record(rng) for _ in range(rng.randint(1, 4))]
    content, count = _write(rng, kind, records)
    if rng.random() < 0.15 and kind != "parquet":
        content = b"\xef\xbb\xbf" + content
    if rng.random() < 0.3:
        content, kind, count = _break(rng, content), f"broken {kind}", None
    if rng.random() < 0.15:
        packed = gzip.compress(content, 1)
        if rng.random() < 0.3:
            packed, count = packed[: rng.randrange(len(packed))], None
        content, kind = packed, f"{kind}, packed"
    elif rng.random() < 0.05:
        content = pyarrow.compress(content, codec="zstd", asbytes=True)
        kind = f"{kind}, packed"
    return File(number, kind, content, None if "parquet, packed" in kind else count)


def _make_record(rng: random.Random) -> dict:
    record = json.loads(rng.choice(SEEDS))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        _mutate(rng, record)
    return record


def _mutate(rng: random.Random, record: dict) -> None:
    """Change one thing at any depth: a value, a name, a type; or take it away."""
    place = record
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            place = inner
            continue
        act = rng.random()
        if act < 0.7:
            place[key] = copy.deepcopy(rng.choice(VALUES))
        elif act < 0.8:
            place[key] = [inner]
        elif act < 0.9:
            place[key] = json.dumps(inner)
        elif isinstance(place, dict):
            place[rng.choice(("", "session_id", "messages", "id", "a.b", "\x00"))] = place.pop(key)
        else:
            place.pop(key)
        return


def _to_json(rng: random.Random, value: object, **how: object) -> str:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, **how)
    for name, splice in SPLICES.items():
        if name in text:
            text = text.replace(f'"{name}"', splice(rng))
    return text


def _to_cell(rng: random.Random, value: object) -> str:
    return value if isinstance(value, str) else _to_json(rng, value)


def _write(rng: random.Random, kind: str, records: list[dict]) -> tuple[bytes, int | None]:
    """Write records; and count them where the writer's count is what a reader must find."""
    if kind == "csv":
        return _write_csv(rng, records)
    if kind == "parquet":
        return _write_parquet(rng, records), len(records)
    count: int | None = len(records)
    if kind == "document":
        text, count = _to_json(rng, records[0], indent=1), None
    elif kind == "otlp":
        text = '{"resourceSpans": ' + _to_json(rng, records) + "}"
        count = None
    elif kind == "list":
        text = "[" + rng.choice((",", " ,\n")).join(_to_json(rng, each) for each in records) + "]"
    else:
        gap = {"jsonl": rng.choice(("\n", "\r\n", "\n\n", "\n \n")), "joined": ""}[kind]
        text = gap.join(_to_json(rng, each) for each in records)
        count = None if "resourceSpans" in text or kind == "joined" else count
    if "resourceSpans" in text:  # an envelope counts a record a span
        count = None
    return text.encode(errors="surrogatepass"), count


def _write_csv(rng: random.Random, records: list[dict]) -> tuple[bytes, int | None]:
    names = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=rng.choice(("\n", "\r\n")))
    writer.writerow(names)
    for record in records:
        writer.writerow(_to_cell(rng, record.get(name)) for name in names)
    return file.getvalue().encode(errors="surrogatepass"), None


def _write_parquet(rng: random.Random, records: list[dict]) -> bytes:
    rows = [
        {
            name: value if isinstance(value, str) else _to_json(rng, value)
            for name, value in each.items()
        }
        for each in records
    ]
    table = pyarrow.Table.from_pylist(rows)
    if rng.random() < 0.3 and table.num_columns:
        odd = pyarrow.array([rng.choice(((b"\xff",), (1.5,), (2**62,)))[0]] * len(rows))
        table = table.set_column(
            rng.randrange(table.num_columns), rng.choice(table.column_names), odd
        )
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def _break(rng: random.Random, content: bytes) -> bytes:
    """Break bytes: cut, turned, doubled, taken out, or put in."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(broken) + 1)
        act = rng.randrange(5)
        if act == 0 and rng.random() < 0.3:
            del broken[at:]
        elif act == 1:
            broken[at : at + 1] = bytes([rng.randrange(256)])
        elif act == 2:
            broken[at:at] = broken[at : at + rng.randrange(60)]
        elif act == 3:
            del broken[at : at + rng.randrange(1, 9)]
        else:
            broken[at:at] = rng.choice(
                (b'"', b"\\", b"{", b"]", b"\x00", b"\xff", b"\n", b",", b"\x1f")
            )
    return bytes(broken)
