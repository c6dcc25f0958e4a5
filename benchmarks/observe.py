"""What reading traces costs: JSONL to lake beside parsing alone, and sessions beside hand-written.

    python benchmarks/observe.py --spans 2000000

Writes the traffic to a temporary folder (1.6 KB a span), runs each step in a process of its own,
samples the memory of its whole process tree, and prints a JSON line a claim; exit status 1 when one
does not hold. The full size needs 5 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claims import claim, make_parser, sized
from traffic import write_traffic

SMALL = 60_000
"""Spans of the file of 100 MB."""


def loop_json(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            json.loads(line)


def ingest(path, folder, redact):
    import evalbench as eb

    report = eb.observe.ingest(eb.open(folder), path, surface="support", redact=redact == "True")
    assert report.rejected == report.duplicates == 0, report


def _scan(folder):
    import evalbench as eb

    return eb.open(folder).lake.spans(surface="support")


def signals(folder):
    from evalbench.observe.sessions import collect_signals

    return collect_signals(_scan(folder))


def outlines(folder):
    from evalbench.observe.sessions import fold_sessions

    return fold_sessions(_scan(folder))


def signals_by_hand(folder, engine):
    from sessions_by_hand import fold_with_polars

    return fold_with_polars(_scan(folder)).collect(engine=engine)


def signals_with_pandas(folder, everything):
    import pandas as pd
    from sessions_by_hand import NEEDED, fold_with_pandas

    files = sorted(Path(folder).glob("lake/span/*/*.parquet"))
    columns = None if everything == "True" else NEEDED
    frames = [pd.read_parquet(file, columns=columns, partitioning=None) for file in files]
    return fold_with_pandas(pd.concat(frames, ignore_index=True))


def check_equal(folder):
    """See that the hand-written fold is the same fold, but for what a session's view says."""
    import polars.testing

    ours = signals(folder).sort("session_id")
    by_hand = signals_by_hand(folder, "auto").select(ours.columns).sort("session_id")
    polars.testing.assert_frame_equal(ours, by_hand)
    by_pandas = signals_with_pandas(folder, "False").sort_values("session_id")
    for name in ("n_spans", "n_retries", "prompt_tokens"):
        assert by_pandas[name].tolist() == ours[name].to_list(), name


STEPS = (loop_json, ingest, signals, outlines, signals_by_hand, signals_with_pandas, check_equal)


def run_step(step, *arguments):
    """Run one step in a process of its own; gives its seconds and the peak MiB of its tree."""
    os.sync()  # what the step before left to write is not this one's
    command = [sys.executable, __file__, "--step", step.__name__, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{step.__name__} failed")
    return json.loads(process.stdout.read()), peak


def tree_memory(pid):
    """Resident memory of a process and all below it but browsers, in MiB.

    What they share counts for each: to tell it apart (``smaps_rollup``) takes a fifth of a core.
    """
    total, pids = 0, [pid]
    while pids:
        each = Path(f"/proc/{pids.pop()}")
        try:
            if not (each / "comm").read_text().startswith("chrom"):
                total += int((each / "statm").read_text().split()[1])
            for task in (each / "task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return total * os.sysconf("SC_PAGESIZE") / 2**20


def measure(folder, spans):
    """Run every step on one size of traffic, and give what it claims."""
    path, small = folder / "traffic.jsonl", folder / "small.jsonl"
    write_traffic(path, spans)
    write_traffic(small, SMALL)
    size = f"{spans:,} spans, {path.stat().st_size / 1e9:.2f} GB"
    peer, _ = run_step(loop_json, path)
    plain, plain_memory = run_step(ingest, path, folder / "plain", False)
    redacted, redacted_memory = run_step(ingest, path, folder / "redacted", True)
    again, _ = run_step(loop_json, path)
    peer = min(peer, again)
    _, small_memory = run_step(ingest, small, folder / "small", True)
    loop = f"a loop of json.loads, {peer:.1f} s"
    yield claim(f"JSONL to lake, {size}", plain / peer, 1.6, loop)
    yield claim(f"JSONL to lake with redaction, {size}", redacted / peer, 3.5, loop)
    yield claim(f"peak MiB, {size}", max(plain_memory, redacted_memory), 1024, "1 GiB")
    yield claim(f"peak MiB, {SMALL:,} spans", small_memory, 1024, "1 GiB")
    lake = folder / "plain"
    run_step(check_equal, lake)
    runs = [run_step(signals, lake) for _ in range(3)]
    ours = min(seconds for seconds, _ in runs)
    by_hand = min(
        run_step(signals_by_hand, lake, engine)[0]
        for engine in ("auto", "streaming", "auto", "streaming")
    )
    needed, _ = run_step(signals_with_pandas, lake, False)
    everything, _ = run_step(signals_with_pandas, lake, True)
    peer = f"the same query by hand in lazy Polars, {by_hand:.2f} s"
    yield claim(f"session signals, {size}", ours / by_hand, 1.3, peer)
    peer = f"pandas reading its columns, {needed:.1f} s"
    yield claim(f"session signals faster, {size}", needed / ours, 2, peer, at_most=False)
    peer = f"pandas reading all, {everything:.1f} s"
    yield claim(f"session signals faster, {size}", everything / ours, 10, peer, at_most=False)
    yield claim(f"session signals, peak MiB, {size}", max(peak for _, peak in runs), 700, "700 MB")


def main():
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--spans", type=int, default=sized(2_000_000, 200_000))
    parser.add_argument("--folder", help="where to put the traffic [default: a temporary folder]")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        name, *rest = arguments.step
        step = {each.__name__: each for each in STEPS}[name]
        if name.startswith("signals") or name == "check_equal":
            _scan(rest[0])  # the engine and the lake are loaded before the clock starts
        start = time.perf_counter()
        step(*rest)
        print(time.perf_counter() - start)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        sys.exit(not all(list(measure(Path(folder), arguments.spans))))


if __name__ == "__main__":
    main()
