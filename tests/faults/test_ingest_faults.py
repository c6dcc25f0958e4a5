"""What goes wrong on the way in: killed processes, broken files, values nobody should send."""

import json
import signal

import make
import polars as pl
import pytest
from forked import kill_at, start

import evalbench as eb
from evalbench.errors import ReadError
from evalbench.observe import source
from evalbench.store.lake import Lake

CHUNK = 20_000
MOMENTS = [
    "after progress 5",
    "before commit 1",
    "after commit 1",
    "after commit 2",
    "after commit 3",
]


def span(number, **attributes):
    fields = {"session.id": f"session-{number // 4}", "openinference.span.kind": "LLM"}
    return {
        "name": "step",
        "context": {"trace_id": f"trace-{number // 4}", "span_id": f"span-{number}"},
        "start_time": "2026-01-01T00:00:00+00:00",
        "end_time": "2026-01-01T00:00:01+00:00",
        "attributes": {**fields, "input.value": f"text {number} " * 20, **attributes},
    }


def judged(number):
    score = {"annotations.0.annotation.name": "toxicity", "annotations.0.annotation.score": 0.1}
    return span(number, **score, **{"annotations.0.annotation.annotator_kind": "LLM"})


def to_line(record):
    return json.dumps(record).encode() + b"\n"


@pytest.fixture
def ws(tmp_path):
    return make.workspace(tmp_path / "workspace")


def ingest(ws, path):
    return eb.observe.ingest(ws, path, surface="support")


def told(report):
    return [json.loads(line) for line in report.rejects_path.read_text().splitlines()]


def lake(ws):
    return {
        "span": ws.lake.spans().collect().sort("trace_id", "span_id"),
        "session": ws.lake.sessions().collect().sort("session_id"),
        "verdict": ws.lake.verdicts().collect().sort("session_id", "evaluator_id"),
    }


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    path = tmp_path_factory.mktemp("traffic") / "traffic.jsonl"
    lines = [to_line(judged(n) if n % 5 == 0 else span(n)) for n in range(600)]
    path.write_bytes(b"".join([*lines, b"{broken\n", *lines[:7]]))
    return path


@pytest.fixture(scope="module")
def undisturbed(traffic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder, traffic) == 0
    return lake(eb.open(folder))


class Reading:
    """Hears how far an ingest is."""

    def progress(self, done, total):
        """Hear of another chunk."""


def read(folder, path, moment):
    source.CHUNK = CHUNK
    kill_at(moment, Lake, "commit", "upsert")
    kill_at(moment, reading := Reading(), "progress")
    eb.observe.ingest(eb.open(folder), path, surface="support", progress=reading.progress)


def run(folder, path, moment="never"):
    make.workspace(folder)
    process = start(read, folder, path, moment)
    process.join(60)
    return process.exitcode


def check_recovers(folder, traffic, undisturbed):
    ws = eb.open(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "CHUNK", CHUNK)  # as the killed run cut it
        ingest(ws, traffic)
    recovered = lake(ws)
    for table, frame in undisturbed.items():
        assert recovered[table].equals(frame, null_equal=True), table
    report = ingest(ws, traffic)
    assert (report.sessions, report.spans, report.rejected, report.duplicates) == (0, 0, 1, 607)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_chosen_moment(moment, traffic, undisturbed, tmp_path):
    assert run(tmp_path, traffic, moment) == -signal.SIGKILL
    check_recovers(tmp_path, traffic, undisturbed)


@pytest.mark.parametrize(
    "content",
    [b"a;b;c\n1;2;3\n", b'{"level": "info"}\n', b"%PDF-1.7\n%\xe2\xe3\n", b"\x00\x01\x02", b"[]"],
    ids=["table", "log", "pdf", "binary", "empty list"],
)
def test_a_file_of_another_format_is_one_clear_error(ws, tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=str(path)):
        ingest(ws, path)
    assert ws.lake.versions() == {}


FLAWED = {
    "invalid UTF-8": (to_line(span(1)).replace(b"text 1", b"text \xff"), "not UTF-8"),
    "nested 1,000 deep": (
        to_line(span(1)).replace(b'"step"', b"[" * 1000 + b"]" * 1000),
        "deep|depth|JSON|recursion",
    ),
    "year 9999": (to_line(span(1) | {"start_time": "9999-12-31T00:00:00+00:00"}), "1990 to 2100"),
    "negative tokens": (to_line(span(1, **{"llm.token_count.prompt": -1})), "prompt_tokens"),
    "tokens in words": (to_line(span(1, **{"llm.token_count.prompt": "many"})), "prompt_tokens"),
    "negative cost": (to_line(span(1, **{"llm.cost.total": -0.1})), "cost_usd"),
    "an end before its start": (to_line(span(1) | {"end_time": "2025-01-01T00:00:00Z"}), "latency"),
    "no span id": (to_line(span(1) | {"context": {"trace_id": "t"}}), "span_id"),
    "a number": (b"17\n", "not a JSON object"),
    "half a surrogate": (to_line(span(1)).replace(b"text 1", b"text \\ud800"), "not JSON"),
}


@pytest.mark.parametrize(("line", "reason"), FLAWED.values(), ids=FLAWED)
def test_a_bad_record_is_a_reject_and_its_neighbours_are_read(ws, tmp_path, line, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(to_line(span(0)) + line + to_line(span(2)))
    report = ingest(ws, path)
    assert (report.spans, report.rejected, report.records) == (2, 1, 3)
    (reject,) = told(report)
    assert reject["line"] == 2
    assert pl.Series([reject["reason"]]).str.contains(reason).item(), reject["reason"]
    assert reject["text"] == line.decode(errors="backslashreplace").rstrip("\n")


def test_a_line_of_70_mb_is_a_reject_with_the_start_of_its_text(ws, tmp_path):
    path = tmp_path / "a.jsonl"
    long = to_line(span(1, **{"input.value": "x" * 70_000_000}))
    path.write_bytes(to_line(span(0)) + long + to_line(span(2)))
    report = ingest(ws, path)
    assert (report.spans, report.rejected, report.records) == (2, 1, 3)
    (reject,) = told(report)
    assert (reject["line"], reject["text"]) == (2, long[:4096].decode())
    assert reject["reason"].startswith(f"{len(long):,} bytes long")
