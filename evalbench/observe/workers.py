"""Worker processes that take chunks over pipes.

Not multiprocessing: it would run the user's script again in each worker (spawn) or copy the
threads of Polars in an undefined state (fork). A worker ends when its pipe does, so none outlives
a killed parent.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from queue import SimpleQueue
from threading import Event, Lock

from evalbench.errors import EvalbenchError, ReadError
from evalbench.observe.batch import Outcome, Plan, process_part
from evalbench.observe.source import Chunk, Flaw

WORKERS = min(os.cpu_count() or 1, 2)
"""More would not keep the promised memory: each holds a chunk in several forms."""
AHEAD = 2
"""Parts at a worker at a time: the next one waits there while one is processed."""
KEEPING = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
}
"""Allocators of a worker keep what is freed for its next chunk: else each would fault it in."""


def process_all(
    parts: Iterable[Chunk | Flaw], plan: Plan
) -> Iterator[tuple[Chunk | Flaw, Outcome]]:
    """Process the parts of a source in parallel, and give them in the order they came."""
    parts = iter(parts)
    first = list(islice(parts, WORKERS))
    if len(first) < WORKERS:  # too little to start processes for
        yield from ((part, process_part(part, plan)) for part in first)
        return
    workers = [_Worker(plan) for _ in range(WORKERS)]
    free: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers * AHEAD:
        free.put(worker)

    def process(part: Chunk | Flaw) -> Outcome:
        worker = free.get()
        try:
            return worker.ask(part)
        finally:
            free.put(worker)

    try:
        with ThreadPoolExecutor(WORKERS * AHEAD) as threads:
            pending: deque[tuple[Chunk | Flaw, Future[Outcome]]] = deque()
            for part in chain(first, parts):
                pending.append((part, threads.submit(process, part)))
                if len(pending) > 2 * WORKERS:
                    done, future = pending.popleft()
                    yield done, future.result()
            for done, future in pending:
                yield done, future.result()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that answers parts one after the other; several threads may ask it."""

    def __init__(self, plan: Plan) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evalbench.observe.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "POLARS_MAX_THREADS": "1", **KEEPING},
        )
        self.sending = Lock()
        self.last_read = Event()
        self.last_read.set()
        self._send(plan)

    def _send(self, what: object) -> None:
        assert self.process.stdin is not None
        pickle.dump(what, self.process.stdin, protocol=5)
        self.process.stdin.flush()

    def ask(self, part: Chunk | Flaw) -> Outcome:
        """Process a part; answers are read in the order of their questions."""
        read = Event()
        try:
            with self.sending:
                before, self.last_read = self.last_read, read
                self._send(part)
            before.wait()
            assert self.process.stdout is not None
            answer = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise ReadError(
                f"a worker process ended (status {self.process.wait()}), perhaps for lack of "
                "memory; run the same command again: nothing is read twice"
            ) from error
        finally:
            read.set()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate()


def main() -> None:
    """Serve chunks until the pipe ends."""
    import gc

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else writes between the answers
    plan: Plan = pickle.load(requests)
    gc.disable()  # rows are trees: what is freed is freed by its count
    while True:
        try:
            part = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: object = process_part(part, plan)
        except EvalbenchError as error:
            answer = error
        except Exception as error:
            answer = ReadError(f"a part cannot be read: {type(error).__name__}: {error}")
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


if __name__ == "__main__":
    main()
