"""A surface whose checks are gating, and runs of it: what a gate decides on."""

import json
from itertools import product

import numpy as np
import polars as pl

from evalbench.evaluate.spec import Specification, define
from evalbench.observe.sessions import fold_sessions
from evalbench.release.runs import record_run
from evalbench.schema import SPAN
from evalbench.store.workspace import open_workspace

MODES = {"rude": ("Is rude", "user impact"), "leak": ("Leaks a secret", "safety")}
TOML = """
[decisions.ship]
title = "May this prompt ship?"
surface = "shop"
risk = "high"
rollback = "Taken back when two customers complain within a day."
"""
ROW = """
[[decisions.ship.rows]]
metric = "{metric}"
owner = "ana"
role = "{role}"
limit = {limit}
"""


def row(metric="any", role="watch", limit=0.05, **more):
    """Write a row of the decision."""
    extra = "".join(f"{name} = {json.dumps(value)}\n" for name, value in more.items())
    return ROW.format(metric=metric, role=role, limit=limit) + extra


def make_workspace(folder, *rows, modes=MODES, settings=TOML, checked=None):
    """Make a workspace with a gating check for each mode, or those ``checked``.

    A mode shows where its key stands in the answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evalbench.toml").write_text(settings + "".join(rows or [row()]))
    ws = open_workspace(folder, user="ana")
    named = {"definition": "It is.", "example": "x", "failure_class": "answer quality"}
    for mode, (name, severity) in modes.items():
        about = {"mode": mode, "surface": "shop", "name": name, "severity": severity}
        ws.ledger.append("mode.defined", mode, about | named | {"owner": "ana"})
    for mode in modes if checked is None else checked:
        make_gating(ws, mode, modes)
    return ws


def make_gating(ws, mode, modes=MODES, **parameters):
    """Define a check, or what ``parameters`` say, calibrate it and promote it; give its id."""
    table = pl.DataFrame(
        [("shop", key, name, severity) for key, (name, severity) in modes.items()],
        schema=["surface", "mode", "name", "severity"],
        orient="row",
    )
    look = {"check": "pattern_found", "pattern": f"\\b{mode}\\b"}
    judging = parameters or {"kind": "check", "parameters": look}
    check = Specification(surface="shop", mode=mode, owner="ana", **judging)
    define(ws.ledger, check, modes=table)
    name, version = check.evaluator_id, check.version
    found = {"tp": 99, "fn": 1, "fp": 1, "tn": 99, "mcc": 0.98, "mcc_low": 0.93, "mcc_high": 0.99}
    found |= {"level": 0.95, "lake_versions": {}, "ledger_seq": 0}
    said = {"evaluator_id": name, "version": version}
    number = ws.ledger.append("evaluator.calibrated", name, found | said)
    ws.ledger.append("evaluator.promoted", name, said | {"calibration": number})
    return name


def put_run(ws, run, fails, *, modes=MODES, repeats=1, tiers=(), latency=100.0, cost=0.01):
    """Put a run into the lake; ``fails`` gives the modes that show, (cases, repeats, modes)."""
    shown = np.asarray(fails).reshape(-1, repeats, len(modes))
    rows = []
    for case, repeat in product(range(len(shown)), range(repeats)):
        said = [mode for mode, fault in zip(modes, shown[case, repeat], strict=True) if fault]
        name = f"case{case:03d}" + (f"#{repeat + 1}" if repeats > 1 else "")
        facts = {"segments": json.dumps({"tier": tiers[case]})} if len(tiers) else {}
        use = {"latency_ms": latency * (1 + case % 7), "cost_usd": cost, "kind": "llm"}
        about = {"surface": f"shop@{run}", "session_id": name, "trace_id": f"{run} {name}"}
        said = {"input": f"Ask {case}.", "output": " ".join([f"Answer {case}.", *said])}
        rows.append(about | facts | use | said | {"span_id": f"{run} {name}"})
    spans = pl.DataFrame(rows, schema=SPAN)
    ws.lake.append("span", spans)
    ws.lake.append("session", fold_sessions(spans.lazy()))
    return record_run(ws, f"shop@{run}")


def draw(rng, n, *, rude=0.0, leak=0.0, repeats=1):
    """Draw which modes show: (cases, repeats, modes)."""
    return rng.random((n, repeats, len(MODES))) < np.array([rude, leak])
