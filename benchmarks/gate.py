"""The gate on planted releases: false alarms, power, segments and asking for more cases.

Each suite has cases of 12 failure modes; 12% of the cases are unstable: they fail now and then,
whatever the release. Beside the gate stand the rules that people use instead. Prints a JSON line a
claim; exit status 1 when one does not hold.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from claims import claim, run_parts, show, sized
from gate_forecast import best_of_many, forecasts
from gate_wear import wear
from joblib import Parallel, delayed

from evalbench.evaluate.classifier import _make_pipeline, dump_classifier, features
from evalbench.session import read_sessions
from evalbench.stats import gating

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS), str(TESTS / "release")]

import gated  # noqa: E402
import make  # noqa: E402

MODES, CASES, UNSTABLE, OFTEN, BROKEN = 12, 400, 0.12, 0.2, 0.05
RELEASES = sized(2_000, 400)
LIMIT, SEGMENT_LIMIT = 0.05, 0.1
NAIVE = "no case may turn", "not below the baseline", "no mode lower"


def make_suite(rng, n=CASES):
    """Draw the mode that each case is about, and how often it fails."""
    kind = rng.random(n)
    chance = np.where(kind < UNSTABLE, OFTEN, np.where(kind < UNSTABLE + BROKEN, 1.0, 0.0))
    return rng.integers(MODES, size=n), chance


def answer(rng, suite, *, worse=0.0):
    """Let a release answer: (modes, cases), 1 where it fails; ``worse`` cases more than before."""
    mode, chance = suite
    fails = rng.random(len(mode)) < chance
    passing = 1 - chance.mean()
    fails |= rng.random(len(mode)) < worse / passing
    given = np.zeros((MODES, len(mode)))
    given[mode[fails], np.flatnonzero(fails)] = 1
    return given


def decide(rng, before, after, *, role="watch", limit=LIMIT):
    """Decide by a row a mode and one of any failure; give the readings and the gate's own error."""
    swaps = gating.draw_swaps(before.shape[1], rng=rng)
    sides = [*zip(before, after, strict=True), (before.max(axis=0), after.max(axis=0))]
    rows = [(role, limit, gating.paired_rate(*side, swaps, rng=rng)) for side in sides]
    return gating.read_rows(rows)


def verdict_of(readings):
    """The worst of the readings."""
    said = {each.reading for each in readings}
    return next(each for each in ("block", "insufficient", "pass") if each in said)


def run_unchanged(seed):
    """One unchanged release: is it blocked, by the gate and by what people do instead?"""
    rng = np.random.default_rng(seed)
    suite = make_suite(rng)
    before, after = answer(rng, suite), answer(rng, suite)
    readings, error = decide(rng, before, after)
    old, new = before.max(axis=0), after.max(axis=0)
    naive = ((new > old).any(), new.mean() > old.mean(), (after.mean(1) > before.mean(1)).any())
    return [verdict_of(readings) == "block", *naive, error.estimate]


def run_worse(seed):
    """One release that fails 5 points more, over all modes: what was promised, what came."""
    rng = np.random.default_rng(seed)
    suite = make_suite(rng)
    readings, _ = decide(rng, answer(rng, suite), answer(rng, suite, worse=LIMIT))
    return readings[-1].power, readings[-1].reading == "block"


def run_segment(seed, n):
    """One segment of n cases that fails 20 points more, and four others that make up for it."""
    rng = np.random.default_rng(seed)
    suite = make_suite(rng, 5 * n)
    before, after = answer(rng, suite).max(axis=0), answer(rng, suite).max(axis=0)
    segment = np.repeat(np.arange(5), n)
    own, others = (np.flatnonzero(side) for side in (segment == 0, segment != 0))
    after[rng.choice(own[after[own] == 0], round(0.2 * n), replace=False)] = 1
    failing = others[after[others] == 1]
    after[rng.choice(failing, min(round(0.2 * n), len(failing)), replace=False)] = 0
    swaps = gating.draw_swaps(5 * n, rng=rng)
    rows = [("watch", LIMIT, gating.paired_rate(before, after, swaps, rng=rng))]
    for at in range(5):
        in_it = np.flatnonzero(segment == at)
        found = gating.paired_rate(before[in_it], after[in_it], swaps[:, in_it], rng=rng)
        rows.append(("watch", SEGMENT_LIMIT, found))
    return gating.read_rows(rows)[0][1].reading


def run_asking(seed, role):
    """Ask for more cases where they are too few, supply them, and see what that settles.

    Gives whether a release worse by the limit is then blocked and an unchanged one passes: on new
    cases, and with the first ones among them. None where the first cases were enough.
    """
    rng = np.random.default_rng(seed)
    few = int(rng.integers(40, 200))
    suite = make_suite(rng, few)
    first = answer(rng, suite).max(axis=0), answer(rng, suite).max(axis=0)

    def read(before, after):
        swaps = gating.draw_swaps(len(before), rng=rng)
        row = (role, LIMIT, gating.paired_rate(before, after, swaps, rng=rng))
        return gating.read_rows([row])[0][0]

    asked = read(*first)
    if asked.reading != "insufficient":
        return None
    whole = make_suite(rng, few + asked.more)
    worse = [answer(rng, whole).max(axis=0), answer(rng, whole, worse=LIMIT).max(axis=0)]
    rest = make_suite(rng, asked.more)
    same = [np.append(side, answer(rng, rest).max(axis=0)) for side in first]
    return read(*worse).reading == "block", read(*same).reading == "pass"


def simulate(function, n, *arguments):
    """Run a simulation n times, on both cores."""
    how = (delayed(function)(seed, *arguments) for seed in range(n))
    return [each for each in Parallel(n_jobs=2, batch_size=20)(how) if each is not None]


def show_false_alarms(holds):
    found = np.mean(simulate(run_unchanged, RELEASES), axis=0)
    text = f"unchanged releases blocked, {RELEASES:,} of {CASES} cases, {MODES} modes, 12% unstable"
    holds.append(claim(text, found[0], 0.05, "planted truth"))
    for name, share in zip(NAIVE, found[1:4], strict=True):
        show(f"unchanged releases blocked by the rule '{name}'", share, "the gate")
    show("what the memo says of it, on average", found[4], f"{gating.REPLAYS:,} replays")


def show_power(holds):
    promised, blocked = np.mean(simulate(run_worse, RELEASES), axis=0)
    show("power that the memo prints for 5 points on 400 cases", promised, "simulation")
    text = f"between that power and how often such a release is blocked, of {RELEASES:,}"
    holds.append(claim(text, abs(promised - blocked), 0.03, "planted truth"))


def show_segments(holds):
    few, many = (simulate(run_segment, sized(200, 60), n) for n in (40, 80))
    peer = "the flat average, which never blocks"
    text = "20 points worse in one of five segments: passed with 40 cases in it"
    holds.append(claim(text, np.mean([each == "pass" for each in few]), 0, peer))
    text = "20 points worse in one of five segments: blocked with 80 cases in it"
    holds.append(claim(text, np.mean([each == "block" for each in many]), 0.8, peer, at_most=False))


def show_asking(holds):
    for role in ("watch", "guardrail"):
        blocked, passed = np.mean(simulate(run_asking, RELEASES // 2, role), axis=0)
        text = f"{role} row, with the cases it asked for: 5 points more are blocked"
        holds.append(claim(text, blocked, 0.78, "planted truth", at_most=False))
        text = f"{role} row, with the cases it asked for: no change passes"
        holds.append(claim(text, passed, 0.78, "planted truth", at_most=False))


def make_workspace(folder):
    """Put two runs of 400 cases into a workspace whose 12 modes have 6 checks and 6 classifiers."""
    modes = {f"mode{at:02d}": (f"Mode {at}", "user impact") for at in range(MODES)}
    rng = np.random.default_rng(1)
    suite = make_suite(rng)
    how = {"modes": modes, "checked": list(modes)[1::2]}
    ws = gated.make_workspace(folder, gated.row("each"), gated.row("any"), **how)
    for run in ("old", "new"):
        gated.put_run(ws, run, answer(rng, suite).T, modes=modes)
    sessions = list(read_sessions(ws.lake, "shop@old", [f"case{at:03d}" for at in range(CASES)]))
    (ws.path / "classifiers").mkdir()
    for mode in list(modes)[::2]:
        labels = [mode in each.text() for each in sessions]
        labels[0] = not any(labels)
        content, sha256 = dump_classifier(_make_pipeline().fit(features(sessions), labels))
        (ws.path / "classifiers" / f"{sha256}.skops").write_bytes(content)
        how = {"kind": "classifier", "parameters": {"sha256": sha256}, "threshold": 0.5}
        gated.make_gating(ws, mode, modes, **how)
    return ws


def time_run(*command):
    """Give a command's seconds by the clock and of processors, and its status."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "from evalbench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used, done.returncode


def show_speed(holds):
    with tempfile.TemporaryDirectory() as folder:
        ws = make_workspace(Path(folder) / "ws")
        empty = make.notebook(Path(folder) / "empty.ipynb", make.REPORTING)
        places = ["--workspace", str(ws.path), "--reports", str(Path(folder) / "reports")]
        floor, floor_used, _ = time_run("run", str(empty), *places)
        asked = ["-p", "decision", "ship", "-p", "candidate", "new", "-p", "baseline", "old"]
        took, used, status = time_run("gate", *asked, *places)
    show("seconds of an empty notebook, by the clock", floor, "the whole gate")
    show("seconds of an empty notebook, of processors", floor_used, "the whole gate")
    show("seconds of the whole gate, by the clock, whatever else runs", took, "an empty notebook")
    show("its exit status", status, "0, 10 or 11")
    text = f"processor seconds of a gate that first judges: {CASES} cases, {MODES} modes"
    holds.append(claim(text, used, 25, "an empty notebook"))


PARTS = {
    "alarms": show_false_alarms,
    "power": show_power,
    "segments": show_segments,
    "asking": show_asking,
    "wear": wear,
    "best": best_of_many,
    "forecasts": forecasts,
    "speed": show_speed,
}

if __name__ == "__main__":
    sys.exit(run_parts(PARTS, __doc__))
