"""Surfaces with planted rates, releases and evaluators, to try the joint model on."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from evalbench.observe.sampling.allocation import ALWAYS, allocate
from evalbench.stats.pooled import NO_EVALUATOR, Windows, effective_labels, relative_risk

RATES = np.array([0.01, 0.01, 0.02, 0.02, 0.05, 0.05])
"""Of the modes that the newest release changes; halved and cut by 70%, in turn."""
CUTS = np.array([0.5, 0.3] * 3)
OTHERS = np.array([0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05, 0.09])
N_MODES = len(RATES) + len(OTHERS)
BLIND = [0, 2, 9, 11, 13]
"""Modes whose evaluator loses .2 of its TPR at the newest release; three of them do not change."""
STRATA = [
    f"{ALWAYS}reported",
    "signals | flagged",
    "signals | not flagged",
    "no signals | flagged",
    "no signals | not flagged",
]


def plant(rng, windows, departure):
    """Return rates, TPR and FPR (modes, windows) of a surface; the newest release cuts six."""
    shape = (N_MODES, windows)
    rates = np.repeat(np.append(RATES, OTHERS)[:, None], windows, 1)
    rates[: len(CUTS), -1] *= CUTS
    if departure == "earlier releases changed things too":
        for window in range(1, windows - 1):
            moved = rng.random(N_MODES) < 0.2
            rates[moved, :window] *= np.exp(rng.choice([-0.9, 0.9], moved.sum()))[:, None]
        rates = np.clip(rates, 0.001, 0.2)
    if departure == "rates creep":
        steps = rng.normal(0, 0.2, (N_MODES, windows - 2))
        rates[:, : windows - 2] *= np.exp(np.cumsum(steps[:, ::-1], 1)[:, ::-1])
    tpr = np.repeat(rng.uniform(0.62, 0.95, (N_MODES, 1)), windows, 1)
    fpr = np.repeat(np.exp(rng.uniform(np.log(0.002), np.log(0.04), (N_MODES, 1))), windows, 1)
    if departure.startswith("TPR drifts by "):
        sd = float(departure.removeprefix("TPR drifts by "))
        tpr = np.clip(tpr + rng.normal(0, sd, shape), 0.2, 0.99)
        fpr = np.clip(fpr * np.exp(rng.normal(0, 3 * sd, shape)), 0.0005, 0.2)
    if departure == "one evaluator loses TPR":
        tpr[BLIND, -1] -= 0.2
    if departure == "all evaluators lose TPR":
        tpr[:, -1] -= 0.2
    if departure == "FPR times 2.5":
        fpr[:, -1] *= 2.5
    return rates, tpr, fpr


def simulate(rng, *, windows=8, n_labels=200, departure="", targeted=False):
    """Return a surface's tables, its planted rates, and the realised ones.

    Tables are sessions, labels and failures (3, modes, windows, strata, verdicts); sizes sessions
    and labels (2, windows, strata). ``targeted`` gives half of a window's labels to sessions that
    an evaluator of the six fails.
    """
    rates, tpr, fpr = plant(rng, windows, departure)
    judged = np.full(N_MODES, departure != "no evaluator")
    strata = [*STRATA, "signals | flagged"] if targeted else STRATA
    tables = np.zeros((3, N_MODES, windows, len(strata), 2))
    sizes = np.zeros((2, windows, len(strata)))
    realised = np.empty_like(rates)
    severity = rng.choice([1.0, 0.7, 0.4], N_MODES)
    for window in range(windows):
        n = int(rng.integers(1300, 2501))
        prone = _of_users(rng, n) if departure == "users differ" else np.ones((n, 1))
        fails = rng.random((n, N_MODES)) < rates[:, window] * prone
        realised[:, window] = fails.mean(0)
        harm = np.where(fails, severity, 0).max(1)
        signal = rng.random(n) < 0.28 + 0.4 * harm
        reported = rng.random(n) < 0.003 + 0.047 * harm
        t, f = tpr[:, window], fpr[:, window]
        if departure == "signals help the evaluator":
            side = np.where(signal, 1.0, -1.0)[:, None]
            t, f = expit(logit(t) + 0.6 * side), expit(logit(f) + 0.5 * side)
        verdict = rng.random((n, N_MODES)) < np.where(fails, t, f)
        flagged = (verdict & judged).any(1)
        stratum = np.where(reported, 0, np.where(signal, 1, 3) + ~flagged)
        if targeted:
            stratum[verdict[:, : len(CUTS)].any(1) & ~reported] = len(STRATA)
        sizes[0, window] = np.bincount(stratum, minlength=len(strata))
        sizes[1, window] = _allocate(sizes[0, window].astype(int), n_labels, targeted)
        lots = rng.permutation(n)
        drawn = np.zeros(n, dtype=bool)
        for h, take in enumerate(sizes[1, window].astype(int)):
            own = np.flatnonzero(stratum == h)
            drawn[own[np.argsort(lots[own])[:take]]] = True
        for h in range(len(strata)):
            for says in (0, 1):
                here = (stratum == h)[:, None] & (verdict == says)
                cell = (slice(None), window, h, says)
                tables[(0, *cell)] = here.sum(0)
                tables[(1, *cell)] = (here & drawn[:, None]).sum(0)
                tables[(2, *cell)] = (here & drawn[:, None] & fails).sum(0)
    return tables, sizes, judged, rates, realised


def count(tables, sizes, judged):
    """Return the ``Windows`` of sessions, labels, failures by stratum and by verdict."""
    population, drawn = sizes
    out = np.zeros((3, 3, *tables.shape[1:3]))  # what, verdict, mode, window
    columns = (tables[..., 1], tables[..., 0]) if judged.all() else (tables.sum(-1),)
    for verdict, column in zip((0, 1) if judged.all() else (2,), columns, strict=True):
        sessions, labels, failures = column
        risk = relative_risk(labels, failures)
        out[0, verdict] = sessions.sum(-1)
        out[1:, verdict] = effective_labels(population, drawn, labels, failures, risk)
    out[1:] *= np.minimum(1, out[0] / np.maximum(out[1], 1e-9))
    version = np.where(judged, 0, NO_EVALUATOR)[:, None].repeat(tables.shape[2], 1)
    return Windows(*out, version=version)


def columns(tables, sizes, mode, window, judged):
    """Return labels and population of one mode and window as ``failure_rate`` takes them."""
    labels, failures = tables[1:, mode, window].astype(int)
    place = {"stratum": [], "verdict": [], "fails": []}
    for (stratum, verdict), n in np.ndenumerate(labels):
        fails = failures[stratum, verdict]
        place["stratum"] += [str(stratum)] * n
        place["verdict"] += [float(verdict)] * n
        place["fails"] += [1.0] * fails + [0.0] * (n - fails)
    strata, verdicts = np.indices(labels.shape)
    people = {"stratum": strata.ravel().astype(str), "verdict": verdicts.ravel().astype(float)}
    people["n"] = tables[0, mode, window].ravel().astype(int)
    if not judged[mode]:
        people = {
            "stratum": np.arange(labels.shape[0]).astype(str),
            "n": sizes[0, window].astype(int),
        }
        place.pop("verdict")
    return place, people


def _of_users(rng, n):
    """Return how prone to fail each session's user is, on average 1."""
    users = max(1, n // 4)
    active = rng.gamma(2.0, size=users)
    prone = np.exp(rng.normal(0, 0.35, users))[rng.choice(users, n, p=active / active.sum())]
    return (prone / prone.mean())[:, None]


def _allocate(sizes, n, targeted):
    hot = min(int(sizes[-1]), n // 2) if targeted else 0
    present = sizes[: len(STRATA)] > 0
    names = [name for name, there in zip(STRATA, present, strict=True) if there]
    taken = np.zeros(len(sizes), dtype=int)
    own = sizes[: len(STRATA)][present]
    taken[np.flatnonzero(present)] = allocate(names, own, n - hot, floor=5, guess={})
    if targeted:
        taken[-1] = hot
    return taken
