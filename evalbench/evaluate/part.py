"""One process's part of a scoring run: sessions stream by, verdicts go to a journal."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check, run_check
from evalbench.evaluate.excerpt import Excerpt
from evalbench.evaluate.finding import Finding
from evalbench.evaluate.judge import Judge, make_judge, read_parameters
from evalbench.evaluate.spec import Specification
from evalbench.llm import Limits, Reply, Request, Spent, Tries, complete_many, run
from evalbench.session import Session, read_sessions
from evalbench.store.journal import Journal, open_journal
from evalbench.store.lake import Lake

Progress = Callable[[Spent], None]
BATCH = 512
"""Sessions that are judged by one check or classifier after the other."""
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
        wanted = self._wanted(numbers)
        for begin in range(0, len(wanted), BATCH):
            batch = list(read_sessions(self.part.lake, surface, wanted[begin : begin + BATCH]))
            for number, judge in judges.items():
                sessions = [each for each in batch if each.session_id in self.left[number]]
                start = time.perf_counter()
                findings = judge(sessions)
                each_ms = (time.perf_counter() - start) * 1e3 / max(len(sessions), 1)
                for session, finding in zip(sessions, findings, strict=True):
                    self._record(number, session.session_id, finding, latency_ms=each_ms)
        self._record_absent(numbers, wanted)

    def run_judges(self, surface: str, model: str, numbers: Sequence[int]) -> None:
        """Ask a model, with what the limits have left."""
        used = add_spent(self.spent)
        limits = self.part.limits.less(used)
        judges = {n: self._make_judge(self.part.specifications[n]) for n in numbers}
        waiting: dict[str, tuple[int, str, Judge, Excerpt]] = {}
        tries = self.part.tries

        def ask() -> Iterator[Request]:
            wanted = self._wanted(numbers)
            seen: set[str] = set()
            for session in read_sessions(self.part.lake, surface, wanted):
                seen.add(session.session_id)
                for number, judge in judges.items():
                    if session.session_id not in self.left[number]:
                        continue
                    if len(waiting) > limits.concurrency:
                        return  # the budget is spent, and this is asked what is left
                    key = f"{number} {session.session_id}"
                    try:
                        request, shown = judge.ask(session, key=key)
                    except EvaluatorError as error:
                        finding = Finding(None, error=str(error))
                        self._record(number, session.session_id, finding)
                        continue
                    waiting[key] = number, session.session_id, judge, shown
                    yield replace(request, tries=tries[key]) if key in tries else request
            self._record_absent(numbers, [key for key in wanted if key not in seen])

        def keep(request: Request, reply: Reply) -> None:
            number, session_id, judge, shown = waiting.pop(request.key)
            self._record(
                number,
                session_id,
                judge.read(reply, shown),
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

    def _record_absent(self, numbers: Sequence[int], session_ids: Sequence[str]) -> None:
        for number in numbers:
            for key in session_ids:
                if key in self.left[number]:
                    self._record(number, key, Finding(None, error=ABSENT))

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
            session.session_id: session
            for session in read_sessions(self.part.lake, specification.surface, named)
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
