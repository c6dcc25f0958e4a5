"""What a span says, read from its columns: messages of any vendor, texts, values in texts."""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

ROLES = {
    **dict.fromkeys(("assistant", "model", "ai", "bot"), "assistant"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "ipython"), "tool"),
}
REASONING = ("reasoning", "reasoning_content", "thinking")
# Keys of a program's state under which somebody speaks.
SPOKEN = {
    "user": tuple("input question query prompt user_input text content message args".split()),
    "assistant": tuple(
        "output answer response result reply completion final_output text content message raw "
        "generated_text".split()
    ),
}
LONE = {*SPOKEN["user"], *SPOKEN["assistant"]}
# Names of those who speak for the user where AutoGen logs their side as the assistant's.
PROXY = re.compile(r"user|human|.*proxy(?:_?agent)?", re.IGNORECASE)
LONGEST_LITERAL = 64 << 10
SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


@dataclass(slots=True)
class Asked:
    """A tool call in a message."""

    name: str
    arguments: str
    call_id: str


@dataclass(slots=True)
class Message:
    """One message; ``key`` tells it from another of its role, however its calls are written."""

    role: str
    name: str
    text: str
    reasoning: str = ""
    calls: list[Asked] = field(default_factory=list)
    call_id: str = ""
    key: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        calls = ((call.name, canonical(call.arguments)) for call in self.calls)
        self.key = (self.text.strip(), *calls) if self.calls else (self.text.strip(),)


def read_messages(value: Any) -> tuple[list[Message], list[str]]:
    """Read a list of messages, as JSON or not, and the items that are none."""
    items = read_value(value) if isinstance(value, str) else value
    if not isinstance(items, list):
        return [], [value] if value else []
    messages: list[Message] = []
    for message in (_read(item) for item in items if isinstance(item, dict)):
        thought = messages[-1] if messages and message.role == "assistant" else None
        if thought and thought.reasoning and not (thought.text or thought.calls):
            # The thought of this very answer, as an item of its own.
            message.reasoning = "\n".join(filter(None, (thought.reasoning, message.reasoning)))
            messages.pop()
        messages.append(message)
    return messages, [plain(item) for item in items if not isinstance(item, dict)]


def _read(item: dict[str, Any]) -> Message:
    said = str(item.get("role") or "assistant")
    role, name = ROLES.get(said.lower(), "other"), str(item.get("name") or "")
    content, reasoning = item.get("content"), [item[key] for key in REASONING if item.get(key)]
    if isinstance(content, list):
        thought = [part for part in content if _is_thought(part)]
        reasoning += [part.get("thinking") or part.get("text") or "" for part in thought]
        content = [part for part in content if not _is_thought(part)]
    if item.get("type") == "reasoning" and isinstance(item.get("summary"), list):
        reasoning += [plain(item["summary"])]
    if role == "other":
        name = f"{said}, {name}" if name else said
    elif role in ("assistant", "user") and name:
        role = "user" if PROXY.fullmatch(name) else ROLES.get(name.lower(), role)
    if "function_response" in item:  # Gemini sends a tool's result in the user's name
        role, name = "tool", str(item["function_response"] or "")
    asked = item.get("tool_calls") or ([item["function_call"]] if item.get("function_call") else [])
    calls = [_read_call(call) for call in asked if isinstance(call, dict)]
    text = plain(content) or plain(item.get("refusal"))
    thoughts = "\n".join(filter(None, map(plain, reasoning)))
    return Message(role, name, text, thoughts, calls, str(item.get("tool_call_id") or ""))


def _read_call(call: dict[str, Any]) -> Asked:
    inner = call["function"] if isinstance(call.get("function"), dict) else call
    return Asked(
        str(inner.get("name") or "tool"), plain(inner.get("arguments")), str(call.get("id") or "")
    )


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("thinking", "reasoning")


def list_spoken(value: str, role: str) -> list[Message]:
    """List what a raw input (``role`` user) or output (assistant) of a span says.

    Of a program's state, JSON or Python's, what stands under :data:`SPOKEN` keys, and messages.
    """
    held = unwrap(read_value(value))
    if held is None or isinstance(held, (int, float)):
        return [Message(role, "", value)]
    if isinstance(held, str):
        return [Message(role, "", held)]
    return list(_walk(held, role))


def _walk(held: Any, role: str) -> Iterator[Message]:
    if isinstance(held, list):
        for item in held:
            yield from _walk(item, role)
    elif isinstance(held, dict) and "content" in held and ("role" in held or "type" in held):
        yield _read({**held, "role": held.get("role") or held.get("type")})
    elif isinstance(held, dict):
        for key, inner in held.items():
            if isinstance(inner, str) and key.lower() in SPOKEN[role] and inner.strip():
                yield Message(role, "", inner)
            elif isinstance(inner, (dict, list)):
                yield from _walk(inner, role)


def plain_text(raw: str | None) -> str:
    """Return a text without the object that LangChain wraps around a lone one."""
    held = unwrap(read_value(raw))
    return held if isinstance(held, str) else raw or ""


def unwrap(held: Any) -> Any:
    """Take a lone text out of the objects and lists around it, where it is what somebody says."""
    inner = held
    while isinstance(inner, (dict, list)) and len(inner) == 1:
        if isinstance(inner, dict) and not LONE.issuperset(map(str.lower, inner)):
            return held
        [inner] = inner.values() if isinstance(inner, dict) else inner
    return inner


def read_value(text: str | None) -> Any:
    """Read JSON, or an object or list as Python writes it; None where it is neither."""
    if not text or text.lstrip()[:1] not in tuple('{["('):
        return None
    with suppress(ValueError):
        return orjson.loads(text)
    return read_literal(text)


def read_literal(text: str) -> Any:
    """Read an object or list as Python writes it; None for others, and for what takes long."""
    text = text.strip()
    if text[:1] not in tuple("{[(") or len(text) > LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not know
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def leaves(held: Any) -> Iterator[str]:
    """List the texts in a value."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, (dict, list)):
        for inner in held.values() if isinstance(held, dict) else held:
            yield from leaves(inner)


def canonical(value: str) -> str:
    """Write a JSON or Python value in one way; another text stays as it is."""
    held = read_value(value)
    if held is None:
        return value.strip()
    try:
        return orjson.dumps(held, default=str, option=SORTED).decode()
    except TypeError:  # numbers that are too long for it, or nested deeper than it writes
        with suppress(RecursionError):
            return json.dumps(held, sort_keys=True, default=str)
        return value.strip()


def plain(content: Any) -> str:
    """Write content as text: parts one a line, what is no text as JSON or its address."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return content["text"]
    return json.dumps(content, ensure_ascii=False, default=str)


def _part(part: Any) -> str:
    if isinstance(part, dict):
        if isinstance(text := part.get("text", part.get("content")), str):
            return text
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, dict) else image
        if isinstance(address, str):
            return f"[image: {address[:200]}]"
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, default=str)
