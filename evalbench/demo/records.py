"""One step of a simulated session as a record of each format that the surfaces log in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from evalbench.demo.company import Surface
from evalbench.demo.conversation import Step

Row = dict[str, Any]


class LoggedStep(NamedTuple):
    """A step with its identifiers; ``signals`` are what was recorded of the session after it."""

    surface: Surface
    row: Row
    step: Step
    trace_id: str
    span_id: str
    parent_id: str | None
    signals: Row

    def metadata(self) -> Row:
        """Give what the product knows of the session."""
        return {name: self.row[name] for name in ("release", "tier", "locale", "intent")}

    def cost_usd(self) -> float:
        """Price of a model's step."""
        model, step = self.surface.script["model"], self.step
        return round(
            step.prompt_tokens * model["usd_per_million_input"] / 1e6
            + step.completion_tokens * model["usd_per_million_output"] / 1e6,
            8,
        )


def to_openinference(span: LoggedStep) -> Row:
    """Write a span as Phoenix does; feedback is an annotation by a person."""
    step = span.step
    attributes: Row = {
        "openinference.span.kind": step.kind.upper(),
        "session.id": span.row["session_id"],
    }
    if span.parent_id is None:
        attributes |= {"user.id": span.row["user"], "metadata": _json(span.metadata())}
    for number, (name, value) in enumerate(span.signals.items()):
        parts = {"name": name, "score": float(value), "annotator_kind": "HUMAN"}
        attributes |= _prefixed(f"annotations.{number}.annotation", parts)
    texts = {"input.value": step.input, "output.value": step.output}
    attributes |= {name: text for name, text in texts.items() if text}
    if step.kind == "llm":
        model = span.surface.script["model"]
        attributes |= {"llm.model_name": model["name"], "llm.provider": model["provider"]}
        for number, message in enumerate(step.messages):
            attributes |= _prefixed(f"llm.input_messages.{number}.message", message)
        reply = {"role": "assistant", "content": step.output}
        if step.tool_call:
            function = {"name": step.tool_call, "arguments": _json(step.arguments)}
            reply = {"role": "assistant", **_prefixed("tool_calls.0.tool_call.function", function)}
        attributes |= _prefixed("llm.output_messages.0.message", reply)
        attributes |= {
            "llm.token_count.prompt": step.prompt_tokens,
            "llm.token_count.completion": step.completion_tokens,
            "llm.token_count.total": step.prompt_tokens + step.completion_tokens,
            "llm.cost.total": span.cost_usd(),
        }
    if step.kind == "tool":
        arguments = _json(step.arguments)
        attributes |= {
            "tool.name": step.name,
            "tool.parameters": arguments,
            "input.value": arguments,
        }
    attributes |= _numbered_documents(step)
    return {
        "name": step.name,
        "span_kind": step.kind.upper(),
        "parent_id": span.parent_id,
        "context": {"trace_id": span.trace_id, "span_id": span.span_id},
        "start_time": _iso(step.started),
        "end_time": _iso(step.started + step.duration),
        "status_code": "ERROR" if step.error else "OK",
        "status_message": step.error or "",
        "attributes": attributes,
    }


OPERATIONS = dict(agent="invoke_agent", llm="chat", tool="execute_tool", retriever="retrieval")


def to_opentelemetry(span: LoggedStep) -> Row:
    """Write a flat GenAI span; what the conventions have no name for is under ``app.``."""
    step = span.step
    attributes: Row = {
        "gen_ai.operation.name": OPERATIONS[step.kind],
        "gen_ai.conversation.id": span.row["session_id"],
    }
    if span.parent_id is None:
        attributes |= {"user.id": span.row["user"], "gen_ai.agent.name": step.name}
        attributes |= {f"app.{name}": value for name, value in span.metadata().items()}
        attributes["gen_ai.input.messages"] = _parts("user", step.input)
        attributes["gen_ai.output.messages"] = _parts("assistant", step.output)
    attributes |= {f"app.{name}": value for name, value in span.signals.items()}
    if step.kind == "llm":
        model = span.surface.script["model"]
        reply: Row = {"type": "text", "content": step.output}
        if step.tool_call:
            reply = {"type": "tool_call", "name": step.tool_call, "arguments": step.arguments}
        attributes |= {
            "gen_ai.provider.name": model["provider"],
            "gen_ai.request.model": model["name"],
            "gen_ai.usage.input_tokens": step.prompt_tokens,
            "gen_ai.usage.output_tokens": step.completion_tokens,
            "gen_ai.input.messages": _json(
                [_message(each["role"], each["content"]) for each in step.messages]
            ),
            "gen_ai.output.messages": _json([{"role": "assistant", "parts": [reply]}]),
            "app.cost_usd": span.cost_usd(),
        }
    elif step.kind == "tool":
        attributes |= {
            "gen_ai.tool.name": step.name,
            "gen_ai.tool.call.arguments": _json(step.arguments),
            "gen_ai.tool.call.result": step.output,
        }
    elif step.kind == "retriever":
        attributes |= {"input.value": step.input, **_numbered_documents(step)}
    if step.error:
        attributes["error.type"] = step.error
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "name": f"{OPERATIONS[step.kind]} {step.name}",
        "startTimeUnixNano": str(step.started * 1000),
        "endTimeUnixNano": str((step.started + step.duration) * 1000),
        "attributes": attributes,
        "status": {"code": 2, "message": step.error} if step.error else {"code": 1},
    }


RUN_TYPES = {"agent": "chain", "llm": "llm", "tool": "tool", "retriever": "retriever"}


def to_langsmith(span: LoggedStep) -> Row:
    """Write a LangSmith run; feedback is in ``feedback_stats``."""
    step = span.step
    metadata: Row = {"session_id": span.row["session_id"]}
    if span.parent_id is None:
        metadata |= {"user_id": span.row["user"], **span.metadata()}
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
    feedback = {name: {"n": 1, "avg": float(value)} for name, value in span.signals.items()}
    if feedback:
        run["feedback_stats"] = feedback
    if step.kind == "llm":
        model = span.surface.script["model"]
        metadata |= {"ls_model_name": model["name"], "ls_provider": model["provider"]}
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
            "total_cost": span.cost_usd(),
        }
    elif step.kind == "tool":
        run["inputs"] = step.arguments
    elif step.kind == "retriever":
        documents = [
            {"page_content": text, "metadata": {"id": name, "score": score}, "type": "Document"}
            for name, text, score in map(dict.values, step.documents)
        ]
        run |= {"inputs": {"query": step.input}, "outputs": {"documents": documents}}
    return run


def _prefixed(prefix: str, parts: Mapping[str, Any]) -> Row:
    return {f"{prefix}.{name}": value for name, value in parts.items()}


def _numbered_documents(step: Step) -> Row:
    numbered: Row = {}
    for number, document in enumerate(step.documents):
        numbered |= _prefixed(f"retrieval.documents.{number}.document", document)
    return numbered


def _message(role: str, content: str) -> Row:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _parts(role: str, content: str) -> str:
    return _json([_message(role, content)])


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()
