"""One step of a simulated session as a record of each format that the surfaces log in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from evalbench.demo.conversation import Step

Row = dict[str, Any]


class LoggedStep(NamedTuple):
    """A step with its identifiers; ``signals`` are what was recorded of the session after it."""

    row: Row
    step: Step
    trace_id: str
    span_id: str
    parent_id: str | None
    signals: Row

    def metadata(self) -> Row:
        """Return what the product knows of the session."""
        return {name: self.row[name] for name in ("release", "tier", "locale", "intent")}


def to_openinference(span: LoggedStep) -> Row:
    """Write a span as Phoenix does; feedback is an annotation by a person."""
    step = span.step
    attributes: Row = {
        "openinference.span.kind": step.kind.upper(),
        "session.id": span.row["session_id"],
        "annotations": [
            {"annotation": {"name": name, "score": float(value), "annotator_kind": "HUMAN"}}
            for name, value in span.signals.items()
        ],
    }
    texts = {"input.value": step.input, "output.value": step.output}
    attributes |= {name: text for name, text in texts.items() if text}
    arguments = _json(step.arguments)
    if step.kind == "agent":
        attributes |= {"user.id": span.row["user"], "metadata": _json(span.metadata())}
    elif step.kind == "llm":
        reply: Row = {"role": "assistant", "content": step.output}
        if step.tool_call:
            call = {"tool_call": {"function": {"name": step.tool_call, "arguments": arguments}}}
            reply = {"role": "assistant", "tool_calls": [call]}
        attributes |= {
            "llm.model_name": step.name,
            "llm.provider": step.provider,
            "llm.input_messages": [{"message": each} for each in step.messages],
            "llm.output_messages": [{"message": reply}],
            "llm.token_count.prompt": step.prompt_tokens,
            "llm.token_count.completion": step.completion_tokens,
            "llm.token_count.total": step.prompt_tokens + step.completion_tokens,
            "llm.cost.total": step.cost_usd,
        }
    elif step.kind == "tool":
        own = {"tool.name": step.name, "tool.parameters": arguments, "input.value": arguments}
        attributes |= own
    else:
        attributes["retrieval.documents"] = [{"document": each} for each in step.documents]
    return {
        "name": step.name,
        "span_kind": step.kind.upper(),
        "parent_id": span.parent_id,
        "context": {"trace_id": span.trace_id, "span_id": span.span_id},
        "start_time": _iso(step.started),
        "end_time": _iso(step.started + step.duration),
        "status_code": "ERROR" if step.error else "OK",
        "status_message": step.error or "",
        "attributes": _flatten(attributes),
    }


OPERATIONS = dict(agent="invoke_agent", llm="chat", tool="execute_tool", retriever="retrieval")


def to_opentelemetry(span: LoggedStep) -> Row:
    """Write a flat GenAI span; what the conventions have no name for is under ``app.``."""
    step = span.step
    attributes: Row = {
        "gen_ai.operation.name": OPERATIONS[step.kind],
        "gen_ai.conversation.id": span.row["session_id"],
        "app": dict(span.signals),
    }
    if step.kind == "agent":
        attributes["app"] |= span.metadata()
        attributes |= {
            "user.id": span.row["user"],
            "gen_ai.agent.name": step.name,
            "gen_ai.input.messages": _json([_message("user", step.input)]),
            "gen_ai.output.messages": _json([_message("assistant", step.output)]),
        }
    elif step.kind == "llm":
        answer = _message("assistant", step.output)
        if step.tool_call:
            call = {"type": "tool_call", "name": step.tool_call, "arguments": step.arguments}
            answer = {"role": "assistant", "parts": [call]}
        asked = [_message(each["role"], each["content"]) for each in step.messages]
        attributes["app"]["cost_usd"] = step.cost_usd
        attributes |= {
            "gen_ai.provider.name": step.provider,
            "gen_ai.request.model": step.name,
            "gen_ai.usage.input_tokens": step.prompt_tokens,
            "gen_ai.usage.output_tokens": step.completion_tokens,
            "gen_ai.input.messages": _json(asked),
            "gen_ai.output.messages": _json([answer]),
        }
    elif step.kind == "tool":
        attributes |= {
            "gen_ai.tool.name": step.name,
            "gen_ai.tool.call.arguments": _json(step.arguments),
            "gen_ai.tool.call.result": step.output,
        }
    else:
        documents = [{"document": each} for each in step.documents]
        attributes |= {"input.value": step.input, "retrieval.documents": documents}
    if step.error:
        attributes["error.type"] = step.error
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "name": f"{OPERATIONS[step.kind]} {step.name}",
        "startTimeUnixNano": str(step.started * 1000),
        "endTimeUnixNano": str((step.started + step.duration) * 1000),
        "attributes": _flatten(attributes),
        "status": {"code": 2, "message": step.error} if step.error else {"code": 1},
    }


RUN_TYPES = {"agent": "chain", "llm": "llm", "tool": "tool", "retriever": "retriever"}


def to_langsmith(span: LoggedStep) -> Row:
    """Write a LangSmith run; feedback is in ``feedback_stats``."""
    step = span.step
    metadata: Row = {"session_id": span.row["session_id"]}
    run: Row = {
        "id": span.span_id,
        "trace_id": span.trace_id,
        "parent_run_id": span.parent_id,
        "name": step.name,
        "run_type": RUN_TYPES[step.kind],
        "start_time": _iso(step.started),
        "end_time": _iso(step.started + step.duration),
        "status": "error" if step.error else "success",
        "error": step.error,
        "inputs": {"input": step.input},
        "outputs": {"output": step.output},
        "extra": {"metadata": metadata},
        "session_id": "7d0f4a52-0000-4000-8000-5a1e57e5ea7c",
    }
    if span.signals:
        recorded = {name: {"n": 1, "avg": float(value)} for name, value in span.signals.items()}
        run["feedback_stats"] = recorded
    if step.kind == "agent":
        metadata |= {"user_id": span.row["user"], **span.metadata()}
    elif step.kind == "llm":
        metadata |= {"ls_model_name": step.name, "ls_provider": step.provider}
        reply: Row = {"role": "assistant", "content": step.output}
        if step.tool_call:
            function = {"name": step.tool_call, "arguments": _json(step.arguments)}
            reply |= {"content": None, "tool_calls": [{"type": "function", "function": function}]}
        run |= {
            "inputs": {"messages": step.messages},
            "outputs": {"choices": [{"message": reply}]},
            "prompt_tokens": step.prompt_tokens,
            "completion_tokens": step.completion_tokens,
            "total_tokens": step.prompt_tokens + step.completion_tokens,
            "total_cost": step.cost_usd,
        }
    elif step.kind == "tool":
        run["inputs"] = step.arguments
    else:
        documents = [
            {"page_content": text, "metadata": {"id": name, "score": score}, "type": "Document"}
            for name, text, score in map(dict.values, step.documents)
        ]
        run |= {"inputs": {"query": step.input}, "outputs": {"documents": documents}}
    return run


def _flatten(values: Row) -> Row:
    """Join the names of nested values by dots, places in a list being names."""
    flat: Row = {}
    for name, value in values.items():
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": part for inner, part in _flatten(value).items()}
        else:
            flat[name] = value
    return flat


def _message(role: str, content: str) -> Row:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()
