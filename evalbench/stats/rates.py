"""How often production fails: from the labels of a drawn sample, or from a corrected judge."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Columns, Floats, check_choice, check_level, whole_numbers
from ._cells import Cells, Key, Table, beta_variance, merge_sparse, posterior, tabulate
from ._resampling import (
    RESAMPLES,
    central_interval,
    inflation,
    join_reasons,
    ratio,
)
from .estimate import Estimate

UNREAD = 0.05
"""The share of sessions that nobody speaks for beyond which a rate cannot be told."""
_CHECK = "the judge may err otherwise here than where it was calibrated; calibrate by segment"


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of the population that the rate adds up over: a stratum, or a verdict within it.

    ``strata`` are several where sparse ones were merged. ``verdict`` is the judge's (true: fails),
    None where it gave none, none was used, or labels were too few to tell verdicts apart. ``share``
    is the part of the population; ``labels`` and ``fails`` count labelled sessions, of merged
    strata the equally informative number. ``rate`` is ``nan`` without labels. ``variance_share`` is
    the part of the posterior variance that the cell drives: label more where it is large.
    """

    strata: tuple[str, ...]
    verdict: bool | None
    share: float
    labels: float
    fails: float
    rate: float
    variance_share: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A production failure rate and what its width comes from.

    ``design_effect`` is the posterior variance over that of as many labels drawn uniformly: under
    1, the design helped. ``polars.DataFrame(rate.by_stratum)`` shows every cell. For the difference
    between two rates, ``draws`` are 10,000 of the rate at which sessions like these fail, those
    ``unread`` (their share of the population) taken to pass; it is known no better for a population
    that was read whole.
    """

    rate: Estimate
    design_effect: float
    by_stratum: tuple[Cell, ...]
    draws: Floats = field(repr=False, compare=False)
    unread: float = 0.0


def failure_rate(
    labels: Columns,
    population: Columns,
    *,
    method: str = "stratified",
    level: float = 0.95,
    rng: np.random.Generator,
) -> Rate:
    r"""Estimate the failure rate of a population from the labels of a stratified sample.

    Estimand: the share of the population's sessions that people would say fail. With cells
    :math:`c` (strata, or strata by a judge's verdict: double sampling), population shares
    :math:`W_c`, and :math:`x_c` failures among :math:`n_c` labels,

    .. math:: \hat p = \sum_c W_c x_c / n_c, \qquad
       p_c \sim \mathrm{Beta}(x_c + 1/2, n_c - x_c + 1/2),

    and of the :math:`N_c - n_c` sessions without a label a binomial number fails, so that the
    interval closes as the population is read. With more than two cells the prior is :math:`a_c =
    \max(W_c, 1/C) / 2` and the counts of a cell are scaled to :math:`n_c - 2 (1 - 2 a_c)`, since
    half a failure added to every one of ten cells moves a rate of 2% by more than its interval is
    wide. Strata with fewer than 5 labels are merged, and a stratum's verdicts where one of them has
    fewer, weighted by their shares.

    What nobody read is never guessed. The interval takes strata and verdicts without a label to
    pass throughout at its low end, to fail at its high end; where they hold more than 5% of the
    population the estimate is ``nan``.

    Assumes that labels are a random draw within each stratum. It misleads where people chose what
    to label within one, or where unsure sessions fail more often than the rest.

    Parameters
    ----------
    labels : columns
        One row a labelled session: ``fails`` (0, 1, null: unsure, left out and said so),
        ``stratum`` (absent: all sessions are one), ``verdict`` (0, 1, null: the judge gave none),
        and ``group`` where sessions share a user; counts are then scaled by the jackknife design
        effect.
    population : columns
        One row a cell: ``stratum``, ``verdict`` as in ``labels``, and ``n`` sessions. The verdict
        is used where both tables have it.

    ``rate.reason`` says where the interval is mostly prior, and what nobody read.

    Source: Cochran (1977), Sampling Techniques, ch. 5 and 12. Brown, Cai & DasGupta (2001),
    Interval estimation for a binomial proportion.

    Examples
    --------
    >>> labels = {"stratum": ["flagged"] * 40 + ["rest"] * 60, "fails": [1] * 20 + [0] * 79 + [1]}
    >>> population = {"stratum": ["flagged", "rest"], "n": [500, 9500]}
    >>> rate = failure_rate(labels, population, rng=np.random.default_rng(1)).rate
    >>> round(rate.estimate, 4), rate.low < rate.estimate < rate.high
    (0.0408, True)
    """
    check_level(level)
    check_choice("method", method, ("stratified",))
    table = tabulate(labels, population)
    cells = merge_sparse(table)
    scale = inflation(table.plug_in, table.units, level)
    n, labelled, fails = int(table.labels.sum()), cells.labels / scale, cells.fails / scale
    rates, read = ratio(cells.fails, cells.labels), cells.labels > 0
    unread = float(cells.shares[~read].sum())
    value = float(cells.shares[read] @ rates[read]) / (1 - unread) if unread <= UNREAD else np.nan
    known = cells.labelled()
    draws = rate_draws(cells.shares[read], fails[read], labelled[read], rng)
    realised = _realise(known, draws, scale, rng) * (1 - unread)
    low, high = central_interval(realised, level)
    low, high = np.fmin(low, value), np.fmax(high + unread, value)
    reason = _cautions(table, cells, unread)
    rate = Estimate(value, float(low), float(high), level, "stratified posterior", n, reason)
    variance = cells.shares**2 * beta_variance(*posterior(cells.shares, fails, labelled))
    seen = n * float(cells.shares @ np.nan_to_num(rates, nan=0.5))
    uniform = beta_variance(np.array(seen + 0.5), np.array(n - seen + 0.5))
    by_stratum = tuple(
        Cell(tuple(dict.fromkeys(stratum for stratum, _ in members)), _verdict(members), *numbers)
        for members, *numbers in zip(
            cells.members,
            cells.shares.tolist(),
            cells.labels.tolist(),
            cells.fails.tolist(),
            rates.tolist(),
            (variance / variance.sum()).tolist(),
            strict=True,
        )
    )
    return Rate(
        rate, float(variance.sum() / uniform), by_stratum, draws @ cells.shares[read], unread
    )


def corrected_rate(
    flagged: int,
    n: int,
    *,
    tp: int,
    fn: int,
    fp: int,
    tn: int,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Estimate:
    r"""Correct a judge's raw failure rate by its errors on another sample (Rogan-Gladen).

    Estimand: the share of the n judged sessions that people would say fail,

    .. math:: \hat p = (q + \mathrm{TNR} - 1) / (\mathrm{TPR} + \mathrm{TNR} - 1),
       \quad q = \mathrm{flagged} / n,

    clipped to [0, 1]. The interval is that of the same formula on Jeffreys draws of all three
    rates. Refused, with ``nan`` and a reason, where the judge is not shown to beat chance (the
    lower bound of TPR + TNR - 1 is not above 0), or where the whole interval before clipping lies
    outside [0, 1]: the judge's errors here are then not those of the calibration.

    Assumes the same TPR and TNR here as in the calibration sample. It misleads, at times without a
    sign, where they differ by segment: calibrate each segment on its own. Where the labels are
    drawn from the judged population itself, use :func:`failure_rate` with verdicts instead.

    ``flagged`` of ``n`` judged sessions fail by the judge; ``tp, fn, fp, tn`` count the judge
    against people on the calibration sample, where positive is "fails". ``reason`` warns where the
    raw rate is under 1 - TNR, or the interval was cut at 0 or 1.

    Source: Rogan & Gladen (1978), Estimating prevalence from the results of a screening test. Lang
    & Reiczigel (2014), Confidence limits for prevalence of disease.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> round(corrected_rate(120, 1000, tp=45, fn=5, fp=10, tn=140, rng=rng).estimate, 4)
    0.064
    """
    check_level(level)
    counts = {"flagged": flagged, "n": n, "tp": tp, "fn": fn, "fp": fp, "tn": tn}
    for name, count in counts.items():
        whole_numbers(name, count)
    if n == 0 or flagged > n:
        raise ValueError(f"n must be at least 1 and at least flagged ({flagged}), got {n!r}")
    if tp + fn == 0 or fp + tn == 0:
        raise ValueError(
            f"tp, fn, fp, tn must hold both classes, got {tp} + {fn} failing, {fp} + {tn} passing"
        )
    raw, tpr, tnr = flagged / n, tp / (tp + fn), tn / (fp + tn)
    draws, power = corrected_draws(flagged, n, tp, fn, fp, tn, rng)
    low, high = central_interval(draws, level)
    value, reason = float(ratio(raw + tnr - 1, tpr + tnr - 1)), ""
    if central_interval(power, level)[0] <= 0:
        value, reason = np.nan, "refused: the judge is not shown to beat chance"
    elif low > 1 or high < 0:
        value, reason = np.nan, f"refused: no such raw rate fits; {_CHECK}"
    elif raw < 1 - tnr:
        reason = f"raw rate {raw:.4f} is under the judge's false alarm rate {1 - tnr:.4f}: {_CHECK}"
    elif low < 0 or high > 1:
        reason = f"the interval was cut at {0 if low < 0 else 1}: {_CHECK}"
    if np.isnan(value):
        low = high = np.nan
    value, low, high = np.clip([value, min(low, value), max(high, value)], 0, 1).tolist()
    return Estimate(value, low, high, level, "Rogan-Gladen, Jeffreys draws", n, reason)


def rate_draws(
    shares: Floats,
    fails: Floats,
    labels: Floats,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Floats:
    """Draw the posterior (..., resamples, cells) of the cells' rates from (..., cells) counts."""
    a, b = posterior(shares, fails, labels)
    size = (*fails.shape[:-1], resamples, fails.shape[-1])
    draws: Floats = rng.beta(a[..., None, :], b[..., None, :], size=size)
    return draws


def _realise(cells: Cells, rates: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Draw the share of the population that fails: the known failures, and binomial ones.

    The unlabelled rest of a merged cell is no mixture like the whole. Sessions that share groups
    fail together: the rest counts for ``scale`` times fewer.
    """
    every = cells.population * cells.fails / cells.labels
    unlike = ratio((every - cells.known_fails) * cells.population, every * cells.rest, 1.0)
    rest_rates = np.clip(rates * unlike, 0.0, 1.0)
    independent = np.maximum(np.round(cells.rest / scale), 1.0)
    failing = rng.binomial(independent.astype(np.int64), rest_rates) / independent
    realised: Floats = (failing @ cells.rest + cells.known_fails.sum()) / cells.population.sum()
    return realised


def corrected_draws(
    flagged: ArrayLike,
    n: ArrayLike,
    tp: ArrayLike,
    fn: ArrayLike,
    fp: ArrayLike,
    tn: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[Floats, Floats]:
    """Draw the corrected rate (..., resamples), not clipped, and TPR + TNR - 1."""

    def jeffreys(hits: ArrayLike, misses: ArrayLike) -> Floats:
        a, b = (np.asarray(count)[..., None] + 0.5 for count in (hits, misses))
        return rng.beta(a, b, size=(*np.broadcast(a, b).shape[:-1], resamples))

    raw, tpr, tnr = jeffreys(flagged, np.subtract(n, flagged)), jeffreys(tp, fn), jeffreys(tn, fp)
    return (raw + tnr - 1) / (tpr + tnr - 1), tpr + tnr - 1


def _verdict(members: tuple[Key, ...]) -> bool | None:
    first, *others = {verdict for _, verdict in members}
    return None if others or first is None else bool(first)


def _cautions(table: Table, cells: Cells, unread: float) -> str:
    fails = table.fails.sum()
    merged = sum(len(members) for members in cells.members if len(members) > 1)
    bounds = "the interval takes them all to pass at its low end, all to fail at its high end"
    limit = bounds if unread <= UNREAD else "cannot tell until some are read"
    return join_reasons(
        f"{unread:.1%} of the sessions are of a kind that nobody labelled: {limit}"
        if unread
        else "",
        f"{fails:g} failures among the labels: the interval is mostly prior" if fails < 3 else "",
        f"{merged} cells were merged, some with fewer than 5 labels" if merged else "",
        f"{table.unsure} labels are unsure and left out" if table.unsure else "",
        table.units.caution,
    )
