"""Forecasts of simulated releases, and the rate of the best of many candidates.

Prints a JSON line a claim; exit status 1 when one does not hold. A product has 12 failure modes of
.4 to 6%; a release fixes three of them in part, and with chance .6 makes one worse. Its 400 golden
cases were picked for failing, and 12% of answers turn by chance. Each mode has an evaluator that
errs anew on every answer: it misses 5 to 20% of failures and flags .5 to 4% of the rest. What comes
later is what is counted in the four weeks after the release; a session fails in one mode at most.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from claims import claim, show, sized

from evalbench.release import forecast
from evalbench.release.compare import ANY, OUTCOMES
from evalbench.stats import proportion, shrunken_rates

MODES, CASES, UNSTABLE, WEEKLY, LABELS = 12, 400, 0.12, 5_000, 2_000
MISSES, FALSE = (0.05, 0.2), (0.005, 0.04)
TRUSTED = "the same, verdicts taken for the truth"
OTHERS = sized(200, 40)
PEER = "golden change applied to production as it is"


def make_release(rng, cases=CASES):
    """Make one release: what both runs fail, what production showed, and what came later."""
    rates = np.exp(rng.uniform(np.log(0.004), np.log(0.06), MODES))
    prone, keeps, adds = rates / (1 - UNSTABLE), np.ones(MODES), np.zeros(MODES)
    keeps[rng.choice(MODES, 3, replace=False)] = rng.uniform(0.2, 0.8, 3)
    adds[rng.integers(MODES)] = rng.uniform(0.002, 0.02) * (rng.random() < 0.6)
    picked = rng.choice(MODES, cases, p=rates / rates.sum())
    shape = (MODES, cases)
    at_fault = (picked == np.arange(MODES)[:, None]) | (rng.random(shape) < prone[:, None])
    still = at_fault & (rng.random(shape) < keeps[:, None]) | (rng.random(shape) < adds[:, None])
    stable = rng.random((2, *shape)) >= UNSTABLE
    fails = {"old": at_fault & stable[0], "new": still & stable[1]}
    later = rates * keeps + (1 - prone) * adds * (1 - UNSTABLE)
    counted = rng.binomial(WEEKLY * forecast.WEEKS, [rates, later]) / forecast.WEEKS
    seen = [proportion(rng.random(LABELS) < rate, rng=rng) for rate in rates]
    missed, false = (rng.uniform(*ends, MODES)[:, None] for ends in (MISSES, FALSE))
    chances = {run: np.where(own, 1 - missed, false) for run, own in fails.items()}
    said = {run: rng.random(shape) < chance for run, chance in chances.items()}
    # How the evaluator errs is known from the labels that the rates are known from.
    failing = np.array([round(LABELS * each.estimate) for each in seen]).clip(1)
    caught = rng.binomial(failing, 1 - missed[:, 0])
    flagged = rng.binomial(LABELS - failing, false[:, 0])
    errors = np.stack([caught, failing - caught, flagged, LABELS - failing - flagged], axis=1)
    return picked, said, seen, errors, counted


def make_frames(picked, fails, seen, errors):
    """Write what a release gave as the frames that a forecast takes."""
    names = [f"m{mode:02d}" for mode in range(MODES)]
    rows = [
        pl.DataFrame({"case": np.arange(len(picked)), "fails": own[mode]}).with_columns(
            surface=pl.lit("s"), run=pl.lit(run), repeat=pl.lit(0), mode=pl.lit(names[mode])
        )
        for run, own in fails.items()
        for mode in range(MODES)
    ]
    outcomes = pl.concat(rows).select(list(OUTCOMES)).cast(OUTCOMES)
    cases = pl.DataFrame({"case": np.arange(len(picked)), "picked": [names[at] for at in picked]})
    cases = cases.with_columns(pl.col("case").cast(pl.String), segment=pl.lit(""))
    ends = {end: [getattr(each, end) for each in seen] for end in ("estimate", "low", "high")}
    rates = pl.DataFrame({"mode": names, **ends, "level": 0.95})
    n = np.rint(WEEKLY * rates["estimate"].to_numpy()).astype(np.int64)
    sizes = {"mode": [ANY, forecast.FAILING, *names], "segment": "", "n": [WEEKLY, n.sum(), *n]}
    known = pl.DataFrame(errors.astype(float), schema=list(forecast.ERRORS)[1:])
    errors = known.select(pl.Series("mode", names), pl.all())
    return outcomes, cases, rates, pl.DataFrame(sizes), errors


def forecast_releases(n, seed):
    """Return how often forecasts hold the later change: of all failures, by mode, and the peers'.

    These are verdicts taken for the truth, and naive ones.
    """
    rng, held, by_mode, trusted, naive = np.random.default_rng(seed), [], [], [], []
    for _ in range(n):
        picked, fails, seen, errors, counted = make_release(rng)
        *frames, known = make_frames(picked, fails, seen, errors)
        perfect = known.with_columns(tp=1e6, fn=0.0, fp=0.0, tn=1e6)
        how = {"baseline": "old", "candidate": "new", "sessions_a_week": WEEKLY, "rng": rng}
        made = forecast.forecast_release(*frames, known, **how)
        taken = forecast.forecast_release(*frames, perfect, **how).row(0, named=True)
        came = np.r_[(counted[1] - counted[0]).sum(), counted[1] - counted[0]]
        low, high = made["low"].to_numpy(), made["high"].to_numpy()
        holds = (low <= came) & (came <= high)
        held.append(holds[0])
        by_mode.append(holds[1:].mean())
        trusted.append(taken["low"] <= came[0] <= taken["high"])
        naive.append(_hold_naively(fails, seen, came[0], rng))
    return np.mean(held), np.mean(by_mode), np.mean(trusted), np.mean(naive)


def _hold_naively(fails, seen, came, rng):
    """Scale production's failing sessions by the golden rate after over before."""
    whole = [own.any(axis=0) for own in fails.values()]
    now = WEEKLY * sum(each.estimate for each in seen)
    picks = rng.integers(CASES, size=(500, CASES))
    before, after = (own[picks].mean(axis=1) for own in whole)
    low, high = np.quantile(now * (after / before - 1), [0.05, 0.95])
    return low <= came <= high


def forecasts(holds):
    text = "of 40 releases, 90% intervals that hold the later change in failing sessions a week"
    held, by_mode, trusted, naive = forecast_releases(40, seed=16)
    holds.append(claim(text, held, 0.9, PEER, at_most=False))
    show(text, trusted, TRUSTED)
    show(text, naive, PEER)
    show("the same by failure mode, 480 intervals", by_mode, PEER)
    held, by_mode, *_ = forecast_releases(OTHERS, seed=17)
    show(f"the same of {OTHERS} other releases", held, PEER)
    show(f"the same of {OTHERS} other releases, by failure mode", by_mode, PEER)


def best_of_many(holds):
    """Pick the lowest of many candidates on one suite, and ask whether its interval is true."""
    cells = {
        "40 equal candidates": lambda rng: np.full(40, 0.1),
        "40 candidates that differ": lambda rng: 0.1 * np.exp(0.3 * rng.standard_normal(40)),
        "one of 40 truly better, by half": lambda rng: np.r_[0.06, np.full(39, 0.12)],
    }
    for name, make in cells.items():
        rng, held, naive = np.random.default_rng(18), [], []
        for _ in range(sized(200, 100)):
            rates = make(rng)
            shared = rng.random((CASES, 1)) < 0.5  # half of what decides a case is the case
            draws = np.where(shared, rng.random((CASES, 1)), rng.random((CASES, len(rates))))
            fails = draws < rates
            best = int(fails.mean(axis=0).argmin())
            estimate = shrunken_rates(fails, rng=rng)[best]
            held.append(estimate.low <= rates[best] <= estimate.high)
            alone = proportion(fails[:, best], rng=rng)
            naive.append(alone.low <= rates[best] <= alone.high)
        text = f"best of {name}: 95% intervals that hold its true rate"
        holds.append(claim(text, np.mean(held), 0.9, "Wilson of the best alone", at_most=False))
        show(text, np.mean(naive), "Wilson of the best alone")
