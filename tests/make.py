"""Factories of what tests are made of: spans and messages as a source would log them."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl

from evalbench.label.codebook import acts
from evalbench.schema import SESSION, SPAN

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def spans(*rows, **everywhere):
    """Make spans in order, a second apart, of one trace; lists and objects become JSON."""
    filled = [
        {
            "surface": "copilot",
            "session_id": "s",
            "trace_id": "t",
            "span_id": f"{number:03d}",
            "started_at": START + timedelta(seconds=number),
            "status": "ok",
            **everywhere,
            **{
                name: json.dumps(value) if _is_json(name, value) else value
                for name, value in row.items()
            },
        }
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=SPAN)


def _is_json(name, value):
    return name != "documents" and isinstance(value, list | dict)


def user(text, **fields):
    """Make a user's message."""
    return {"role": "user", "content": text, **fields}


def said(text, *calls, **fields):
    """Make an assistant's message; a call is ``(id, name, arguments)``."""
    asked = [{"id": i, "name": name, "arguments": given} for i, name, given in calls]
    return {
        "role": "assistant",
        "content": text,
        **fields,
        **({"tool_calls": asked} if asked else {}),
    }


def answered(text, call_id="", **fields):
    """Make a tool's message."""
    return {
        "role": "tool",
        "content": text,
        **({"tool_call_id": call_id} if call_id else {}),
        **fields,
    }


def llm(given, *answers, **fields):
    """Make a model call."""
    return {"kind": "llm", "input_messages": given, "output_messages": list(answers), **fields}


def sessions(*names, surface="shop", **columns):
    """Make a row of the session table of each name; ``columns`` are the same in all."""
    rows = [{"surface": surface, "session_id": name, **columns} for name in names]
    return pl.DataFrame(rows, schema=SESSION)


def modes(ledger, *names, surface="shop"):
    """Define failure modes that count."""
    fields = {"definition": "d", "example": "e", "severity": "polish", "owner": "ana"}
    for name in names:
        acts.define(ledger, surface, name, name=name.title(), failure_class="recovery", **fields)
