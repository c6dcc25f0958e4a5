"""Made sessions: one turn of an assistant, with whatever a test puts into it."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from evalbench import session as view
from evalbench.observe.sessions import fold_sessions
from evalbench.schema import SPAN


@pytest.fixture
def make_session() -> Callable[..., view.Session]:
    """Make a session of spans as a product logs them: agent, retriever, tools, model."""

    def make(
        answer: str | None = None,
        *,
        question: str | None = "Where is my order?",
        documents: dict[str, str] | None = None,
        calls: list[tuple[str, str, str]] = (),
        session_id: str = "s",
        **facts: Any,
    ) -> view.Session:
        spans: list[dict[str, Any]] = [
            {"kind": "agent", "input": question, "output": answer, "latency_ms": 900.0, **facts}
        ]
        if documents is not None:
            listed = [{"id": key, "content": text} for key, text in documents.items()]
            spans.append({"kind": "retriever", "documents": listed})
        for name, arguments, result in calls:
            spans.append(
                {
                    "kind": "tool",
                    "tool_name": name,
                    "tool_arguments": arguments,
                    "tool_result": result,
                }
            )
        said = [{"role": "user", "content": question}]
        spans.append(
            {
                "kind": "llm",
                "input": question,
                "output": answer,
                "input_messages": json.dumps(said) if question else None,
                "prompt_tokens": 120,
            }
        )
        for number, span in enumerate(spans):
            span |= {"surface": "support", "session_id": session_id, "trace_id": "t"}
            span |= {
                "span_id": f"{number}-{span['kind']}",
                "parent_id": "0-agent" if number else None,
            }
        frame = pl.DataFrame(
            [{name: span.get(name) for name in SPAN} for span in spans], schema=SPAN
        )
        [row] = fold_sessions(frame.lazy()).to_dicts()
        return view.make_session("support", session_id, frame, row)

    return make
