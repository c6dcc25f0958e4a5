"""Several candidates on the same cases: the chosen one's true rate, and who is beaten by nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ._arguments import Floats, check_level
from ._resampling import PRIOR, central_interval, from_draws
from .estimate import Estimate

DRAWS, RESAMPLES = 4_000, 2_000
UNUSUAL, FAR = 0.1, 1.0
"""Chance that a candidate is unlike the others, and by how much on the scale of logits."""


def shrunken_rates(
    fails: ArrayLike, *, level: float = 0.95, rng: np.random.Generator
) -> tuple[Estimate, ...]:
    r"""Estimate the failure rate of each candidate, however it was chosen among them.

    The best of many is best by luck too. Estimand: P(candidate fails) over the population the cases
    stand for, of each column of ``fails`` (cases, candidates): 0, 1, or a share of repeats; nan not
    known. On logits :math:`y_i \sim N(\theta_i, v_i)`, where v is the binomial variance less what
    the candidates share by having the same cases; that moves all of them alike, and is added last.
    :math:`\theta_i \sim N(\mu, \tau^2)`, but in one of ten :math:`N(\mu, 1)`: one that is far off
    is not drawn to the others. :math:`v / (v + \tau^2)` has a uniform prior, proper with two
    candidates too. It misleads where candidates were tried that are not given.

    Source: Morris (1983) JASA 78:47; Daniels (1999) Canadian J. Statistics 27:567 (the prior).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fails = rng.random((400, 40)) < 0.1
    >>> best = min(each.estimate for each in shrunken_rates(fails, rng=rng))
    >>> round(float(fails.mean(axis=0).min()), 2), round(best, 2)
    (0.07, 0.1)
    """
    check_level(level)
    table = np.atleast_2d(np.asarray(fails, dtype=np.float64))
    known = ~np.isnan(table)
    n = known.sum(axis=0)
    if table.size == 0 or not n.all():
        raise ValueError(f"fails must have a known case of each candidate, got {n.tolist()}")
    failed = np.where(known, table, 0.0).sum(axis=0)
    rates = (failed + 0.5) / (n + 1)
    logits, variance = special.logit(rates), 1 / (n * rates * (1 - rates))
    shared = _shared(table)
    theta = _draw_logits(logits, (1 - shared) * variance, rng)
    common = np.sqrt(shared * variance) * rng.standard_normal((DRAWS, 1))
    truths = special.expit(theta + common)
    method = "shrunken to the candidates' mean"
    return tuple(
        Estimate(float(own.mean()), *central_interval(own, level), level, method, int(n[at]))
        for at, own in enumerate(truths.T)
    )


def _draw_logits(logits: Floats, variance: Floats, rng: np.random.Generator) -> Floats:
    """Draw (draws, candidates) of their logits from the posterior on a grid of mean and spread."""
    error = np.sqrt(variance.mean())
    means = logits.mean() + error * np.linspace(-4, 4, 81)[:, None, None]
    share = ((np.arange(40) + 0.5) / 40)[None, :, None]
    spreads = np.stack([variance.mean() * (1 - share) / share, np.full_like(share, FAR**2)])
    total = spreads + variance
    parts = (
        np.array([1 - UNUSUAL, UNUSUAL])[:, None, None, None]
        * np.exp(-((logits - means) ** 2) / (2 * total))
        / np.sqrt(total)
    )
    weight = np.log(parts.sum(axis=0)).sum(axis=-1)
    chance = np.exp(weight - weight.max()).ravel()
    at = np.unravel_index(rng.choice(chance.size, DRAWS, p=chance / chance.sum()), weight.shape)
    odd = rng.random((DRAWS, len(logits))) < (parts[1] / parts.sum(axis=0))[at]
    prior = np.where(odd, FAR**2, spreads[0, 0, at[1]])
    keeps = prior / (prior + variance)
    middle = keeps * logits + (1 - keeps) * means[at[0], 0]
    drawn: Floats = middle + np.sqrt(keeps * variance) * rng.standard_normal(middle.shape)
    return drawn


def _shared(table: Floats) -> float:
    """Return the mean correlation of two candidates over the cases that all have."""
    whole = table[~np.isnan(table).any(axis=1)]
    if table.shape[1] < 2 or len(whole) < 2:
        return 0.0
    covariance = np.cov(whole, rowvar=False)
    own = np.trace(covariance)
    pairs = table.shape[1] - 1
    return float(np.clip((covariance.sum() - own) / (own * pairs), 0, 0.99)) if own else 0.0


def paired_means(
    values: ArrayLike, *, baseline: int, level: float = 0.95, rng: np.random.Generator
) -> tuple[list[Estimate], list[Estimate]]:
    """Estimate each candidate's mean of cost or time, and its ratio to the baseline's.

    ``values`` (cases, candidates) are at least 0, nan not known. The intervals are of a Bayesian
    bootstrap (Rubin 1981) of cases, which all candidates share. They are too short under some 20
    cases, and where a few cases make up most of the sum.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> means, ratios = paired_means([[1, 2], [2, 4], [3, 7]], baseline=0, rng=rng)
    >>> [each.estimate for each in means], round(ratios[1].estimate, 2)
    ([2.0, 4.333333333333333], 2.17)
    """
    check_level(level)
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise ValueError(f"values must have rows of cases and columns, got shape {table.shape}")
    beside = np.broadcast_to(table[:, [baseline]], table.shape)
    known, both = ~np.isnan(table), ~np.isnan(table + beside)
    weights = np.vstack([np.ones(len(table)), _draw_weights(len(table), rng)])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = weights @ np.where(known, table, 0) / (weights @ known)
        ratios = weights @ np.where(both, table, 0) / (weights @ np.where(both, beside, 0))

    def estimate(drawn: Floats, used: NDArray[np.bool_], why: str) -> list[Estimate]:
        how: Any = {"level": level, "method": "Bayesian bootstrap of cases"}
        return [
            from_draws(
                float(own[0]), own[1:], n=int(n), reason=why if np.isnan(own[0]) else "", **how
            )
            for own, n in zip(drawn.T, used.sum(axis=0), strict=True)
        ]

    unknown = "not recorded on both sides"
    return estimate(means, known, "nobody recorded it"), estimate(ratios, both, unknown)


def share_won(values: ArrayLike, *, level: float = 0.95, rng: np.random.Generator) -> Estimate:
    """Estimate the mean of values from 0 to 1, such as wins of cases with ties.

    A Bayesian bootstrap of the cases and of half a case at 0 and at 1, which is Jeffreys' interval
    where there are no ties: who won all of ten cases may still lose the next.

    Examples
    --------
    >>> found = share_won([1] * 10, rng=np.random.default_rng(0))
    >>> found.estimate, round(found.low, 1), found.high
    (1.0, 0.8, 1.0)
    """
    check_level(level)
    known = np.asarray(values, dtype=np.float64)
    weights = rng.dirichlet(np.append(np.ones(len(known)), [PRIOR, PRIOR]), size=RESAMPLES)
    method, n = "Bayesian bootstrap of cases, smoothed", len(known)
    return from_draws(
        float(known.mean()), weights @ np.append(known, [0.0, 1.0]), level, method=method, n=n
    )


def front_chances(fails: ArrayLike, costs: ArrayLike, *, rng: np.random.Generator) -> Floats:
    """Return the chance of each candidate that none is both better and cheaper.

    Cases are resampled, the same ones for all candidates, for ``fails`` and ``costs`` (cases,
    candidates); cases that one lacks are left out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> front_chances([[0, 1, 1], [0, 0, 1], [1, 1, 1]], [[3, 2, 4]] * 3, rng=rng).round(1).tolist()
    [1.0, 1.0, 0.0]
    """
    bad, dear = (np.asarray(each, dtype=np.float64) for each in (fails, costs))
    whole = ~np.isnan(bad + dear).any(axis=1)
    weights = _draw_weights(int(whole.sum()), rng)
    rate, cost = weights @ bad[whole], weights @ dear[whole]
    better = (rate[:, :, None] <= rate[:, None]) & (cost[:, :, None] <= cost[:, None])
    strictly = (rate[:, :, None] < rate[:, None]) | (cost[:, :, None] < cost[:, None])
    chances: Floats = 1 - (better & strictly).any(axis=1).mean(axis=0)
    return chances


def _draw_weights(n: int, rng: np.random.Generator) -> Floats:
    return rng.dirichlet(np.ones(n), size=RESAMPLES)
