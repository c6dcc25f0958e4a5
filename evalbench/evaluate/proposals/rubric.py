"""A judge's rubric rewritten by GEPA: from its mistakes on the train split, within a budget."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
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

MOST = 20  # sessions of either class on which rubrics are compared, and as many to learn from
LEAST = 4  # fewer of a class say nothing of a rubric
AT_ONCE = 4  # sessions whose verdicts are reflected on together
RUBRIC = "rubric"


def improve_rubric(
    specification: Specification,
    sessions: Sequence[Session],
    fails: np.ndarray,
    *,
    reflection_model: str,
    limits: Limits,
    spent: Spent,
    rng: np.random.Generator,
) -> tuple[Specification, str]:
    """Rewrite the rubric of a judge by reflective evolution, for as long as the budget lasts.

    The groups of the train split are halved: from mistakes on one half ``reflection_model`` writes
    rubrics, compared on the other by the mean of TPR and TNR. Gives the judge that did best, and
    what was changed. ``limits`` must limit calls, tokens or dollars; EvaluatorError where they do
    not, a class has too few, a session is of the test split, or GEPA is not installed. Agrawal et
    al. (2025), GEPA.
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
        {RUBRIC: specification.prompt},
        trainset=learning,
        valset=comparing,
        adapter=adapter,
        reflection_lm=adapter.reflect,
        reflection_prompt_template=(PROMPTS / "improve.md").read_text(encoding="utf-8"),
        reflection_minibatch_size=AT_ONCE,
        stop_callbacks=[lambda state: spent.exhausted, ScoreThresholdStopper(1.0)],
        logger=SimpleNamespace(log=lambda message: None),
        seed=int(rng.integers(2**31)),
    )
    scores, old = found.val_aggregate_scores, specification.prompt
    new = found.candidates[found.best_idx][RUBRIC] if max(scores) > scores[0] else old
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="")
    return specification.model_copy(update={"prompt": new or old}), "\n".join(lines)


@dataclass
class _Adapter:
    """What GEPA asks of a system: judge sessions by a rubric, and say what went wrong."""

    specification: Specification
    sessions: Sequence[Session]
    fails: np.ndarray
    reflection_model: str
    limits: Limits
    spent: Spent
    propose_new_texts: None = None

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool) -> Any:
        """Judge sessions by the candidate's rubric: 1 where people say the same, else 0."""
        from gepa import EvaluationBatch

        asked = self.specification.model_copy(update={"prompt": candidate[RUBRIC]})
        known = {each.session_id: each for each in self.sessions}
        judge = make_judge(asked, sessions=known, reply_tokens=self.limits.reply_tokens)
        wanted = {str(at): judge.ask(self.sessions[at], key=str(at)) for at in batch}
        found = dict.fromkeys(wanted, Finding(None, error="the budget is spent"))
        for key, reply in self._ask([each for each, _ in wanted.values()], judge.model).items():
            found[key] = judge.read(reply, wanted[key][1])
        told = [(at, wanted[str(at)][1].text, found[str(at)]) for at in batch]
        scores = [float(each.fails is bool(self.fails[at])) for at, _, each in told]
        return EvaluationBatch(outputs=told, scores=scores, trajectories=told)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Say of each session what the judge said, and what people say."""
        told = []
        for at, text, finding in eval_batch.trajectories:
            said = {True: "it fails", False: "it passes", None: f"nothing ({finding.error})"}
            fails = bool(self.fails[at])
            judged = f"{said[finding.fails]}: {finding.rationale}"
            feedback = (
                f"{'Right' if finding.fails is fails else 'Wrong'}. People say that {said[fails]}."
            )
            told.append({"Session": text, "The judge says": judged, "Feedback": feedback})
        return dict.fromkeys(components_to_update, told)

    def reflect(self, prompt: Any) -> str:
        """Let the reflection model answer; empty where it does not, and the rubric stays."""
        request = Request("", [{"role": "user", "content": str(prompt)}])
        replies = self._ask([request], self.reflection_model)
        return (replies[""].text if replies else "") or f"```\n{self.specification.prompt}\n```"

    def _ask(self, requests: Sequence[Request], model: str) -> dict[str, Reply]:
        replies: dict[str, Reply] = {}
        how: Any = {"model": model, "limits": self.limits, "spent": self.spent}
        complete_many(
            requests, on_reply=lambda request, reply: replies.update({request.key: reply}), **how
        )
        return replies


def _halve(
    sessions: Sequence[Session], fails: np.ndarray, shown: set[str], *, rng: np.random.Generator
) -> list[list[int]]:
    """Give sessions to learn from and to compare on, as many of either class, groups apart."""
    names, group = np.unique(name_groups(sessions), return_inverse=True)
    sides = rng.permutation(len(names))[group] % 2
    free = np.array([each.session_id not in shown for each in sessions])
    halves = []
    for side, use in enumerate(("learn from", "compare on")):
        own = free & (sides == side)
        classes = [np.flatnonzero(own & (fails == value)) for value in (True, False)]
        n = min(MOST, *map(len, classes))
        if n < LEAST:
            few = f"insufficient: {n} sessions of a class to {use}"
            raise EvaluatorError(f"{few}, {LEAST} needed to improve a rubric")
        halves.append([at for each in classes for at in rng.permutation(each)[:n].tolist()])
    return halves
