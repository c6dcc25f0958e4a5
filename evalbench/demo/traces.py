"""Traces of the simulated sessions as files: OpenTelemetry GenAI spans, one a line, packed."""

import gzip
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from evalbench.demo.conversation import Facts, Step, draw_facts, write_conversation
from evalbench.demo.simulate import Simulated

UNIFORMS = 200  # draws that writing one session may take
SUFFIX = ".opentelemetry.jsonl.gz"
OPERATIONS = dict(agent="invoke_agent", llm="chat", tool="execute_tool", retriever="retrieval")
FACTS = ("release", "tier", "locale", "intent")

Row = dict[str, Any]


def write_traces(simulated: Simulated, path: Path, *, rng: np.random.Generator) -> dict[str, Facts]:
    """Write the traces of one surface, sessions in order of time; return the facts of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    modes = {mode.mode: mode for mode in simulated.surface.modes}
    draws = rng.random((simulated.sessions.height, UNIFORMS), dtype=np.float32)
    starts = simulated.sessions["started_at"].dt.timestamp("us").to_list()
    rows = simulated.sessions.iter_rows(named=True)
    told = {}
    # Neither a name nor a time goes into the header: the same seed gives the same bytes.
    with path.open("wb") as plain, gzip.GzipFile("", "wb", 1, plain, mtime=0) as packed:
        for row, started, uniforms in zip(rows, starts, draws, strict=True):
            stream = iter(uniforms.tolist())
            told[row["session_id"]] = draw_facts(simulated.surface, stream)
            turns = write_conversation(
                simulated.surface,
                row["intent"],
                [modes[mode] for mode in row["modes"]],
                facts=told[row["session_id"]],
                started=started,
                uniforms=stream,
            )
            facts = {name: row[name] for name in FACTS}
            signals = {name: row[name] for name in simulated.surface.signals}
            recorded = {name: value for name, value in signals.items() if value is not None}
            spans = _number_spans(row, turns, facts, facts | recorded)
            lines = (orjson.dumps(span, option=orjson.OPT_APPEND_NEWLINE) for span in spans)
            packed.write(b"".join(lines))
    return told


def _number_spans(
    row: Row, turns: list[list[Step]], facts: Row, facts_afterwards: Row
) -> Iterator[Row]:
    """Give each turn a trace; the last one's root carries what was recorded after the session."""
    session, numbers = row["session_id"], count()
    for number, turn in enumerate(turns):
        root = ""
        for step in turn:
            span_id = f"{session[:12]}{next(numbers):04x}"
            about = {"gen_ai.conversation.id": session}
            if not root:
                known = facts_afterwards if turn is turns[-1] else facts
                about |= {"user.id": row["user"], "metadata": _json(known)}
            yield {
                "traceId": f"{session}{number:016x}",
                "spanId": span_id,
                "parentSpanId": root,
                "name": f"{OPERATIONS[step.kind]} {step.name}",
                "startTimeUnixNano": str(step.started * 1000),
                "endTimeUnixNano": str((step.started + step.duration) * 1000),
                "attributes": about | _describe_step(step),
                "status": {"code": 2, "message": step.error} if step.error else {"code": 1},
            }
            root = root or span_id


def _describe_step(step: Step) -> Row:
    attributes: Row = {"gen_ai.operation.name": OPERATIONS[step.kind]}
    answer = _message("assistant", step.output)
    if step.kind == "agent":
        attributes |= {
            "gen_ai.agent.name": step.name,
            "gen_ai.input.messages": _json([_message("user", step.input)]),
            "gen_ai.output.messages": _json([answer]),
        }
    elif step.kind == "llm":
        if step.tool_call:
            call = {"type": "tool_call", "name": step.tool_call, "arguments": step.arguments}
            answer = {"role": "assistant", "parts": [call]}
        attributes |= {
            "gen_ai.provider.name": step.provider,
            "gen_ai.request.model": step.name,
            "gen_ai.usage.input_tokens": step.prompt_tokens,
            "gen_ai.usage.output_tokens": step.completion_tokens,
            "gen_ai.usage.cost": step.cost_usd,
            "gen_ai.input.messages": _json([_message(**each) for each in step.messages]),
            "gen_ai.output.messages": _json([answer]),
        }
    elif step.kind == "tool":
        attributes |= {
            "gen_ai.tool.name": step.name,
            "gen_ai.tool.call.arguments": _json(step.arguments),
            "gen_ai.tool.call.result": step.output,
        }
    else:
        attributes["input.value"] = step.input
        for place, document in enumerate(step.documents):
            about = f"retrieval.documents.{place}.document."
            attributes |= {about + name: value for name, value in document.items()}
    return attributes | ({"error.type": step.error} if step.error else {})


def _message(role: str, content: str) -> Row:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
