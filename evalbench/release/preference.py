"""Which of two answers is better: win rates in both orders, and one scale for all runs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from evalbench.release.compare import ANY, ITEM, WORSE
from evalbench.schema import columns
from evalbench.stats.candidates import share_won

DUELS = columns((pl.String, "surface run other case"), (pl.Int64, "repeat"), (pl.Float64, "won"))
"""``won`` is 1 where the output of ``run``, which was shown first, was preferred; a tie is 1/2."""
PAIRS = columns(
    (pl.String, "surface run other"),
    (pl.Int64, "n"),
    (pl.Float64, "wins wins_low wins_high wins_first wins_second"),
)
STRENGTHS = columns((pl.String, "surface run"), (pl.Float64, "strength strength_low strength_high"))
Floats = NDArray[np.float64]
RESAMPLES, RIDGE, PRIOR, STEPS = 2_000, 100.0, 0.5, 10


def find_duels(verdicts: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Read preferences of a pairwise judge as :data:`DUELS`; without one, make them of outcomes.

    Its verdicts are of a mode "worse than RUN", on the run shown first; a score from 0 to 1 is how
    much worse that is, 1/2 a tie.
    """
    said = verdicts.filter(pl.col("mode").str.starts_with(WORSE), again=0).drop_nulls("fails")
    worse = pl.when(pl.col("score").is_between(0, 1)).then("score").otherwise(pl.col("fails"))
    other = pl.col("mode").str.strip_prefix(WORSE)
    duels = said.with_columns(other=other, won=1 - worse.cast(pl.Float64)).select(list(DUELS))
    return make_duels(outcomes) if duels.is_empty() else duels


def make_duels(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Make :data:`DUELS` of outcomes: who passes where the other fails wins, else it is a tie."""
    whole = outcomes.filter(mode=ANY).drop_nulls("fails")
    runs = whole["run"].unique(maintain_order=True).to_list()
    won = 0.5 + (pl.col("fails_other").cast(pl.Int8) - pl.col("fails").cast(pl.Int8)) / 2
    parts = [
        whole.filter(run=run)
        .join(whole.filter(run=other), on=ITEM, suffix="_other")
        .with_columns(other=pl.lit(other), won=won)
        .select(list(DUELS))
        for run, other in combinations(runs, 2)
    ]
    return pl.concat([pl.DataFrame(schema=DUELS), *parts])


def rate_pairs(duels: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Return how often each run wins against each other, as :data:`PAIRS`; a tie counts half.

    ``wins`` is the mean of both orders, so that a judge's liking for the first place is nobody's
    gain.
    """
    turned = duels.select(
        "surface", "case", "repeat", run="other", other="run", won=1 - pl.col("won")
    )
    shown = zip(("first", "second"), (duels, turned.select(duels.columns)), strict=True)
    both = pl.concat(each.with_columns(shown=pl.lit(place)) for place, each in shown)
    rows = []
    ordered = both.filter(pl.col("run") < pl.col("other")).sort("run", "other")
    for key, own in ordered.group_by("surface", "run", "other", maintain_order=True):
        orders = [own.filter(shown=place)["won"].mean() for place in ("first", "second")]
        orders = [None, None] if None in orders else orders
        each = own.group_by("case", "shown").agg(pl.col("won").mean())
        cases = each.group_by("case").agg(pl.col("won").mean()).sort("case")
        wins = share_won(cases["won"].to_numpy(), level=level, rng=rng)
        rows.append((*key, wins.n, wins.estimate, wins.low, wins.high, *orders))
    return pl.DataFrame(rows, schema=PAIRS, orient="row")


def rate_strengths(duels: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Return each run's chance to win against another of them, by Bradley and Terry (1952).

    Gives columns :data:`STRENGTHS`, the strongest first. A logistic regression of who wins on who
    takes part; where both orders were asked its intercept takes up what the first place is worth. A
    tie is half a win of either, and either has half a win in advance: who won all may still lose.
    The intervals are of a Bayesian bootstrap of cases, which all pairs share, and of these halves.
    It misleads where who beats whom goes in a circle.
    """
    runs = pl.concat([duels["run"], duels["other"]]).unique().sort()
    pairs = duels.select("run", "other").unique(maintain_order=True)
    turned = pairs.join(pairs, left_on=["run", "other"], right_on=["other", "run"], how="semi")
    place = {run: at for at, run in enumerate(runs)}
    at = np.arange(pairs.height)
    design = np.zeros((pairs.height, len(runs) + 1))
    design[at, [place[run] for run in pairs["run"]]] = 1
    design[at, [place[run] for run in pairs["other"]]] = -1
    design[:, -1] = turned.height > 0
    cases = duels["case"].rank("dense").to_numpy() - 1
    number = duels.join(pairs.with_row_index("pair"), on=["run", "other"], maintain_order="left")
    n = int(cases.max()) + 1
    weights = np.vstack([np.ones(n), n * rng.dirichlet(np.ones(n), size=RESAMPLES)])
    sides = []
    for won in (duels["won"].to_numpy(), 1 - duels["won"].to_numpy()):
        counts = np.zeros((n, pairs.height))
        np.add.at(counts, (cases, number["pair"].to_numpy()), won)
        ahead = rng.gamma(PRIOR, size=(RESAMPLES, pairs.height))
        sides.append(weights @ counts + np.vstack([np.full(pairs.height, PRIOR), ahead]))
    strength = _beat(_fit_logits(design, *sides)[:, : len(runs)])
    low, high = np.quantile(strength[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    numbers = {"strength": strength[0], "strength_low": low, "strength_high": high}
    table = pl.DataFrame({"surface": duels["surface"][0], "run": runs, **numbers}, schema=STRENGTHS)
    return table.sort("strength", descending=True)


def _fit_logits(design: Floats, won: Floats, lost: Floats) -> Floats:
    """Fit (draws, features) logits of who wins to (draws, pairs) of wins and losses, by Newton."""
    size = design.shape[1]
    outer = (design[:, :, None] * design[:, None]).reshape(len(design), -1)
    found: Floats = np.zeros((len(won), size))
    for _ in range(STEPS):
        chance = special.expit(found @ design.T)
        slope = (won - (won + lost) * chance) @ design - found / RIDGE
        curvature = ((won + lost) * chance * (1 - chance)) @ outer
        curvature = curvature.reshape(-1, size, size) + np.eye(size) / RIDGE
        found += np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
    return found


def _beat(logits: Floats) -> Floats:
    """Return the mean chance of each run to beat another, from (draws, runs) strengths."""
    chances = special.expit(logits[:, :, None] - logits[:, None])
    mean: Floats = (chances.sum(axis=2) - 0.5) / (logits.shape[1] - 1)
    return mean
