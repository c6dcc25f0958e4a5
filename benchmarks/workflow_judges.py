"""What people do to the assumptions of calibration, through the functions that 07_calibrate calls.

Labels are drawn by signals and verdicts as ``02_sample`` draws them, in rounds; every round is
looked at. Prints a JSON line a claim; exit status 1 when a claim does not hold. A claimed coverage
allows for two standard errors of its own simulation.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl
from claims import claim, run_parts, show, sized
from joblib import Parallel, delayed

from evalbench import stats
from evalbench.evaluate import calibrate
from evalbench.evaluate.status import COUNTING
from evalbench.observe.sampling.draw import draw, stratify
from evalbench.operate.evidence import combine_draws, place_draw
from evalbench.schema import SESSION, VERDICT, Design, QueueDrawn
from evalbench.settings import Evaluators
from evalbench.stats.binary import MEASURES

SEED = 20261202
SESSIONS = 4_000
TIMES = sized(150, 50)
WHEN = datetime(2026, 7, 1, tzinfo=UTC)
BAR = Evaluators().aligned
JUDGED = ("tpr", "tnr", "mcc")
WEAK = (0.05, 0.6, 0.9772)
"""Share of failures, TPR and TNR of a judge with an MCC of .568."""
STRONG = (0.2, 0.85, 0.958)
"""The same with an MCC of .81."""
KEYS = dict.fromkeys(calibrate.KEY, pl.String) | dict.fromkeys(calibrate.CELLS, pl.Int64)


def repeat(simulate, times, *arguments):
    """Run a simulation many times on two cores, each with a generator of its own."""
    seeds = np.random.SeedSequence(SEED).spawn(times)
    run = delayed(simulate)
    return np.array(
        Parallel(n_jobs=2)(run(np.random.default_rng(seed), *arguments) for seed in seeds), float
    )


def make_world(rng, share, tpr, tnr, judges=1):
    """Sessions with signals where failures are, what they are, and what judges say of them."""
    fails = rng.random(SESSIONS) < share
    noticed = rng.random(SESSIONS) < np.where(fails, 0.4, 0.08)
    thumbs = [-1 if low else None for low in noticed]
    names = [f"s{number:05d}" for number in range(SESSIONS)]
    known = {"surface": ["shop"] * SESSIONS, "session_id": names}
    signals = {
        "release": rng.choice(["1", "2"], SESSIONS),
        "thumbs": pl.Series(thumbs, dtype=pl.Int64),
    }
    sessions = pl.DataFrame(known | signals).match_to_schema(SESSION, missing_columns="insert")
    truth = pl.DataFrame(known | {"mode": ["rude"] * SESSIONS, "truth": fails})
    said = [
        np.where(fails, rng.random(SESSIONS) < tpr, rng.random(SESSIONS) > tnr)
        for _ in range(judges)
    ]
    about = {"evaluator_version": pl.lit("1"), "mode": pl.lit("rude"), "judged_at": pl.lit(WHEN)}
    about["repeat"] = pl.lit(0, pl.Int64)
    judged = [
        pl.DataFrame(known | {"fails": each}).with_columns(
            evaluator_id=pl.lit(f"judge {n}"), **about
        )
        for n, each in enumerate(said)
    ]
    verdicts = pl.concat(judged).match_to_schema(VERDICT, missing_columns="insert")
    return sessions, truth, calibrate.current_verdicts(verdicts, {})


def place(rng, sessions, verdicts, design, n, number):
    """Draw n labels as 02_sample does, and place the sessions as the snapshot does."""
    items = draw(sessions, n, design=design, verdicts=verdicts, rng=rng).items
    listed = items.drop("surface").to_dicts()
    body = {"surface": "shop", "seed": 1, "design": design, "lake_versions": {}, "items": listed}
    return place_draw(number, QueueDrawn(**body), stratify(sessions, design, verdicts))


def look(rng, world, placed, tried=None, share_read=0.9):
    """Measure the judges on those labels of the drawn sessions that were read, as 07 does."""
    sessions, truth, verdicts = world
    frame = sessions.join(combine_draws(placed), on=calibrate.SESSION_KEY, how="left")
    frame = frame.with_columns(pl.col("drawn").fill_null(False))
    read = frame.filter("drawn").sample(fraction=share_read, seed=int(rng.integers(1 << 31)))
    known = truth.join(read, on=calibrate.SESSION_KEY, how="semi")
    pairs = calibrate.pair_verdicts(verdicts, known, frame, {})
    how = {"settings": Evaluators(), "level": 0.95, "rng": rng}
    return calibrate.measure_alignment(pairs, by=calibrate.KEY, tried=tried, **how), pairs


def measure_world(world):
    """Measure each judge on all sessions: the truth."""
    both = world[2].join(world[1], on=[*calibrate.SESSION_KEY, "mode"])
    fails, said = both["truth"].to_numpy(), both["fails"].to_numpy()
    cells = [(fails & said).sum(), (fails & ~said).sum(), (~fails & said).sum()]
    every = np.array([*cells, (~fails & ~said).sum()], float)
    return {name: float(MEASURES[name](every)) for name in JUDGED}


def rounds(rng, share, tpr, tnr, n, times):
    """Say whether intervals hold after the first draw by verdict and after the last one."""
    world = make_world(rng, share, tpr, tnr)
    real, held, placed = measure_world(world), [], []
    for number in range(times):
        by = ("judge 0",)
        placed.append(place(rng, world[0], world[2], Design(by=(), evaluators=by), n, number))
        if number in (0, times - 1):
            found, pairs = look(rng, world, placed)
            row = found.row(0, named=True)
            truth, said = (pairs[name].cast(pl.Float64).to_numpy() for name in ("truth", "fails"))
            naive = stats.alignment(truth, said, rng=rng)
            for name in JUDGED:
                plain = getattr(naive, name)
                held += [row[f"{name}_low"] <= real[name] <= row[f"{name}_high"]]
                held += [plain.low <= real[name] <= plain.high]
    return held


def twelve_looks(rng, n, evaluators):
    """Say whether a judge of MCC .568 ever reads aligned within twelve looks; the usual way too."""
    world = make_world(rng, *WEAK)
    placed, tried, ever, usual = [], pl.DataFrame(schema=KEYS), False, False
    for number in range(12):
        design = Design(by=("release",), evaluators=evaluators)
        placed.append(place(rng, world[0], world[2], design, n, number))
        found, pairs = look(rng, world, placed, tried, share_read=1.0)
        tried = pl.concat([tried, found.select(list(KEYS))])
        truth, said = (pairs[name].cast(pl.Float64).to_numpy() for name in ("truth", "fails"))
        naive = stats.alignment(truth, said, rng=rng)
        enough = min(sum(naive.counts[:2]), sum(naive.counts[2:])) >= 10
        ever |= found["status"][0] in COUNTING
        usual |= enough and naive.mcc.estimate >= BAR and naive.mcc.low > 0.4
    return ever, usual


def first_look(rng, quality, judges, n):
    """Say whether any of several judges reads aligned at the first look; the usual way too."""
    world = make_world(rng, *quality, judges)
    placed = [place(rng, world[0], world[2], Design(by=("release",)), n, 0)]
    found, _ = look(rng, world, placed, pl.DataFrame(schema=KEYS), share_read=1.0)
    usual = (found["mcc"] >= BAR) & (found["mcc_low"] > 0.4)
    return found["status"].is_in(COUNTING).any(), usual.any()


def ceiling(rng):
    """Say whether the ceiling of 300 sessions read twice holds; and what undisputed ones give."""
    fails = rng.random(100_000) < 0.2
    two = [np.where(fails, rng.random(100_000) < 0.85, rng.random(100_000) > 0.96) for _ in "ab"]
    real = stats.alignment(*two, rng=rng).mcc.estimate
    names = [f"s{number}" for number in range(300)]
    about = {"surface": ["shop"] * 300, "session_id": names, "mode": ["rude"] * 300}
    read = [
        pl.DataFrame(about | {"annotator": [who] * 300, "value": each[:300]})
        for who, each in zip("ab", two, strict=True)
    ]
    truth = calibrate.vote(pl.concat(read))
    judge = {"evaluator_id": pl.lit("j"), "evaluator_version": pl.lit("1")}
    judge |= {"repeat": pl.lit(0, pl.Int64), "judged_at": pl.lit(WHEN)}
    known = pl.DataFrame(about | {"fails": fails[:300]}).with_columns(**judge)
    verdicts = known.match_to_schema(VERDICT, missing_columns="insert")
    sessions = pl.DataFrame(about).match_to_schema(
        SESSION, missing_columns="insert", extra_columns="ignore"
    )
    pairs = calibrate.pair_verdicts(verdicts, truth, sessions, {})
    how = {"level": 0.95, "rng": rng}
    row = calibrate.human_ceiling(pl.concat(read), pairs, **how).row(0, named=True)
    agreed = two[0][:300] == two[1][:300]
    undisputed = stats.alignment(two[0][:300][agreed], two[1][:300][agreed], rng=rng).mcc.estimate
    return row["ceiling_low"] <= real <= row["ceiling_high"], real, row["ceiling"], undisputed


def draws(holds):
    """Labels drawn by verdict."""
    slack = 2 * np.sqrt(0.93 * 0.07 / TIMES)
    for share, tpr, tnr in ((0.05, 0.6, 0.97), (0.1, 0.8, 0.95)):
        held = repeat(rounds, TIMES, share, tpr, tnr, 100, 4).mean(axis=0).reshape(2, 3, 2)
        for when, by_measure in zip(("one draw", "four draws"), held, strict=True):
            for name, (ours, plain) in zip(JUDGED, by_measure, strict=True):
                what = f"{name.upper()} holds after {when} by verdict, {share:g} fail, TPR {tpr:g}"
                peer = f"unweighted {plain:.3f}"
                holds.append(claim(what, ours, round(0.93 - slack, 3), peer, at_most=False))


def looks(holds):
    """A judge that is looked at again and again."""
    for words, evaluators in (("by signals", ()), ("by verdict", ("judge 0",))):
        ever, usual = repeat(twelve_looks, sized(80, 40), 50, evaluators).mean(axis=0)
        what = f"MCC .568 ever reads aligned in twelve looks at labels drawn {words}"
        holds.append(claim(what, ever, 0.05, f"estimate over .6, low end over .4: {usual:.3f}"))


def firsts(holds):
    """The best of several judges, and a good one at its first look."""
    best, usual = repeat(first_look, TIMES, WEAK, 3, 400).mean(axis=0)
    holds.append(claim("best of three of MCC .568 reads aligned", best, 0.05, f"{usual:.3f}"))
    power, usual = repeat(first_look, TIMES, STRONG, 1, 200).mean(axis=0)
    what = "MCC .81 reads aligned at the first look at 200 labels"
    holds.append(claim(what, power, 0.8, f"{usual:.3f}", at_most=False))


def people(holds):
    """The human ceiling."""
    slack = 2 * np.sqrt(0.93 * 0.07 / TIMES)
    held, real, found, undisputed = repeat(ceiling, TIMES).mean(axis=0)
    peer = f"undisputed sessions alone {undisputed:.3f}"
    holds.append(
        claim("the human ceiling holds", held, round(0.93 - slack, 3), peer, at_most=False)
    )
    show(f"human ceiling, real {real:.3f}", found, peer)


def read_by_two(rng):
    """Say whether the MCC that 07 gives holds the real one where two people err, and its parts."""
    world = make_world(rng, 0.1, 0.8, 0.97)
    placed = [place(rng, world[0], world[2], Design(by=()), 500, 0)]
    frame = world[0].join(combine_draws(placed), on=calibrate.SESSION_KEY, how="left")
    frame = frame.with_columns(pl.col("drawn").fill_null(False))
    read = world[1].join(frame.filter("drawn"), on=calibrate.SESSION_KEY, how="semi")
    fails = read["truth"].to_numpy()
    n_fail = rng.binomial(2, np.where(fails, 0.85, 0.02))
    votes = {"n_annotators": pl.lit(2, pl.Int64), "n_fail": pl.Series(n_fail)}
    decided = pl.Series([None if n == 1 else n == 2 for n in n_fail], dtype=pl.Boolean)
    truth = read.with_columns(truth=decided, **votes)
    pairs = calibrate.pair_verdicts(world[2], truth, frame, {})
    how = {"settings": Evaluators(), "level": 0.95, "rng": rng}
    tried = pl.DataFrame(schema=KEYS)
    row = calibrate.measure_alignment(pairs, by=calibrate.KEY, tried=tried, **how)
    row, real = row.row(0, named=True), measure_world(world)["mcc"]
    said = re.search(r"allowed for: MCC (\S+) \((\S+) to (\S+)\)", row["sample"])
    value, low, high = map(float, said.groups())
    plain = row["mcc_low"] <= real <= row["mcc_high"]
    return low - 0.005 <= real <= high + 0.005, plain, real, value, row["mcc"]


def doubts(holds):
    """Two people who err."""
    held, plain, real, value, usual = repeat(read_by_two, TIMES).mean(axis=0)
    slack = 2 * np.sqrt(0.93 * 0.07 / TIMES)
    peer = f"ties dropped {plain:.3f}"
    what = "two readers of TPR .85, TNR .98: MCC that allows for it holds"
    holds.append(claim(what, held, round(0.93 - slack, 3), peer, at_most=False))
    show(f"MCC that allows for people's errors, real {real:.3f}", value, f"{usual:.3f}")


PARTS = {each.__name__: each for each in (draws, looks, firsts, people, doubts)}


if __name__ == "__main__":
    sys.exit(run_parts(PARTS, __doc__))
