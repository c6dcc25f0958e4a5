"""A made-up company at the size of a large one: sessions, verdicts, draws and labels, planted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

import evalbench as eb
from evalbench.observe.sampling.draw import draw
from evalbench.schema import SESSION, SPAN, VERDICT, Design
from evalbench.store.files import write_staged

START, DAYS, QUARTERS, READ = datetime(2025, 10, 1, tzinfo=UTC), 365, 4, 300
SURFACES = ("support", "review", "research")
SEVERITIES = ("safety", *["user impact"] * 6, *["polish"] * 5)


def fill_company(folder, *, sessions=20_000, modes=50, seed=7):
    """Fill a workspace: sessions of each surface, judged for all its modes, 300 read a quarter."""
    rng, ws = np.random.default_rng(seed), eb.open(folder, user="ana")
    per_surface = np.array_split(np.arange(modes), len(SURFACES))
    for surface, numbers in zip(SURFACES, per_surface, strict=True):
        _fill_surface(ws, surface, [f"mode_{n:02}" for n in numbers], sessions, rng)
    return ws


def _fill_surface(ws, surface, modes, n, rng):
    seconds = np.sort(rng.integers(0, DAYS * 86_400, n))
    rates = rng.choice([0.004, 0.01, 0.03, 0.08], len(modes))
    fails = rng.random((n, len(modes))) < rates
    frame = pl.DataFrame(
        {
            "surface": [surface] * n,
            "session_id": [f"{surface}-{number:06}" for number in range(n)],
            "group_key": [f"user {user}" for user in rng.integers(0, n // 4, n)],
            "release": [f"v{number}" for number in seconds * 8 // (DAYS * 86_400) + 1],
            "started_at": START + pl.Series(seconds).cast(pl.Duration("ms")) * 1000,
            "reported": fails.any(1) & (rng.random(n) < 0.3),
            "first_input": ["Where is my order?"] * n,
            "final_output": ["It is on its way."] * n,
            "n_tool_calls": np.ones(n, dtype=int),
        },
        schema_overrides={"started_at": SESSION["started_at"]},
    ).match_to_schema(SESSION, missing_columns="insert")
    key = frame.select("surface", "session_id", "started_at")
    spans = key.with_columns(trace_id="session_id", span_id="session_id", kind=pl.lit("llm"))
    judged = pl.concat(
        key.select("surface", "session_id", judged_at="started_at").with_columns(
            mode=pl.lit(mode),
            evaluator_id=pl.lit(f"judge/{mode}"),
            evaluator_version=pl.lit("1"),
            repeat=pl.lit(0, pl.Int64),
            fails=pl.Series(np.where(own, rng.random(n) < 0.85, rng.random(n) < 0.01)),
        )
        for mode, own in zip(modes, fails.T, strict=True)
    )
    for table, schema, rows in (
        ("session", SESSION, frame),
        ("span", SPAN, spans),
        ("verdict", VERDICT, judged),
    ):
        whole = rows.match_to_schema(schema, missing_columns="insert").lazy().drop("surface")
        ws.lake.commit(table, [write_staged(whole, table, surface, ws.path)], folder=ws.path)
    events = [
        ("mode.defined", mode, _define(surface, mode, severity))
        for mode, severity in zip(modes, np.resize(SEVERITIES, len(modes)), strict=True)
    ]
    length = timedelta(days=DAYS / 8)
    for number in range(1, 8):
        about = {"surface": surface, "release": f"v{number + 1}"}
        about |= {"targets": [modes[number]], "shipped_at": START + number * length}
        events.append(("release.shipped", about["release"], about))
    place = {name: at for at, name in enumerate(frame["session_id"])}
    design = Design(by=("release",), always=("reported",))
    for quarter in range(QUARTERS):
        since, until = START + 2 * quarter * length, START + 2 * (quarter + 1) * length
        part = frame.filter(pl.col("started_at").is_between(since, until, closed="left"))
        drawn = draw(part, READ, design=design, rng=np.random.default_rng(quarter)).items
        columns = ["session_id", "stratum", "inclusion_probability", "reason"]
        window = {"surface": surface, "start": since, "end": until, "seed": quarter}
        body = {**window, "design": design, "lake_versions": ws.lake.versions()}
        items = {"items": drawn.select(columns).to_dicts()}
        events.append(("queue.drawn", f"{surface}/{quarter}", body | items))
        for name in drawn["session_id"]:
            shown = [mode for mode, own in zip(modes, fails[place[name]], strict=True) if own]
            said = {"verdict": "fail", "modes": shown} if shown else {"verdict": "pass"}
            events.append(("label.set", name, {"surface": surface, "session_id": name, **said}))
    ws.ledger.extend(events)


def _define(surface, mode, severity):
    name = mode.replace("_", " ").capitalize()
    told = {"definition": f"The assistant does what {name} says.", "example": "It does."}
    about = {"surface": surface, "mode": mode, "name": name, "severity": str(severity)}
    return {**about, **told, "failure_class": "answer quality", "owner": "ana"}
