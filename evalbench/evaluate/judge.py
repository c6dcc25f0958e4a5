"""Judges: a model reads one session against one criterion, and shows the words that decide it.

What a session holds is data to a judge: it stands in a fence that it cannot close, and the task
is told again after it. Quotes are looked up in what was shown; one that is not there voids the
verdict.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks.base import explain
from evalbench.evaluate.excerpt import Excerpt, count_tokens, disarm, excerpt, name_fence
from evalbench.evaluate.finding import Finding, Passage
from evalbench.evaluate.split import require_train
from evalbench.llm import Reply, Request, find_window
from evalbench.schema import Evaluator, Name
from evalbench.session import VIEW_VERSION, Session

OFFLINE = "offline/"
"""How the names of models begin that are stood in for: ``offline/rubric``."""
MATCHES = 3
PROMPTS = Path(__file__).parent / "prompts"
EXAMPLE_TOKENS = 1_500
"""Room of one labelled session in a prompt."""
QUOTE = {
    "type": "object",
    "properties": {"turn": {"type": "integer"}, "quote": {"type": "string"}},
    "required": ["turn", "quote"],
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
    """Hash what judges are told and how they see a session: a part of every judge's version."""
    view = f"view {VIEW_VERSION}".encode()
    return hashlib.sha256((PROMPTS / "judge.md").read_bytes() + view).hexdigest()[:16]


@cache
def _read_template() -> tuple[Template, Template]:
    """Return what is said before the session and what is said around it."""
    text = (PROMPTS / "judge.md").read_text(encoding="utf-8")
    before, around = text.split("\n=====\n")
    return Template(before), Template(around)


@dataclass(frozen=True)
class Judge:
    """One criterion, ready to ask: ``rubric`` in words, ``window`` in tokens or None."""

    model: str
    rubric: str
    window: int | None
    reply_tokens: int
    instructions: str

    def ask(self, session: Session, *, key: str = "") -> tuple[Request, Excerpt]:
        """Give the question on one session, and what it shows of it.

        Raises
        ------
        EvaluatorError
            The model's window is too small for this rubric.
        """
        shown = self._show(session)
        fence = name_fence(self.instructions, session.session_id, shown.text)
        asked = _read_template()[1].substitute(fence=fence, trace=shown.text)
        messages = [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": asked},
        ]
        return Request(key, messages, VERDICT_FORM), shown

    def read(self, reply: Reply, shown: Excerpt) -> Finding:
        """Give the verdict of an answer; a fabricated quote makes it an error."""
        if reply.error is not None or reply.parsed is None:
            return Finding(None, error=reply.error or "no answer in the form asked for")
        answer, evidence = reply.parsed, []
        for quote in answer["quotes"]:
            found = shown.find_quote(quote["quote"], quote["turn"])
            if found is None and quote["quote"].strip():
                said = f"fabricated quote: {quote['quote'][:200]!r} is not in the session"
                return Finding(None, rationale=answer["rationale"], error=said)
            evidence += [found] if found else []
        rationale = f"[{shown.note}] {answer['rationale']}" if shown.note else answer["rationale"]
        return Finding(answer["fails"], None, rationale, evidence)

    def _show(self, session: Session) -> Excerpt:
        room = None
        if self.window is not None:
            room = self.window - self.reply_tokens - count_tokens(self.instructions) - 300
        try:
            return excerpt(session, room=room, rubric=self.rubric)
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
        examples.append(_show_example(example, shown, evaluator.prompt))
    told = "\nSessions that people judged by this criterion:\n\n" if examples else ""
    instructions = _read_template()[0].substitute(
        rubric=evaluator.prompt.strip(), examples=told + "\n\n".join(examples)
    )
    window = parameters.window or find_window(evaluator.model)
    return Judge(evaluator.model, evaluator.prompt, window, reply_tokens, instructions)


def _show_example(example: Example, session: Session, rubric: str) -> str:
    trace = excerpt(session, room=EXAMPLE_TOKENS, rubric=rubric).text
    fence = name_fence(rubric, example.session_id, trace)
    judged = orjson.dumps({"fails": example.fails, "why": disarm(example.why)}).decode()
    return f"<{fence}>\n{trace}\n</{fence}>\nJudged by people: {judged}"


def judge_offline(rubric: str, session: Session) -> Finding:
    """Stand in for a judge where there is neither key nor network, and say so: no judgement.

    A session fails where one line of it shares :data:`MATCHES` words with the rubric.
    """
    wanted = _find_stems(rubric)
    lines = [
        (turn, line, wanted & _find_stems(line))
        for turn in session.turns
        for text in turn.text_lines()
        for line in text.splitlines()
    ]
    turn, line, shared = max(lines, key=lambda each: len(each[2]), default=(None, "", set[str]()))
    said = (
        f"Offline stand-in, no judgement: {len(shared)} of the rubric's {len(wanted)} words in one "
        f"line ({', '.join(sorted(shared)) or 'none'}); {MATCHES} or more are called a failure."
    )
    fails = turn is not None and len(shared) >= MATCHES
    quote = Passage(turn.span_id, turn.number, line.strip()).quote() if fails and turn else None
    return Finding(fails, None, said, [quote] if quote else [])


def _find_stems(text: str) -> set[str]:
    """Return how the longer words of a text begin, but for those that every session has."""
    words = re.findall(r"[^\W\d_]{5,}", text.lower())
    return {word[:6] for word in words} - {"assist", "about", "there", "their", "which", "would"}
