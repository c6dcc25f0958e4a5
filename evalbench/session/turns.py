"""A session as people and judges read it: numbered turns, with what was called and found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

# Words that end a loop of agents, and answer nobody.
CONTROL = re.compile(r"\W*(?:TERMINATE|FINAL|DONE|END|STOP|EXIT|##STOP##|###STOP###)\W*")
SPEAKERS = ("assistant", "other")


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a retrieval found; ``span_id`` is that of its call."""

    id: str
    content: str
    score: float | None
    span_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, a retrieval, or another step (``kind``), with what came of it."""

    name: str
    arguments: str
    result: str
    error: str
    call_id: str
    span_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, and what happened until the next one.

    ``thread`` names an agent with a history of its own, "" the main one, ``receiver`` who was
    handed the turn; ``rewritten`` says what the product did to the history that the model was
    given.
    """

    number: int
    role: str
    name: str
    thread: str
    text: str
    reasoning: str
    calls: tuple[Call, ...]
    documents: tuple[Document, ...]
    error: str
    span_id: str
    started_at: datetime | None
    rewritten: str = ""
    receiver: str = ""

    @property
    def about(self) -> str:
        """Say who speaks, to whom, and on what history; "" where there is nothing to say."""
        thread = f"thread {self.thread}" if self.thread not in ("", self.name) else ""
        to = f"to {self.receiver}" if self.receiver else ""
        return ", ".join(filter(None, (self.name, to, thread, self.rewritten)))

    def text_lines(self) -> Iterator[str]:
        """Write the turn; every line of a text but its first is indented."""
        about = f" ({_line(self.about)})" if self.about else ""
        yield f"[{self.number}] {self.role}{about}: {_indent(self.text)}".rstrip()
        if self.reasoning:
            yield f"  reasoning: {_indent(self.reasoning)}"
        if self.error:
            yield f"  error: {_indent(self.error)}"
        for call in self.calls:
            yield f"  {_line(call.kind)} {_line(call.name)}: {_indent(call.arguments)}".rstrip()
            if call.result:
                yield f"    result: {_indent(call.result)}"
            if call.error:
                yield f"    error: {_indent(call.error)}"
            for each in self.documents:
                if each.span_id == call.span_id:
                    score = "" if each.score is None else f" ({each.score:.2f})"
                    yield f"    document {_line(each.id)}{score}: {_indent(each.content)}"


@dataclass(frozen=True)
class Session:
    """One session of a surface: the view that desk, judge, check and classifier share.

    ``row`` is that of the session table, ``gaps`` are texts that could not be placed. Spans of
    evaluators and embeddings are left out: what others judged must not decide.
    """

    surface: str
    session_id: str
    row: dict[str, Any] = field(repr=False)
    turns: tuple[Turn, ...] = ()
    gaps: tuple[str, ...] = ()
    # Threads that speak with the user in turn: the main one, and those that took over from it.
    line: frozenset[str] = frozenset({""})

    def text(self) -> str:
        """Write all turns under their numbers: what a judge is given."""
        lines = [line for turn in self.turns for line in turn.text_lines()]
        return "\n".join([*lines, *(f"[not placed] {_indent(gap)}" for gap in self.gaps)])

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Return the calls of all turns."""
        return tuple(call for turn in self.turns for call in turn.calls)

    def said(self, *roles: str) -> list[Turn]:
        """Return the turns of these roles that have a text."""
        return [turn for turn in self.turns if turn.role in roles and turn.text.strip()]

    @property
    def first_input(self) -> str | None:
        """Return the first text of the user, else of anybody."""
        asked = [turn for turn in self.said("user") if turn.thread in self.line]
        spoken = asked or [turn for turn in self.turns if turn.text.strip()]
        return spoken[0].text if spoken else None

    @property
    def final_turn(self) -> Turn | None:
        """Return the last turn that answers: of an assistant, else of another who is no user."""
        for roles in (SPEAKERS[:1], SPEAKERS):
            said = [turn for turn in self.said(*roles) if turn.thread in self.line]
            answers = [turn for turn in said if not CONTROL.fullmatch(turn.text)]
            if answers or said:
                return (answers or said)[-1]
        return None

    @property
    def final_output(self) -> str | None:
        """Return the text of :attr:`final_turn`."""
        return None if self.final_turn is None else self.final_turn.text

    @property
    def n_turns(self) -> int:
        """Count the user's turns; the answers where no user speaks."""
        mine = [turn for turn in self.turns if turn.thread in self.line and turn.text.strip()]
        asked = sum(turn.role == "user" for turn in mine)
        return asked or sum(turn.role in SPEAKERS for turn in mine)


def _indent(text: str) -> str:
    return "\n      ".join(text.splitlines())


def _line(text: str) -> str:
    return " ".join(text.split())
