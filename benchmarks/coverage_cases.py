"""Simulated data sets for coverage.py: every estimator and its peers on the same draws.

Every data set goes through the functions that a user's goes through; data sets with equal counts
have equal intervals and are worked out once.
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from judgy import estimate_success_rate
from ppi_py import ppi_mean_ci
from scipy import special
from scipy import stats as scipy_stats

from evalbench.stats._resampling import (
    PRIOR,
    Units,
    dirichlet_weights,
    estimate_all,
    mover_wilson,
    normal_quantile,
    wilson,
)
from evalbench.stats.binary import MEASURES
from evalbench.stats.rates import corrected_draws, rate_draws

LEVEL = 0.95
TAILS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
BLOCK = 100
DRAWN = ("mcc", "kappa", "f1")
CLOSED = ("precision", "balanced_accuracy")
JUDGED = 2_000
CASES = list(itertools.product((0.02, 0.1, 0.3), (0.7, 0.9), (0.9, 0.99), (50, 100, 300, 1000)))


def joint(prevalence, tpr, tnr):
    """Probabilities of the cells tp, fn, fp, tn."""
    failing = prevalence * np.array([tpr, 1 - tpr])
    return np.concatenate([failing, (1 - prevalence) * np.array([1 - tnr, tnr])])


def row_quantiles(draws, tails=TAILS):
    """Quantiles of every row, leaving out draws that are nan; ``tails`` broadcasts over rows."""
    draws = np.sort(draws, axis=-1)
    last = np.isfinite(draws).sum(axis=-1, keepdims=True) - 1
    place = np.clip(last * tails, 0, None)
    below = place.astype(int)
    low = np.take_along_axis(draws, below, -1)
    return low + (place - below) * (
        np.take_along_axis(draws, np.minimum(below + 1, np.maximum(last, 0)), -1) - low
    )


def unique_tables(sample):
    """Distinct rows of counts in blocks, with how often each came up."""
    rows, times = np.unique(sample, axis=0, return_counts=True)
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK].astype(float), times[start : start + BLOCK]


class Tally:
    """Coverage and width by estimator and method over the data sets of one case."""

    def __init__(self, family, *, exact=False, **case):
        self.head = {"family": family, "exact": exact, **case}
        self.sums = {}
        self.ours = set()

    def add(self, estimator, method, interval, truth, times=1, *, ours=False):
        low, high = np.moveaxis(np.asarray(interval, dtype=float), -1, 0)
        covers = (low <= truth) & (truth <= high)  # an interval of nan holds nothing
        width = np.where(np.isnan(high - low), 0, high - low)
        times = np.broadcast_to(times, covers.shape)
        if ours:
            self.ours.add((estimator, method))
        sums = self.sums.setdefault((estimator, method), np.zeros(3))
        sums += [(covers * times).sum(), (width * times).sum(), times.sum()]

    def rows(self):
        for (estimator, method), (covers, width, total) in self.sums.items():
            yield self.head | {
                "estimator": estimator,
                "method": method,
                "ours": (estimator, method) in self.ours,
                "sets": total,
                "coverage": covers / total,
                "width": width / total,
            }


def bca(draws, value, left_out, counts):
    """BCa tails of every row of bootstrap draws, from the delete-one values of its four cells."""
    below = (draws < value[:, None]).mean(-1) + (draws == value[:, None]).mean(-1) / 2
    weight = np.where(np.isfinite(left_out), counts, 0)
    left_out = np.nan_to_num(left_out)
    gap = ((weight * left_out).sum(-1) / weight.sum(-1))[:, None] - left_out
    acceleration = (weight * gap**3).sum(-1) / (6 * (weight * gap**2).sum(-1) ** 1.5)
    bias = special.ndtri(below)[:, None]
    z = bias + special.ndtri(TAILS)
    tails = special.ndtr(bias + z / (1 - acceleration[:, None] * z))
    return np.where(np.isfinite(tails), row_quantiles(draws, np.nan_to_num(tails)), np.nan)


def alignment_rows(case, datasets, resamples, rng):
    """A judge against people: four cells drawn at random, every measure, every method."""
    prevalence, tpr, tnr, n = case
    cells = joint(prevalence, tpr, tnr)
    tally = Tally(
        "alignment", prevalence=prevalence, tpr=tpr, tnr=tnr, n=n, expected=n * prevalence
    )
    truth = {name: float(measure(cells)) for name, measure in MEASURES.items()}
    for tables, times in unique_tables(rng.multinomial(n, cells, size=datasets)):
        weights = dirichlet_weights(tables, rng, prior=PRIOR, resamples=resamples)
        for name in (*DRAWN, *CLOSED):
            interval = row_quantiles(MEASURES[name](weights))
            value = MEASURES[name](tables)[:, None]
            interval = np.stack(
                [np.fmin(interval[:, :1], value), np.fmax(interval[:, 1:], value)], -1
            )[:, 0]
            tally.add(name, "smoothed", interval, truth[name], times, ours=name in DRAWN)
    for tables, times in unique_tables(rng.multinomial(n, cells, size=max(100, datasets // 10))):
        shares = (tables / n)[:, None]
        again = rng.multinomial(n, shares, size=(len(tables), resamples)).astype(float)
        for name in (*DRAWN, *CLOSED):
            measure = MEASURES[name]
            value, left_out = measure(tables), measure(tables[:, None] - np.eye(4))
            draws = measure(again)
            tally.add(name, "percentile", row_quantiles(draws), truth[name], times)
            tally.add(name, "BCa", bca(draws, value, left_out, tables), truth[name], times)
            mean = np.nansum(tables * left_out, -1, keepdims=True) / n
            spread = np.sqrt((n - 1) / n * np.nansum(tables * (left_out - mean) ** 2, -1))
            wald = value[:, None] + spread[:, None] * normal_quantile(LEVEL) * np.array([-1, 1])
            tally.add(name, "Wald", wald, truth[name], times)
    return tally.rows()


def grouped_rows(case, datasets, resamples, rng):
    """Ten sessions a user, whose failure rate, and the judge's errors on whom, are the user's."""
    prevalence, tpr, tnr, k = case
    tally = Tally(
        "grouped",
        prevalence=prevalence,
        tpr=tpr,
        tnr=tnr,
        n=10 * k,
        groups=k,
        expected=10 * k * prevalence,
    )
    cells = joint(prevalence, tpr, tnr)
    measures = {name: MEASURES[name] for name in ("mcc", "kappa", "f1", "tpr", "tnr")}
    group = np.repeat(np.arange(k), 10)
    strength = 4  # intraclass correlation 1 / (1 + strength) = .2
    truth = {name: float(measure(cells)) for name, measure in measures.items()}
    for drawn in range(datasets):
        mean = np.array([prevalence, tpr, tnr])[:, None]
        user = rng.beta(mean * strength, (1 - mean) * strength, size=(3, k))[:, group]
        fails, right_fail, right_pass = rng.random((3, 10 * k)) < user
        cell = np.where(fails, 1 - right_fail, 2 + right_pass)
        users = Units.of(cell, 4, group)
        ways = {"design effect": users}
        if drawn < datasets // 10:
            ways["groups ignored"] = Units.of(cell, 4, None)
            shares = users.times / users.size
            again = rng.multinomial(users.size, shares, size=resamples) @ users.patterns
            for name, measure in measures.items():
                ends = row_quantiles(measure(again)[None])[0]
                tally.add(name, "cluster percentile", ends, truth[name])
        for method, units in ways.items():
            answers = estimate_all(measures, units, level=LEVEL, rng=rng, resamples=resamples)
            for name, answer in answers.items():
                ends = (answer.low, answer.high)
                tally.add(name, method, ends, truth[name], ours=method == "design effect")
    return tally.rows()


def double_sampling_rows(case, datasets, resamples, rng):
    """Labels drawn uniformly, the judge's verdict known of the whole population."""
    prevalence, tpr, tnr, n = case
    cells = joint(prevalence, tpr, tnr)
    tally = Tally(
        "rate by verdict",
        prevalence=prevalence,
        tpr=tpr,
        tnr=tnr,
        n=n,
        expected=n * prevalence,
    )
    shares = np.array([cells[0] + cells[2], cells[1] + cells[3]])
    for tables, times in unique_tables(rng.multinomial(n, cells, size=datasets)):
        tp, fn, fp, tn = tables.T
        fails, labels = np.stack([tp, fn], -1), np.stack([tp + fp, fn + tn], -1)
        draws = rate_draws(shares, fails, labels, rng, resamples) @ shares
        interval = row_quantiles(draws)
        tally.add("rate", "double sampling", interval, prevalence, times, ours=True)
        alone = np.stack(wilson(tp + fn, n, LEVEL), -1)
        tally.add("rate", "labels alone", alone, prevalence, times)
        error = (tp + fn - tp - fp) / n
        spread = ((fp + fn) / n - error**2) / n
        half = normal_quantile(LEVEL) * np.sqrt(spread)
        value = shares[0] + error
        tally.add("rate", "PPI", np.stack([value - half, value + half], -1), prevalence, times)
    return tally.rows()


def stratified_rows(prevalence, strata, n, datasets, resamples, rng):
    """Labels read where signals are: strata of unequal rates, each given the same labels."""
    size = n // strata
    shares = np.linspace(1, 5, strata)
    shares /= shares.sum()
    rates = np.linspace(3, 0.5, strata)
    rates *= prevalence / (shares @ rates)
    tally = Tally(
        f"rate over {strata} strata",
        prevalence=prevalence,
        n=n,
        expected=float(size * rates.sum()),
    )
    for fails, times in unique_tables(rng.binomial(size, rates, size=(datasets, strata))):
        labels = np.full_like(fails, size)
        interval = row_quantiles(rate_draws(shares, fails, labels, rng, resamples) @ shares)
        value = fails / size @ shares
        tally.add(
            "rate",
            "stratified",
            np.stack([np.minimum(interval[:, 0], value), np.maximum(interval[:, 1], value)], -1),
            prevalence,
            times,
            ours=True,
        )
        halves = rng.beta(
            fails[:, None] + 0.5, size - fails[:, None] + 0.5, size=(len(fails), resamples, strata)
        )
        tally.add("rate", "1/2 in each", row_quantiles(halves @ shares), prevalence, times)
        mover = np.stack(mover_wilson(shares, fails, labels, LEVEL), -1)
        tally.add("rate", "MOVER-Wilson", mover, prevalence, times)
        p = fails / size
        ends = normal_quantile(LEVEL) * np.array([-1, 1])
        spread = np.sqrt((shares**2 * p * (1 - p) / (size - 1)).sum(-1))
        tally.add("rate", "Wald", value[:, None] + spread[:, None] * ends, prevalence, times)
        # Horvitz-Thompson, the variance from weighted outcomes as if drawn with replacement.
        second = (shares**2 * p * strata).sum(-1)
        spread = np.sqrt((second - value**2) / n)
        tally.add(
            "rate", "Horvitz-Thompson", value[:, None] + spread[:, None] * ends, prevalence, times
        )
        tally.add(
            "rate", "naive mean", np.stack(wilson(fails.sum(-1), n, LEVEL), -1), prevalence, times
        )
    return tally.rows()


def corrected_rows(case, datasets, resamples, rng):
    """A judge calibrated on n other sessions, corrected on 2,000 of its own."""
    prevalence, tpr, tnr, n = case
    cells = joint(prevalence, tpr, tnr)
    tally = Tally(
        "corrected rate",
        prevalence=prevalence,
        tpr=tpr,
        tnr=tnr,
        n=n,
        expected=n * prevalence,
    )
    sample = np.column_stack(
        [
            rng.multinomial(n, cells, size=datasets),
            rng.binomial(JUDGED, cells[0] + cells[2], size=datasets),
        ]
    )
    sample = sample[(sample[:, :2].sum(-1) > 0) & (sample[:, 2:4].sum(-1) > 0)]
    for rows, times in unique_tables(sample):
        tp, fn, fp, tn, flagged = rows.T
        draws, _ = corrected_draws(flagged, JUDGED, tp, fn, fp, tn, rng, resamples)
        interval = row_quantiles(np.clip(draws, 0, 1))
        tally.add("rate", "Rogan-Gladen", interval, prevalence, times, ours=True)
        sensitivity = (
            rng.binomial(
                (tp + fn).astype(int)[:, None], (tp / (tp + fn))[:, None], size=(len(tp), resamples)
            )
            / (tp + fn)[:, None]
        )
        specificity = (
            rng.binomial(
                (fp + tn).astype(int)[:, None], (tn / (fp + tn))[:, None], size=(len(tp), resamples)
            )
            / (fp + tn)[:, None]
        )
        power = np.where(sensitivity + specificity > 1, sensitivity + specificity - 1, np.nan)
        fixed = np.clip(((flagged / JUDGED)[:, None] + specificity - 1) / power, 0, 1)
        tally.add("rate", "raw rate held fixed", row_quantiles(fixed), prevalence, times)
    return tally.rows()


def library_rows(case, datasets, rng):
    """The same data sets through scipy's BCa over rows, judgy and ppi-python, as they ship."""
    prevalence, tpr, tnr, n = case
    cells = joint(prevalence, tpr, tnr)
    tally = Tally(
        "libraries", prevalence=prevalence, tpr=tpr, tnr=tnr, n=n, expected=n * prevalence
    )
    for _ in range(datasets):
        table = rng.multinomial(n, cells)
        human, judge = (np.repeat(side, table) for side in ([1, 1, 0, 0], [1, 0, 1, 0]))
        flagged = rng.binomial(JUDGED, cells[0] + cells[2])
        everything = np.repeat([1, 0], [flagged, JUDGED - flagged])

        def f1(t, v, axis):
            return 2 * (t * v).sum(axis) / (t.sum(axis) + v.sum(axis))

        with np.errstate(all="ignore"):
            interval = scipy_stats.bootstrap(
                (human, judge), f1, paired=True, vectorized=True, n_resamples=999, rng=rng
            ).confidence_interval
        tally.add("f1", "scipy BCa", tuple(interval), float(MEASURES["f1"](cells)))
        try:
            _, low, high = estimate_success_rate(1 - human, 1 - judge, 1 - everything, 300)
        except (ValueError, RuntimeError):
            low = high = np.nan
        tally.add("rate", "judgy", (1 - high, 1 - low), prevalence)
        for method, weight in (("ppi-python", 1), ("ppi-python++", None)):
            low, high = ppi_mean_ci(human, judge, everything, alpha=1 - LEVEL, lam=weight)
            tally.add("rate", method, (low.item(), high.item()), prevalence)
    return tally.rows()


def simulate(datasets, resamples, rng):
    """One row a case, estimator and method."""
    rows = []
    few = max(20, datasets // 40)
    with np.errstate(divide="ignore", invalid="ignore"):
        for case in CASES:
            rows += alignment_rows(case, datasets, resamples, rng)
            rows += double_sampling_rows(case, datasets, resamples, rng)
            rows += corrected_rows(case, datasets, resamples, rng)
        for case in itertools.product((0.1, 0.3), (0.7, 0.9), (0.9,), (30, 100, 300)):
            rows += grouped_rows(case, datasets // 5, resamples, rng)
        for prevalence, strata, n in itertools.product((0.02, 0.1, 0.3), (3, 10), (100, 300, 1000)):
            rows += stratified_rows(prevalence, strata, n, datasets, resamples, rng)
        for case in itertools.product((0.02, 0.1), (0.9,), (0.9,), (100, 300)):
            rows += library_rows(case, few // 2, rng)
    return pl.DataFrame(rows, infer_schema_length=None)
