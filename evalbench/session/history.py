"""Spans of a session as turns: each message once, where it happened.

A model call repeats its history: messages are aligned in order with what stands in its thread; what
is left is new, or the product's summary. Spans around others add what these do not say.
"""

import re
from collections.abc import Callable, Sequence

from evalbench.session.messages import (
    Message,
    canonical,
    leaves,
    list_spoken,
    plain_text,
    read_messages,
    read_value,
)
from evalbench.session.spans import Span
from evalbench.session.threads import Node, Order, Step, Thread, Walk
from evalbench.session.turns import Document

ANSWERS = re.compile(r'"role": ?"(?:assistant|model|ai)"')
ONLY_NEW = ("openai-chat",)  # formats whose calls have only what is new


class History:
    """Threads as they grow, span by span; ``orphans`` are the steps that no message asked for.

    Tools and retrievals are read once a message speaks of tools, or :meth:`settle` is called.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self.threads: list[Thread] = []
        self.orphans: list[Step] = []
        self.waiting: list[Step] = []
        self.gaps: list[str] = []
        self._unread: list[Callable[[], None]] = []
        self._reads_tools = False
        self._count = 0
        calls = (span.row["input_messages"] for span in spans if span.row["kind"] == "llm")
        given = [raw for raw in calls if raw]
        repeating = (raw for raw in given if raw.startswith(given[0][:-1]))
        self._sends_history = any(ANSWERS.search(raw) for raw in repeating)
        for span in spans:
            self._open(span)
            for done in span.closing:
                self._close(done)

    def settle(self) -> None:
        """Read what tools and retrievals did so far, and from now on as it comes."""
        self._reads_tools = True
        for read in self._unread:
            read()
        self._unread.clear()

    def _later(self, read: Callable[[], None]) -> None:
        if self._reads_tools:
            read()
        else:
            self._unread.append(read)

    def _repeats(self, span: Span, message: Message, role: str) -> bool:
        """Whether the spans inside say this text already, or found it."""
        if not span.repeats(message, role) and self._unread:
            self.settle()
        return span.repeats(message, role)

    def _open(self, span: Span) -> None:
        if span.kind == "tool":
            name = span.row["tool_name"] or span.row["name"] or "tool"
            self._later(lambda: self._run(span, name))
        elif span.kind == "llm" and not span.wraps:
            self._give(span)
            if '"tool_calls"' in (span.row["output_messages"] or ""):
                self._reply(span)  # the tools that it asks for may run inside it

    def _close(self, span: Span) -> None:
        row = span.row
        if span.kind == "llm" and not span.wraps:
            if not span.replied:
                self._reply(span)
        elif span.kind in ("retriever", "reranker") or row["documents"]:
            self._later(lambda: self._retrieve(span))
        elif span.is_leaf and span.kind not in ("tool", "agent") and self._awaits(row["name"]):
            self._run(span, row["name"])
        elif span.is_leaf and span.kind in ("guardrail", "prompt") and not row["output_messages"]:
            self._add_step(span, plain_text(row["input"]), plain_text(row["output"]))
        elif span.kind != "tool":
            self._wrap(span)
        if row["status"] == "error" and span.kind != "tool" and not span.replied:
            why = row["status_message"] or ""
            self.settle()
            if not any(not why or why in told or told in why for told in span.errors):
                self._add_step(span, "", "", kind="error").error = span.fail()

    # Model calls

    def _give(self, span: Span) -> None:
        """Read what a model call was given."""
        raw, messages = span.row["input_messages"], None
        thread = self._resume(raw, span) if raw else None
        if thread:
            rest = raw[len(thread.head) :]
            messages = self._read(f"[{rest[1:]}") if rest[0] == "," else []
            walk = thread.walk
        else:
            messages = self._read(raw) if raw else _spoken(span.row["input"], "user")
            thread = self._choose(span, messages)
            walk = Walk(self._start(thread, span, messages))
        resumed = walk is thread.walk
        nodes = self._add(span, thread, walk, messages, (span.number, 0))
        if not resumed:
            cut = thread.find_cut(walk.met)
            span.cut_before = None if thread.trimmed else cut
            thread.trimmed = cut is not None
        if nodes:
            walk.place = len(thread.nodes)
        thread.walk, thread.head = walk, raw[:-1] if raw else ""
        thread.trace_id, thread.failed = span.trace_id, False

    def _reply(self, span: Span) -> None:
        """Read what a model call gave back: it stands, though it be what stands already."""
        row, span.replied = span.row, True
        raw, failed = row["output_messages"], row["status"] == "error"
        messages = self._read(raw) if raw else _spoken(row["output"], "assistant")
        thread = span.thread or self._choose(span, messages)
        if failed and not messages:
            messages, thread.failed = [Message("assistant", "", "")], True
        nodes = self._add(span, thread, Walk(len(thread.nodes)), messages, (span.number, 0))
        if nodes:
            nodes[0].cut_before = span.cut_before
            nodes[-1].error = span.fail() if failed else ""

    def _resume(self, raw: str, span: Span) -> Thread | None:
        """Find the thread whose latest list this one goes on with, byte for byte."""
        found = [
            thread
            for thread in self.threads
            if thread.head
            and raw.startswith(thread.head)
            and raw[len(thread.head) : len(thread.head) + 1] in (",", "]")
            and (ANSWERS.search(thread.head) or self._repeats_question(thread, span))
        ]
        return max(found, key=lambda thread: len(thread.head), default=None)

    def _repeats_question(self, thread: Thread, span: Span) -> bool:
        if span.row["source_format"] in ONLY_NEW:
            return False
        return self._sends_history or thread.failed or thread.trace_id == span.trace_id

    def _choose(self, span: Span, messages: Sequence[Message]) -> Thread:
        """Choose the thread whose answers a list knows, else the agent's own, else a new one.

        A call within a trace with instructions and a question of its own has a thread of its own.
        """
        if span.kind != "llm" and self.threads:
            own = [thread for thread in self.threads if thread.agent == span.agent]
            return (own or self.threads)[-1]
        known = [(thread.knows(messages, span.agent), thread) for thread in self.threads]
        answers, best = max(known, key=lambda each: each[0], default=(0, None))
        if best and answers:
            return best
        system = next((each.key for each in messages if each.role == "system"), None)
        asked = {each.key for each in messages if each.role == "user"}
        for thread in reversed(self.threads):
            questions = {each.message.key for each in thread.nodes if each.message.role == "user"}
            same = system is None or thread.system in (None, system) or asked & questions
            if thread.agent == span.agent and (same or thread.trace_id != span.trace_id):
                return thread
        origin = (span.parent.row["name"] if span.parent else "") or span.row["name"] or ""
        self.threads.append(Thread(span.agent, origin, span.trace_id, system))
        return self.threads[-1]

    def _start(self, thread: Thread, span: Span, messages: Sequence[Message]) -> int:
        """Return from where a list may repeat: the beginning, the question at hand, or nowhere."""
        if span.row["source_format"] in ONLY_NEW:
            return len(thread.nodes)
        if self._sends_history or thread.knows(messages, ""):
            return 0
        return thread.question() if self._repeats_question(thread, span) else len(thread.nodes)

    # Messages

    def _read(self, raw: str) -> list[Message]:
        messages, others = read_messages(raw)
        self.gaps += others
        return messages

    def _add(
        self, span: Span, thread: Thread, walk: Walk, messages: Sequence[Message], order: Order
    ) -> list[Node]:
        """Add to a thread what a list says that does not stand; a span around others fills gaps."""
        met = thread.align(messages, walk, span.agent)
        span.tell(thread, messages, goes_on=walk is thread.walk)
        last = max((n for n, node in enumerate(met) if node and node.is_spoken), default=-1)
        before: Order = (span.number, 0)
        new: list[Node] = []
        for number, (message, node) in enumerate(zip(messages, met, strict=True)):
            if node:
                walk.unanswered += _learn(node, message)
                before = max(before, node.order)
                continue
            if message.role == "tool" and self._answer(thread, walk, message):
                continue
            if span.is_told and self._repeats(span, message, "" if message.calls else "user"):
                continue
            node = self._make(span, message, order)
            if span.kind == "llm" and not span.wraps:
                node.rewritten = number < last and (number > 0 or message.role != "system")
                node.ghost = self._is_handed(thread, message, span)
            else:
                place = (*before, 1, self._count)
                node.order = place if number < last else max(node.order, place)
            walk.unanswered += node.steps
            new.append(node)
        thread.add(new)
        return new

    def _answer(self, thread: Thread, walk: Walk, message: Message) -> bool:
        """Put a tool's message on its call; false where there is none."""
        self.settle()
        step = _pick(walk.unanswered, message)
        if step is None and not walk.unanswered:
            asked = [step for node in thread.nodes for step in node.steps if step.asked]
            open_steps = [step for step in asked if not step.results]
            step = _pick(asked[::-1] if message.call_id else open_steps, message)
            if step is None:  # a copy of what a span says
                nodes = thread.nodes[thread.question() :]
                ran = [*self.orphans, *(step for node in nodes for step in node.steps)]
                step = next((each for each in ran if each.gives(message.text)), None)
        if step is None:
            return False
        if step in walk.unanswered:
            walk.unanswered.remove(step)
        step.answer(message.text)
        return True

    def _is_handed(self, thread: Thread, message: Message, span: Span) -> bool:
        """Whether another agent, or the user, hands this text to an agent that begins."""
        text = message.text.strip()
        begins = all(node.message.role in ("system", "user") for node in thread.nodes)
        if message.role != "user" or not text or not begins or thread is self.threads[0]:
            return False
        others = [node for each in self.threads if each is not thread for node in each.nodes]
        for node in reversed(others):
            arguments = [read_value(step.arguments) for step in node.steps if step.asked]
            handed = any(text == each.strip() for given in arguments for each in leaves(given))
            if handed or (node.message.key == (text,) and node.message.role != "system"):
                if node.message.role != "user":
                    node.receiver = span.agent or span.row["name"] or ""
                return True
        return False

    def _make(self, span: Span, message: Message, order: Order) -> Node:
        self._count += 1
        node = Node((*order, self._count), message, span)
        if message.calls:
            self.settle()
        for call in message.calls:
            step = self._take_orphan(span, call.name, canonical(call.arguments))
            if step is None:
                step = self._make_step(span, "tool", call.name, call.arguments)
                self.waiting.append(step)
            step.asked, step.arguments = True, call.arguments
            step.call_id = step.call_id or call.call_id
            node.steps.append(step)
        return node

    # Tools, retrievals and other steps

    def _take_orphan(self, span: Span, name: str, arguments: str) -> Step | None:
        """Take the step that ran before the message that asked for it was logged."""
        for step in self.orphans:
            if (step.name, step.span.trace_id, step.kind) == (name, span.trace_id, "tool"):
                if canonical(step.arguments) == arguments:
                    self.orphans.remove(step)
                    return step
        return None

    def _awaits(self, name: str) -> bool:
        return any(step.name == name for step in self.waiting)

    def _run(self, span: Span, name: str) -> None:
        """Put a tool's span on the call that asked for it, or behind the turn before it."""
        row = span.row
        arguments = row["tool_arguments"] or row["input"] or ""
        result = plain_text(row["tool_result"] or row["output"])
        if span.kind != "tool" and row["output_messages"]:
            result = "\n".join(message.text for message in self._read(row["output_messages"]))
        step = self._find_call(span, name, canonical(arguments), result)
        if step:
            self.waiting.remove(step)
        else:
            step = self._make_step(span, "tool", name, arguments)
            self.orphans.append(step)
        step.span = span
        step.answer(result)
        span.find(arguments, *step.results)
        if row["status"] == "error":
            step.error = span.fail()

    def _find_call(self, span: Span, name: str, arguments: str, result: str) -> Step | None:
        """Find the call by its id, else the first of its name and arguments, else of its name."""
        free = [step for step in self.waiting if not step.results]
        free += [step for step in self.waiting if step.results and step.gives(result)]
        if span.call_id and (same := [step for step in free if step.call_id == span.call_id]):
            return same[0]
        named = [s for s in free if s.name == name and not (s.call_id and span.call_id)]
        same = [step for step in named if canonical(step.arguments) == arguments]
        return next(iter(same or named), None)

    def _retrieve(self, span: Span) -> None:
        step = self._add_step(span, plain_text(span.row["input"]), "")
        for number, each in enumerate(span.row["documents"] or (), 1):
            name, content = each["id"] or f"document {number}", each["content"] or ""
            step.documents.append(Document(name, content, each["score"], span.span_id))
            span.find(content)
        if not step.documents:
            step.answer(plain_text(span.row["output"]))

    def _wrap(self, span: Span) -> None:
        """Add what a span around others says that they do not; of an inner one as a step."""
        parent = span.parent
        speaks = parent is None or span.kind in ("agent", "llm")
        own, told = {"input": "", "output": ""}, span.is_told
        ends: dict[str, Order] = {"input": (span.number, 0), "output": (span.last, 1, -span.number)}
        for (column, order), role in zip(ends.items(), ("user", "assistant"), strict=True):
            if raw := span.row[f"{column}_messages"]:
                messages = self._read(raw)
            elif raw := span.row[column]:
                lone = [Message(role, "", plain_text(raw))]
                spoken = list_spoken(raw, role) if told else lone
                messages = [message for message in spoken if not self._repeats(span, message, role)]
                if parent and not speaks:
                    if not any(self._repeats(parent, each, "assistant") for each in messages):
                        own[column] = "\n".join(message.text for message in messages)
                    continue
            else:
                continue
            if messages:
                thread = span.thread or self._choose(span, messages)
                walk = Walk(self._start(thread, span, messages))
                if self._add(span, thread, walk, messages, order):
                    thread.head = ""
        if any(own.values()):
            self._add_step(span, own["input"], own["output"])

    def _make_step(self, span: Span, kind: str, name: str, arguments: str) -> Step:
        self._count += 1
        order = (span.number, 0, self._count)
        return Step(order, kind, name, arguments, span)

    def _add_step(self, span: Span, given: str, result: str, kind: str = "") -> Step:
        name = span.row["name"] or span.kind or "step"
        step = self._make_step(span, kind or span.kind or "step", name, given)
        step.order = (span.last, 1, -span.number, self._count)
        step.answer(result)
        self.orphans.append(step)
        return step


def _learn(node: Node, message: Message) -> list[Step]:
    """Take from a copy what its original does not say, and return the calls that it asks for."""
    node.message.reasoning = node.message.reasoning or message.reasoning
    node.message.name = node.message.name or message.name
    asked = [step for step in node.steps if step.asked]
    for step, call in zip(asked, message.calls, strict=False):
        step.call_id = step.call_id or call.call_id
    return asked


def _pick(steps: Sequence[Step], message: Message) -> Step | None:
    """Pick the call that a tool's message answers: by id, else the first of its name."""
    if message.call_id and any(step.call_id for step in steps):
        return next((step for step in steps if step.call_id == message.call_id), None)
    named = [step for step in steps if not message.name or step.name == message.name]
    given = (step for step in named if step.results and step.gives(message.text))
    first = (step for step in named if not step.results)
    return next(given, next(first, next(iter(named), None)))


def _spoken(raw: str | None, role: str) -> list[Message]:
    return list_spoken(raw, role) or [Message(role, "", raw)] if raw else []
