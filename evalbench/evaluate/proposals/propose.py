"""Evaluators proposed from labels: for each failure mode the lightest kind that agrees with people.

Candidates are tuned on the train split and measured once on the test split. A proposal is a draft:
:func:`adopt` defines it, ``07_calibrate`` measures it again, and a person promotes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate import classifier
from evalbench.evaluate.calibrate import ALIGNMENT, measure_alignment
from evalbench.evaluate.finding import Finding
from evalbench.evaluate.judge import Example
from evalbench.evaluate.proposals.check_candidates import Family, look_by_family, search_check
from evalbench.evaluate.score import prepare, score
from evalbench.evaluate.spec import Specification, define
from evalbench.evaluate.split import assign_split, require_train
from evalbench.evaluate.status import COUNTING
from evalbench.llm import UNLIMITED, Limits, Spent
from evalbench.schema import EvaluatorKind, columns
from evalbench.session import Session, read_sessions
from evalbench.stats.binary import ENOUGH
from evalbench.store.workspace import Workspace

Row = dict[str, Any]
KINDS: tuple[EvaluatorKind, ...] = ("check", "classifier", "judge")  # the lightest first
SHOWN = 2  # labelled sessions of either class that a judge is shown
PROPOSAL = ("surface", "mode", "name", "kind", "evaluator_id", "status", "why")
CANDIDATE = pl.Schema(
    {
        **columns((pl.String, "surface mode name kind evaluator_id evaluator_version")),
        "train_mcc": pl.Float64(),
        **ALIGNMENT,
        **columns((pl.Float64, "dollars_per_1000"), (pl.Boolean, "proposed")),
    }
)


@dataclass(frozen=True)
class Candidate:
    """An evaluator that was tuned; its ``train_mcc`` is cross-fitted (None for a judge)."""

    specification: Specification
    train_mcc: float | None = None
    file: bytes = field(default=b"", repr=False)
    diff: str = ""


@dataclass(frozen=True)
class Proposals:
    """What was proposed (``modes``: :data:`PROPOSAL`), and the ``candidates`` it was chosen from.

    Without a proposal ``kind`` is null; candidates that could not be made say ``why``.
    """

    modes: pl.DataFrame
    candidates: pl.DataFrame
    made: dict[str, Candidate] = field(repr=False)
    spent: Spent


def propose(
    ws: Workspace,
    truth: pl.DataFrame,
    modes: pl.DataFrame,
    *,
    model: str = "",
    reflection_model: str = "",
    limits: Limits = UNLIMITED,
    rng: np.random.Generator,
) -> Proposals:
    """Propose for each mode the lightest kind of evaluator that is aligned with people.

    A heavier kind is made where no lighter one is aligned; each must show more, as the best of
    three. Labels count alike, however they were drawn; ``07_calibrate`` weighs them. ``truth`` is
    ``surface, session_id, mode, truth``, null where people do not agree: TPR and TNR bear the
    errors left in it. ``model`` is the judge's, ``reflection_model`` rewrites its rubric by GEPA;
    empty: neither. ModelError where a model cannot be called.
    """
    parts, found, made = [pl.DataFrame(schema=CANDIDATE)], [], dict[str, Candidate]()
    spent = Spent()
    for [surface], book in modes.group_by("surface", maintain_order=True):
        labels = truth.filter(surface=surface).drop_nulls("truth")
        bench = _Bench(ws, str(surface), labels, model, reflection_model, limits, spent, rng)
        for mode in book.iter_rows(named=True):
            rows = bench.try_kinds(mode)
            parts.append(pl.DataFrame(rows, schema=CANDIDATE))
            found.append(_conclude(rows))
        made |= bench.made
    table = pl.DataFrame(found, schema=dict.fromkeys(PROPOSAL, pl.String))
    return Proposals(table, pl.concat(parts), made, spent)


def adopt(
    ws: Workspace, proposals: Proposals, names: Sequence[str], *, modes: pl.DataFrame
) -> list[Specification]:
    """Define candidates by their evaluator's id, as drafts; EvaluatorError where there is none."""
    adopted = []
    for name in names:
        if name not in proposals.made:
            known = ", ".join(proposals.made) or "none"
            raise EvaluatorError(f"no candidate {name!r} was made; there are {known}")
        candidate = proposals.made[name]
        if candidate.file:
            path = ws.path / "classifiers" / f"{candidate.specification.parameters['sha256']}.skops"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(candidate.file)
        define(ws.ledger, candidate.specification, modes=modes)
        adopted.append(candidate.specification)
    return adopted


def look(candidate: Candidate, sessions: Sequence[Session]) -> list[Finding]:
    """Judge sessions by a candidate that needs no model."""
    return prepare(candidate.specification, lambda _: candidate.file)(sessions)


def draw_examples(
    sessions: Sequence[Session], fails: np.ndarray, *, rng: np.random.Generator
) -> list[Example]:
    """Draw sessions, :data:`SHOWN` of a class; EvaluatorError if one is of the test split."""
    require_train([each.row for each in sessions], use="few-shot example")
    return [
        Example(session_id=sessions[at].session_id, fails=value)
        for value in (True, False)
        for at in rng.permutation(np.flatnonzero(fails == value))[:SHOWN]
    ]


@dataclass(frozen=True)
class _Bench:
    """The labelled sessions of one surface, and what candidates are made of."""

    ws: Workspace
    surface: str
    labels: pl.DataFrame
    model: str
    reflection_model: str
    limits: Limits
    spent: Spent
    rng: np.random.Generator
    made: dict[str, Candidate] = field(default_factory=dict)

    @cached_property
    def sides(self) -> dict[str, list[Session]]:
        """The sessions of the train and of the test split."""
        sides: dict[str, list[Session]] = {"train": [], "test": []}
        ids = self.labels["session_id"].unique().sort().to_list()
        for each in read_sessions(self.ws.lake, self.surface, ids):
            sides[assign_split(self.surface, each.session_id, each.row["group_key"])].append(each)
        return sides

    @cached_property
    def family(self) -> Family:
        """What the family of checks says of the train split, for all modes alike."""
        return look_by_family(self.sides["train"])

    def try_kinds(self, mode: Row) -> list[Row]:
        """Make candidates, the lightest first, and measure them, until one is aligned."""
        said = dict(self.labels.filter(mode=mode["mode"]).select("session_id", "truth").iter_rows())
        about: Row = {name: mode[name] for name in ("surface", "mode", "name")}
        test = [each for each in self.sides["test"] if each.session_id in said]
        n_fail = sum(said[each.session_id] for each in test)
        if min(n_fail, len(test) - n_fail) < ENOUGH:
            counts = f"{n_fail} failing and {len(test) - n_fail} passing"
            why = f"too few labels of the test split: {counts}; {ENOUGH} of each are needed"
            return [about | {"kind": KINDS[0], "status": "insufficient", "why": why}]
        rows: list[Row] = []
        for kind in KINDS:
            row: Row = {"kind": kind}
            try:
                candidate = self._make(kind, mode, said)
            except EvaluatorError as error:
                few = str(error).startswith("insufficient")
                row |= {"status": "insufficient" if few else "not aligned", "why": str(error)}
            else:
                self.made[candidate.specification.evaluator_id] = candidate
                row |= self._measure(candidate, test, said)
            rows.append(about | row | {"proposed": row["status"] in COUNTING})
            if rows[-1]["proposed"]:
                break
        return rows

    def _make(self, kind: str, mode: Row, said: Mapping[str, bool]) -> Candidate:
        train = [each for each in self.sides["train"] if each.session_id in said]
        fails = np.array([said[each.session_id] for each in train], dtype=bool)
        own: Row = {name: mode[name] for name in ("surface", "mode", "owner")} | {"kind": kind}
        if kind == "check":
            known = [said.get(each.session_id, np.nan) for each in self.family.sessions]
            labels = np.array(known, dtype=float)
            parameters, flagged = search_check(self.family, labels)
            held = flagged[~np.isnan(labels)]
            return Candidate(Specification(**own, parameters=parameters), _mcc(held, fails))
        if kind == "classifier":
            trained = classifier.train_classifier(train, fails.tolist())
            content, sha256 = classifier.dump_classifier(trained.pipeline)
            own |= {"parameters": {"sha256": sha256}, "threshold": trained.threshold}
            return Candidate(Specification(**own), trained.value, content)
        if not self.model:
            raise EvaluatorError("no model was named that could judge")
        prompt = f"{mode['name']}. {mode['definition']}\n\nAn example: {mode['example']}"
        examples = draw_examples(train, fails, rng=self.rng)
        shown: Row = {"examples": [each.model_dump() for each in examples]}
        judge = Specification(**own, model=self.model, prompt=prompt, parameters=shown)
        if not self.reflection_model:
            return Candidate(judge)
        from evalbench.evaluate.proposals.rubric import improve_rubric

        by: Any = {"reflection_model": self.reflection_model, "spent": self.spent, "rng": self.rng}
        better, diff = improve_rubric(judge, train, fails, limits=self.limits, **by)
        return Candidate(better, diff=diff)

    def _measure(
        self, candidate: Candidate, test: Sequence[Session], said: Mapping[str, bool]
    ) -> Row:
        """Judge the sessions of the test split, and compare with people."""
        made, ids = candidate.specification, [each.session_id for each in test]
        key = {"evaluator_id": made.evaluator_id, "evaluator_version": made.version}
        row: Row = {**key, "train_mcc": candidate.train_mcc, "dollars_per_1000": 0.0}
        about = {"session_id": ids, "truth": [said[name] for name in ids]}
        pairs = pl.DataFrame(about | {"group": classifier.name_groups(test)})
        if made.kind == "judge":
            if left := len(score(self.ws, [made], ids, limits=self.limits, spent=self.spent).left):
                why = f"the budget is spent: {left} of {len(test)} sessions are not judged"
                return row | {"status": "insufficient", "why": why}
            judged = self.ws.lake.verdicts(surface=self.surface).filter(**key, repeat=0).collect()
            pairs = pairs.join(judged, on="session_id", maintain_order="left")
            cost = judged["cost_usd"]
            row["dollars_per_1000"] = (
                None if cost.has_nulls() else 1000 * float(cost.sum()) / len(cost)
            )
        else:
            fails = [each.fails for each in look(candidate, test)]
            pairs = pairs.with_columns(fails=pl.Series(fails, dtype=pl.Boolean))
        how: Any = {"settings": self.ws.settings.evaluators, "level": self.ws.settings.level}
        found = measure_alignment(pairs, by=[], rng=self.rng, beside=len(KINDS), **how)
        return row | found.row(0, named=True)


def _conclude(rows: Sequence[Row]) -> Row:
    """Say of a mode what is proposed, or why nothing is."""
    row, last = {name: rows[0][name] for name in ("surface", "mode", "name")}, rows[-1]
    if last.get("proposed"):
        return row | {name: last[name] for name in PROPOSAL[3:]}
    tried = "; ".join(f"{each['kind']}: {each['why']}" for each in rows)
    unknown = "insufficient" in [each["status"] for each in rows]
    status = "insufficient" if unknown else "not aligned"
    return row | {"status": status, "why": tried if len(rows) > 1 else last["why"]}


def _mcc(flagged: np.ndarray, fails: np.ndarray) -> float | None:
    """MCC of what was flagged of the failing and of the passing sessions."""
    tn, fp, fn, tp = np.bincount(2 * fails + flagged, minlength=4)
    value = float(classifier.measure_mcc(tp, fn, fp, tn))
    return None if np.isnan(value) else value
