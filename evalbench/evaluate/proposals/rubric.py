"""A judge's rubric rewritten by GEPA: from its mistakes on the train split, within a budget."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalbench.errors import EvaluatorError
from evalbench.evaluate.classifier import name_groups
from evalbench.evaluate.finding import Finding
from evalbench.evaluate.judge import PROMPTS, make_judge, read_parameters
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import require_train
from evalbench.llm import Limits, Reply, Request, Spent, complete_many
from evalbench.session import Session

MOST = 20
"""Sessions of either class on which rubrics are compared, and as many to learn from."""
LEAST = 4
"""Fewer of a class say nothing of a rubric."""
AT_ONCE = 4
"""Sessions whose verdicts are reflected on together."""
RUBRIC = "rubric"


@dataclass(frozen=True)
class Improved:
    """A judge before and after.

    Attributes
    ----------
    specification : Specification
        With the rubric that did best; the one given where none did better.
    before, after : float
        Mean of TPR and TNR of the two rubrics on those sessions of the train split that none was
        written from. The best of several is chosen by it: the test split tells what it is worth.
    tried : int
        Rubrics that were compared.
    diff : str
        What was changed, line by line.
    """

    specification: Specification
    before: float
    after: float
    tried: int
    diff: str


def improve_rubric(
    specification: Specification,
    sessions: Sequence[Session],
    fails: np.ndarray,
    *,
    reflection_model: str,
    limits: Limits,
    spent: Spent,
    rng: np.random.Generator,
) -> Improved:
    """Rewrite the rubric of a judge by reflective evolution, for as long as the budget lasts.

    The groups of the train split are halved: from the mistakes on one half ``reflection_model``
    writes rubrics, which are compared on the other; both have as many failing as passing sessions.

    Parameters
    ----------
    sessions, fails : sequence, numpy.ndarray of bool
        Labelled sessions of the train split.
    reflection_model : str
        Writes the rubrics.
    limits, spent : Limits, Spent
        For the calls of both models together; calls, tokens or dollars must be limited.

    Raises
    ------
    EvaluatorError
        A session is of the test split; too few of a class; no limit; or GEPA is not installed.
    ModelError
        A model cannot be called at all.

    References
    ----------
    Agrawal et al. (2025), GEPA: Reflective prompt evolution can outperform reinforcement learning.
    """
    try:
        import gepa
        from gepa.utils import ScoreThresholdStopper
    except ImportError as error:
        raise EvaluatorError(
            "GEPA is not installed: pip install 'evalbench[gepa]', or take the judge as it is"
        ) from error
    require_train([each.row for each in sessions], use="tuning example")
    if limits.calls is limits.tokens is limits.dollars is None:
        raise EvaluatorError("improving a rubric needs a limit of calls, tokens or dollars")
    shown = {each.session_id for each in read_parameters(specification.parameters).examples}
    learning, comparing = _halve(sessions, fails, shown, rng=rng)
    adapter: Any = _Adapter(specification, sessions, fails, reflection_model, limits, spent)
    found: Any = gepa.optimize(
        seed_candidate={RUBRIC: specification.prompt},
        trainset=learning,
        valset=comparing,
        adapter=adapter,
        reflection_lm=adapter.reflect,
        reflection_prompt_template=(PROMPTS / "improve.md").read_text(encoding="utf-8"),
        reflection_minibatch_size=AT_ONCE,
        stop_callbacks=[adapter.is_spent, ScoreThresholdStopper(1.0)],
        logger=_Quiet(),
        seed=int(rng.integers(2**31)),
    )
    scores = found.val_aggregate_scores
    prompt = found.candidates[found.best_idx][RUBRIC] if max(scores) > scores[0] else ""
    better = specification.model_copy(update={"prompt": prompt or specification.prompt})
    old, new = (each.prompt.splitlines() for each in (specification, better))
    diff = "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm=""))
    return Improved(better, scores[0], max(scores), len(scores), diff)


class _Quiet:
    def log(self, message: str) -> None:
        """Keep what GEPA tells of its progress off the page."""


class _Adapter:
    """What GEPA asks of a system: judge sessions by a rubric, and say what went wrong."""

    propose_new_texts = None

    def __init__(
        self,
        specification: Specification,
        sessions: Sequence[Session],
        fails: np.ndarray,
        reflection_model: str,
        limits: Limits,
        spent: Spent,
    ) -> None:
        self.specification, self.sessions, self.fails = specification, sessions, fails
        self.reflection_model, self.limits, self.spent = reflection_model, limits, spent
        self.by_id = {each.session_id: each for each in sessions}

    def is_spent(self, state: Any) -> bool:
        """Stop where the budget did not reach a call."""
        calls = self.limits.calls
        return self.spent.exhausted or (calls is not None and self.spent.calls + AT_ONCE >= calls)

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool) -> Any:
        """Judge sessions by the candidate's rubric: 1 where people say the same, else 0."""
        from gepa import EvaluationBatch

        asked = self.specification.model_copy(update={"prompt": candidate[RUBRIC]})
        judge = make_judge(asked, sessions=self.by_id, reply_tokens=self.limits.reply_tokens)
        wanted = {str(at): judge.ask(self.sessions[at], key=str(at)) for at in batch}
        found = dict.fromkeys(batch, Finding(None, error="the budget is spent"))

        def keep(request: Request, reply: Reply) -> None:
            found[int(request.key)] = judge.read(reply, wanted[request.key][1])

        self._ask([request for request, _ in wanted.values()], judge.model, keep)
        scores = [float(found[at].fails is bool(self.fails[at])) for at in batch]
        told = [(at, wanted[str(at)][1].text, found[at]) for at in batch]
        return EvaluationBatch(outputs=[each[2] for each in told], scores=scores, trajectories=told)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Say of each session what the judge said, and what people say."""
        told = []
        for at, text, finding in eval_batch.trajectories:
            said = {True: "it fails", False: "it passes", None: f"nothing ({finding.error})"}
            people = said[bool(self.fails[at])]
            right = "Right." if finding.fails is bool(self.fails[at]) else "Wrong."
            told.append(
                {
                    "Session": text,
                    "The judge says": f"{said[finding.fails]}: {finding.rationale}",
                    "Feedback": f"{right} People say that {people}.",
                }
            )
        return dict.fromkeys(components_to_update, told)

    def reflect(self, prompt: Any) -> str:
        """Let the reflection model answer; empty where it does not, and the rubric stays."""
        replies: list[str] = []
        messages = [{"role": "user", "content": str(prompt)}]
        request = Request("reflection", messages)
        self._ask([request], self.reflection_model, lambda _, reply: replies.append(reply.text))
        return replies[0] if replies and replies[0] else f"```\n{self.specification.prompt}\n```"

    def _ask(self, requests: Sequence[Request], model: str, keep: Any) -> None:
        how: Any = {"model": model, "limits": self.limits, "spent": self.spent}
        complete_many(requests, on_reply=keep, **how)


def _halve(
    sessions: Sequence[Session], fails: np.ndarray, shown: set[str], *, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Give sessions to learn from and to compare on, as many of either class, groups apart."""
    groups = name_groups(sessions)
    sides = dict(zip(rng.permutation(np.unique(groups)), np.arange(len(groups)) % 2, strict=False))
    halves: list[list[int]] = [[], []]
    for side, half in enumerate(halves):
        of_class = [
            [
                int(at)
                for at in rng.permutation(np.flatnonzero(fails == value))
                if sides[groups[at]] == side and sessions[at].session_id not in shown
            ]
            for value in (True, False)
        ]
        n = min(MOST, *map(len, of_class))
        if n < LEAST:
            raise EvaluatorError(
                f"insufficient: {n} sessions of a class to {('learn from', 'compare on')[side]},"
                f" {LEAST} needed to improve a rubric"
            )
        half += [at for own in of_class for at in own[:n]]
    return halves[0], halves[1]
