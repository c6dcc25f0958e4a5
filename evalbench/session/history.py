"""Spans of a session as turns: each message once, where it happened.

A model call repeats the history it was given. Its messages are aligned in order with what stands in
its thread; what is left is new, or was put there by the product (a summary). Spans around others
add what these do not say. Texts alone decide only where a message meets its copy in that order.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalbench.session.messages import (
    Message,
    canonical,
    leaves,
    list_spoken,
    read_messages,
    read_value,
    unwrap,
)
from evalbench.session.spans import Span
from evalbench.session.turns import Document

ANSWERS = re.compile(r'"role": ?"(?:assistant|model|ai)"')
ONLY_NEW = ("openai-chat",)
"""Formats whose calls have only what is new."""
Order = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Step:
    """A call and what came of it; ``asked`` by a message, ``ran`` as a span."""

    order: Order
    kind: str
    name: str
    arguments: str
    span_id: str
    trace_id: str
    call_id: str = ""
    results: list[str] = field(default_factory=list)
    error: str = ""
    documents: list[Document] = field(default_factory=list)
    asked: bool = False
    ran: bool = False

    def gives(self, text: str) -> bool:
        """Whether this is what came of it."""
        said = text.strip()
        if said == self.error or any(each.strip() == said for each in self.results):
            return True
        return any(canonical(each) == canonical(text) for each in self.results)

    def answer(self, text: str) -> None:
        """Keep a result, unless it is there already; the emptiest of two counts for nothing."""
        if not text or self.gives(text):
            return
        if len(self.results) == 1 and self.results[0].strip() in ("", "{}", "[]", "null", "None"):
            self.results.clear()
        self.results.append(text)


@dataclass(slots=True, eq=False)
class Node:
    """A turn in the making; a ``ghost`` stands in a thread for what another thread shows."""

    order: Order
    message: Message
    key: tuple[Any, ...]
    agent: str
    span: Span
    steps: list[Step] = field(default_factory=list)
    error: str = ""
    receiver: str = ""
    rewritten: bool = False
    cut_before: Node | None = None
    ghost: bool = False


@dataclass(slots=True, eq=False)
class Walk:
    """How far a list of messages is read along a thread, and which calls it has not answered."""

    place: int
    unanswered: list[Step] = field(default_factory=list)
    met: list[Node] = field(default_factory=list)
    answers: bool = False


@dataclass(slots=True, eq=False)
class Thread:
    """The history of one agent.

    ``head`` is the latest list it was given, less its bracket; instructions and what the product
    rewrote are ``free``: they may stand anywhere in a list.
    """

    agent: str
    system: tuple[Any, ...] | None
    origin: str = ""
    nodes: list[Node] = field(default_factory=list)
    free: list[Node] = field(default_factory=list)
    head: str = ""
    walk: Walk = field(default_factory=lambda: Walk(0))
    trace_id: str = ""
    failed: bool = False
    trimmed: bool = False

    def add(self, nodes: Iterable[Node]) -> None:
        """Put nodes where they belong in the order of events."""
        for node in nodes:
            insort(self.nodes, node, key=lambda each: each.order)
            if node.rewritten or node.message.role == "system":
                self.free.append(node)

    def find(self, message: Message, walk: Walk, agent: str) -> Node | None:
        """Find the node that a message repeats: the next one, wherever it is instructions."""
        key = message.key
        for node in self.free:
            if _repeats(node, message, key, agent) and node not in walk.met:
                return node
        for place in range(walk.place, len(self.nodes)):
            node = self.nodes[place]
            if _repeats(node, message, key, agent) and not (node.rewritten or node in walk.met):
                walk.place = place + 1
                return node
        return None

    def question(self) -> int:
        """Return where the user's latest question begins."""
        roles = [node.message.role for node in self.nodes]
        place = len(roles)
        while place and roles[place - 1] != "user":
            place -= 1
        while place and roles[place - 1] == "user":
            place -= 1
        return place


def _repeats(node: Node, message: Message, key: tuple[Any, ...], agent: str) -> bool:
    if node.key != key:
        return False
    if node.message.role == message.role:
        return node.message.role != "other" or node.message.name == message.name
    # What another agent answered is a user's message to this one.
    return node.message.role == "assistant" and message.role == "user" and node.agent != agent


class History:
    """Threads as they grow, span by span."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.threads: list[Thread] = []
        self.orphans: list[Step] = []
        self.waiting: list[Step] = []
        self.gaps: list[str] = []
        self.count = 0
        calls = (span.row["input_messages"] for span in spans if span.row["kind"] == "llm")
        self.sends_history = any(ANSWERS.search(given) for given in calls if given)
        for span in spans:
            self._open(span)
            for done in span.closing:
                self._close(done)

    # What a span says

    def _open(self, span: Span) -> None:
        kind = span.row["kind"]
        if kind == "llm" and not span.wraps:
            self._give(span)
            if '"tool_calls"' in (span.row["output_messages"] or ""):
                self._reply(span)  # the tools that it asks for may run inside it
        elif kind == "tool":
            self._run(span, span.row["tool_name"] or span.row["name"] or "tool")

    def _close(self, span: Span) -> None:
        row, kind = span.row, span.row["kind"]
        leaf = span.last == span.number
        if kind == "llm" and not span.wraps:
            if not span.replied:
                self._reply(span)
        elif kind == "tool":
            pass
        elif kind in ("retriever", "reranker") or row["documents"]:
            self._retrieve(span)
        elif leaf and self._is_awaited(span):
            self._run(span, row["name"])
        elif kind in ("guardrail", "prompt") and leaf and not row["output_messages"]:
            self._add_step(span, plain_text(row["input"]), plain_text(row["output"]))
        else:
            self._wrap(span)
        self._fail(span)

    def _give(self, span: Span) -> None:
        """Read what a model call was given."""
        raw = span.row["input_messages"]
        only_new = span.row["source_format"] in ONLY_NEW
        resumed = None if only_new or not raw else self._resume(raw, span)
        if thread := resumed:
            messages = (
                self._read("[" + raw[len(thread.head) + 1 :])
                if raw[len(thread.head)] == ","
                else []
            )
            walk = thread.walk
        else:
            messages = self._read(raw) if raw else _spoken(span.row["input"], "user")
            thread = self._choose(span, messages)
            walk = Walk(len(thread.nodes) if only_new else self._start(thread, span, messages))
        walk.answers |= any(message.role == "assistant" for message in messages)
        span.tell(thread, messages)
        fresh: list[Node] = []
        for number, message in enumerate(messages):
            if node := thread.find(message, walk, span.agent):
                self._meet(walk, node, message)
                if message.role != "system":
                    for each in fresh:
                        each.rewritten = each.message.role != "system" or number > 1
            elif message.role == "tool" and self._answer(thread, walk, message):
                continue
            else:
                node = self._make(span, message, (span.number, 0))
                node.ghost = self._is_handed(thread, walk, message, span)
                walk.unanswered += node.steps
                fresh.append(node)
        if not resumed:
            self._check_trimmed(span, thread, walk)
        if fresh:
            thread.add(fresh)
            walk.place = len(thread.nodes)
        thread.walk, thread.head = walk, raw[:-1] if raw else ""
        thread.trace_id, thread.failed = span.trace_id, False

    def _reply(self, span: Span) -> None:
        """Read what a model call gave back; its answers always stand, though they be the same."""
        row, span.replied = span.row, True
        raw = row["output_messages"]
        messages = self._read(raw) if raw else _spoken(row["output"], "assistant")
        thread = span.thread or self._choose(span, messages)
        span.tell(thread, messages)
        failed = row["status"] == "error"
        if failed and not messages:
            messages = [Message("assistant", "", "")]
            thread.failed = True
        nodes: list[Node] = []
        walk = Walk(len(thread.nodes))
        for message in messages:
            if message.role == "tool" and self._answer(thread, walk, message):
                continue
            before = nodes[-1].message if nodes else None
            if before and before.reasoning and before.role == message.role and not before.text:
                if not before.calls:  # the thought of this very answer, as an item of its own
                    message.reasoning = "\n".join(
                        filter(None, (before.reasoning, message.reasoning))
                    )
                    nodes.pop()
            node = self._make(span, message, (span.number, 0))
            walk.unanswered += node.steps
            nodes.append(node)
        thread.add(nodes)
        if failed and nodes:
            nodes[-1].error = _reason(row)
            span.tell_error(nodes[-1].error)
        if nodes and span.cut_before:
            nodes[0].cut_before = span.cut_before

    def _run(self, span: Span, name: str) -> None:
        """Put a tool's span on the call that asked for it, or behind the turn before it."""
        row = span.row
        arguments = row["tool_arguments"] or row["input"] or ""
        result = plain_text(row["tool_result"] or row["output"])
        if row["output_messages"] and row["kind"] != "tool":
            result = "\n".join(message.text for message in self._read(row["output_messages"]))
        step = self._find_call(span, name, arguments, result)
        if step is None:
            step = self._make_step(span, "tool", name, arguments)
            self.orphans.append(step)
        else:
            self.waiting.remove(step)
        step.span_id, step.ran = span.span_id, True
        step.answer(result)
        span.find(arguments, *step.results)
        if row["status"] == "error":
            step.error = _reason(row)
            span.tell_error(step.error)

    def _find_call(self, span: Span, name: str, arguments: str, result: str) -> Step | None:
        open_calls = [step for step in self.waiting if not step.results or step.gives(result)]
        if span.call_id:
            for step in open_calls:
                if step.call_id == span.call_id:
                    return step
        named = [s for s in open_calls if s.name == name and not (s.call_id and span.call_id)]
        wanted = canonical(arguments)
        same = (step for step in named if canonical(step.arguments) == wanted)
        return next(same, next(iter(named), None))

    def _is_awaited(self, span: Span) -> bool:
        return span.row["kind"] != "agent" and any(s.name == span.row["name"] for s in self.waiting)

    def _retrieve(self, span: Span) -> None:
        step = self._add_step(span, plain_text(span.row["input"]), "")
        for number, each in enumerate(span.row["documents"] or ()):
            name, content = each["id"] or f"document {number + 1}", each["content"] or ""
            step.documents.append(Document(name, content, each["score"], span.span_id))
            span.find(content)
        if not step.documents:
            step.answer(plain_text(span.row["output"]))

    def _wrap(self, span: Span) -> None:
        """Add what a span around others says that they do not."""
        row, parent = span.row, span.parent
        speaks = parent is None or row["kind"] in ("agent", "llm")
        own = {"input": "", "output": ""}
        for column, role in (("input", "user"), ("output", "assistant")):
            raw = row[f"{column}_messages"]
            if raw:
                self._add_messages(span, self._read(raw), column)
            elif row[column]:
                alone = [Message(role, "", plain_text(row[column]))]
                spoken = list_spoken(row[column], role) if span.told else alone
                new = [message for message in spoken if not span.repeats(message, role)]
                if speaks:
                    self._add_messages(span, new, column)
                elif parent and not any(parent.repeats(each, "assistant") for each in new):
                    own[column] = "\n".join(message.text for message in new)
        if any(own.values()):
            self._add_step(span, own["input"], own["output"])

    def _add_messages(self, span: Span, messages: list[Message], column: str) -> None:
        """Insert messages of a span around others where they stood among theirs."""
        if not messages:
            return
        end = (span.number, 0) if column == "input" else (span.last, 1, -span.number)
        thread = span.thread or self._choose(span, messages)
        walk = Walk(self._start(thread, span, messages))
        before: Order = (span.number, 0)
        fresh: list[Node] = []
        loose: list[Node] = []
        for message in messages:
            if node := thread.find(message, walk, span.agent):
                self._meet(walk, node, message)
                for each in loose:
                    each.order = (*before, 1, *each.order[-1:])
                before, loose = node.order, []
            elif message.role == "tool" and self._answer(thread, walk, message):
                continue
            elif not span.repeats(message, "" if message.calls else "user"):
                node = self._make(span, message, end)
                walk.unanswered += node.steps
                loose.append(node)
                fresh.append(node)
        for node in loose:
            node.order = max(node.order, (*before, 1, *node.order[-1:]))
        thread.add(fresh)
        thread.head = "" if fresh else thread.head
        span.tell(thread, messages)

    def _fail(self, span: Span) -> None:
        row = span.row
        if row["status"] != "error" or row["kind"] == "tool" or span.replied:
            return
        why = row["status_message"] or ""
        if any(not why or why in told or told in why for told in span.errors):
            return
        self._add_step(span, "", "", kind="error").error = _reason(row)
        span.tell_error(_reason(row))

    # Where it belongs

    def _resume(self, raw: str, span: Span) -> Thread | None:
        """Find the thread whose latest list this one goes on with, byte for byte."""
        best = None
        for thread in self.threads:
            head = thread.head
            if head and raw.startswith(head) and raw[len(head) : len(head) + 1] in (",", "]"):
                same_question = thread.trace_id == span.trace_id or thread.failed
                if thread.walk.answers or same_question or self.sends_history:
                    best = thread if best is None or len(head) > len(best.head) else best
        return best

    def _choose(self, span: Span, messages: list[Message]) -> Thread:
        """Choose the thread whose answers these messages know, else the agent's own."""
        system = next((m.key for m in messages if m.role == "system"), None)
        known = [(self._count_known(thread, messages, span), thread) for thread in self.threads]
        best = max(known, key=lambda each: each[0], default=(0, None))
        if best[0] > 0 and best[1] is not None:
            return best[1]
        own = [thread for thread in self.threads if thread.agent == span.agent]
        if span.row["kind"] != "llm" and self.threads:
            own = own or self.threads[:1]
        same = [t for t in own if system is None or t.system is None or t.system == system]
        if not same and own and not self._is_helper(own[-1], messages, span):
            same = own
        if same:
            return same[-1]
        outer = span.parent.row["name"] if span.parent else None
        origin = outer or span.row["name"] or ""
        self.threads.append(Thread(span.agent, system, origin, trace_id=span.trace_id))
        return self.threads[-1]

    def _is_helper(self, thread: Thread, messages: list[Message], span: Span) -> bool:
        """Whether a call in the midst of a trace has its own instructions and its own question."""
        asked = {message.key for message in messages if message.role == "user"}
        known = {node.key for node in thread.nodes if node.message.role == "user"}
        return thread.trace_id == span.trace_id and not asked & known

    def _count_known(self, thread: Thread, messages: list[Message], span: Span) -> int:
        walk, answers, others = Walk(0), 0, 0
        for message in messages:
            node = thread.find(message, walk, span.agent)
            if node and message.role != "system" and node.message.text + str(node.steps or ""):
                answers += node.message.role != "user"
                others += node.message.role == message.role
        return answers if others else 0

    def _start(self, thread: Thread, span: Span, messages: list[Message]) -> int:
        """Return from where a list may repeat: all, the question at hand, or nothing."""
        if self.sends_history or any(message.role == "assistant" for message in messages):
            return 0
        if thread.failed or thread.trace_id == span.trace_id:
            return thread.question()
        return len(thread.nodes)

    def _meet(self, walk: Walk, node: Node, message: Message) -> None:
        """Take a message for the one that stands, and what it knows beyond it."""
        walk.met.append(node)
        node.message.reasoning = node.message.reasoning or message.reasoning
        node.message.name = node.message.name or message.name
        asked = [step for step in node.steps if step.asked]
        for step, call in zip(asked, message.calls, strict=False):
            step.call_id = step.call_id or call.call_id
        walk.unanswered += asked

    def _check_trimmed(self, span: Span, thread: Thread, walk: Walk) -> None:
        """Mark the answer that was given without the beginning of what stands."""
        spoken = [node for node in thread.nodes if node.message.role != "system" and node.key]
        spoken = [node for node in spoken if not (node.ghost or node.rewritten or node.error)]
        met = [node for node in walk.met if node in spoken]
        thread.trimmed, was_trimmed = (
            bool(walk.answers and met and met[0] is not spoken[0]),
            thread.trimmed,
        )
        if not thread.trimmed or was_trimmed:
            return
        place = len(spoken)
        for node in reversed(met):  # of texts said twice, the later ones are the ones that are left
            while place and spoken[place - 1].key != node.key:
                place -= 1
            place -= 1
        span.cut_before = spoken[max(place, 1) - 1]

    def _answer(self, thread: Thread, walk: Walk, message: Message) -> bool:
        """Put a tool's message on its call; false where there is none."""
        step = _pick(walk.unanswered, message)
        if step is None and not walk.unanswered:
            latest = [s for node in thread.nodes[::-1] for s in node.steps if s.asked]
            latest = latest[::-1] if not message.call_id else latest
            step = _pick([s for s in latest if message.call_id or not s.results], message)
            done = [s for node in thread.nodes[thread.question() :] for s in node.steps]
            done += [s for s in self.orphans if s.trace_id == thread.trace_id]
            step = step or next((s for s in done if s.gives(message.text)), None)
        if step is None:
            return False
        if step in walk.unanswered:
            walk.unanswered.remove(step)
        step.answer(message.text)
        return True

    def _is_handed(self, thread: Thread, walk: Walk, message: Message, span: Span) -> bool:
        """Whether another agent, or the user, hands this text to an agent that begins."""
        text = message.text.strip()
        if message.role != "user" or not text or thread is self.threads[0] or walk.answers:
            return False
        for other in self.threads:
            for node in other.nodes[::-1] if other is not thread else ():
                given = [canonical(step.arguments) for step in node.steps if step.asked]
                handed = any(text in map(str.strip, leaves(read_value(each))) for each in given)
                if (node.key == (text,) and node.message.role in ("assistant", "other")) or handed:
                    node.receiver = span.agent or span.row["name"] or ""
                    return True
                if node.key == (text,) and node.message.role == "user":
                    return True
        return False

    # Making

    def _read(self, raw: str) -> list[Message]:
        messages, others = read_messages(raw)
        self.gaps += others
        return messages

    def _make(self, span: Span, message: Message, order: Order) -> Node:
        self.count += 1
        node = Node((*order, self.count), message, message.key, span.agent, span)
        for call in message.calls:
            same = canonical(call.arguments)
            for orphan in self.orphans:  # it ran before the message that asked for it was logged
                alike = orphan.name == call.name and canonical(orphan.arguments) == same
                if alike and orphan.trace_id == span.trace_id and not orphan.asked:
                    step, orphan.arguments = orphan, call.arguments
                    self.orphans.remove(orphan)
                    break
            else:
                step = self._make_step(span, "tool", call.name, call.arguments)
                self.waiting.append(step)
            step.asked, step.call_id = True, step.call_id or call.call_id
            node.steps.append(step)
        return node

    def make_empty(self, step: Step) -> Node:
        """Make a turn of nobody for what happened before anybody spoke."""
        return Node(step.order, Message("other", "", ""), (), "", self.spans[step.order[0]])

    def _make_step(self, span: Span, kind: str, name: str, arguments: str) -> Step:
        self.count += 1
        order = (span.number, 0, self.count)
        return Step(order, kind, name, arguments, span.span_id, span.trace_id)

    def _add_step(self, span: Span, given: str, result: str, kind: str = "") -> Step:
        name = span.row["name"] or span.row["kind"] or "step"
        step = self._make_step(span, kind or span.row["kind"] or "step", name, given)
        step.order = (span.last, 1, -span.number, self.count)
        step.answer(result)
        self.orphans.append(step)
        return step


def _pick(steps: Iterable[Step], message: Message) -> Step | None:
    """Pick the call that a tool's message answers: by id, else the first of its name."""
    steps = list(steps)
    if message.call_id:
        same = (step for step in steps if step.call_id == message.call_id)
        if (step := next(same, None)) or any(step.call_id for step in steps):
            return step
    named = [step for step in steps if not message.name or step.name == message.name]
    given = (step for step in named if step.results and step.gives(message.text))
    first = (step for step in named if not step.results)
    return next(given, next(first, next(iter(named), None)))


def _spoken(raw: str | None, role: str) -> list[Message]:
    if not raw:
        return []
    return list_spoken(raw, role) or [Message(role, "", raw)]


def plain_text(raw: str | None) -> str:
    """Return a text without the object that LangChain wraps around a lone one."""
    held = unwrap(read_value(raw))
    return held if isinstance(held, str) else raw or ""


def _reason(row: dict[str, Any]) -> str:
    return row["status_message"] or "failed without a message"
