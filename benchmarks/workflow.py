"""What people do to the assumptions of rates, through the functions that notebooks call.

Prints a JSON line a claim; exit status 1 when a claim does not hold. A claimed coverage allows for
two standard errors of its own simulation; what is shown beside it is the usual way, same data.
"""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl
from claims import claim, run_parts, show, sized
from joblib import Parallel, delayed
from scipy import stats as scipy_stats

from evalbench import stats
from evalbench.label.agreement.consensus import decide
from evalbench.label.discovery.saturation import measure_saturation, review
from evalbench.observe.sampling.draw import draw, stratify
from evalbench.operate.impact import estimate_surfaces
from evalbench.schema import SESSION, VERDICT, Design
from evalbench.stats._resampling import wilson

SEED = 20261201
LEAST = 0.93
SESSIONS = 6_000
WHEN = datetime(2026, 7, 1, tzinfo=UTC)
DESIGN = Design(by=("release",), always=("reported",))


def repeat(simulate, times, *arguments):
    """Run a simulation many times on two cores, each with a generator of its own."""
    seeds = np.random.SeedSequence(SEED).spawn(sized(times, times // 3))
    run = delayed(simulate)
    return np.array(
        Parallel(n_jobs=2)(run(np.random.default_rng(seed), *arguments) for seed in seeds), float
    )


def claim_coverage(what, held, peer):
    """Claim that intervals hold the truth in LEAST of the cases, less two standard errors."""
    slack = 2 * np.sqrt(LEAST * (1 - LEAST) / len(held))
    return claim(
        f"{what}; n {len(held)}", held.mean(), round(LEAST - slack, 4), peer, at_most=False
    )


def make_sessions(rng):
    """Sessions of two releases; one in a hundred is reported, one in twelve has a thumb down."""
    thumbs = [-1 if low else None for low in rng.random(SESSIONS) < 0.08]
    columns = {
        "surface": ["shop"] * SESSIONS,
        "session_id": [f"s{i:05d}" for i in range(SESSIONS)],
        "release": rng.choice(["1", "2"], SESSIONS),
        "reported": rng.random(SESSIONS) < 0.01,
        "thumbs": pl.Series(thumbs, dtype=pl.Int64),
    }
    sessions = pl.DataFrame(columns).match_to_schema(SESSION, missing_columns="insert")
    return sessions, sessions["thumbs"].is_not_null().to_numpy(), sessions["reported"].to_numpy()


def read_queue(rng, part):
    """Read a part of a queue of 300 and estimate the rate; beside it, sessions by their signals."""
    sessions, noisy, reported = make_sessions(rng)
    fails = rng.random(SESSIONS) < np.select([reported, noisy], [0.5, 0.25], 0.012)
    strata = stratify(sessions, DESIGN).select("session_id", "stratum", fails=pl.Series(fails))
    items = draw(sessions, 300, design=DESIGN, rng=rng).items
    population = strata.group_by("stratum").len("n").sort("stratum").to_dict()
    by_signals = items.join(sessions.select("session_id", "thumbs"), on="session_id").sort("thumbs")

    def covers(order):
        read = order.head(int(part * 300)).select("session_id").join(strata, on="session_id")
        labels = read.select("stratum", pl.col("fails").cast(pl.Float64)).to_dict()
        rate = stats.failure_rate(labels, population, rng=rng).rate
        return rate.low <= fails.mean() <= rate.high, not rate.is_defined

    held, silent = covers(items)
    naive = by_signals.head(int(part * 300)).join(strata, on="session_id")["fails"]
    low, high = wilson(naive.sum(), len(naive), 0.95)
    return held, silent, low <= fails.mean() <= high


def read_much(rng, size, labelled):
    """Label much of a small population at random."""
    fails = rng.random(size) < 0.1
    labels = rng.choice(fails, labelled, replace=False)
    rate = stats.failure_rate({"fails": labels}, {"n": [size]}, rng=rng)
    low, high = np.quantile(rate.draws, [0.025, 0.975])
    held = rate.rate.low - 1e-12 <= fails.mean() <= rate.rate.high + 1e-12
    return held, rate.rate.high - rate.rate.low, high - low


def read_by_two(rng, judged):
    """Let two people who err read 800 sessions, decide, and estimate; beside it, no ties."""
    size = 2_000
    sessions = make_sessions(rng)[0].head(size).with_columns(release=pl.lit("1"))
    fails = rng.random(size) < 0.05
    key = sessions.select("surface", "session_id", fails=pl.Series(fails))
    items = draw(sessions, 800, design=Design(by=()), rng=rng).items
    read = items.select("session_id", "stratum").join(key, on="session_id")
    modes = pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "name": ["Rude"]})
    labels = []
    for actor in "ab":
        own = rng.random(read.height) < np.where(read["fails"], 0.8, 0.01)
        said = [["rude"] if each else [] for each in own]
        verdict = ["fail" if each else "pass" for each in own]
        labels.append(
            read.select("surface", "session_id").with_columns(
                actor=pl.lit(actor),
                after_suggestion=pl.lit(False),
                verdict=pl.Series(verdict),
                modes=pl.Series(said, dtype=pl.List(pl.String)),
            )
        )
    given = pl.concat(labels).with_row_index("seq")
    rulings = given.clear()
    truth = decide(given, rulings, modes)
    flags = rng.random(size) < np.where(fails, 0.8, 0.02)
    about = {"evaluator_id": "j", "evaluator_version": "1", "mode": "rude", "judged_at": WHEN}
    verdicts = key.select("surface", "session_id", fails=pl.Series(flags)).with_columns(
        *(pl.lit(value).alias(name) for name, value in about.items()), learnt=pl.lit(False)
    )
    verdicts = verdicts.match_to_schema(
        VERDICT | {"learnt": pl.Boolean}, missing_columns="insert"
    ).head(size if judged else 0)
    strata = stratify(sessions, Design(by=())).select("session_id", "stratum")
    frame = sessions.join(strata, on="session_id").with_columns(
        drawn=pl.col("session_id").is_in(items["session_id"].implode()), split=pl.lit("test")
    )
    found = estimate_surfaces(frame, verdicts, truth, modes, level=0.95, rng=rng)[0].found
    rate, decided = found.rates[0][0], truth["fails"].drop_nulls()
    low, high = wilson(decided.sum(), len(decided), 0.95)
    return rate.low <= fails.mean() <= rate.high, low <= fails.mean() <= high, rate.estimate


def see_modes(rng):
    """Ask whether all modes were seen by sessions that were drawn by signals half do not raise."""
    sessions, noisy, _ = make_sessions(rng)
    share = np.geomspace(0.0002, 0.03, 40)
    loud = np.arange(40) % 2 == 0
    chance = np.where(loud, np.where(noisy[:, None], 7 * share, share / 4), share)
    shows = rng.random((SESSIONS, 40)) < np.minimum(chance, 0.9)
    items = draw(sessions, 300, design=Design(floor=100), rng=rng).items
    drawn = sessions["session_id"].is_in(items["session_id"].implode())
    frame = stratify(sessions, Design(floor=100)).with_columns(drawn=drawn)
    rows, modes = np.nonzero(shows & drawn.to_numpy()[:, None])
    labels = items.select("surface", "session_id").with_row_index("seq")
    seen = sessions[rows].select("surface", "session_id", mode=pl.Series(modes).cast(pl.String))
    waiting = shows[~drawn.to_numpy()].sum(axis=0)
    truth = waiting[np.unique(modes)].sum() / waiting.sum()
    reviewed = review(labels, seen, frame)
    ways = (reviewed, reviewed.with_columns(chance=pl.lit(None, pl.Float64)))
    found = (
        measure_saturation(way, more=100, level=0.95, rng=rng).row(0, named=True) for way in ways
    )
    return [each["low"] <= truth <= each["high"] for each in found]


def judge_users(rng, users):
    """Measure a judge on sessions of which a few users have most."""
    mean = np.array([0.2, 0.8, 0.9])[:, None]
    sessions = np.minimum(np.ceil(2 + 2 * rng.pareto(1.2, users)), 300).astype(int)
    user = np.repeat(np.arange(users), sessions)
    own = rng.beta(4 * mean, 4 * (1 - mean), size=(3, users))[:, user]
    fails, finds, passes = rng.random((3, len(user))) < own
    verdict = np.where(fails, finds, ~passes)
    judge = stats.alignment(fails, verdict, groups=user, rng=rng)
    alone = stats.alignment(fails, verdict, rng=rng)
    truth = {"tpr": 0.8, "precision": 0.16 / 0.24}
    return [
        getattr(each, name).low <= value <= getattr(each, name).high
        for each in (judge, alone)
        for name, value in truth.items()
    ]


def plan_labels(half_width, rate, rng):
    """Share of samples with an interval as narrow as planned, and if planned on the expectation."""
    usual = int(np.ceil(1.96**2 * rate * (1 - rate) / half_width**2))
    for n in (stats.labels_for_rate(half_width, rate=rate), usual):
        low, high = wilson(rng.binomial(n, rate, size=20_000), n, 0.95)
        yield (high - low <= 2 * half_width).mean()


def contradictions(cases):
    """Share of all tables of so many cases whose reading and interval say different things."""
    tables = [
        cells for cells in itertools.product(range(cases + 1), repeat=4) if sum(cells) == cases
    ]
    wrong = 0
    for both, fixed, new, neither in tables:
        before = [1] * (both + fixed) + [0] * (new + neither)
        after = [1] * both + [0] * fixed + [1] * new + [0] * neither
        change = stats.paired_change(before, after, rng=np.random.default_rng(0))
        moved = change.reading in ("regression", "improvement")
        wrong += moved is not (change.delta.low > 0 or change.delta.high < 0)
    return wrong / len(tables)


def exact_power(n, change, churn):
    """Power of the exact McNemar test."""
    turned, turning = np.arange(n + 1), change + 2 * churn
    needed = scipy_stats.binom.isf(0.025, turned, 0.5) + 1
    shown = scipy_stats.binom.sf(needed - 1, turned, (churn + change) / turning)
    return scipy_stats.binom.pmf(turned, n, turning) @ shown


def queues(holds):
    """A queue that is read in part."""
    for part in (0.25, 0.5, 0.75, 1.0):
        held, silent, naive = repeat(read_queue, 300, part).T
        told = held[silent == 0]
        peer = f"sessions with signals first, Wilson: {naive.mean():.3f}"
        show(
            f"a queue read to {part:.0%}: cannot tell", silent.mean(), "worst-case bounds are given"
        )
        if len(told) >= 30:
            holds.append(claim_coverage(f"a queue read to {part:.0%}: rate covers", told, peer))


def populations(holds):
    """A small population of which much is read."""
    held, narrow, wide = repeat(read_much, 600, 400, 200).T
    holds.append(
        claim_coverage("half of 400 sessions read: rate covers", held, "as if of many more")
    )
    share, whole = narrow.mean() / wide.mean(), repeat(read_much, 20, 200, 200)[:, 1].max()
    peer = "populations without end: 1"
    holds.append(claim("half of 400 sessions read: width of what was needed", share, 0.75, peer))
    holds.append(claim("200 of 200 sessions read: width", whole, 0.0, peer))


def readers(holds):
    """Two people who err, and who do not always agree."""
    for name, judged in (("and a judge", True), ("and no judge", False)):
        held, plain, rate = repeat(read_by_two, 200, judged).T
        what = f"two readers of TPR .8, TNR .99 {name}: rate covers"
        holds.append(claim_coverage(what, held, f"ties dropped, Wilson: {plain.mean():.3f}"))
        show(f"two readers {name}: mean rate for a truth of .05", rate.mean(), "")


def richness(holds):
    """Modes seen in a sample that was drawn by signals."""
    weighed, plain = repeat(see_modes, 300).T
    peer = f"Good-Turing unweighted: {plain.mean():.3f}"
    holds.append(claim_coverage("drawn by signals: share of modes seen covers", weighed, peer))


def users(holds):
    """A few users who have most sessions."""
    for number in (30, 100):
        ours, alone = np.split(repeat(judge_users, 400, number), 2, axis=1)
        for name, held, ignored in zip(("TPR", "precision"), ours.T, alone.T, strict=True):
            peer = f"users ignored: {ignored.mean():.3f}"
            what = f"{number} users, few with most: {name} covers"
            holds.append(claim_coverage(what, held, peer))


def plans(holds):
    """Planned numbers of labels, and McNemar's test."""
    rng = np.random.default_rng(SEED)
    for half_width, rate in ((0.01, 0.05), (0.03, 0.1), (0.05, 0.3)):
        planned, usual = plan_labels(half_width, rate, rng)
        text = f"rate of {rate} to within {half_width}: reached as planned"
        peer = f"planned on the expectation: {usual:.3f}"
        holds.append(claim(text, planned, 0.79, peer, at_most=False))
    power = stats.paired_power(200, 0.05, churn=0.02)
    exact = exact_power(200, 0.05, 0.02)
    text, peer = "200 cases, 2% to 7% turn: power", f"exact McNemar: {exact:.3f}"
    holds.append(claim(text, power, round(exact + 0.05, 3), peer, at_most=False))
    text = "tables of 7 cases whose reading contradicts its interval"
    holds.append(claim(text, contradictions(7), 0.0, "exact McNemar beside Newcombe: up to .07"))


PARTS = {each.__name__: each for each in (queues, populations, readers, richness, users, plans)}


if __name__ == "__main__":
    sys.exit(run_parts(PARTS, __doc__))
