"""Work over a stream in worker processes, results in the order of the stream."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from itertools import chain, islice
from threading import Thread
from typing import Any

from evalbench.errors import ReadError

WORKERS = 2  # more would not keep the promised memory: each holds a chunk in several forms


def map_parallel(function: Callable[..., Any], items: Iterable[Any], *rest: Any) -> Iterator[Any]:
    """Give ``function(item, *rest)`` of each; of few here. ReadError where a worker dies."""
    items = iter(items)
    first = list(islice(items, WORKERS))
    if len(first) < WORKERS:
        yield from (function(item, *rest) for item in first)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=WORKERS,
        return_as="generator",
        pre_dispatch=2 * WORKERS,
        batch_size=1,
        idle_worker_timeout=20,
        initializer=_end_with,
        initargs=(os.getpid(),),
    )
    try:
        yield from parallel(delayed(function)(item, *rest) for item in chain(first, items))
    except BrokenExecutor as error:
        raise ReadError(
            "a worker process ended, perhaps for lack of memory; run the same command again: "
            "nothing is read twice"
        ) from error


def end_workers() -> None:
    """End the workers that wait for more, and give back what they hold."""
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(max_workers=WORKERS).shutdown()


def _end_with(parent: int) -> None:
    """Let a worker end with the process that started it, also where that is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
