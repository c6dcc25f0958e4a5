"""Feed hostile files to the readers, and see that nothing breaks, stalls or goes uncounted.

    python tests/fuzz/fuzz.py --inputs 1000000

Prints a table by reader, and each file that broke something by its number, which makes it again;
exit status 1 where there is one.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from multiprocessing import Pool
from pathlib import Path

from hostile_files import File, make_file

from evalbench.errors import ReadError
from evalbench.observe.batch import Plan, process_part
from evalbench.observe.source import Chunk, Flaw, read_chunks
from evalbench.store.lake import Lake

AT_ONCE = 200
MEMORY = Path("/dev/shm")
"""Where files cost no disk."""
SLOW = 1.0


class Trouble(Exception):
    """A file broke something."""


class Reader:
    """Reads files as an ingest does, up to the lake, which sees none of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.staged = folder / "staged"
        self.plan = Plan(
            lake=Lake(str(folder / "lake"), {}), folder=self.staged, surface="fuzz", ingest_id="i",
            format="auto", columns={}, redact=True, secret="k",
        )  # fmt: skip
        self.milliseconds: dict[str, list[float]] = defaultdict(list)

    def read(self, files: list[File]) -> None:
        """Read files; Trouble, about one file alone, where one breaks something."""
        try:
            self._read(files)
        except Exception as error:
            if len(files) == 1:
                number, kind, *_ = files[0]
                raise Trouble(f"file {number} ({kind}): {type(error).__name__}: {error}") from error
            for file in files:
                self.read([file])
            raise Trouble(f"files {files[0].number} and more, together: {error}") from error

    def _read(self, files: list[File]) -> None:
        started, lines = time.process_time(), 0
        pairs = []
        for file in files:
            start = time.process_time()
            parts = self._cut(file)
            flaws = [part for part in parts if isinstance(part, Flaw)]
            held = [pair for part in parts if isinstance(part, Chunk) for pair in part.records]
            filled = [pair for pair in held if pair[1].strip()]
            if file.records is not None and parts and len(filled) + len(flaws) != file.records:
                raise AssertionError(
                    f"{len(filled)} records and {len(flaws)} flaws, not {file.records}"
                )
            outcomes = [process_part(flaw, self.plan) for flaw in flaws]
            if any(len(outcome.rejects) != 1 for outcome in outcomes):
                raise AssertionError("a flaw is no reject")
            pairs += filled
            lines += len(filled)
            self.milliseconds[file.kind].append((time.process_time() - start) * 1e3)
        if pairs:
            self.staged.mkdir(exist_ok=True)
            outcome = process_part(Chunk(0, 0, pairs), self.plan)
            rows = {n for column in outcome.read_from.values() for n in column}
            if outcome.records < lines or len(rows) + len(outcome.rejects) != outcome.records:
                told = f"{len(rows)} accepted and {len(outcome.rejects)} rejected"
                raise AssertionError(f"of {outcome.records} records {told}")
            shutil.rmtree(self.staged)
        took = time.process_time() - started
        if took > SLOW and len(files) == 1:
            raise AssertionError(f"{took:.1f} s")
        if took > AT_ONCE * SLOW / 10 and len(files) > 1:
            raise AssertionError(f"{took:.1f} s for {len(files)} files")

    def _cut(self, file: File) -> list[Chunk | Flaw]:
        path = self.folder / "export"
        path.write_bytes(file.content)
        try:
            return list(read_chunks(path))
        except ReadError:
            return []


def run(numbers: range) -> tuple[Counter, dict[str, float], list[str], float]:
    """Read the files of some numbers; give cases and slowest milliseconds by kind, and troubles."""
    cases: Counter = Counter()
    troubles = []
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        reader = Reader(Path(folder))
        for start in range(0, len(numbers), AT_ONCE):
            files = [make_file(number) for number in numbers[start : start + AT_ONCE]]
            try:
                reader.read(files)
            except Trouble as trouble:
                troubles.append(str(trouble))
            cases.update(file.kind for file in files)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    slowest = {kind: max(took) for kind, took in reader.milliseconds.items()}
    return cases, slowest, troubles, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.inputs)
    start, share = time.perf_counter(), 10_000
    cases: Counter = Counter()
    slowest: Counter = Counter()
    troubles, peaks = [], [0.0]
    with Pool(2) as pool:
        parts = [numbers[at : at + share] for at in range(0, len(numbers), share)]
        for counted, slow, broken, peak in pool.imap_unordered(run, parts):
            cases += counted
            slowest |= Counter(slow)
            troubles += broken
            peaks.append(peak)
    print(f"{'reader':<32} {'cases':>9} {'slowest ms':>11}")
    for kind, count in sorted(cases.items()):
        print(f"{kind:<32} {count:>9,} {slowest[kind]:>11.1f}")
    unaccounted = sum(" AssertionError: " in trouble for trouble in troubles)
    print(
        f"{cases.total():,} files in {time.perf_counter() - start:,.0f} s: "
        f"{len(troubles) - unaccounted} crashes, {unaccounted} unaccounted or slow, "
        f"peak {max(peaks):,.0f} MiB a process"
    )
    print(*troubles, sep="\n")
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
