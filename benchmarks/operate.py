"""Alerts on production, what is named as their cause, and the times of issues: simulated.

Prints a JSON line a claim; exit status 1 when a claim does not hold. Beside the alerts stand
Google's burn-rate rules (The Site Reliability Workbook, ch. 5), on the same kind of traffic.
"""

from __future__ import annotations

import sys

import numpy as np
from claims import claim, run_parts, show, sized
from joblib import Parallel, delayed
from operate_issues import check_medians
from scipy.stats import betabinom

from evalbench.stats import paired_change
from evalbench.stats.mix import share_changes
from evalbench.stats.sequential import ALPHA, BETS, evidence, overdispersion, spend_alpha
from evalbench.stats.shift import find_cause

SEED, DAYS, QUARTERS = 20261201, 91, sized(2_000, 200)
OFTEN = sized(60, 20)
WEIGHTS = np.repeat([9.0, 3.0, 1.0], [5, 20, 25])
"""The severities of the company's 50 failure modes."""
ALPHAS = spend_alpha(WEIGHTS)
VOLUME = np.array([1.15, 1.2, 1.2, 1.15, 1.1, 0.6, 0.6])
"""Traffic by weekday, and how often it fails, of their means."""
FAILING = np.array([1.2, 1.1, 1.0, 0.95, 0.9, 0.85, 0.85])
FAILING /= (FAILING * VOLUME).sum() / VOLUME.sum()
SESSIONS = np.array([0.6, 0.25, 0.15])
"""Users with one, two and three sessions on a day."""
PER_USER = float(SESSIONS @ [1, 2, 3])
ICC = 0.3
CELLS = [(n, target) for n in (50, 200, 1_000, 5_000) for target in (0.001, 0.005, 0.02)]
PAGES = ((1, 14.4), (6, 6.0))
"""Hours of a window, and the burn rate that pages."""


def user_days(rate):
    """Return the means above 0 that a user's day can have, and how often it has each."""
    ones, zeros, shares = rate * (1 / ICC - 1), (1 - rate) * (1 / ICC - 1), {}
    for n, share in enumerate(SESSIONS, start=1):
        chances = betabinom(n, ones, zeros).pmf(np.arange(1, n + 1))
        for k, chance in enumerate(chances, start=1):
            shares[k / n] = shares.get(k / n, 0.0) + share * chance
    return np.array(list(shares.items())).T


def mixed(logs):
    """Return the e-values of (bets, ..., days) log factors, starts from every day on."""
    total, days = np.zeros(logs.shape[:-1]), logs.shape[-1]
    for day in range(days):
        total = np.minimum((total + 1 / days) * np.exp(np.minimum(logs[..., day], 300)), 1e200)
        yield total.mean(0) + 1 - (day + 1) / days


def quiet(rng, per_day, target, quarters):
    """Return the share of company-quarters with a false page; a quarter of history goes before."""
    weekday = (rng.integers(0, 7, (quarters, 1)) + np.arange(2 * DAYS)) % 7
    users = rng.poisson(per_day / PER_USER * VOLUME[weekday])
    means, share = user_days(target)
    chance = share[:, None, None] * FAILING[weekday] * users
    shape = (len(means), quarters, len(WEIGHTS), 2 * DAYS)
    counts, users = rng.poisson(chance[:, :, None], shape), users[:, None]
    sums, squares = (np.tensordot(power, counts, 1) for power in (means, means**2))
    history = (..., slice(DAYS))
    dispersion = overdispersion(users[history], sums[history], squares[history])[..., None]
    counts, users = counts[..., DAYS:], users[..., DAYS:]
    rest, logs = users - counts.sum(0), []
    for bet in BETS:
        stake = (bet - 1) / (1 - target)
        gain = np.tensordot(np.log1p(stake * (means - target)), counts, 1)
        logs.append((gain + np.log1p(-stake * target) * rest) / dispersion)
    over = np.zeros((quarters, len(WEIGHTS)), dtype=bool)
    for e_values in mixed(np.stack(logs)):
        over |= e_values >= 1 / ALPHAS
    return over.any(1).mean()


def burn_rules(rng, per_day, target, quarters):
    """Return the share of company-quarters that the burn-rate rules page in."""
    hours = np.arange(DAYS * 24)
    volume = per_day / 24 * VOLUME[hours // 24 % 7]
    paged = 0
    for _ in range(quarters):
        sessions = rng.poisson(volume)
        failed = rng.binomial(sessions, target, (len(WEIGHTS), len(hours)))
        over = False
        for width, burn in PAGES:
            window = np.ones(width)
            of = np.convolve(sessions, window)[: len(hours)]
            for row in failed:
                bad = np.convolve(row, window)[: len(hours)]
                over = over or bool((bad >= burn * target * np.maximum(of, 1)).any())
        paged += over
    return paged / quarters


def returning(rng, per_day, target, comes):
    """Tell whether a quiet quarter pages where users come back, as good or bad as they were."""
    users = round(per_day / PER_USER / comes)
    ones, zeros = (share * (1 / ICC - 1) for share in (target, 1 - target))
    day, user = np.nonzero(rng.random((DAYS, users)) < comes)
    n = rng.choice([1, 2, 3], len(day), p=SESSIONS)
    for alpha in ALPHAS:
        own = rng.beta(ones, zeros, users)
        value = rng.binomial(n, own[user]) / n
        if evidence(day, user, value, target=target, days=DAYS).max() >= 1 / alpha:
            return 1.0
    return 0.0


def detection(rng, per_day, target, times, alpha):
    """Return the days from the start of a burn to its alert; infinite where none came."""
    start = int(rng.integers(7, DAYS - 14))
    day = np.repeat(np.arange(DAYS), rng.poisson(per_day / PER_USER, DAYS))
    rate = np.where(day >= start, times, 1.0) * target
    n = rng.choice([1, 2, 3], len(day), p=SESSIONS)
    own = rng.beta(rate * (1 / ICC - 1), (1 - rate) * (1 / ICC - 1))
    value = rng.binomial(n, own) / n
    found = evidence(day, np.arange(len(day)), value, target=target, days=DAYS) >= 1 / alpha
    late = np.flatnonzero(found[start:])
    return late[0] + 1 if len(late) else np.inf


def spread(function, arguments, times):
    """Call a function with generators of their own, on two cores."""
    seeds = np.random.SeedSequence(SEED).spawn(times)
    run = delayed(function)
    return np.array(
        Parallel(n_jobs=2)(run(np.random.default_rng(seed), *arguments) for seed in seeds)
    )


def alerts(holds):
    """Quiet quarters in every cell, with users who come back, and burns."""
    batch = 20
    for per_day, target in CELLS:
        ours = spread(quiet, (per_day, target, batch), QUARTERS // batch).mean()
        about = f"{per_day} sessions a day, target {target:.1%}"
        rules = spread(burn_rules, (per_day, target, 50), 2).mean()
        peer = f"burn-rate rules page in {rules:.0%} of 100"
        text = f"false page in a quiet quarter of 50 modes; {about}; n {QUARTERS}"
        holds.append(claim(text, ours, ALPHA, peer))
    for per_day, target, comes in ((200, 0.02, 0.3), (50, 0.005, 0.3)):
        paged = spread(returning, (per_day, target, comes), OFTEN).mean()
        about = (
            f"users who come on {comes:.0%} of the days; {per_day} a day, {target:.1%}; n {OFTEN}"
        )
        holds.append(claim(f"false page in a quiet quarter; {about}", paged, ALPHA, "none"))
    for times, most in ((3, 3), (10, 1)):
        for severity, weight in (("user impact", 3), ("polish", 1)):
            alpha = ALPHAS[WEIGHTS == weight][0]
            days = np.median(spread(detection, (200, 0.02, times, alpha), 5 * OFTEN))
            text = f"median days until a burn of {times}x alerts; 200 a day, 2%, {severity}"
            if severity == "polish":
                show(text, days, "none")
            else:
                holds.append(claim(text, days, most, "none"))


def planted(rng, cause):
    """Plant a change of the judge, the provider or the traffic, and name what moved.

    The flagged share of two months of 2,000 sessions each goes from about 5% to about 11%. The
    judge is run again on 1,000 of the old sessions; 400 cases are replayed daily, a week before and
    one after. All errors are the judge's from call to call.
    """
    hard = {"before": 0.1, "after": 0.45 if cause == "traffic" else 0.1}
    rates = np.array([0.02, 0.18])
    worse = rates + (0.065 if cause == "provider" else 0)
    tpr, fpr = (0.85, 0.016), (0.9, 0.08) if cause == "judge" else (0.85, 0.016)

    def judged(fails, errors):
        return rng.random(fails.shape) < np.where(fails, *errors)

    segments = {when: (rng.random(2_000) < share).astype(int) for when, share in hard.items()}
    fails = {"before": rng.random(2_000) < rates[segments["before"]]}
    fails["after"] = rng.random(2_000) < worse[segments["after"]]
    flagged = {"before": judged(fails["before"], tpr), "after": judged(fails["after"], fpr)}
    again = np.full(2_000, np.nan)
    again[:1_000] = judged(fails["before"][:1_000], fpr)
    sides = ((np.ones(2_000), flagged[when][:, None]) for when in segments)
    whole = share_changes(*sides, level=1 - ALPHA / len(WEIGHTS))[0].shift
    judge = paired_change(flagged["before"][:1_000], again[:1_000], rng=rng).delta
    kind = (rng.random(400) < hard["before"]).astype(int)
    cases = [judged(rng.random((7, 400)) < rate[kind], fpr).ravel() for rate in (rates, worse)]
    canary = paired_change(*cases, groups=np.tile(np.arange(400), 7), rng=rng).delta
    return find_cause(whole, judge, canary)


def causes(holds):
    """Name a planted cause, 100 of each kind."""
    found = {"judge": "judge", "provider": "product", "traffic": "traffic"}
    read = {cause: spread(planted, (cause,), 2 * OFTEN) for cause in found}
    right = np.mean([read[cause] == name for cause, name in found.items()])
    open_ones = ["cannot tell", "no move shown", "several"]
    wrong = [(read[c] != name) & ~np.isin(read[c], open_ones) for c, name in found.items()]
    about = "planted changes of judge, provider and traffic, 100 each"
    holds.append(claim(f"{about}: attributed right", right, 0.9, "none", at_most=False))
    holds.append(claim(f"{about}: confidently wrong", np.mean(wrong), 0.05, "none"))


PARTS = {"alerts": alerts, "causes": causes, "issues": check_medians}

if __name__ == "__main__":
    sys.exit(run_parts(PARTS, __doc__))
