"""Rates and changes of the joint model on planted surfaces: coverage, width, false alarms, power.

Prints a JSON line a claim; exit status 1 when a claim does not hold. ``--surfaces`` sets how many
surfaces of 15 failure modes are simulated a case (100), ``--seed`` which.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from claims import claim, show
from decide_cases import BLIND, CUTS, N_MODES, simulate
from joblib import Parallel, delayed

from evalbench.stats import failure_rate
from evalbench.stats.pooled import pooled_rates, read_changes

DEPARTURES = (
    "TPR drifts by .05",
    "TPR drifts by .1",
    "all evaluators lose TPR",
    "FPR times 2.5",
    "signals help the evaluator",
    "users differ",
    "earlier releases changed things too",
    "rates creep",
    "no evaluator",
)
STAYED = np.arange(len(CUTS), N_MODES)
PEER = "planted truth"


def run(seed, **case):
    """Return what one surface showed: rates, changes, readings of its newest release."""
    rng = np.random.default_rng(seed)
    counts, planted, realised = simulate(rng, **case)
    found = pooled_rates(counts, rng=rng)
    truth = planted[:, -1] - planted[:, -2]
    steps = [each[-1] for each in found.changes]
    rates = [
        (
            own[at].low - 1e-12 <= realised[mode, at] <= own[at].high + 1e-12,
            own[at].high - own[at].low,
        )
        for mode, own in enumerate(found.rates)
        for at in (-2, -1)
    ]
    changes = [
        (
            each.delta.low <= value <= each.delta.high,
            each.delta.high - each.delta.low,
            each.p_value,
            each.delta.estimate,
        )
        for each, value in zip(steps, truth, strict=True)
    ]
    # Three of the six that were cut are targets, and one that was not.
    targets = np.array(
        [rng.integers(2), 2 + rng.integers(2), 4 + rng.integers(2), rng.choice(STAYED)]
    )
    compared = np.append(targets, np.setdiff1d(STAYED, targets))
    names = np.repeat(["release", ""], [4, len(compared) - 4])
    readings = read_changes([steps[mode] for mode in compared], names, margin=0.02)
    alone = read_changes(steps, np.repeat("", N_MODES), margin=0.02)
    each = read_changes([steps[mode] for mode in BLIND[2:]], ["a", "b", "c"], margin=0.02)
    return {
        "rates": np.array(rates),
        "changes": np.array(changes),
        "confirmed": np.mean([reading == "confirmed improvement" for reading in readings[:3]]),
        "shown": np.mean([reading.endswith("improvement") for reading in readings[:3]]),
        "false": np.sum([reading.startswith("confirmed") for reading in readings[3:]]),
        "unknown": np.mean([reading == "cannot tell" for reading in alone]),
        "blind": np.mean([reading == "confirmed improvement" for reading in each]),
        "any": np.mean([reading.endswith("improvement") for reading in each]),
    }


def study(name, surfaces, seed, **case):
    """Return every surface's answers, stacked."""
    with Parallel(n_jobs=-1) as pool:
        rows = pool(delayed(run)((seed, n), **case) for n in range(surfaces))
    found = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    rates, changes = found["rates"], found["changes"]
    found |= {"rate coverage": rates[..., 0].mean(), "change coverage": changes[..., 0].mean()}
    found["false alarms"] = (changes[:, len(CUTS) :, 2] < 0.05).mean()
    fell = (changes[:, : len(CUTS), 2] < 0.05) & (changes[:, : len(CUTS), 3] < 0)
    found["power"] = fell.mean(0)
    print(
        name,
        {k: np.round(v, 3) for k, v in found.items() if np.ndim(v) == 0},
        found["power"].round(2),
        [
            found[k].mean().round(3)
            for k in ("confirmed", "shown", "false", "unknown", "blind", "any")
        ],
        file=sys.stderr,
    )
    return found
