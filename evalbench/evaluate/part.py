"""One process's part of a scoring run: sessions stream by, verdicts go to a journal."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check, run_check
from evalbench.evaluate.judge import Judge, Trace, make_judge, read_parameters
from evalbench.evaluate.session import Finding, Session
from evalbench.evaluate.spec import Specification
from evalbench.llm import Limits, Reply, Request, Spent, Tries, complete_many, run
from evalbench.store.journal import Journal, open_journal
from evalbench.store.lake import Lake

Progress = Callable[[Spent], None]
BATCH = 512
"""Sessions whose spans are read at once."""
ABSENT = "no such session in the lake"


@dataclass(frozen=True)
class Part:
    """What one process does: ``todo`` has the session ids of each specification.

    ``tries`` were made by a killed run, by "{number} {session_id}".
    """

    lake: Lake
    classifiers: Path
    specifications: tuple[Specification, ...]
    todo: list[list[str]]
    repeat: int
    run_id: str
    journal: Path
    tries: Mapping[str, Tries]
    limits: Limits


class Result(NamedTuple):
    """What became of a part; ``left`` are the sessions of each specification not judged."""

    verdicts: int
    errors: int
    left: list[list[str]]
    spent: Spent


class Stored(NamedTuple):
    """A session as the lake has it."""

    session_id: str
    spans: list[dict[str, Any]]
    row: dict[str, Any]


def run_part(part: Part, progress: Progress | None) -> Result:
    """Judge all of ``todo`` that the limits reach."""
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for number, each in enumerate(part.specifications):
        if part.todo[number]:
            groups[each.surface, each.model].append(number)
    with open_journal(part.journal, part.lake) as journal:
        scoring = _Scoring(part, journal, progress)
        for (surface, model), numbers in sorted(groups.items(), key=lambda each: each[0][1] or ""):
            if model is None:
                scoring.run_rules(surface, numbers)
            else:
                scoring.run_judges(surface, model, numbers)
    return scoring.result()


class _Scoring:
    def __init__(self, part: Part, journal: Journal, progress: Progress | None) -> None:
        self.part, self.journal, self.progress = part, journal, progress
        self.left = [dict.fromkeys(ids) for ids in part.todo]
        self.verdicts = self.errors = 0
        self.spent: list[Spent] = []
        self.heads = [
            {
                "surface": each.surface,
                "mode": each.mode,
                "evaluator_id": each.evaluator_id,
                "evaluator_version": each.version,
                "repeat": part.repeat,
                "model": each.model,
                "run_id": part.run_id,
            }
            for each in part.specifications
        ]

    def result(self) -> Result:
        left = [list(ids) for ids in self.left]
        return Result(self.verdicts, self.errors, left, add_spent(self.spent))

    def run_rules(self, surface: str, numbers: Sequence[int]) -> None:
        """Run checks and classifiers, batch by batch."""
        judges = {number: self._prepare(self.part.specifications[number]) for number in numbers}
        for batch in read_sessions(self.part.lake, surface, self._wanted(numbers)):
            opened = {each.session_id: open_session(surface, each) for each in batch}
            for number, judge in judges.items():
                wanted = [key for key in opened if key in self.left[number]]
                there = [session for key in wanted if (session := opened[key])]
                start = time.perf_counter()
                found = dict(zip([each.session_id for each in there], judge(there), strict=True))
                each_ms = (time.perf_counter() - start) * 1e3 / max(len(there), 1)
                for key in wanted:
                    finding = found.get(key) or Finding(None, error=ABSENT)
                    self._record(number, key, finding, latency_ms=each_ms)

    def run_judges(self, surface: str, model: str, numbers: Sequence[int]) -> None:
        """Ask a model, with what the limits have left."""
        used = add_spent(self.spent)
        limits = self.part.limits.less(used)
        judges = {n: self._make_judge(self.part.specifications[n]) for n in numbers}
        waiting: dict[str, tuple[int, str, Judge, Trace]] = {}
        tries = self.part.tries

        def ask() -> Iterator[Request]:
            for batch in read_sessions(self.part.lake, surface, self._wanted(numbers)):
                for stored in batch:
                    session = open_session(surface, stored)
                    for number, judge in judges.items():
                        if stored.session_id not in self.left[number]:
                            continue
                        if len(waiting) > limits.concurrency:
                            return  # the budget is spent, and this is asked what is left
                        key = f"{number} {stored.session_id}"
                        try:
                            if session is None:
                                raise EvaluatorError(ABSENT)
                            request, trace = judge.ask(session, key=key)
                        except EvaluatorError as error:
                            finding = Finding(None, error=str(error))
                            self._record(number, stored.session_id, finding)
                            continue
                        waiting[key] = number, stored.session_id, judge, trace
                        yield replace(request, tries=tries[key]) if key in tries else request

        def keep(request: Request, reply: Reply) -> None:
            number, session_id, judge, trace = waiting.pop(request.key)
            self._record(
                number,
                session_id,
                judge.read(reply, trace),
                model_fingerprint=reply.fingerprint or None,
                latency_ms=reply.latency_ms,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cost_usd=reply.cost_usd,
            )

        def note(request: Request, tries: Tries) -> None:
            self.journal.note_tries(request.key, tries)

        def tell(spent: Spent) -> None:
            if self.progress is not None:
                self.progress(add_spent([used, spent]))

        asking = complete_many(
            ask(), model=model, limits=limits, on_reply=keep, on_retry=note, progress=tell
        )
        self.spent.append(replace(run(asking), left=()))

    def _wanted(self, numbers: Sequence[int]) -> list[str]:
        """Give the sessions that any of these evaluators has to judge."""
        return list(dict.fromkeys(key for number in numbers for key in self.left[number]))

    def _prepare(self, specification: Specification) -> Callable[[list[Session]], list[Finding]]:
        """Read a check or a classifier once for all sessions."""
        if specification.kind == "check":
            check = read_check(specification.parameters)
            return lambda sessions: [run_check(check, each) for each in sessions]
        from evalbench.evaluate.classifier import classify, load_classifier

        sha256, threshold = str(specification.parameters["sha256"]), specification.threshold
        path = self.part.classifiers / f"{sha256}.skops"
        if not path.exists() or threshold is None:
            raise EvaluatorError(f"{specification.evaluator_id}: no file {path}: train it again")
        pipeline = load_classifier(path.read_bytes(), sha256=sha256)
        return lambda some: classify(pipeline, some, threshold=threshold) if some else []

    def _make_judge(self, specification: Specification) -> Judge:
        named = [each.session_id for each in read_parameters(specification.parameters).examples]
        shown = {
            stored.session_id: session
            for batch in read_sessions(self.part.lake, specification.surface, named)
            for stored in batch
            if (session := open_session(specification.surface, stored))
        }
        reply_tokens = self.part.limits.reply_tokens
        return make_judge(specification, sessions=shown, reply_tokens=reply_tokens)

    def _record(self, number: int, session_id: str, finding: Finding, **about: Any) -> None:
        row = self.heads[number] | {
            "session_id": session_id,
            "fails": finding.fails,
            "score": finding.score,
            "rationale": finding.rationale or None,
            "evidence": json.dumps([dict(each) for each in finding.evidence]),
            "error": finding.error,
            "judged_at": time.time_ns() // 1000,
        }
        self.journal.write(row | about)
        del self.left[number][session_id]
        self.errors += finding.error is not None
        self.verdicts += finding.error is None


def read_sessions(lake: Lake, surface: str, ids: Sequence[str]) -> Iterator[list[Stored]]:
    """Read sessions of the lake in batches, the next one while this one is worked on."""
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]

    def load(wanted: Sequence[str]) -> list[Stored]:
        chosen = pl.col("session_id").is_in(list(wanted))
        rows = lake.sessions(surface=surface).filter(chosen).collect()
        spans = lake.spans(surface=surface).filter(chosen).collect()
        parts: dict[str, list[dict[str, Any]]] = {key: [] for key in wanted}
        for span in spans.sort("session_id", "started_at", "span_id").iter_rows(named=True):
            parts[span["session_id"]].append(span)
        known = {row["session_id"]: row for row in rows.iter_rows(named=True)}
        return [Stored(key, parts[key], known.get(key, {})) for key in wanted]

    with ThreadPoolExecutor(1) as ahead:
        coming = [ahead.submit(load, batch) for batch in batches[:1]]
        for following in [*batches[1:], None]:
            if not coming:
                return
            loaded = coming.pop().result()
            if following is not None:
                coming.append(ahead.submit(load, following))
            yield loaded


def open_session(surface: str, stored: Stored) -> Session | None:
    """Give a session as evaluators see it; None where the lake does not have it."""
    if not stored.spans or not stored.row:
        return None
    return Session(surface, stored.session_id, stored.spans, stored.row)


def add_spent(parts: Sequence[Spent]) -> Spent:
    """Add up what several runs of calls used."""
    dollars = [part.dollars for part in parts]
    return Spent(
        replies=sum(part.replies for part in parts),
        errors=sum(part.errors for part in parts),
        calls=sum(part.calls for part in parts),
        tokens=sum(part.tokens for part in parts),
        dollars=None if None in dollars else sum(each or 0.0 for each in dollars),
    )
