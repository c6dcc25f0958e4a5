"""The spans of a session in the order of time, each with what is inside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from evalbench.session.messages import Message

HIDDEN_KINDS = ("evaluator", "embedding")
COLUMNS = (
    "trace_id span_id parent_id kind name started_at status status_message input output "
    "input_messages output_messages tool_name tool_arguments tool_result documents attributes "
    "source_format"
).split()
LONG = 20  # characters from which a text within a longer one is taken for its copy
AGENT = re.compile(
    r"(?:agent_run|invoke_agent|create_agent|Agent)[\s:]+\[?(?P<of>.+?)\]?"
    r"|(?P<run>.+?)(?:\._execute_core|\.(?:a?run|kickoff|a?invoke)| run)"
)
CALL_IDS = ("tool_call_id", "gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "call_id")
Row = Mapping[str, Any]


class Span:
    """A span, and what is said by those inside it."""

    __slots__ = (
        *"row parent kind span_id trace_id number last closing start path agent".split(),
        *"wraps goes_on is_told replied thread cut_before told found errors answered".split(),
    )

    def __init__(self, row: Row, parent: Span | None) -> None:
        self.row, self.parent = row, parent
        self.kind: str | None = row["kind"]
        self.span_id, self.trace_id = row["span_id"], row["trace_id"]
        self.number = self.last = 0
        self.closing: list[Span] = []
        self.wraps = self.goes_on = self.is_told = self.replied = False
        self.thread: Any = None
        self.cut_before: Any = None
        self.told: set[str] = set()
        self.found: set[str] = set()
        self.errors: list[str] = []
        self.answered = False
        started = row["started_at"]
        own = (False, started) if started is not None else (True, 0)
        if parent and not parent.start[0]:
            own = parent.start if own[0] else max(own, parent.start)
        self.start: tuple[bool, Any] = own
        same = parent is not None and parent.start == own
        self.path: tuple[str, ...] = (*(parent.path if parent and same else ()), row["span_id"])
        self.agent: str = _name_agent(row) or (parent.agent if parent else "")

    @property
    def is_leaf(self) -> bool:
        """Whether nothing is inside it."""
        return self.last == self.number

    @property
    def call_id(self) -> str:
        """Return the id of the tool call that this span ran for; "" where it has none."""
        try:
            held = orjson.loads(self.row["attributes"] or "{}")
        except ValueError:
            return ""
        places = [held, held.get("metadata")] if isinstance(held, dict) else []
        ids = (place.get(name) for place in places if isinstance(place, dict) for name in CALL_IDS)
        return str(next(filter(None, ids), ""))

    def around(self) -> list[Span]:
        """Return the spans around this one, the innermost first."""
        spans, span = [], self.parent
        while span:
            spans.append(span)
            span = span.parent
        return spans

    def tell(self, thread: Any, messages: Sequence[Message], *, goes_on: bool = False) -> None:
        """Tell the spans around it what is said here, after what stands where a list goes on."""
        self.thread = self.thread or thread
        if not self.parent:
            return
        texts = [text for message in messages if (text := message.key[0])]
        for outer in self.around():
            outer.thread = outer.thread or thread
            outer.goes_on |= goes_on
            outer.is_told |= bool(messages)
            outer.told.update(texts)
            outer.answered |= any(m.role == "assistant" and m.key[0] for m in messages)

    def find(self, *texts: str) -> None:
        """Tell the spans around it what was called and found here."""
        for outer in self.around():
            outer.found.update(text.strip() for text in texts)

    def fail(self) -> str:
        """Return what went wrong here, and tell the spans around it."""
        why = self.row["status_message"] or "failed without a message"
        for outer in self.around():
            outer.errors.append(why)
        return why

    def repeats(self, message: Message, role: str) -> bool:
        """Whether the spans inside say this text already; an output may be a part of theirs."""
        text = message.key[0]
        if not text and not message.calls:
            return True
        if not text:
            return False
        if text in self.told or (text in self.found and self.answered):
            return True
        if self.goes_on and any(node.message.key[0] == text for node in self.thread.nodes):
            return True
        return role == "assistant" and len(text) >= LONG and any(text in told for told in self.told)


def order_spans(rows: Sequence[Row]) -> list[Span]:
    """Order the spans that an annotator may see: by time, the outer before the inner."""
    place = {(row["trace_id"], row["span_id"]): row for row in rows}
    made: dict[tuple[str, str], Span | None] = {}
    for key in place:
        chain: dict[tuple[str, str], tuple[str, str]] = {}
        while key in place and key not in made and key not in chain:
            chain[key] = key = (key[0], place[key]["parent_id"])
        for key, outer_key in reversed(chain.items()):
            inner, outer = place[key], made.get(outer_key)
            hidden = outer is None and outer_key in made
            made[key] = None if hidden or inner["kind"] in HIDDEN_KINDS else Span(inner, outer)
    spans = [span for span in made.values() if span]
    spans.sort(key=lambda span: (span.start, span.path))
    for number, span in enumerate(spans):
        span.number = span.last = number
    for span in reversed(spans):
        if span.parent:
            span.parent.last = max(span.parent.last, span.last)
        if span.row["kind"] == "llm":
            for outer in span.around():
                outer.wraps = True
    for span in reversed(spans):
        spans[span.last].closing.append(span)
    return spans


def _name_agent(row: Row) -> str:
    if row["kind"] != "agent":
        return ""
    name = row["name"] or ""
    if "gen_ai.agent.name" in (row["attributes"] or ""):
        try:
            name = str(orjson.loads(row["attributes"]).get("gen_ai.agent.name") or name)
        except (ValueError, AttributeError):
            pass
    match = AGENT.fullmatch(name)
    return (match["of"] or match["run"]) if match else name
