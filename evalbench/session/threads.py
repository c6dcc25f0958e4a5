"""Threads: what stands already, and what of a list of messages repeats it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalbench.session.messages import Message, canonical
from evalbench.session.spans import Span
from evalbench.session.turns import Document

Order = tuple[int, ...]
EMPTY = ("", "{}", "[]", "null", "None")


@dataclass(slots=True, eq=False)
class Step:
    """A call and what came of it; ``asked`` by a message or logged as a span alone."""

    order: Order
    kind: str
    name: str
    arguments: str
    span: Span
    call_id: str = ""
    results: list[str] = field(default_factory=list)
    error: str = ""
    documents: list[Document] = field(default_factory=list)
    asked: bool = False

    def gives(self, text: str) -> bool:
        """Whether this is what came of it."""
        said = text.strip()
        if said == self.error or any(each.strip() == said for each in self.results):
            return True
        return any(canonical(each) == canonical(text) for each in self.results)

    def answer(self, text: str) -> None:
        """Keep a result, unless it is there already; an empty one gives way to another."""
        if not text or self.gives(text):
            return
        self.results = [each for each in self.results if each.strip() not in EMPTY]
        self.results.append(text)


@dataclass(slots=True, eq=False)
class Node:
    """A turn in the making; a ``ghost`` stands in its thread for what another thread shows."""

    order: Order
    message: Message
    span: Span
    steps: list[Step] = field(default_factory=list)
    error: str = ""
    receiver: str = ""
    rewritten: bool = False
    cut_before: Node | None = None
    ghost: bool = False

    @property
    def is_spoken(self) -> bool:
        """Whether it is a part of the history that a model may be given."""
        return not (self.message.role == "system" or self.ghost or self.rewritten or self.error)

    def repeats(self, message: Message, agent: str) -> bool:
        """Whether a message is this turn, as ``agent`` is given it."""
        if self.message.key != message.key:
            return False
        if self.message.role == message.role:
            return message.role != "other" or self.message.name == message.name
        # What another agent answered is a user's message to this one.
        named = bool(message.name) and message.name == self.message.name
        others = named or self.span.agent != agent
        return self.message.role == "assistant" and message.role == "user" and others


@dataclass(slots=True, eq=False)
class Walk:
    """How far a list is read along a thread, and which of its calls no message answered yet."""

    place: int = 0
    met: list[Node] = field(default_factory=list)
    unanswered: list[Step] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Thread:
    """The history of one agent; ``free`` nodes may stand anywhere in a list of messages."""

    agent: str
    origin: str
    trace_id: str
    system: tuple[Any, ...] | None
    nodes: list[Node] = field(default_factory=list)
    free: list[Node] = field(default_factory=list)
    head: str = ""
    walk: Walk = field(default_factory=Walk)
    failed: bool = False
    trimmed: bool = False

    def add(self, nodes: Iterable[Node]) -> None:
        """Put nodes where they belong in the order of events."""
        for node in nodes:
            if not self.nodes or self.nodes[-1].order < node.order:
                self.nodes.append(node)
            else:
                insort(self.nodes, node, key=lambda each: each.order)
            if node.rewritten or node.message.role == "system":
                self.free.append(node)

    def align(self, messages: Sequence[Message], walk: Walk, agent: str) -> list[Node | None]:
        """Align messages in their order with what stands; None where one is new.

        A list begins where what stands began, or goes on to its end: else it only says the same
        words.
        """
        if not messages:
            return []
        place = walk.place
        while True:
            trial = Walk(place, list(walk.met))
            met = [self._find(message, trial, agent) for message in messages]
            spoken = [node for node in met if node and node.is_spoken]
            rest = self.nodes[trial.place :]
            if walk.place or not spoken or not any(n.message.role == "user" for n in rest):
                break
            if spoken[0] is next(node for node in self.nodes if node.is_spoken):
                break
            place = self.nodes.index(spoken[0]) + 1
        walk.place, walk.met = trial.place, trial.met
        return met

    def _find(self, message: Message, walk: Walk, agent: str) -> Node | None:
        for node in self.free:
            if node.repeats(message, agent) and node not in walk.met:
                walk.met.append(node)
                return node
        for place in range(walk.place, len(self.nodes)):
            node = self.nodes[place]
            if node.repeats(message, agent) and node not in self.free:
                walk.place = place + 1
                walk.met.append(node)
                return node
        return None

    def knows(self, messages: Sequence[Message], agent: str) -> int:
        """Count the answers that stand here, where a list has more than what it was handed."""
        met = [node for node in self.align(messages, Walk(), agent) if node and node.is_spoken]
        answers = [node for node in met if node.message.role != "user"]
        handed = all(node.span.agent != agent for node in answers) and len(met) == len(answers)
        return 0 if handed and agent else len(answers)

    def question(self) -> int:
        """Return where the user's latest question begins."""
        roles = [node.message.role for node in self.nodes]
        place = len(roles)
        while place and roles[place - 1] != "user":
            place -= 1
        while place and roles[place - 1] == "user":
            place -= 1
        return place

    def find_cut(self, met: Sequence[Node]) -> Node | None:
        """Return the last turn that a list left out before what it repeats; None where none."""
        kept = [node for node in met if node.is_spoken]
        if all(node.message.role == "user" for node in kept):
            return None
        before = self.nodes[: self.nodes.index(kept[0])]
        return next((node for node in reversed(before) if node.is_spoken), None)
