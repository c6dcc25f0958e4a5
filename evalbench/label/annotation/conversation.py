"""Spans of a session as one conversation: each message once, in order, with what led to it.

An ``llm`` span repeats the history in its ``input_messages``; some sources send only what is new.
A history is aligned with what stands already, and what is new in it is put where it stood there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

ROLES = {
    "model": "assistant",
    "ai": "assistant",
    "human": "user",
    "developer": "system",
    "function": "tool",
}
HIDDEN_KINDS = ("evaluator", "embedding")
"""An annotator is blind to evaluators, and nobody reads vectors."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Text:
    """A text and where :func:`read_field` finds it again."""

    span_id: str
    field: str
    content: str


@dataclass
class Step:
    """What happened between messages: a tool call with its result, a retrieval, another span."""

    kind: str
    name: str
    span_id: str
    call_id: str = ""
    given: Text | None = None
    result: Text | None = None
    documents: list[tuple[str, float | None, Text]] = field(default_factory=list)
    error: str = ""
    called: bool = False
    ran: bool = False


@dataclass
class Turn:
    """One message, with the steps that follow it until the next one."""

    role: str
    span_id: str
    trace_id: str
    text: Text
    key: tuple[Any, ...]
    at: Any = None
    reasoning: Text | None = None
    steps: list[Step] = field(default_factory=list)
    error: str = ""


def read_messages(value: str | None) -> list[Row]:
    """Messages of a column; empty where it holds none."""
    found = _json(value)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def read_field(row: Row, address: str) -> str:
    """Text at an address like ``tool_result``, ``documents.2`` or ``input_messages.0.content``."""
    column, *path = address.split(".")
    value = row[column]
    if not path:
        return value or ""
    held: Any = value if column == "documents" else _json(value)
    for part in path:
        held = held[int(part) if isinstance(held, list) else part]
    return _plain(held)


def conversation(spans: pl.DataFrame) -> list[Turn]:
    """Read the spans (:data:`evalbench.schema.SPAN`) of one session, in its order.

    Tool results and documents hang on the turn they follow.
    """
    rows = spans.sort("started_at", "span_id", nulls_last=True).to_dicts()
    place = {(row["trace_id"], row["span_id"]): number for number, row in enumerate(rows)}
    parents = [place.get((row["trace_id"], row["parent_id"])) for row in rows]
    last = list(range(len(rows)))
    for number in reversed(range(len(rows))):
        if (parent := parents[number]) is not None:
            last[parent] = max(last[parent], last[number])
    closing: dict[int, list[int]] = {}
    for number in reversed(range(len(rows))):
        closing.setdefault(last[number], []).append(number)
    reader = _Reader(rows)
    blind: set[int] = set()
    for number, row in enumerate(rows):
        if row["kind"] in HIDDEN_KINDS or parents[number] in blind:
            blind.add(number)
        elif number not in blind:
            reader.open(row, root=parents[number] is None)
        for done in closing.get(number, []):
            if done not in blind:
                reader.close(rows[done], root=parents[done] is None, leaf=last[done] == done)
    return reader.turns


class _Reader:
    """Turns so far, and the texts of each trace's model calls that its outer spans repeat."""

    def __init__(self, rows: list[Row]) -> None:
        self.turns: list[Turn] = []
        self.inner: dict[str, set[str]] = {}
        for row in rows:
            if row["kind"] == "llm":
                texts = self.inner.setdefault(row["trace_id"], set())
                for column in ("input_messages", "output_messages"):
                    texts |= {_plain(m.get("content")).strip() for m in read_messages(row[column])}
                texts |= {(row[name] or "").strip() for name in ("input", "output")}

    def open(self, row: Row, *, root: bool) -> None:
        """Tell what a span was given."""
        if messages := read_messages(row["input_messages"]):
            self._align(row, messages)
        elif row["input"] and _speaks(row, root):
            self._tell(row, "user", "input")

    def close(self, row: Row, *, root: bool, leaf: bool) -> None:
        """Tell what came of a span, once all inside it is told."""
        messages = read_messages(row["output_messages"])
        if row["kind"] == "tool":
            self._run(row)
        elif row["documents"] or row["kind"] in ("retriever", "reranker"):
            self._retrieve(row)
        elif messages:
            for number, message in enumerate(messages):
                turn = self._turn(row, "output_messages", number, message)
                if leaf and row["kind"] == "llm":
                    self._append(turn, message)
                elif self._find(turn.key, self._trace_start(row["trace_id"])) is None:
                    self._append(turn, message)
        elif row["output"] and _speaks(row, root):
            self._tell(row, "assistant", "output")
        elif leaf and row["kind"] not in ("llm", "agent") and (row["input"] or row["output"]):
            if not row["input_messages"]:
                step = Step(row["kind"] or "step", row["name"] or "", row["span_id"])
                step.given, step.result = _column(row, "input"), _column(row, "output")
                self._current(row).steps.append(step)
        self._fail(row, leaf)

    def _fail(self, row: Row, leaf: bool) -> None:
        if row["status"] != "error":
            return
        why = row["status_message"] or "failed without a message"
        steps = [step for turn in self.turns for step in turn.steps]
        if step := next((s for s in steps if s.span_id == row["span_id"] and s.ran), None):
            step.error = why
        elif turn := next((t for t in self.turns[::-1] if _answers(t, row)), None):
            turn.error = why
        elif leaf or not any(step.error == why for step in self._current(row).steps):
            name = row["name"] or row["kind"] or "step"
            self._current(row).steps.append(Step("error", name, row["span_id"], error=why))

    def _tell(self, row: Row, role: str, column: str) -> None:
        """Tell the text of an outer span, unless its trace tells it or it is inner state."""
        text = _column(row, column)
        if text is None:
            return
        held = _json(text.content)
        values = held.values() if isinstance(held, dict) else (text.content,)
        said = {value.strip() for value in values if isinstance(value, str)}
        told = {turn.text.content.strip() for turn in self._of(row["trace_id"])}
        inner = self.inner.get(row["trace_id"])
        if said & told or (isinstance(held, (dict, list)) and inner and not said & inner):
            return
        key = (role, text.content.strip(), ())
        at = row["started_at"]
        self.turns.append(Turn(role, row["span_id"], row["trace_id"], text, key, at))

    def _turn(self, row: Row, column: str, number: int, message: Row) -> Turn:
        role = str(message.get("role") or "assistant")
        role = ROLES.get(role, role)
        text = Text(row["span_id"], f"{column}.{number}.content", _plain(message.get("content")))
        asked = _calls(message)
        calls = tuple((call.get("name"), _canonical(call.get("arguments"))) for call in asked)
        key = (role, text.content.strip(), calls)
        turn = Turn(role, row["span_id"], row["trace_id"], text, key, row["started_at"])
        if message.get("reasoning"):
            address = f"{column}.{number}.reasoning"
            turn.reasoning = Text(row["span_id"], address, _plain(message["reasoning"]))
        return turn

    def _append(self, turn: Turn, message: Row) -> None:
        self.turns.append(turn)
        self._call(turn, message)

    def _align(self, row: Row, messages: list[Row]) -> None:
        """Put the new messages of an input where they stood in it."""
        new = [self._turn(row, "input_messages", n, message) for n, message in enumerate(messages)]
        if any(turn.role == "assistant" for turn in new):
            start = 0
        elif row["source_format"] == "openai-chat":  # it sends what is new alone
            start = len(self.turns)
        else:
            start = self._trace_start(row["trace_id"])
        found: list[Turn | None] = []
        for turn in new:
            at = self._find(turn.key, 0 if turn.role == "system" else start)
            found.append(None if at is None else self.turns[at])
            if at is not None and turn.role != "system":
                start = at + 1
        for number, (turn, message) in enumerate(zip(new, messages, strict=True)):
            if found[number] is not None:
                continue
            if turn.role == "tool" or self._is_result(turn):
                self._answer(turn, message)
                continue
            after = next((each for each in found[number:] if each is not None), None)
            if after is None:
                self._append(turn, message)
            else:
                self.turns.insert(next(n for n, t in enumerate(self.turns) if t is after), turn)
                self._call(turn, message)

    def _is_result(self, turn: Turn) -> bool:
        """Gemini sends a tool's result in the user's name."""
        content = turn.text.content.strip()
        return content[:1] in ("{", "[") and any(
            step.result is not None and step.result.content.strip() == content
            for step in self._steps()
        )

    def _call(self, turn: Turn, message: Row) -> None:
        """Fold the calls of a message into it; a call that ran already moves here."""
        base = turn.text.field.rsplit(".", 1)[0]
        for number, call in enumerate(_calls(message)):
            name, arguments = str(call.get("name") or "tool"), _plain(call.get("arguments"))
            for earlier in self._of(turn.trace_id):
                step = _same(earlier.steps, name, arguments, called=False)
                if step is not None:
                    earlier.steps.remove(step)
                    break
            else:
                given = Text(turn.span_id, f"{base}.tool_calls.{number}.arguments", arguments)
                step = Step("tool", name, turn.span_id, given=given)
            step.called, step.call_id = True, str(call.get("id") or "")
            turn.steps.append(step)

    def _run(self, row: Row) -> None:
        """Put a tool's span on the call that asked for it, or after the turn before it."""
        name, arguments = row["tool_name"] or row["name"] or "tool", row["tool_arguments"] or ""
        held = _json(row["attributes"])
        call_id = str(held.get("tool_call_id") or "") if isinstance(held, dict) else ""
        waiting = [s for s in self._steps() if s.kind == "tool" and not s.ran]
        step = next((s for s in waiting if call_id and s.call_id == call_id), None)
        step = step or _same(waiting, name, arguments, called=True)
        if step is None:
            step = Step("tool", name, row["span_id"], given=_column(row, "tool_arguments"))
            self._current(row).steps.append(step)
        step.span_id, step.ran = row["span_id"], True
        step.result = _column(row, "tool_result") or step.result

    def _answer(self, turn: Turn, message: Row) -> None:
        """Put a tool's message on its call, unless the span of the call told it already."""
        steps, content = [s for s in self._steps() if s.kind == "tool"], turn.text.content.strip()
        call_id = str(message.get("tool_call_id") or "")
        step = next((s for s in steps[::-1] if call_id and s.call_id == call_id), None)
        if step is None and any(content in _outcome(step) for step in steps):
            return
        step = step or next((s for s in steps if s.called and not s.result), None)
        if step is None:
            step = Step("tool", str(message.get("name") or "tool"), turn.span_id)
            self._current({"trace_id": turn.trace_id, "span_id": turn.span_id}).steps.append(step)
        step.result = step.result or turn.text

    def _retrieve(self, row: Row) -> None:
        step = Step("documents", row["name"] or "retrieval", row["span_id"], ran=True)
        step.given = _column(row, "input")
        for number, each in enumerate(row["documents"] or []):
            text = Text(row["span_id"], f"documents.{number}.content", each["content"] or "")
            step.documents.append((each["id"] or f"document {number + 1}", each["score"], text))
        if not step.documents:
            step.result = _column(row, "output")
        self._current(row).steps.append(step)

    def _current(self, row: Row) -> Turn:
        if not self.turns:
            nothing = Text(row["span_id"], "input", "")
            self.turns.append(Turn("step", row["span_id"], row["trace_id"], nothing, ("step",)))
        return self.turns[-1]

    def _steps(self) -> Iterator[Step]:
        return (step for turn in reversed(self.turns) for step in turn.steps)

    def _of(self, trace_id: str) -> list[Turn]:
        return [turn for turn in self.turns if turn.trace_id == trace_id]

    def _trace_start(self, trace_id: str) -> int:
        held = (n for n, turn in enumerate(self.turns) if turn.trace_id == trace_id)
        return next(held, len(self.turns))

    def _find(self, key: tuple[Any, ...], start: int) -> int | None:
        return next((n for n in range(start, len(self.turns)) if self.turns[n].key == key), None)


def _same(steps: list[Step], name: str, arguments: str, *, called: bool) -> Step | None:
    fits = [s for s in steps if s.kind == "tool" and s.name == name and s.called == called]
    wanted = _canonical(arguments)
    exact = (s for s in fits if _canonical(s.given.content if s.given else "") == wanted)
    return next(exact, fits[0] if called and fits else None)


def _calls(message: Row) -> list[Row]:
    held = message.get("tool_calls")
    return [call for call in held if isinstance(call, dict)] if isinstance(held, list) else []


def _speaks(row: Row, root: bool) -> bool:
    """Whether a span's own text is part of the conversation."""
    return row["kind"] == "llm" or (root and row["kind"] in ("agent", "chain", "other", None))


def _answers(turn: Turn, row: Row) -> bool:
    return turn.role == "assistant" and turn.span_id == row["span_id"]


def _column(row: Row, name: str) -> Text | None:
    """Read a column; LangChain wraps a lone text in an object, which nobody wants to read."""
    held = _json(row[name]) if name != "tool_arguments" else None
    if isinstance(held, dict) and len(held) == 1:
        key, value = next(iter(held.items()))
        if isinstance(value, str) and "." not in key:
            return Text(row["span_id"], f"{name}.{key}", value) if value else None
    return Text(row["span_id"], name, row[name]) if row[name] else None


def _outcome(step: Step) -> tuple[str, ...]:
    return (step.error, step.result.content.strip() if step.result else step.error)


def _canonical(value: Any) -> str:
    held = _json(value)
    return str(value or "").strip() if held is None else json.dumps(held, sort_keys=True)


def _json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(content: Any) -> str:
    """Write a message's content as text: other parts are told as JSON or an address."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False)
    return "\n".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        if isinstance(text := part.get("text", part.get("content")), str):
            return text
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, dict) else image
        if isinstance(address, str):
            return f"[image: {address[:200]}]"
    return json.dumps(part, ensure_ascii=False)
