"""Judges: a model reads one session against one criterion, and shows the words that decide it.

What a session holds is data to a judge: it stands in a fence that it cannot close, and the task
is told again after it. Quotes are looked up in what was shown; one that is not there voids the
verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks.base import explain
from evalbench.evaluate.session import Finding, Session
from evalbench.evaluate.split import require_train
from evalbench.evaluate.trace import (
    Trace,
    Turn,
    count_tokens,
    disarm,
    name_fence,
    read_turns,
    show_turns,
)
from evalbench.llm import Limits, Reply, Request, complete_many, find_window, run
from evalbench.schema import Evaluator, Name

PROMPTS = Path(__file__).parent / "prompts"
EXAMPLE_TOKENS = 1_500
"""Room of one labelled session in a prompt."""
QUOTE = {
    "type": "object",
    "properties": {"span_id": {"type": "string"}, "quote": {"type": "string"}},
    "required": ["span_id", "quote"],
    "additionalProperties": False,
}
VERDICT_FORM = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "quotes": {"type": "array", "items": QUOTE},
        "fails": {"type": "boolean"},
    },
    "required": ["rationale", "quotes", "fails"],
    "additionalProperties": False,
}
PAIR_FORM = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "worse": {"type": "string", "enum": ["neither", "first", "second"]},
    },
    "required": ["rationale", "worse"],
    "additionalProperties": False,
}


class Example(BaseModel):
    """A labelled session that a judge is shown: what people said of it, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: Name
    fails: bool
    why: str = ""


class JudgeParameters(BaseModel):
    """Parameters of a judge.

    ``window`` is the tokens that prompt and answer may take together, where LiteLLM does not know
    the model's or fewer are wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: tuple[Example, ...] = ()
    window: Annotated[int, Field(ge=2_000)] | None = None


def read_parameters(value: Mapping[str, Any]) -> JudgeParameters:
    """Read the parameters of a judge.

    Raises
    ------
    EvaluatorError
        An unknown one, or a value that does not fit.
    """
    try:
        return JudgeParameters.model_validate(value)
    except ValidationError as error:
        raise EvaluatorError(explain(error)) from error


@cache
def hash_template() -> str:
    """Hash of the template file of verdicts, a part of every judge's version."""
    return hashlib.sha256((PROMPTS / "judge.md").read_bytes()).hexdigest()[:16]


@cache
def _read_template(name: str) -> tuple[Template, Template]:
    """Give what is said before the trace and what is said around it."""
    before, around = (PROMPTS / name).read_text(encoding="utf-8").split("\n=====\n")
    return Template(before), Template(around)


@dataclass(frozen=True)
class Judge:
    """One criterion, ready to ask: ``rubric`` in words, ``window`` in tokens or None."""

    model: str
    rubric: str
    window: int | None
    reply_tokens: int
    instructions: str

    def ask(self, session: Session, *, key: str = "") -> tuple[Request, Trace]:
        """Give the question on one session, and what it shows of it.

        Raises
        ------
        EvaluatorError
            The model's window is too small for this rubric.
        """
        [trace] = self._show([session], self.instructions)
        fence = name_fence(self.instructions, session.session_id, trace.text)
        asked = _read_template("judge.md")[1].substitute(fence=fence, trace=trace.text)
        return Request(key, _say(self.instructions, asked), VERDICT_FORM), trace

    def read(self, reply: Reply, trace: Trace) -> Finding:
        """Give the verdict of an answer; a fabricated quote makes it an error."""
        if reply.error is not None or reply.parsed is None:
            return Finding(None, error=reply.error or "no answer in the form asked for")
        answer, evidence = reply.parsed, []
        for quote in answer["quotes"]:
            found = trace.find_quote(quote["quote"], quote["span_id"])
            if found is None and quote["quote"].strip():
                said = f"fabricated quote: {quote['quote'][:200]!r} is not in the session"
                return Finding(None, rationale=answer["rationale"], error=said)
            evidence += [found] if found else []
        rationale = f"[{trace.note}] {answer['rationale']}" if trace.note else answer["rationale"]
        return Finding(answer["fails"], None, rationale, evidence)

    def ask_pair(self, first: Session, second: Session, *, key: str = "") -> Request:
        """Give the question which of two sessions shows the failure more."""
        before, around = _read_template("pairwise.md")
        instructions = before.substitute(rubric=self.rubric)
        shown = [trace.text for trace in self._show([first, second], instructions)]
        fence = name_fence(instructions, *shown)
        asked = around.substitute(fence=fence, first=shown[0], second=shown[1])
        return Request(key, _say(instructions, asked), PAIR_FORM)

    def _show(self, sessions: Sequence[Session], instructions: str) -> list[Trace]:
        room = None
        if self.window is not None:
            frame = count_tokens(instructions) + 300
            room = (self.window - self.reply_tokens - frame) / len(sessions)
        try:
            return [
                show_turns(read_turns(session), room=room, rubric=self.rubric)
                for session in sessions
            ]
        except ValueError as error:
            raise EvaluatorError(
                f"{self.model}, window of {self.window} tokens: {error}"
            ) from error


def make_judge(
    evaluator: Evaluator, *, sessions: Mapping[str, Session], reply_tokens: int = 1024
) -> Judge:
    """Make a judge of its specification.

    Parameters
    ----------
    sessions : mapping of str to Session
        The labelled sessions that its parameters name as examples, by id.
    reply_tokens : int
        Longest answer, for which the window keeps room.

    Raises
    ------
    EvaluatorError
        Its parameters do not fit, it is no judge, or a session of an example is not given or is of
        the test split.
    """
    if evaluator.kind != "judge" or evaluator.model is None:
        raise EvaluatorError(f"{evaluator.mode}: a {evaluator.kind}, not a judge")
    parameters = read_parameters(evaluator.parameters)
    examples = []
    for example in parameters.examples:
        if example.session_id not in sessions:
            raise EvaluatorError(
                f"{evaluator.mode}: its example {example.session_id} is not in the lake; ingest "
                "that session, or define the judge without it"
            )
        shown = sessions[example.session_id]
        require_train([shown.row], use=f"few-shot example of {evaluator.mode}")
        turns = read_turns(shown)
        examples.append(_show_example(example, turns, evaluator.prompt))
    told = "\nSessions that people judged by this criterion:\n\n" if examples else ""
    instructions = _read_template("judge.md")[0].substitute(
        rubric=evaluator.prompt.strip(), examples=told + "\n\n".join(examples)
    )
    window = parameters.window or find_window(evaluator.model)
    return Judge(evaluator.model, evaluator.prompt, window, reply_tokens, instructions)


def compare_sessions(
    judge: Judge, pairs: Sequence[tuple[Session, Session]], *, limits: Limits
) -> list[Finding | None]:
    """Ask of each pair which session shows the failure more, in both orders.

    Returns
    -------
    list of Finding or None
        ``fails`` is true where the first session of the pair is worse in both orders, false where
        the second is; None where the orders disagree, or neither is worse. None in the place of a
        finding is a pair that the budget did not reach.
    """
    requests = [
        judge.ask_pair(*ordered, key=f"{number} {order}")
        for number, pair in enumerate(pairs)
        for order, ordered in enumerate((pair, pair[::-1]))
    ]
    replies: dict[str, Reply] = {}

    def keep(request: Request, reply: Reply) -> None:
        replies[request.key] = reply

    run(complete_many(requests, model=judge.model, limits=limits, on_reply=keep))
    found = ([replies.get(f"{number} {order}") for order in (0, 1)] for number in range(len(pairs)))
    return [_settle(*answers) for answers in found]


def _settle(forward: Reply | None, backward: Reply | None) -> Finding | None:
    if forward is None or backward is None:
        return None
    told = [reply.parsed for reply in (forward, backward)]
    if told[0] is None or told[1] is None:
        return Finding(None, error=forward.error or backward.error)
    worse = told[0]["worse"], told[1]["worse"]
    why = " / ".join(answer["rationale"] for answer in told if answer)
    if worse == ("first", "second"):
        return Finding(True, rationale=why)
    if worse == ("second", "first"):
        return Finding(False, rationale=why)
    same = "neither is worse" if worse == ("neither", "neither") else "the orders disagree"
    return Finding(None, rationale=f"{same}: {why}")


def _show_example(example: Example, turns: Sequence[Turn], rubric: str) -> str:
    trace = show_turns(turns, room=EXAMPLE_TOKENS, rubric=rubric).text
    fence = name_fence(rubric, example.session_id, trace)
    judged = orjson.dumps({"fails": example.fails, "why": disarm(example.why)}).decode()
    return f"<{fence}>\n{trace}\n</{fence}>\nJudged by people: {judged}"


def _say(instructions: str, asked: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": instructions}, {"role": "user", "content": asked}]
