"""A surface with production, golden cases and three runs of them, of a truth that is planted.

The large run fails less in both modes and costs ten times as much; the small one knows when it is
wrong, and of "slow" it newly fails some cases.
"""

from datetime import UTC, datetime, timedelta

import make
import numpy as np
import polars as pl

from evalbench.release import golden, runs
from evalbench.schema import SESSION, VERDICT

START = datetime(2026, 7, 1, tzinfo=UTC)
MODES = ("rude", "slow")
CASES = 240
FAILING = {
    "base": {"rude": 0.5, "slow": 0.2},
    "small": {"rude": 0.5, "slow": 0.3},
    "large": {"rude": 0.1, "slow": 0.1},
}
"""Share of cases that each run fails."""


def fill(path, *, seed=5):
    """Make the workspace; give it and the names of the cases."""
    ws, rng = make.workspace(path), np.random.default_rng(seed)
    make.modes(ws.ledger, *MODES)
    _produce(ws, rng)
    fields = {"surface": "shop", "suite": "golden", "severity": "user impact", "expected": "well"}
    asked = [
        golden.name_case(
            {
                **fields,
                "mode": MODES[number % 2],
                "messages": [{"role": "user", "content": f"question {number}"}],
                "segments": {"tier": "free" if number % 4 else "paid"},
            }
        )
        for number in range(CASES)
    ]
    golden.add_cases(ws, asked)
    names = [case.case for case in asked]
    hard = rng.random((2, CASES))
    for run, shares in FAILING.items():
        fails = np.stack([hard[at] < share for at, share in enumerate(shares.values())])
        flips = rng.random(fails.shape) < 0.04
        _answer(ws, f"shop@{run}", names, fails ^ flips, rng)
        runs.record_run(ws, f"shop@{run}", release="2" if run == "large" else None)
    runs.set_baseline(ws, "shop", "base")
    return ws, names


def _answer(ws, surface, names, fails, rng):
    price = {"base": 0.004, "small": 0.001, "large": 0.01}[surface.partition("@")[2]]
    n = len(names)
    unsure = fails.any(axis=0) * rng.uniform(0.3, 0.6, n)
    facts = {
        "surface": [surface] * n,
        "session_id": names,
        "first_input": [f"question {number}" for number in range(n)],
        "final_output": ["an answer"] * n,
        "cost_usd": price * rng.lognormal(0, 0.4, n),
        "latency_p95_ms": 1e5 * price * rng.lognormal(0, 0.3, n),
        "confidence": np.clip(0.9 - unsure + 0.05 * rng.standard_normal(n), 0, 1),
    }
    ws.lake.append(
        "session", make.sessions(*names, surface=surface).with_columns(**facts_of(facts))
    )
    _judge(ws, surface, names, fails)


def facts_of(facts):
    """Make columns of the types of a session."""
    return {name: pl.Series(each, dtype=SESSION[name]) for name, each in facts.items()}


def _judge(ws, surface, names, fails):
    columns = {"repeat": 0, "judged_at": START, "evaluator_version": "1"}
    for mode, failing in zip(MODES, fails, strict=True):
        rows = {"session_id": names, "fails": pl.Series(failing)}
        about = {"surface": surface, "mode": mode, "evaluator_id": f"judge of {mode}"} | columns
        frame = pl.DataFrame(rows).with_columns(
            **{key: pl.lit(each) for key, each in about.items()}
        )
        whole = pl.concat([pl.DataFrame(schema=VERDICT), frame], how="diagonal_relaxed")
        ws.lake.append("verdict", whole.cast(VERDICT))


def _produce(ws, rng, n=1200):
    names = [f"p{number:04d}" for number in range(n)]
    facts = {
        "started_at": [START + timedelta(hours=number // 2) for number in range(n)],
        "release": ["1"] * n,
        "segments": [
            '{"tier": "free"}' if number % 2 else '{"tier": "paid"}' for number in range(n)
        ],
    }
    ws.lake.append("session", make.sessions(*names).with_columns(**facts_of(facts)))
    fails = rng.random((2, n)) < [[0.06], [0.03]]
    _judge(ws, "shop", names, fails)
    drawn = [
        {"session_id": name, "stratum": "all", "inclusion_probability": 0.5, "reason": "random"}
        for name in names[::2]
    ]
    body = {"surface": "shop", "seed": 1, "design": {"by": ()}, "items": drawn}
    label = [
        (
            "label.set",
            name,
            {
                "surface": "shop",
                "session_id": name,
                "verdict": "fail" if fails[:, at].any() else "pass",
                "modes": [mode for mode, bad in zip(MODES, fails[:, at], strict=True) if bad],
            },
        )
        for at, name in enumerate(names)
        if at % 2 == 0
    ]
    ws.ledger.extend(
        [("queue.drawn", "shop", body | {"lake_versions": ws.lake.versions()}), *label]
    )
