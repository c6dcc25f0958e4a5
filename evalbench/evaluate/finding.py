"""What an evaluator says of a session, and the words of the session that it points at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from evalbench.session import Call, Session

QUOTED = 300  # characters of the longest quote
ASSISTANT = ("assistant", "other")
Place = Literal["final_output", "assistant", "user", "tool_results"]


@dataclass(frozen=True)
class Finding:
    """What one evaluator says of one session.

    ``fails`` is None where there was nothing to judge, ``error`` says why none could; a high
    ``score`` speaks for failing; ``evidence`` has ``span_id``, ``turn`` and ``quote`` each.
    """

    fails: bool | None
    score: float | None = None
    rationale: str = ""
    evidence: Sequence[Mapping[str, Any]] = ()
    error: str | None = None


class Passage(NamedTuple):
    """A text of a session, where it stands, and of a document its id."""

    span_id: str
    turn: int
    content: str
    id: str = ""

    def quote(self, words: str | None = None) -> dict[str, Any]:
        """Return words of it as evidence, or how it begins."""
        quoted = (words or self.content)[:QUOTED]
        return {"span_id": self.span_id, "turn": self.turn, "quote": quoted}


def list_said(session: Session, *roles: str) -> list[Passage]:
    """List what these roles said."""
    return [Passage(turn.span_id, turn.number, turn.text) for turn in session.said(*roles)]


def list_calls(session: Session) -> list[tuple[int, Call]]:
    """List the tool calls, each with the number of its turn."""
    return [
        (turn.number, call) for turn in session.turns for call in turn.calls if call.kind == "tool"
    ]


def list_results(session: Session) -> list[Passage]:
    """List what tools gave back."""
    found = [Passage(c.span_id, n, c.result) for n, c in list_calls(session) if c.result]
    return found + list_said(session, "tool")


def list_documents(session: Session) -> list[Passage]:
    """List the documents that were retrieved, each once."""
    found: dict[tuple[str, str], Passage] = {}
    for turn in session.turns:
        for each in turn.documents:
            passage = Passage(each.span_id, turn.number, each.content, each.id)
            found.setdefault((each.id, each.content), passage)
    return list(found.values())


def find_answer(session: Session) -> Passage | None:
    """Return the final output."""
    turn = session.final_turn
    return Passage(turn.span_id, turn.number, turn.text) if turn else None


def read_place(session: Session, place: Place) -> list[Passage]:
    """Return the texts of a place."""
    if place == "final_output":
        return list(filter(None, [find_answer(session)]))
    if place == "tool_results":
        return list_results(session)
    return list_said(session, *(ASSISTANT if place == "assistant" else (place,)))
