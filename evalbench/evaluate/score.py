"""Evaluators over sessions into the verdict table, which is cache and checkpoint at once."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.excerpt import Excerpt
from evalbench.evaluate.finding import Finding
from evalbench.evaluate.judge import OFFLINE, Judge, judge_offline, make_judge, read_parameters
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.spread import Look, look_with_spark
from evalbench.llm import UNLIMITED, Limits, Reply, Request, Spent, Tries, complete_many
from evalbench.schema import RUN_SIGN
from evalbench.session import read_sessions
from evalbench.store.journal import Journal, open_journal, read_tries, recover
from evalbench.store.workspace import Workspace

LEFT = pl.Schema({"surface": pl.String, "session_id": pl.String, "evaluator_id": pl.String})
BATCH = 512  # sessions that are judged by one check or classifier after the other
ABSENT = "no such session in the lake"
USED = ("latency_ms", "prompt_tokens", "completion_tokens", "cost_usd")


@dataclass(frozen=True)
class Scored:
    """What a run came to: rows added with and without an error, cached ones, and those left."""

    run_id: str
    verdicts: int
    errors: int
    cached: int
    left: pl.DataFrame = field(repr=False)
    spent: Spent


def score(
    ws: Workspace,
    specifications: Sequence[Specification],
    sessions: pl.DataFrame | Sequence[str],
    *,
    repeat: int = 0,
    run: str = "",
    limits: Limits = UNLIMITED,
    spent: Spent | None = None,
    engine: str = "polars",
) -> Scored:
    """Judge sessions by evaluators; each ends with a verdict or a recorded error.

    A verdict that is there, by evaluator, version and ``repeat``, is not asked for again; errors
    are, but not by the call that goes on with a killed run. Verdicts are on disk at once, in the
    lake by the end. ``sessions`` are ids of each evaluator's surface, or a frame with
    ``session_id`` and perhaps ``surface``; ``limits`` hold for all models together, less what was
    ``spent``. ModelError where one cannot be called, EvaluatorError where an example or a
    classifier's file is missing. With ``run`` the outputs of that run of each evaluator's surface
    are judged, not what production did. With the ``engine`` "spark" what needs no model runs on its
    executors.
    """
    identity = [
        f"{repeat}{run}",
        *(f"{each.evaluator_id} {each.version}" for each in specifications),
    ]
    job = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    folder = ws.path / "scoring"
    run_id = recover(folder, ws.lake, job)
    run_id = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    about = {"repeat": repeat, "run_id": run_id, "run": run}
    tasks = [_find_task(ws, each, sessions, about) for each in specifications]
    tries = {key: Tries(*noted) for key, noted in read_tries(folder, job).items()}
    path, account = folder / f"{job}.{run_id}.jsonl", Spent() if spent is None else spent
    with open_journal(path, ws.lake) as journal:
        scoring = _Scoring(ws, journal, limits, tries, account, engine)
        scoring.judge_all(tasks)
    for done in folder.glob(f"{job}.{run_id}.*"):
        done.unlink()
    rows = [{**task.head, "session_id": name} for task in tasks for name in task.todo]
    left, cached = pl.DataFrame(rows, schema=LEFT), sum(task.cached for task in tasks)
    return Scored(run_id, scoring.verdicts, scoring.errors, cached, left, account)


def prepare(specification: Specification, read_file: Callable[[str], bytes]) -> Look:
    """Read once for all sessions what needs no model; ``read_file`` takes a file's SHA-256."""
    if specification.kind == "check":
        check = read_check(specification.parameters)
        return lambda some: [check.find(each) for each in some]
    if specification.kind == "judge":
        return lambda some: [judge_offline(specification.prompt, each) for each in some]
    from evalbench.evaluate.classifier import classify, load_classifier

    sha256, threshold = str(specification.parameters["sha256"]), specification.threshold or 0.0
    pipeline = load_classifier(read_file(sha256), sha256=sha256)
    return lambda some: classify(pipeline, some, threshold=threshold) if some else []


@dataclass
class _Task:
    """One evaluator in a run, ``todo`` its sessions, ``head`` what its verdicts share."""

    specification: Specification
    head: dict[str, Any]
    todo: dict[str, None]
    cached: int

    def name(self, session_id: str) -> str:
        """Name what is asked of a session."""
        return f"{self.head['evaluator_id']} {self.head['evaluator_version']} {session_id}"


def _find_task(
    ws: Workspace,
    specification: Specification,
    sessions: pl.DataFrame | Sequence[str],
    about: dict[str, Any],
) -> _Task:
    named = sessions if isinstance(sessions, pl.DataFrame) else {"session_id": sessions}
    frame, surface = pl.DataFrame(named), specification.surface
    surface += f"{RUN_SIGN}{about['run']}" if about["run"] else ""
    own = frame.filter(surface=surface) if "surface" in frame.columns else frame
    wanted = own.select(pl.col("session_id").cast(pl.String)).unique(maintain_order=True)
    key = {"evaluator_id": specification.evaluator_id, "repeat": about["repeat"]}
    key["evaluator_version"] = specification.version
    head = specification.model_dump(include={"mode", "model"}) | key
    head |= {"surface": surface, "run_id": about["run_id"]}
    done = ws.lake.verdicts(surface=surface).filter(**key)
    done = done.filter(pl.col("error").is_null() | (pl.col("run_id") == about["run_id"]))
    left = wanted.join(done.select("session_id").collect(), on="session_id", how="anti")
    todo = dict.fromkeys(left["session_id"].to_list())
    return _Task(specification, head, todo, len(wanted) - len(left))


@dataclass
class _Scoring:
    """One run over all its tasks."""

    ws: Workspace
    journal: Journal
    limits: Limits
    tries: Mapping[str, Tries]
    spent: Spent
    engine: str
    verdicts: int = 0
    errors: int = 0

    def judge_all(self, tasks: Sequence[_Task]) -> None:
        """Judge all that the limits reach, what costs nothing first; each session is read once."""
        groups: dict[tuple[str, str], list[_Task]] = defaultdict(list)
        for task in tasks:
            model = task.specification.model or ""
            groups["" if model.startswith(OFFLINE) else model, task.head["surface"]].append(task)
        for (model, surface), own in sorted(groups.items(), key=lambda group: group[0]):
            wanted = dict.fromkeys(key for task in own for key in task.todo)
            if model:
                self._ask_model(model, surface, own, wanted)
            elif self.engine == "spark":
                self._look_with_spark(surface, own, wanted)
            else:
                self._look(surface, own, wanted)

    def _look(self, surface: str, tasks: Sequence[_Task], wanted: Mapping[str, None]) -> None:
        """Run what needs no model, batch by batch."""
        evaluators = [(task, prepare(task.specification, self._read_classifier)) for task in tasks]
        sessions = read_sessions(self.ws.lake, surface, list(wanted))
        while batch := list(islice(sessions, BATCH)):
            for task, judge in evaluators:
                own = [each for each in batch if each.session_id in task.todo]
                start = time.perf_counter()
                findings = judge(own)
                each_ms = (time.perf_counter() - start) * 1e3 / max(len(own), 1)
                for session, finding in zip(own, findings, strict=True):
                    self._record(task, session.session_id, finding, latency_ms=each_ms)
        self._record_absent(tasks, wanted)

    def _look_with_spark(
        self, surface: str, tasks: Sequence[_Task], wanted: Mapping[str, None]
    ) -> None:
        """Run what needs no model on Spark's executors; a classifier goes along as its bytes."""
        specifications = [task.specification for task in tasks]
        used = (each.parameters.get("sha256") for each in specifications)
        files = {str(name): self._read_classifier(str(name)) for name in used if name}
        how = partial(prepare, read_file=files.__getitem__)
        for found in look_with_spark(self.ws.lake, surface, list(wanted), specifications, how):
            if found.session_id in tasks[found.place].todo:
                about = found.session_id, found.finding
                self._record(tasks[found.place], *about, latency_ms=found.latency_ms)
        self._record_absent(tasks, wanted)

    def _read_classifier(self, sha256: str) -> bytes:
        path = self.ws.path / "classifiers" / f"{sha256}.skops"
        if not path.exists():
            raise EvaluatorError(f"no file {path}: train it again")
        return path.read_bytes()

    def _ask_model(
        self, model: str, surface: str, tasks: Sequence[_Task], wanted: Mapping[str, None]
    ) -> None:
        judges = [(task, self._make_judge(task.specification)) for task in tasks]
        waiting: dict[str, tuple[_Task, str, Judge, Excerpt]] = {}

        def ask() -> Iterator[Request]:
            absent = dict(wanted)
            for session in read_sessions(self.ws.lake, surface, list(wanted)):
                name = session.session_id
                del absent[name]
                for task, judge in judges:
                    if name not in task.todo:
                        continue
                    key = task.name(name)
                    try:
                        request, shown = judge.ask(session, key=key)
                    except EvaluatorError as error:
                        self._record(task, name, Finding(None, error=str(error)))
                    else:
                        waiting[key] = task, name, judge, shown
                        yield request._replace(tries=self.tries.get(key, request.tries))
            self._record_absent(tasks, absent)

        def keep(request: Request, reply: Reply) -> None:
            task, name, judge, shown = waiting.pop(request.key)
            about = {each: getattr(reply, each) for each in USED}
            about["model_fingerprint"] = reply.fingerprint or None
            self._record(task, name, judge.read(reply, shown), **about)

        how: Any = {"model": model, "limits": self.limits, "spent": self.spent}
        how["on_retry"] = lambda request, tries: self.journal.note_tries(request.key, tries)
        complete_many(ask(), on_reply=keep, **how)

    def _make_judge(self, specification: Specification) -> Judge:
        named = [each.session_id for each in read_parameters(specification.parameters).examples]
        shown = read_sessions(self.ws.lake, specification.surface, named)
        known = {each.session_id: each for each in shown}
        return make_judge(specification, sessions=known, reply_tokens=self.limits.reply_tokens)

    def _record_absent(self, tasks: Sequence[_Task], session_ids: Iterable[str]) -> None:
        for task in tasks:
            for key in task.todo.keys() & set(session_ids):
                self._record(task, key, Finding(None, error=ABSENT))

    def _record(self, task: _Task, session_id: str, finding: Finding, **about: Any) -> None:
        found = {"session_id": session_id, "fails": finding.fails, "score": finding.score}
        found |= {"rationale": finding.rationale or None, "error": finding.error}
        found["evidence"] = json.dumps([dict(each) for each in finding.evidence])
        self.journal.write(task.head | found | about | {"judged_at": time.time_ns() // 1000})
        del task.todo[session_id]
        self.errors += finding.error is not None
        self.verdicts += finding.error is None
