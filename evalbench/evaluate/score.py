"""Evaluators over sessions into the verdict table, which is cache and checkpoint at once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context, parent_process
from queue import Empty
from typing import Any, NamedTuple
from uuid import uuid4

import polars as pl

from evalbench import llm
from evalbench.evaluate.part import Part, Progress, Result, add_spent, run_part
from evalbench.evaluate.spec import Specification
from evalbench.llm import Limits, Spent, Tries
from evalbench.store.journal import commit_journals, read_tries, recover
from evalbench.store.workspace import Workspace

LEFT = pl.Schema({"surface": pl.String, "session_id": pl.String, "evaluator_id": pl.String})
PRELOADED = ["evalbench.llm.loaded"]
"""Modules of the process from which workers are forked."""


@dataclass(frozen=True)
class Scored:
    """What a run of evaluators came to.

    Attributes
    ----------
    run_id : str
        In the verdicts of this run.
    verdicts, errors : int
        Rows that it added, without and with an error.
    cached : int
        Verdicts that were there already.
    left : polars.DataFrame
        ``surface, session_id, evaluator_id`` of what the budget did not reach.
    spent : Spent
        What its calls used; ``left`` of it is empty.
    """

    run_id: str
    verdicts: int
    errors: int
    cached: int
    left: pl.DataFrame = field(repr=False)
    spent: Spent

    def __str__(self) -> str:
        dollars = self.spent.dollars
        cost = "an unknown cost" if dollars is None else f"${dollars:.4f}"
        left = f"; {len(self.left):,} left to do: the budget is spent" if len(self.left) else ""
        return (
            f"{self.verdicts:,} verdicts and {self.errors:,} errors by {self.spent.calls:,} calls "
            f"for {cost}, {self.cached:,} were there already{left}"
        )


def score(
    ws: Workspace,
    specifications: Sequence[Specification],
    sessions: pl.DataFrame | Sequence[str],
    *,
    repeat: int = 0,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    processes: int = 1,
    progress: Progress | None = None,
) -> Scored:
    """Judge sessions by evaluators; each ends with a verdict or a recorded error.

    A verdict that is there, by evaluator, version and ``repeat``, is not asked for again; errors
    are. A killed run is gone on with by the same call: its errors, too, count as done. Verdicts are
    on disk as soon as they are there, and in the lake by the end.

    Parameters
    ----------
    sessions : polars.DataFrame or sequence of str
        Session ids, of the surface of each evaluator, or a frame with ``session_id``; where it has
        a ``surface`` too, each evaluator judges those of its own.
    repeat : int
        Number of the repetition, to measure a judge's own noise.
    limits : Limits
        For all models together, and for all processes.
    processes : int
        Worker processes, each with its part of the limits; they stay for the next call.
    progress : callable of Spent, optional
        Told the sums so far.

    Raises
    ------
    ModelError
        A model cannot be called at all. What was judged before stays.
    EvaluatorError
        A specification cannot be used: an example or the file of a classifier is missing.
    """
    identity = [str(repeat), *(f"{each.evaluator_id} {each.version}" for each in specifications)]
    job = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    folder = ws.path / "scoring"
    run_id = recover(folder, ws.lake, job)
    run_id = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    todo, cached = _find_todo(ws, specifications, sessions, repeat, run_id)
    tries = {key: Tries(*noted) for key, noted in read_tries(folder, job).items()}
    parts = [
        Part(
            lake=ws.lake,
            classifiers=ws.path / "classifiers",
            specifications=tuple(specifications),
            todo=[ids[worker::processes] for ids in todo],
            repeat=repeat,
            run_id=run_id,
            journal=folder / f"{job}.{run_id}.{worker}.jsonl",
            tries=tries,
            limits=share,
        )
        for worker, share in enumerate(limits.share(processes))
    ]
    journals = [part.journal for part in parts]
    try:
        done = [run_part(parts[0], progress)] if processes == 1 else _run_parts(parts, progress)
    except BaseException:
        commit_journals(journals, ws.lake, wait=False)
        raise
    commit_journals(journals, ws.lake)
    for path in folder.glob(f"{job}.{run_id}.*"):
        path.unlink()
    left = [
        (each.surface, session_id, each.evaluator_id)
        for part in done
        for each, ids in zip(specifications, part.left, strict=True)
        for session_id in ids
    ]
    return Scored(
        run_id,
        sum(part.verdicts for part in done),
        sum(part.errors for part in done),
        cached,
        pl.DataFrame(left, schema=LEFT, orient="row"),
        add_spent([part.spent for part in done]),
    )


def _find_todo(
    ws: Workspace,
    specifications: Sequence[Specification],
    sessions: pl.DataFrame | Sequence[str],
    repeat: int,
    run_id: str,
) -> tuple[list[list[str]], int]:
    """Give for each evaluator the sessions without a verdict, and how many have one."""
    frame = (
        sessions if isinstance(sessions, pl.DataFrame) else pl.DataFrame({"session_id": sessions})
    )
    todo, cached = [], 0
    for each in specifications:
        own = frame.filter(surface=each.surface) if "surface" in frame.columns else frame
        wanted = own.select(pl.col("session_id").cast(pl.String)).unique(maintain_order=True)
        key = {"evaluator_id": each.evaluator_id, "evaluator_version": each.version}
        done = ws.lake.verdicts(surface=each.surface).filter(**key, repeat=repeat)
        done = done.filter(pl.col("error").is_null() | (pl.col("run_id") == run_id))
        left = wanted.join(done.select("session_id").collect(), on="session_id", how="anti")
        todo.append(left["session_id"].to_list())
        cached += len(wanted) - len(left)
    return todo, cached


class _Pool(NamedTuple):
    executor: ProcessPoolExecutor
    told: Any


_TOLD: list[Any] = []


@cache
def _pool(processes: int) -> _Pool:
    """Start workers that stay, from one process that has loaded LiteLLM: that takes seconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    told = context.Queue()
    executor = ProcessPoolExecutor(processes, context, initializer=_start_worker, initargs=(told,))
    return _Pool(executor, told)


def _start_worker(told: Any) -> None:
    _TOLD[:] = [told]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Stop calling models where the process that asked was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_parts(parts: Sequence[Part], progress: Progress | None) -> list[Result]:
    pool = _pool(len(parts))
    settings = dict(os.environ), dict(llm.PRICES)
    running = [
        pool.executor.submit(_work, worker, part, progress is not None, *settings)
        for worker, part in enumerate(parts)
    ]
    latest: dict[int, Spent] = {}
    while progress is not None and wait(running, timeout=0).not_done:
        with suppress(Empty):
            run_id, worker, spent = pool.told.get(timeout=0.2)
            if run_id == parts[0].run_id:  # and no word of an earlier run
                latest[worker] = spent
                progress(add_spent(list(latest.values())))
    wait(running)  # also where one fails: what the others are told is kept
    return [each.result() for each in running]


def _work(
    worker: int,
    part: Part,
    tell: bool,
    environment: dict[str, str],
    prices: dict[str, dict[str, float]],
) -> Result:
    os.environ.update(environment)
    for model, price in prices.items():
        llm.register_price(model, **price)

    def told(spent: Spent) -> None:
        _TOLD[0].put((part.run_id, worker, spent))

    return run_part(part, told if tell else None)
