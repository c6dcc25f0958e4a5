"""Messages of any vendor as a list of ``{role, content, tool_calls?, tool_call_id?, ...}``.

Roles stay the source's own, text parts are joined by line breaks, a tool call is ``{id, name,
arguments}`` with JSON text, other fields keep their names. What holds no messages gives None.
"""

from __future__ import annotations

from typing import Any

from evalbench.observe.record import from_json, to_json
from evalbench.session.messages import PROXY

LANGCHAIN_ROLES = {
    "human": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
}
WRAPPERS = tuple(
    "messages contents candidates choices generations new_message message output".split()
)
CALL_FIELDS = tuple("id call_id toolCallId name toolName arguments args input".split())
CALL_TYPES = ("function", "function_call", "tool_call", "tool-call", "tool_use")
Message = dict[str, Any]


def to_messages(value: Any) -> list[Message] | None:
    """Messages in a value: a list of them, one of them, or an object that wraps either."""
    try:
        return _read(from_json(value))
    except (TypeError, AttributeError, RecursionError):
        return None  # it has the names of a message, but not its shape


def _read(value: Any) -> list[Message] | None:
    if isinstance(value, dict):
        return _from_object(value)
    if not isinstance(value, list) or not value:
        return None
    if isinstance(value[0], list) and len(value) == 1:  # LangChain's batch of one
        value = value[0]
    messages: list[Message] = []
    for item in value:
        item = from_json(item)
        if not isinstance(item, dict):
            return None
        if _is_tool_definition(item):
            continue
        found = _from_item(item)
        if found is None:
            return None
        messages += found
    return messages or None


def text_of(messages: list[Message] | None, roles: tuple[str, ...]) -> str | None:
    """Text of the last message that has one of these roles."""
    for message in reversed(messages or []):
        if message.get("role") in roles and isinstance(message.get("content"), str):
            return message["content"]
    return None


def unwrap(item: dict[str, Any], word: str) -> dict[str, Any]:
    """Return the fields that OpenInference puts under a word of their own: message, tool_call."""
    inner = item.get(word)
    if isinstance(inner, dict):
        return {**{name: value for name, value in item.items() if name != word}, **inner}
    return {name.removeprefix(f"{word}."): value for name, value in item.items()}


def _from_object(value: dict[str, Any]) -> list[Message] | None:
    if (found := _from_item(value)) is not None:
        return found
    for wrapper in WRAPPERS:
        held = value.get(wrapper)
        if held and (messages := _read(held if isinstance(held, list) else [held])):
            return _system_of(value) + messages
    if isinstance(value.get("content"), dict):  # one Gemini candidate
        return _read([value["content"]])
    return None


def _system_of(value: dict[str, Any]) -> list[Message]:
    config = value.get("config")
    held = value.get("system") or value.get("system_instruction")
    if held is None and isinstance(config, dict):
        held = config.get("system_instruction")
    if isinstance(held, dict):
        held = held.get("parts")
    text, parts = _split_parts(held)[:2] if isinstance(held, list) else (held, None)
    return [{"role": "system", "content": parts or text}] if held else []


def _is_tool_definition(item: dict[str, Any]) -> bool:
    # LangChain's Langfuse handler appends the tools on offer as messages of role "tool".
    content = item.get("content")
    return (
        item.get("role") == "tool"
        and isinstance(content, dict)
        and content.get("type") == "function"
        and isinstance(content.get("function"), dict)
    )


def _from_item(item: dict[str, Any]) -> list[Message] | None:
    if "message.role" in item:
        item = unwrap(item, "message")
    if speaks_as_agent(item):
        return _from_agent(item)
    kind = item.get("type")
    if "toolName" in item and "toolCallId" in item:
        return [{"role": "assistant", "content": "", "tool_calls": [to_tool_call(item)]}]
    if kind == "function_call":
        return [{"role": "assistant", "content": None, "tool_calls": [to_tool_call(item)]}]
    if kind == "function_call_output":
        return [_tool_result(item.get("call_id"), item.get("output"))]
    if kind == "reasoning" and "role" not in item:
        return [{"content": None, **item, "role": "assistant"}]
    if isinstance(item.get("kwargs"), dict) and item.get("lc") == 1:  # LangChain's dumpd
        name = str((item.get("id") or [""])[-1]).removesuffix("Chunk").removesuffix("Message")
        role = LANGCHAIN_ROLES.get(name.lower())
        return None if role is None else _from_message(role, item["kwargs"])
    role = item.get("role")
    if role is None and isinstance(kind, str) and "content" in item:
        role = LANGCHAIN_ROLES.get(kind)
    if isinstance(role, str) and ("content" in item or "parts" in item or "tool_calls" in item):
        return _from_message(role, item)
    if isinstance(item.get("content"), dict) and "parts" in item["content"]:
        return _from_item(item["content"])
    if isinstance(item.get("message"), dict):  # an OpenAI choice or a GenAI event
        return _from_item(item["message"])
    return None


def speaks_as_agent(item: dict[str, Any]) -> bool:
    """Tell whether an item is a message of AutoGen's AgentChat: a source, and a type of its own."""
    kind = str(item.get("type"))
    return "content" in item and "source" in item and kind.endswith(("Message", "Event"))


def _from_agent(item: dict[str, Any]) -> list[Message]:
    rest = {name: value for name, value in item.items() if name not in ("source", "content")}
    speaker, content = str(item["source"]), item["content"]
    said = {"role": "user" if PROXY.fullmatch(speaker) else "assistant", "name": speaker, **rest}
    if item["type"] == "ToolCallExecutionEvent":
        return [_tool_result(each.get("call_id"), each.get("content")) for each in content]
    if item["type"] == "ToolCallRequestEvent":
        return [said | {"content": None, "tool_calls": list(map(to_tool_call, content))}]
    if item["type"] == "ThoughtEvent":
        return [said | {"content": None, "reasoning": content}]
    if isinstance(content, list):
        text, others, *_ = _split_parts(content)
        content = others or text
    return [said | {"content": content}]


def _from_message(role: str, item: dict[str, Any]) -> list[Message]:
    message = {"role": role, "content": item.get("content")}
    for key, value in item.items():
        if value is not None and key not in ("role", "content", "parts", "tool_calls"):
            message[key] = value
    parts = item["parts"] if "parts" in item else item.get("content")
    calls = item.get("tool_calls") or []
    extra = item.get("additional_kwargs")
    if not calls and isinstance(extra, dict):
        calls = extra.get("tool_calls") or []
    answers: list[Message] = []
    if isinstance(parts, list):
        text, others, part_calls, answers, reasoning = _split_parts(parts)
        message["content"] = others or text
        calls = calls or part_calls
        if reasoning:
            message["reasoning"] = reasoning
    if calls:
        message["tool_calls"] = [to_tool_call(from_json(call)) for call in calls]
    if answers and message["content"] is None and not calls:
        return answers
    return [message, *answers]


def _split_parts(parts: list[Any]):
    """Text, the whole list where some part is neither text nor tool, calls, results, reasoning."""
    texts: list[str] = []
    kept: list[Any] = []
    calls: list[Any] = []
    answers: list[Message] = []
    reasoning: list[str] = []
    plain = True
    for part in parts:
        if not isinstance(part, dict):
            part = {"type": "text", "text": part if isinstance(part, str) else to_json(part)}
        kind = part.get("type")
        if "function_call" in part:
            calls.append({"id": "", **part["function_call"]})
        elif "function_response" in part:
            # Gemini sends the result back in the user's name and has no id for it.
            told = part["function_response"]
            answer = {**_tool_result(None, told.get("response")), "role": "user"}
            answers.append({**answer, "function_response": told.get("name")})
        elif kind in ("tool_call", "tool-call", "tool_use", "server_tool_call"):
            calls.append(part)
        elif kind in ("tool_call_response", "tool-result", "tool_result"):
            call = part.get("id") or part.get("toolCallId") or part.get("tool_use_id")
            held = (part.get(k) for k in ("response", "result", "output", "content"))
            answers.append(_tool_result(call, next((v for v in held if v is not None), None)))
        elif kind in ("reasoning", "thinking"):
            told = (part.get(k) for k in ("content", "text", "thinking"))
            reasoning.append(next((text for text in told if isinstance(text, str)), ""))
        elif isinstance(text := part.get("text", part.get("content")), str) and (
            kind in (None, "text", "input_text", "output_text")
        ):
            texts.append(text)
            kept.append({"type": "text", "text": text})
        else:
            plain = False
            kept.append(part)
    return (
        "\n".join(texts) if texts else None,
        None if plain else kept,
        calls,
        answers,
        "\n".join(reasoning),
    )


def _tool_result(call: Any, result: Any) -> Message:
    content = result if isinstance(result, str) or result is None else to_json(result)
    message = {"role": "tool", "content": content}
    return message if call is None else {**message, "tool_call_id": str(call)}


def to_tool_call(call: Any) -> dict[str, Any]:
    """Return one tool call of any vendor as ``{id, name, arguments}``, other fields after them."""
    if not isinstance(call, dict):
        return {"id": "", "name": None, "arguments": call if isinstance(call, str) else None}
    call = unwrap(unwrap(call, "tool_call"), "function")
    identifier = next((call[k] for k in ("call_id", "toolCallId", "id") if call.get(k)), "")
    arguments = next((call[k] for k in ("arguments", "args", "input") if k in call), None)
    if not isinstance(arguments, str):
        arguments = to_json({} if arguments is None else arguments)
    others = {name: value for name, value in call.items() if name not in CALL_FIELDS}
    if others.get("type") in CALL_TYPES:
        del others["type"]
    named = {"id": identifier, "name": call.get("name") or call.get("toolName")}
    return {**named, "arguments": arguments, **others}
