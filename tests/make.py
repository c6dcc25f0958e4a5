"""Factories of what tests are made of: spans and messages as a source would log them."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import nbformat
import polars as pl

from evalbench.label.codebook import acts
from evalbench.schema import SESSION, SPAN
from evalbench.store.workspace import open_workspace

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


MODE_FIELDS = {
    "definition": "It is wrong.",
    "example": "Such as this.",
    "severity": "polish",
    "failure_class": "recovery",
    "owner": "ana",
}


def modes(ledger, *names, surface="shop"):
    """Define failure modes that count."""
    for name in names:
        acts.define(ledger, surface, name, name=name.title(), **MODE_FIELDS)


def notes(ledger, *texts, surface="shop"):
    """Write notes, each in a session of its own: s1, s2, ..."""
    names = [f"s{number}" for number in range(1, len(texts) + 1)]
    ledger.extend(
        ("note.added", name, {"text": text, "surface": surface, "session_id": name})
        for name, text in zip(names, texts, strict=True)
    )


def queue(ledger, *annotators, surface="shop", lake_versions=None, **more):
    """Draw the sessions s1, s2, ..., each for so many annotators; give the queue's number."""
    chance = {"stratum": "all", "inclusion_probability": 0.5, "reason": "random"}
    items = [
        {"session_id": f"s{number}", "annotators": wanted, **chance}
        for number, wanted in enumerate(annotators, start=1)
    ]
    drawn = {"seed": 1, "design": {}, "lake_versions": lake_versions or {}, "items": items}
    drawn |= more
    return ledger.append("queue.drawn", surface, {"surface": surface, **drawn})


def labels(*rows, surface="shop", **columns):
    """Make labels as the ledger gives them, of ``(session, annotator, verdict, modes)``."""
    names = ["session_id", "actor", "verdict", "modes"]
    schema = dict.fromkeys(names[:3], pl.String) | {"modes": pl.List(pl.String)}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("seq", offset=1)
    numbered = frame.with_columns(pl.col("seq").cast(pl.Int64), surface=pl.lit(surface))
    return numbered.with_columns(
        **{"at": pl.lit(START), "labelled_at": None, "after_suggestion": False, **columns}
    )


def verdicts(sessions, fails, *, evaluator="judge", version="1", learnt=False):
    """Let an evaluator judge these sessions on the mode "rude"; ``fails`` is an expression."""
    by = {"evaluator_id": evaluator, "evaluator_version": version, "mode": "rude", "learnt": learnt}
    return sessions.select("surface", "session_id", fails=fails).with_columns(
        **{name: pl.lit(value) for name, value in by.items()},
        repeat=pl.lit(0),
        judged_at=pl.lit(START),
    )


def sha256(content):
    """Give the digest by which a manifest names its result."""
    return hashlib.sha256(content).hexdigest()


def workspace(path):
    """Open a workspace with the secret of all others made so: the same rows give the same lake."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "evalbench.toml").write_text('user_key_secret = "tests"\n')
    return open_workspace(path)


def settings(options, **given):
    """Write an ``evalbench.toml`` with the options of an object store."""
    top = "".join(f'{name} = "{value}"\n' for name, value in given.items())
    return f"{top}[lake_options]\n" + "".join(f'{n} = "{value}"\n' for n, value in options.items())


REPORTING = """
import polars as pl
import evalbench as eb
report = eb.report(eb.snapshot(workspace), folder)
report.say("All is well.")
report.keep(given=pl.DataFrame({"seed": [seed]}))
report.write()
"""
"""A cell that leaves a report."""
PARAMETERS = """
workspace = ""
folder = ""
lake_versions = {}
ledger_seq = None
seed = 7
"""


def notebook(path, *cells, parameters=PARAMETERS, title="# What is <b>given</b>?"):
    """Write a notebook of code cells under a title and its parameters; the same ones each time."""
    tagged = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    made.cells = [nbformat.v4.new_markdown_cell(title), tagged, *code]
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(made, path)
    return path
