"""Large data on one machine, and Spark beside Polars: memory, time, and the same numbers.

    python benchmarks/scale.py [--whole] [ingest] [spark] [company] [notes]

Prints a JSON line a claim; exit status 1 when one does not hold. ``--whole`` reads 20,000,000 spans
(30 GB of JSONL, 3 GB as the shards of .zst that it writes) and compares the engines on 2,000,000.
Memory is that of all processes of a command, less the browser that prints its page.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import make
import numpy as np
import polars as pl
from claims import claim, run_parts, show, sized
from company import fill_company
from discover import NOTES, measure_size
from observe import tree_memory
from polars.testing import assert_frame_equal
from traffic import write_traffic

import evalbench as eb
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.observe.sessions import KEY, collect_signals, fold_sessions, session_signals
from evalbench.operate import coverage
from evalbench.schema import SPAN
from evalbench.store.engines import collect, start_spark
from evalbench.store.files import write_staged

MOST, SHARDS = 1536, 10
SPANS = sized(20_000_000, 400_000)
COMPARED = sized(2_000_000, 100_000)
PROMISE = {"check": "pattern_found", "pattern": "(?i)guarantee"}
COMMAND = (sys.executable, "-c", "from evalbench.cli import main; main()")


def run_command(*arguments):
    """Run a command of evalbench; give its seconds, those of processors, and its peak MiB."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed")
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def write_shards(folder, spans):
    """Write traffic as shards: each is the first one with other ids of traces and sessions."""
    import pyarrow

    first = folder / "traffic.jsonl"
    write_traffic(first, spans // SHARDS)
    for shard in range(SHARDS):
        packed = pyarrow.OSFile(str(folder / f"shard-{shard}.jsonl.zst"), "wb")
        with first.open("rb") as lines, pyarrow.CompressedOutputStream(packed, "zstd") as out:
            for line in lines:
                line = line.replace(b'"trace_id": "', b'"trace_id": "%d' % shard)
                out.write(line.replace(b'"session-', b'"session-%d' % shard))
    size = first.stat().st_size * SHARDS
    first.unlink()
    return size


def ingest(holds):
    """Read many files into the lake and count them: memory must not grow with the data."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        size, ws = write_shards(folder, SPANS), folder / "workspace"
        read = "ingest", folder / "shard-*.jsonl.zst", "--surface", "support"
        seconds, cpu, peak = run_command(*read, "--workspace", ws)
        about = f"{SPANS:,} spans, {size / 1e9:.1f} GB of JSONL"
        assert eb.open(ws).lake.spans().select(pl.len()).collect().item() == SPANS
        peer = f"{seconds:.0f} s, {cpu / SPANS * 1e6:.0f} µs of a processor a span"
        holds.append(claim(f"ingest, peak MiB, {about}", peak, MOST, peer))
        page = "run", "01_observe", "-p", "surface", "support", "--reports", folder
        seconds, _, peak = run_command(*page, "--workspace", ws)
        holds.append(claim(f"01_observe, peak MiB, {about}", peak, MOST, f"{seconds:.0f} s"))


def make_spans(n, rng):
    """Make spans, ten a session, with texts, calls, errors and signals, all null now and then."""

    def some(values, known=0.7):
        drawn = rng.integers(len(values), size=n)
        drawn = np.where(rng.random(n) < known, drawn, len(values))
        return pl.Series([*values, None]).gather(drawn)

    number = np.arange(n)
    flags = ("outcome", "regenerated", "abandoned", "escalated", "schema_valid", "reported")
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    seconds = start + number // 10 + rng.integers(9, size=n)
    return pl.DataFrame(
        {
            "surface": pl.repeat("support", n, eager=True),
            "session_id": pl.Series(number // 10).cast(str),
            "trace_id": pl.Series(number // 10).cast(str),
            "span_id": pl.Series(rng.permutation(n)).cast(str),
            "kind": some(["llm", "tool", "chain", "agent"], 1),
            "started_at": pl.Series(seconds * 10**6).cast(SPAN["started_at"]),
            "latency_ms": rng.gamma(2, 300, n),
            "status": some(["ok", "ok", "error"]),
            "input": some(["Where is my order?", "And then?", "Thank you"]),
            "output": some(["It is on its way.", "I guarantee it.", "Grüße"]),
            "tool_name": some(["search", "book"]),
            "tool_arguments": some(['{"q": 1}', '{"q": 2}']),
            "prompt_tokens": some([10, 20]),
            "cost_usd": some([0.01, 0.02]),
            "user_key": some(["u1", "u2"]),
            "release": some(["1.0", "2.0"]),
            "source_format": some(["made up"], 1),
            "stars": some([1.0, 4.5], 0.1),
            "thumbs": some([-1, 1], 0.1),
            **{flag: some([True, False], 0.1) for flag in flags},
        }
    ).match_to_schema(SPAN, missing_columns="insert")


def keep(ws, table, rows):
    """Put rows of one surface into the lake at once."""
    staged = write_staged(rows.lazy().drop("surface"), table, "support", ws.path)
    ws.lake.commit(table, [staged], folder=ws.path)


def same(holds, about, ours, theirs):
    """Claim that two frames are the same, row for row; floats to nine digits."""
    try:
        assert_frame_equal(ours, theirs, rel_tol=1e-9)
    except AssertionError as error:
        print(error, file=sys.stderr)
        theirs = theirs.clear()
    text = f"{about}: rows that Spark local[2] has as Polars has them"
    holds.append(claim(text, len(theirs), len(ours), "Polars", at_most=False))


def spark(holds):
    """Fold, judge and rate with both engines."""
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--master local[2] --driver-memory 2g pyspark-shell"
    start_spark().sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as made:
        ws = eb.open(Path(made) / "spans")
        keep(ws, "span", make_spans(COMPARED, np.random.default_rng(7)))
        keep(ws, "session", fold_sessions(ws.lake.spans()).sort("session_id"))
        ours, theirs = (eb.snapshot(ws, engine=engine) for engine in ("polars", "spark"))
        about = f"{COMPARED:,} spans"
        same(holds, f"{about}, sessions", ours.sessions.sort(KEY), theirs.sessions)
        folded, start = collect_signals(ws.lake.spans()).sort(KEY), time.perf_counter()
        same(
            holds,
            f"{about}, signals",
            folded,
            collect(session_signals(theirs.scan("span"))).sort(KEY),
        )
        show(f"{about}, signals by Spark, seconds", time.perf_counter() - start, "local[2]")
        for fold in (coverage.release_table, coverage.weekly_sessions, coverage.signal_table):
            name = fold.__name__.replace("_", " ")
            sides = (fold(view.scan("session")) for view in (ours, theirs))
            same(holds, f"{about}, {name}", *sides)
        own = {"surface": "support", "owner": "ana", "kind": "check"}
        checks = [
            Specification(mode="promise", parameters=PROMISE, **own),
            Specification(mode="repeats", parameters={"check": "tool_repeated", "times": 2}, **own),
        ]
        judge = partial(score, ws, checks, ours.sessions.select(KEY))
        for repeat, engine in enumerate(("polars", "spark")):
            judge(repeat=repeat, engine=engine)
        verdicts = ws.lake.verdicts().collect().sort("session_id", "mode", "repeat")
        said = verdicts.drop("repeat", "run_id", "latency_ms", "judged_at")
        sides = [said.filter(verdicts["repeat"] == repeat) for repeat in (0, 1)]
        same(holds, f"{about}, verdicts of two checks", *sides)
        company = fill_company(Path(made) / "company", sessions=sized(20_000, 2_000))
        rates = [eb.snapshot(company, engine=engine).rates for engine in ("polars", "spark")]
        same(holds, "rates of 50 failure modes in 24 releases", *rates)


def company(holds):
    """Report on a whole company, beside an empty notebook."""
    with tempfile.TemporaryDirectory() as made:
        fill_company(Path(made) / "workspace")
        empty = make.notebook(Path(made) / "empty.ipynb", make.REPORTING)
        about = "--workspace", Path(made) / "workspace", "--reports", Path(made) / "reports"
        floor, floor_cpu, _ = run_command("run", empty, *about)
        for quarter in ("2026Q3", "all"):
            page = "run", "11_impact", "-p", "quarter", quarter
            seconds, cpu, _ = run_command(*page, *about)
            peer = f"an empty notebook {floor:.0f} s; of processors {cpu:.0f} s, {floor_cpu:.0f} s"
            text = f"11_impact of {quarter}, 60,000 sessions, 50 failure modes, seconds"
            holds.append(claim(text, seconds, 60, peer))


def notes(holds):
    """Bring 100,000 notes together."""
    holds += measure_size(NOTES)


if __name__ == "__main__":
    parts = {"ingest": ingest, "spark": spark, "company": company, "notes": notes}
    sys.exit(run_parts(parts, __doc__))
