"""Judges: a model reads one session against one criterion, and shows the words that decide it.

A session is data: it stands in a fence that it cannot close, the task is told again after it, and a
quote that is not in what was shown voids the verdict.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks.base import validate
from evalbench.evaluate.excerpt import Excerpt, count_tokens, disarm, excerpt, find_stems
from evalbench.evaluate.finding import Finding, Passage
from evalbench.evaluate.split import require_train
from evalbench.llm import Reply, Request, find_window
from evalbench.schema import Evaluator, Name
from evalbench.session import VIEW_VERSION, Session

OFFLINE = "offline/"  # how the names of models begin that are stood in for: ``offline/rubric``
MATCHES = 3
PROMPTS = Path(__file__).parent / "prompts"
EXAMPLE_TOKENS = 1_500  # room of one labelled session in a prompt
ROOM = 300  # tokens of the question around a session


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quote(_Form):
    """Words of a session, and the number of their turn."""

    turn: int
    quote: str


class Verdict(_Form):
    """What a judge has to answer."""

    rationale: str
    quotes: list[Quote]
    fails: bool


class Example(_Form):
    """A labelled session that a judge is shown: what people said of it, and why."""

    session_id: Name
    fails: bool
    why: str = ""


class JudgeParameters(_Form):
    """Parameters of a judge; ``window`` is in tokens, where LiteLLM's does not serve."""

    examples: tuple[Example, ...] = ()
    window: Annotated[int, Field(ge=2_000)] | None = None


def read_parameters(value: Mapping[str, Any]) -> JudgeParameters:
    """Read the parameters of a judge; EvaluatorError where one is unknown or does not fit."""
    return validate(JudgeParameters.model_validate, value)


@cache
def hash_template() -> str:
    """Hash what judges are told and how they see a session: a part of every judge's version."""
    view = f"view {VIEW_VERSION}".encode()
    return hashlib.sha256((PROMPTS / "judge.md").read_bytes() + view).hexdigest()[:16]


@cache
def _read_template() -> tuple[Template, ...]:
    """Return what is said before the session and what is said around it."""
    text = (PROMPTS / "judge.md").read_text(encoding="utf-8")
    return tuple(map(Template, text.split("\n=====\n")))


@dataclass(frozen=True)
class Judge:
    """One criterion, ready to ask: ``rubric`` in words, ``window`` in tokens or None."""

    model: str
    rubric: str
    window: int | None
    reply_tokens: int
    instructions: str

    def ask(self, session: Session, *, key: str = "") -> tuple[Request, Excerpt]:
        """Give the question on one session, and what it shows; EvaluatorError: no room."""
        told = self.reply_tokens + count_tokens(self.instructions) + ROOM
        room = None if self.window is None else self.window - told
        try:
            shown = excerpt(session, room=room, rubric=self.rubric)
        except ValueError as error:
            raise EvaluatorError(
                f"{self.model}, window of {self.window} tokens: {error}"
            ) from error
        fence = shown.name_fence(self.instructions, session.session_id)
        asked = _read_template()[1].substitute(fence=fence, trace=shown.text)
        said = {"system": self.instructions, "user": asked}
        messages = [{"role": role, "content": text} for role, text in said.items()]
        return Request(key, messages, Verdict), shown

    def read(self, reply: Reply, shown: Excerpt) -> Finding:
        """Give the verdict of an answer; a fabricated quote makes it an error."""
        answer, evidence = reply.parsed, []
        if answer is None:
            return Finding(None, error=reply.error or "no answer in the form asked for")
        for each in answer.quotes:
            found = shown.find_quote(each.quote, each.turn)
            if found is None and each.quote.strip():
                said = f"fabricated quote: {each.quote[:200]!r} is not in the session"
                return Finding(None, rationale=answer.rationale, error=said)
            evidence += [found] if found else []
        note = f"[{shown.note}] " if shown.note else ""
        return Finding(answer.fails, None, note + answer.rationale, evidence)


def make_judge(
    evaluator: Evaluator, *, sessions: Mapping[str, Session], reply_tokens: int = 1024
) -> Judge:
    """Make a judge of its specification; ``sessions`` are its examples by id.

    ``reply_tokens`` is what the window keeps for the answer. EvaluatorError where an example is
    missing or of the test split.
    """
    parameters, model = read_parameters(evaluator.parameters), evaluator.model or ""
    rubric, told = evaluator.prompt, ""
    for example in parameters.examples:
        name = example.session_id
        if name not in sessions:
            raise EvaluatorError(
                f"{evaluator.mode}: its example {name} is not in the lake; ingest that session, or "
                "define the judge without it"
            )
        require_train([sessions[name].row], use=f"few-shot example of {evaluator.mode}")
        shown = excerpt(sessions[name], room=EXAMPLE_TOKENS, rubric=rubric)
        fence = shown.name_fence(rubric, name)
        judged = orjson.dumps({"fails": example.fails, "why": disarm(example.why)}).decode()
        told += f"\n\n<{fence}>\n{shown.text}\n</{fence}>\nJudged by people: {judged}"
    told = told and f"\nSessions that people judged by this criterion:{told}"
    instructions = _read_template()[0].substitute(rubric=rubric.strip(), examples=told)
    window = parameters.window or find_window(model)
    return Judge(model, rubric, window, reply_tokens, instructions)


def judge_offline(rubric: str, session: Session) -> Finding:
    """Stand in for a judge, and say so: a session fails by :data:`MATCHES` words of a line."""
    wanted = find_stems(rubric)
    lines = [
        Passage(turn.span_id, turn.number, line.strip())
        for turn in session.turns
        for text in turn.text_lines()
        for line in text.splitlines()
    ]
    lines.sort(key=lambda line: -len(wanted & find_stems(line.content)))
    shared = wanted & find_stems(lines[0].content if lines else "")
    said = (
        f"Offline stand-in, no judgement: {len(shared)} of the rubric's {len(wanted)} words in one "
        f"line ({', '.join(sorted(shared)) or 'none'}); {MATCHES} or more are called a failure."
    )
    fails = len(shared) >= MATCHES
    return Finding(fails, None, said, [lines[0].quote()] if fails else [])
