"""A small workspace in which people worked: traces came in, were drawn, labelled and reported."""

import json

import make
import numpy as np
import polars as pl

import evalbench as eb
from evalbench.label.annotation import queue
from evalbench.report import runbook
from evalbench.schema import VERDICT, Design

SESSIONS, USERS = 120, 40


def write_traces(path, asked=None):
    """Write a trace of each session; ``asked`` is what a user says instead, by the user's id."""
    rows = []
    for n in range(SESSIONS):
        user = f"user-{n % USERS}"
        said = (asked or {}).get(user, f"Where is the parcel number {n * 7919}?")
        answer = f"It is {'late' if n % 3 else 'on its way'}, {user}, as of day {n}."
        about = {"session.id": f"session-{n}", "user.id": user, "input.value": said}
        about |= {"metadata": json.dumps({"release": str(1 + n // 60)}), "output.value": answer}
        day = f"2026-0{1 + n // 60}-{1 + n % 28:02}T08:00:0"
        span = {"context": {"trace_id": f"trace-{n}", "span_id": f"{n}"}, "name": "answer"}
        rows.append(span | {"start_time": f"{day}0Z", "end_time": f"{day}1Z", "attributes": about})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def play(ws, traces, *, says="What stood out is how it answered {}."):
    """Bring traces in, judge them, draw 90 sessions, and note and label those."""
    eb.observe.ingest(ws, traces, surface="shop")
    make.modes(ws.ledger, "rude", "slow")
    sessions = ws.lake.sessions(surface="shop").collect().sort("session_id")
    failing = pl.col("session_id").str.ends_with("3")
    judged = make.verdicts(sessions, failing).drop("learnt")
    absent = [
        pl.lit(None, kind).alias(name) for name, kind in VERDICT.items() if name not in judged
    ]
    ws.lake.append("verdict", judged.with_columns(absent).cast(VERDICT).select(list(VERDICT)))
    how = {"design": Design(by=("release",)), "rng": np.random.default_rng(7)}
    items = eb.observe.draw(sessions, 90, **how).items.with_columns(annotators=1)
    drawn = {"surface": "shop", "start": None, "end": None, "quarter": "all", "seed": 7}
    drawn |= {"design": how["design"], "lake_versions": ws.lake.versions()}
    number = queue.record_draw(ws.ledger, items, **drawn)
    labels, notes = [], []
    for name in items["session_id"]:
        about, fails = {"surface": "shop", "session_id": name}, name.endswith(("3", "7"))
        label = {"verdict": "fail", "modes": ["rude"]} if fails else {"verdict": "pass"}
        labels.append(("label.set", name, about | label | {"queue": number}))
        notes.append(("note.added", name, about | {"text": says.format(name)}))
    ws.ledger.extend([*labels, *notes])


def report(ws):
    """Make the report of all that is on record."""
    return runbook.run("11_impact", {}, workspace=ws, reports=ws.path / "reports")
