"""Made sessions: one turn of an assistant, with whatever a test puts into it."""

import make
import pytest

from evalbench import session as view
from evalbench.observe.sessions import fold_sessions


@pytest.fixture(scope="session")
def make_session():
    """Make a session of spans as a product logs them: agent, retriever, tools, model."""

    def build(answer=None, *, question="Where is my order?", documents=None, calls=(), **facts):
        everywhere = {"surface": "support", "session_id": facts.pop("session_id", "s")}
        said = {"input": question, "output": answer}
        rows = [{"kind": "agent", "latency_ms": 900.0, **said, **facts}]
        if documents is not None:
            listed = [{"id": key, "content": text} for key, text in documents.items()]
            rows.append({"kind": "retriever", "documents": listed})
        for name, arguments, result in calls:
            called = {"tool_name": name, "tool_arguments": arguments, "tool_result": result}
            rows.append({"kind": "tool", **called})
        asked = {"input_messages": [make.user(question)]} if question else {}
        rows.append({"kind": "llm", "prompt_tokens": 120, **said, **asked})
        for number, row in enumerate(rows):
            parent = "0-agent" if number else None
            row |= {"span_id": f"{number}-{row['kind']}", "parent_id": parent}
        spans = make.spans(*rows, **everywhere, started_at=None, status=None)
        [row] = fold_sessions(spans.lazy()).to_dicts()
        return view.make_session("support", everywhere["session_id"], spans, row)

    return build
