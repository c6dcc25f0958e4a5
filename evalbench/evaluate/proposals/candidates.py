"""One candidate of each kind for one failure mode: tuned on the train split, measured on the test.

A session of the test split that would tune one is refused by
:func:`~evalbench.evaluate.split.require_train`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate.calibrate import ALIGNMENT, KEY, measure_alignment
from evalbench.evaluate.checks import read_check, run_check
from evalbench.evaluate.classifier import (
    classify,
    dump_classifier,
    load_classifier,
    name_groups,
    train_classifier,
)
from evalbench.evaluate.finding import Finding
from evalbench.evaluate.judge import Example
from evalbench.evaluate.proposals.check_candidates import Columns, list_columns, search_check
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split, require_train
from evalbench.llm import Limits, Spent
from evalbench.session import Session, read_sessions
from evalbench.stats.binary import ENOUGH, MEASURES

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

Row = dict[str, Any]
SHOWN = 2
"""Labelled sessions of either class that a judge is shown."""
UNTESTED = "too few labels of the test split"
CANDIDATE = pl.Schema(
    {
        **dict.fromkeys(("surface", "mode", "name", "kind"), pl.String()),
        **dict.fromkeys(("evaluator_id", "evaluator_version"), pl.String()),
        "train_mcc": pl.Float64(),
        **ALIGNMENT,
        "milliseconds": pl.Float64(),
        "dollars_per_1000": pl.Float64(),
        "proposed": pl.Boolean(),
    }
)


@dataclass(frozen=True)
class Candidate:
    """An evaluator that was tuned.

    Attributes
    ----------
    specification : Specification
        What :func:`adopt` would define.
    train_mcc : float or None
        How it did on the train split, cross-fitted; None for a judge.
    file : bytes
        Of a classifier.
    diff : str
        What was changed in a judge's rubric, line by line.
    """

    specification: Specification
    train_mcc: float | None = None
    file: bytes = field(default=b"", repr=False)
    diff: str = ""


@dataclass(frozen=True)
class Bench:
    """The labelled sessions of one surface on their two sides, and what candidates are made of."""

    ws: Workspace
    surface: str
    labels: pl.DataFrame
    train: list[Session]
    test: list[Session]
    model: str
    reflection_model: str
    limits: Limits
    rng: np.random.Generator
    spent: Spent

    @classmethod
    def open(cls, ws: Workspace, surface: str, labels: pl.DataFrame, *rest: Any) -> Bench:
        """Read the labelled sessions and put each on its side; ``rest`` are the other fields."""
        sides: dict[str, list[Session]] = {"train": [], "test": []}
        ids = labels["session_id"].unique().sort().to_list()
        for session in read_sessions(ws.lake, surface, ids):
            side = assign_split(surface, session.session_id, session.row["group_key"])
            sides[side].append(session)
        return cls(ws, surface, labels, sides["train"], sides["test"], *rest)

    @cached_property
    def columns(self) -> Columns:
        """What the family of checks says of the train split, for all modes alike."""
        return list_columns(self.train)

    def try_kind(self, kind: str, mode: Row) -> tuple[Row, Candidate | None]:
        """Make one candidate and measure it, or say why it cannot be made."""
        own = self.labels.filter(mode=mode["mode"])
        said = dict(own.select("session_id", "truth").iter_rows())
        row: Row = {name: mode[name] for name in ("surface", "mode", "name")} | {"kind": kind}
        test = [each for each in self.test if each.session_id in said]
        n_fail = sum(said[each.session_id] for each in test)
        if min(n_fail, len(test) - n_fail) < ENOUGH:
            counts = f"{n_fail} failing and {len(test) - n_fail} passing"
            why = f"{UNTESTED}: {counts}; {ENOUGH} of each are needed"
            return row | {"status": "insufficient", "why": why}, None
        try:
            candidate = self._make(kind, mode, said)
        except EvaluatorError as error:
            status = "insufficient" if str(error).startswith("insufficient") else "not aligned"
            return row | {"status": status, "why": str(error)}, None
        row |= self._measure(candidate, test, said)
        return row, candidate

    def _make(self, kind: str, mode: Row, said: Mapping[str, bool]) -> Candidate:
        train = [each for each in self.train if each.session_id in said]
        fails = np.array([said[each.session_id] for each in train], dtype=bool)
        own: Row = {name: mode[name] for name in ("surface", "mode", "owner")} | {"kind": kind}
        if kind == "check":
            known = np.array([said.get(each.session_id, np.nan) for each in self.train], float)
            check = search_check(self.columns, known)
            held = check.out_of_fold[~np.isnan(known)]
            return Candidate(Specification(**own, parameters=check.parameters), _mcc(held, fails))
        if kind == "classifier":
            trained = train_classifier(train, fails.tolist())
            content, sha256 = dump_classifier(trained.pipeline)
            told: Row = {"parameters": {"sha256": sha256}, "threshold": trained.threshold}
            return Candidate(Specification(**own, **told), trained.value, content)
        if not self.model:
            raise EvaluatorError("no model was named that could judge")
        examples = draw_examples(train, fails, rng=self.rng)
        judge = Specification(
            **own,
            model=self.model,
            prompt=f"{mode['name']}. {mode['definition']}\n\nAn example: {mode['example']}",
            parameters={"examples": [each.model_dump() for each in examples]},
        )
        if not self.reflection_model:
            return Candidate(judge)
        from evalbench.evaluate.proposals.rubric import improve_rubric

        improved = improve_rubric(
            judge,
            train,
            fails,
            reflection_model=self.reflection_model,
            limits=self.limits,
            spent=self.spent,
            rng=self.rng,
        )
        return Candidate(improved.specification, diff=improved.diff)

    def _measure(
        self, candidate: Candidate, test: Sequence[Session], said: Mapping[str, bool]
    ) -> Row:
        """Judge the sessions of the test split, and compare with people."""
        specification, start = candidate.specification, time.perf_counter()
        row: Row = {
            "evaluator_id": specification.evaluator_id,
            "evaluator_version": specification.version,
            "train_mcc": candidate.train_mcc,
        }
        if specification.kind == "judge":
            verdicts, left = self._ask_judge(specification, test)
            if left:
                why = f"the budget is spent: {left} of {len(test)} sessions are not judged"
                return row | {"status": "insufficient", "why": why}
            fails = verdicts["fails"].to_list()
            row["dollars_per_1000"] = verdicts.select(1000 * pl.col("cost_usd").mean()).item()
            row["milliseconds"] = verdicts["latency_ms"].mean()
        else:
            fails = [each.fails for each in look(candidate, test)]
            row["milliseconds"] = (time.perf_counter() - start) * 1e3 / len(test)
            row["dollars_per_1000"] = 0.0
        pairs = pl.DataFrame(
            {
                **{name: [row.get(name)] * len(test) for name in KEY},
                "truth": [said[each.session_id] for each in test],
                "fails": pl.Series(fails, dtype=pl.Boolean),
                "group": name_groups(test),
            }
        )
        settings, level = self.ws.settings.evaluators, self.ws.settings.level
        [found] = measure_alignment(
            pairs, by=["evaluator_id"], settings=settings, level=level, rng=self.rng
        ).to_dicts()
        return row | found

    def _ask_judge(
        self, specification: Specification, test: Sequence[Session]
    ) -> tuple[pl.DataFrame, int]:
        """Give the verdicts in the order of the sessions, and how many the budget left."""
        wanted = pl.DataFrame({"session_id": [each.session_id for each in test]})
        scored = score(self.ws, [specification], wanted, limits=self.limits, spent=self.spent)
        key = {
            "evaluator_id": specification.evaluator_id,
            "evaluator_version": specification.version,
            "repeat": 0,
        }
        said = self.ws.lake.verdicts(surface=self.surface).filter(**key).collect()
        said = said.sort("judged_at").unique("session_id", keep="last")
        return wanted.join(said, on="session_id", how="left", maintain_order="left"), len(
            scored.left
        )


def look(candidate: Candidate, sessions: Sequence[Session]) -> list[Finding]:
    """Judge sessions by a candidate that needs no model."""
    specification = candidate.specification
    if specification.kind == "check":
        check = read_check(specification.parameters)
        return [run_check(check, each) for each in sessions]
    sha256 = str(specification.parameters["sha256"])
    pipeline = load_classifier(candidate.file, sha256=sha256)
    return classify(pipeline, sessions, threshold=specification.threshold or 0.0)


def draw_examples(
    sessions: Sequence[Session], fails: np.ndarray, *, rng: np.random.Generator
) -> list[Example]:
    """Draw labelled sessions to show to a judge, :data:`SHOWN` of either class.

    Raises
    ------
    EvaluatorError
        One of them is of the test split.
    """
    require_train([each.row for each in sessions], use="few-shot example")
    chosen: list[Example] = []
    for value in (True, False):
        own = rng.permutation(np.flatnonzero(fails == value))[:SHOWN]
        chosen += [Example(session_id=sessions[at].session_id, fails=value) for at in own]
    return chosen


def _mcc(right: np.ndarray, fails: np.ndarray) -> float | None:
    """MCC of what was flagged of the failing and of the passing sessions."""
    tp, fp = int(right[fails].sum()), int(right[~fails].sum())
    cells = np.array([tp, fails.sum() - tp, fp, (~fails).sum() - fp], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(MEASURES["mcc"](cells))
    return None if np.isnan(value) else value
