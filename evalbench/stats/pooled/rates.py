"""Failure rates of many modes over windows that share evaluators, and how they changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from evalbench.stats._arguments import Floats, Integers, check_level
from evalbench.stats._resampling import central_interval
from evalbench.stats.estimate import Estimate

from .chain import Posterior, Step, condition, follow, move
from .counts import Windows
from .drift import Drift, measure_drift
from .grids import jitter, quantiles, systematic, within
from .likelihood import draw_failures, judged_likelihood
from .priors import fit_priors

METHOD = "joint model of all windows"
DRAWS = 1000
LOSSES = (0.05, 0.1, 0.15, 0.2)
"""Losses of TPR in the newer window that an improvement is tried against."""
RULED_OUT = float(np.exp(-1.353))
"""Likelihood ratio below which labels exclude a loss: one-sided 5%."""


@dataclass(frozen=True, slots=True)
class PooledChange:
    """How one mode's rate changed from one window to the next.

    ``p_value`` is two-sided and ``p_improved`` one-sided, against no change. ``p_despite`` is the
    latter under the loss of TPR, up to :data:`LOSSES`' largest, that explains the improvement best
    and that the labels do not exclude; ``loss_survived`` the largest tried under which the
    improvement still stands at the level: nan where it is no improvement, or no evaluator judged.
    """

    before: Estimate
    after: Estimate
    delta: Estimate
    p_value: float
    p_improved: float
    p_despite: float
    loss_survived: float


@dataclass(frozen=True, slots=True)
class PooledRates:
    """Rates by mode and window, changes by mode and from each window to the next.

    ``rates`` are shares of a window's own sessions, ``processes`` the rates at which the product
    would fail over many more like them. ``trends`` are of the logarithm of the rate, a window.
    ``shifted`` windows have evaluators that are shown to be unlike those of the others: they are
    estimated on their own.
    """

    rates: tuple[tuple[Estimate, ...], ...]
    processes: tuple[tuple[Estimate, ...], ...]
    changes: tuple[tuple[PooledChange, ...], ...]
    trends: tuple[Estimate, ...]
    shifted: tuple[bool, ...]
    drift: Drift


def pooled_rates(counts: Windows, *, level: float = 0.95, rng: np.random.Generator) -> PooledRates:
    r"""Estimate rates and changes of all modes of a surface in a joint model of its windows.

    Estimand: for a rate, the share of the window's sessions that people would say fail; for a
    change, the difference of the rates at which the product fails. Labels of all windows tell how
    an evaluator errs, its verdicts on all sessions of a window tell the window's rate.

    The logits of a version's TPR and FPR have a normal prior that the modes of the surface share,
    and those of a window are normal about the version's, or with a chance of .05 its own. A window
    where they are shown to differ over all modes is not pooled. In a change, the rate moves between
    earlier windows with a chance of .3, and is the same otherwise. All integrals are sums on grids;
    only the unlabelled sessions of a window are drawn at random.

    Assumes that labels are drawn at random within strata, and that an evaluator errs alike in all
    strata of a window. It misleads where a single evaluator loses TPR in the newest window: so an
    improvement is tried against such losses too (:class:`PooledChange`). A TPR that wanders by .1
    (standard deviation) from window to window leaves a coverage of .937.

    Parameters
    ----------
    counts : Windows
        Labels, failures and sessions by verdict, (3, modes, windows).

    Source: Gelman et al. (2013), Bayesian Data Analysis, ch. 5; Robins, Rotnitzky & Zhao (1994) for
    double samples. Coverage: ``benchmarks/decide.py``.

    Examples
    --------
    >>> sessions = np.array([[[90.0, 50.0]], [[1910.0, 1950.0]], [[0.0, 0.0]]])
    >>> labels = np.array([[[60.0, 40.0]], [[60.0, 60.0]], [[0.0, 0.0]]])
    >>> failures = np.array([[[40.0, 12.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    >>> counts = Windows(sessions, labels, failures, np.zeros((1, 2), dtype=np.int64))
    >>> (change,) = pooled_rates(counts, rng=np.random.default_rng(1)).changes[0]
    >>> change.delta.high < 0
    True
    """
    check_level(level)
    # Small matrices: threads cost more than they bring, and sums would differ by their number.
    with threadpool_limits(1, user_api="blas"):
        return _fit(counts, level, rng)


def _fit(counts: Windows, level: float, rng: np.random.Generator) -> PooledRates:
    priors, histories = fit_priors(counts)
    n_modes, n_windows = counts.version.shape
    drift = measure_drift(histories, priors, n_windows)
    rates, processes, changes, trends = [], [], [], []
    for mode in range(n_modes):
        own = [condition(each, priors, drift) for each in histories if each.mode == mode]
        masses = {
            int(window): (posterior, at, mass)
            for posterior in own
            for at, (window, mass) in enumerate(
                zip(posterior.history.windows, posterior.masses(), strict=True)
            )
        }
        windows = [masses[window] for window in range(n_windows)]
        rates.append(tuple(_rate(*each[:2], drift, level, rng) for each in windows))
        processes.append(tuple(_process(*each, level) for each in windows))
        gaps = _differences(expit(own[0].history.rate))
        changes.append(tuple(_change(step, drift, gaps, level) for step in follow(own)))
        trends.append(_trend(own, n_windows, level, rng))
    shifted = tuple((drift.own == 1).tolist())
    return PooledRates(
        tuple(rates), tuple(processes), tuple(changes), tuple(trends), shifted, drift
    )


def _rate(
    posterior: Posterior, at: int, drift: Drift, level: float, rng: np.random.Generator
) -> Estimate:
    """Return the share of a window's sessions that fail: those labelled, the others by draws."""
    history = posterior.history
    own = history.counts[:, :, at]
    chance = drift.own[history.windows[at]]
    version = (posterior.weight() / posterior.evidence[at]).reshape(history.likelihood.shape[1:3])
    moves_t, moves_f = posterior.moves
    window = (1 - chance) * (moves_t.T @ version @ moves_f)
    window += chance * version.sum() * posterior.prior.reshape(version.shape)
    given = history.likelihood[at] * posterior.rate
    pairs, lots = systematic((window * given.sum(-1)).ravel(), DRAWS, rng)
    p = within(given.reshape(-1, given.shape[-1]), pairs, lots)
    t, f = np.unravel_index(pairs, window.shape)
    judge = expit(history.sensitivity[t]), expit(history.false_alarm[f])
    total = own[0].sum()
    draws = draw_failures(own, jitter(history.rate, p, rng), *judge, rng)
    if doubt := history.doubt[at]:
        draws = np.clip(np.rint(rng.normal(draws, np.sqrt(doubt))), 0, total)
    draws = draws / total
    low, high = central_interval(draws, level)
    share = float(draws.mean())
    low, high = min(low, share), max(high, share)  # of one session left the mean may lie outside
    unlike = "not pooled: the evaluator is unlike that of the other windows"
    reason = unlike if posterior.own[at] > 0.5 else ""
    return Estimate(share, low, high, level, METHOD, int(total), reason)


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


def _process(posterior: Posterior, at: int, mass: Floats, level: float) -> Estimate:
    """Return the mean and the central interval of mass on the grid of the rate."""
    grid = posterior.history.rate
    low, high = expit(quantiles(grid, mass, _tails(level))).tolist()
    total = int(posterior.history.counts[0, :, at].sum())
    return Estimate(float(mass @ expit(grid)), low, high, level, METHOD, total)


def _differences(rate: Floats) -> tuple[Floats, Integers]:
    """Return after - before of every pair on the grid, and the order of their sizes."""
    difference = (rate[None, :] - rate[:, None]).ravel()
    return difference, np.argsort(difference, kind="stable")


def _change(step: Step, drift: Drift, gaps: tuple[Floats, Integers], level: float) -> PooledChange:
    posterior, (difference, order) = step.posterior, gaps
    joint = step.joint()
    before, after = (
        _process(posterior, step.at, mass, level) for mass in (joint.sum(1), joint.sum(0))
    )
    mass = joint.ravel()[order]
    low, high = np.interp(_tails(level), np.cumsum(mass) - mass / 2, difference[order]).tolist()
    delta = replace(after, estimate=float(joint.ravel() @ difference), low=low, high=high)
    worse = _worse(joint)
    judged, stands = posterior.history.judged, worse < (1 - level) / 2
    losses = _losses(step, drift) if judged and stands else {}
    tried = [worse, *losses.values()]
    standing = [loss for n, loss in enumerate(losses, 2) if max(tried[:n]) < 1 - level]
    return PooledChange(
        before=before,
        after=after,
        delta=delta,
        p_value=min(1.0, 2 * min(worse, 1 - worse)),
        p_improved=worse,
        p_despite=max(tried),
        loss_survived=max(standing, default=0.0) if losses else np.nan,
    )


def _worse(joint: Floats) -> float:
    """Return the mass of a higher rate after than before, ties halved."""
    return min(float(np.triu(joint, 1).sum() + np.trace(joint) / 2), 1.0)


def _losses(step: Step, drift: Drift) -> dict[float, float]:
    """Return the one-sided p-value of an improvement by the loss of TPR; 0 where ruled out."""
    history, at = step.posterior.history, step.at
    own, chance = history.counts[:, :, [at]], drift.own[history.windows[at]]
    found, evidence, top = {}, list[float](), np.nan
    for loss in (0.0, *LOSSES):
        lost = logit(np.maximum(expit(history.sensitivity) - loss, 0.02))
        logs = judged_likelihood(own, history.rate, lost, history.false_alarm)
        top = top if evidence else logs.max()
        likelihood = np.exp(logs - top)
        near = move(likelihood, step.posterior.moves).reshape(-1, likelihood.shape[-1])
        anywhere = step.posterior.prior @ likelihood.reshape(near.shape)
        given = (1 - chance) * near + chance * anywhere
        evidence.append(float(step.pairs @ (given @ step.posterior.rate)))
        excluded = evidence[-1] < RULED_OUT * max(evidence)
        found[loss] = 0.0 if excluded else _worse(step.joint(given))
    return {loss: found[loss] for loss in LOSSES}


def _trend(
    posteriors: list[Posterior], windows: int, level: float, rng: np.random.Generator
) -> Estimate:
    """Return the slope of the logarithm of the rate over the windows."""
    if windows < 3:
        reason = f"a trend needs three windows, not {windows}"
        return Estimate(np.nan, np.nan, np.nan, level, METHOD, windows, reason)
    logs = np.empty((windows, DRAWS))
    for posterior in posteriors:
        pairs, _ = systematic(posterior.weight(), DRAWS, rng)
        drawn, row = np.unique(pairs, return_inverse=True)
        for at, window in enumerate(posterior.history.windows):
            given = posterior.given[at, drawn] * posterior.rate
            places = within(given, row, rng.random(DRAWS))
            logs[window] = np.log(jitter(posterior.history.rate, places, rng))
    place = np.arange(windows) - (windows - 1) / 2
    slopes = place @ logs / (place @ place)
    low, high = central_interval(slopes, level)
    return Estimate(float(slopes.mean()), low, high, level, METHOD, windows)
