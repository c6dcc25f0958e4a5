"""One session as evaluators see it, and what an evaluator says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

HIDDEN_KINDS = ("evaluator", "embedding")
"""What others judged must not decide, nor what is inside it; vectors say nothing."""
ASSISTANT = ("assistant", "model", "ai")
USER = ("user", "human")
INSTRUCTIONS = ("system", "developer")
QUOTED = 300
"""Characters of the longest quote."""

Row = Mapping[str, Any]


class Text(NamedTuple):
    """What was said or found, the span it stands in, and of a document its id."""

    span_id: str
    content: str
    id: str = ""

    def quote(self, words: str | None = None) -> dict[str, str]:
        """Give words of it as evidence, or how it begins."""
        return {"span_id": self.span_id, "quote": (words or self.content)[:QUOTED]}


class Call(NamedTuple):
    """A tool call."""

    span_id: str
    name: str
    arguments: str

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same name and arguments, however they are written."""
        value = read_json(self.arguments)
        same = self.arguments.strip() if value is None else json.dumps(value, sort_keys=True)
        return self.name, same


@dataclass(frozen=True)
class Finding:
    """What one evaluator says of one session.

    ``fails`` is None where there was nothing to judge; the higher the ``score``, the more it speaks
    for failing; ``evidence`` has a ``span_id`` and a ``quote`` each; ``error`` says why the session
    could not be judged.
    """

    fails: bool | None
    score: float | None = None
    rationale: str = ""
    evidence: Sequence[Mapping[str, str]] = ()
    error: str | None = None


@dataclass(frozen=True)
class Session:
    """One session of a surface.

    ``spans`` are rows with the columns of :data:`evalbench.schema.SPAN` in the order of time,
    ``row`` has those of :data:`evalbench.schema.SESSION`. Each text is given once, though every
    model call repeats the history.
    """

    surface: str
    session_id: str
    spans: Sequence[Row]
    row: Row

    @cached_property
    def answer(self) -> Text | None:
        """The final output."""
        content = self.row["final_output"]
        if not content:
            return None
        said = (span["span_id"] for span in reversed(self.shown) if span["output"] == content)
        return self._unwrap(Text(next(said, ""), content), ASSISTANT, "output")

    @cached_property
    def answers(self) -> list[Text]:
        """All that the assistant said."""
        return _once([*self._said(ASSISTANT, "output"), *filter(None, [self.answer])])

    @cached_property
    def questions(self) -> list[Text]:
        """All that the user said."""
        return _once(self._said(USER, "input"))

    @cached_property
    def instructions(self) -> list[Text]:
        """The system messages."""
        return _once(self._said(INSTRUCTIONS))

    @cached_property
    def calls(self) -> list[Call]:
        """The tool calls that ran, and those that a message asked for and no span shows."""
        ran = [
            Call(span["span_id"], span["tool_name"] or span["name"], span["tool_arguments"] or "")
            for span in self.shown
            if span["kind"] == "tool"
        ]
        shown = {call.key for call in ran}
        asked = [
            Call(span["span_id"], str(call.get("name") or ""), plain(call.get("arguments")))
            for span in self.shown
            if span["kind"] == "llm"
            for message in read_messages(span["output_messages"])
            for call in message.get("tool_calls") or ()
        ]
        return ran + [call for call in asked if call.key not in shown]

    @cached_property
    def results(self) -> list[Text]:
        """What tools gave back."""
        tools = (span for span in self.shown if span["kind"] == "tool" and span["tool_result"])
        ran = [Text(span["span_id"], span["tool_result"]) for span in tools]
        return _once([*ran, *self._said(("tool", "function"))])

    @cached_property
    def documents(self) -> list[Text]:
        """The retrieved documents."""
        found = (
            Text(span["span_id"], each["content"] or "", each["id"] or "")
            for span in self.shown
            for each in span["documents"] or ()
        )
        return _once(found)

    @cached_property
    def shown(self) -> list[Row]:
        """The spans that evaluators look at."""
        hidden: set[str] = set()
        for span in self.spans:
            if span["kind"] in HIDDEN_KINDS or span["parent_id"] in hidden:
                hidden.add(span["span_id"])
        return [span for span in self.spans if span["span_id"] not in hidden]

    def _said(self, roles: tuple[str, ...], column: str = "") -> Iterator[Text]:
        """Give the texts of these roles; a span without messages says what is in ``column``."""
        for span in self.shown:
            if span["kind"] == "llm":
                yield from _texts(span, roles, column)
            elif span["kind"] != "tool":
                for text in _texts(span, roles, "" if span["parent_id"] else column):
                    yield self._unwrap(text, roles, column)

    def _unwrap(self, text: Text, roles: tuple[str, ...], column: str) -> Text:
        """Give what a model said where an outer span has it as a value of a JSON object."""
        held = read_json(text.content) if text.content[:1] == "{" else None
        values = list(held.values()) if isinstance(held, dict) else []
        models = (span for span in self.shown if values and span["kind"] == "llm")
        inner = [said for span in models for said in _texts(span, roles, column)]
        return next((said for said in reversed(inner) if said.content in values), text)


def _texts(span: Row, roles: tuple[str, ...], column: str) -> Iterator[Text]:
    if column and span[column] and not span[f"{column}_messages"]:
        yield Text(span["span_id"], span[column])
    for name in ("input_messages", "output_messages"):
        for message in read_messages(span[name]):
            content = plain(message.get("content"))
            if message.get("role") in roles and content.strip():
                yield Text(span["span_id"], content)


def read_messages(value: str | None) -> list[dict[str, Any]]:
    """Read the messages of a column; empty where it holds none."""
    found = read_json(value)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def read_json(text: str | None) -> Any:
    """Read JSON; None where it is not, or is nested too deep."""
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def plain(content: Any) -> str:
    """Write a message's content as text; parts that are no text are left out."""
    if isinstance(content, list):
        texts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else "" if content is None else json.dumps(content)


def _once(texts: Iterable[Text]) -> list[Text]:
    found: dict[tuple[str, str], Text] = {}
    for text in texts:
        found.setdefault((text.id, text.content.strip()), text)
    return list(found.values())
