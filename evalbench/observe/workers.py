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
from typing import IO

from evalbench.errors import EvalbenchError, ReadError
from evalbench.observe.batch import Outcome, Plan, process_chunk
from evalbench.observe.source import Chunk, Flaw

WORKERS = min(os.cpu_count() or 1, 2)
"""More would not keep the promised memory: each holds a chunk in several forms."""


def process_all(
    parts: Iterable[Chunk | Flaw], plan: Plan
) -> Iterator[tuple[Chunk | Flaw, Outcome | None]]:
    """Process chunks in parallel and give each with its outcome, in the order they came."""
    parts = iter(parts)
    first = list(islice(parts, WORKERS))
    if len(first) < WORKERS:  # too little to start processes for
        for part in first:
            yield part, process_chunk(part, plan) if isinstance(part, Chunk) else None
        return
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    workers = [_start(plan) for _ in range(WORKERS)]
    for worker in workers:
        idle.put(worker)

    def process(chunk: Chunk) -> Outcome:
        worker = idle.get()
        try:
            return _ask(worker, chunk)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(WORKERS) as threads:
            pending: deque[tuple[Chunk | Flaw, Future[Outcome] | None]] = deque()
            for part in chain(first, parts):
                started = threads.submit(process, part) if isinstance(part, Chunk) else None
                pending.append((part, started))
                if len(pending) > WORKERS:
                    done, future = pending.popleft()
                    yield done, future and future.result()
            for done, future in pending:
                yield done, future and future.result()
    finally:
        for worker in workers:
            _end(worker)


def _start(plan: Plan) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "evalbench.observe.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    _send(worker.stdin, plan)
    return worker


def _send(pipe: IO[bytes] | None, what: object) -> None:
    pickle.dump(what, pipe, protocol=5)  # type: ignore[arg-type]
    pipe.flush()  # type: ignore[union-attr]


def _ask(worker: subprocess.Popen[bytes], chunk: Chunk) -> Outcome:
    try:
        _send(worker.stdin, chunk)
        answer = pickle.load(worker.stdout)  # type: ignore[arg-type]
    except (EOFError, BrokenPipeError) as error:
        raise ReadError(
            f"a worker process ended (status {worker.wait()}), perhaps for lack of memory; "
            "run the same command again: nothing is read twice"
        ) from error
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    worker.communicate()


def main() -> None:
    """Serve chunks until the pipe ends."""
    import gc

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else writes between the answers
    plan: Plan = pickle.load(requests)
    gc.disable()  # rows are trees: what is freed is freed by its count
    while True:
        try:
            chunk = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: object = process_chunk(chunk, plan)
        except EvalbenchError as error:
            answer = error
        except Exception as error:
            answer = ReadError(f"chunk {chunk.number}: {type(error).__name__}: {error}")
        _send(answers, answer)


if __name__ == "__main__":
    main()
