"""A small model first, and a large one where the small one is not sure: what that would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.release.compare import ANY, ITEM
from evalbench.schema import columns

ROUTES = columns(
    (pl.String, "surface small large route"),
    (pl.Int64, "n"),
    (pl.Float64, "handed_on failing failing_low failing_high at_random"),
    (pl.Float64, "delta low high cost_ratio cost_ratio_low cost_ratio_high"),
)
"""``handed_on`` is the share of cases that the large run answers too, ``at_random`` how many would
fail were that share picked by lot; ``delta`` and ``cost_ratio`` are beside the large run alone."""
SHARES = tuple(round(0.1 * step, 1) for step in range(11))
CHOSEN = "chosen on the other half"


def pick_sides(summary: pl.DataFrame, small: str = "", large: str = "") -> dict[str, str]:
    """Pick what is not named: the cheapest run as the small one, the best as the large."""
    cheapest = [*summary.drop_nulls("cost").sort("cost")["run"], *summary["run"]][0]
    return {"small": small or cheapest, "large": large or summary.sort("failing")["run"][0]}


def simulate_routes(
    outcomes: pl.DataFrame,
    outputs: pl.DataFrame,
    *,
    small: str,
    large: str,
    margin: float,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Simulate routes by the confidence that the small run recorded, as :data:`ROUTES`.

    Every tenth of the cases more is handed on, the least confident first, at the cost of both. The
    last row is the cheapest route that one half of the cases shows to fail less than ``margin``
    more than the large run, measured on the other half, and the other way round: so it is not
    picked by luck.
    """
    bad = outcomes.filter(mode=ANY).drop_nulls("fails")
    sides = [
        bad.filter(run=run).join(outputs.filter(run=run), on=ITEM).sort(ITEM)
        for run in (small, large)
    ]
    both = sides[0].join(sides[1], on=ITEM, suffix="_large", maintain_order="left")
    if small == large or both["confidence"].is_null().all():
        return ROUTES.to_frame()
    fails = both.select("fails", "fails_large").to_numpy().astype(float)
    cost = both.select("cost_usd", "cost_usd_large").cast(pl.Float64).to_numpy()
    unsure = both["confidence"].fill_null(-1.0).rank("ordinal").to_numpy() - 1
    half = both["case"].hash(seed=7).to_numpy() % 2

    def measure(handed: np.ndarray) -> dict[str, float]:
        wrong = np.where(handed, fails[:, 1], fails[:, 0])
        spent = cost[:, 0] + np.where(handed, cost[:, 1], 0)
        how: Any = {"level": level, "rng": rng}
        change = stats.paired_change(fails[:, 1], wrong, **how)
        _, [_, ratio] = stats.paired_means(np.stack([cost[:, 1], spent], axis=1), baseline=0, **how)
        at_random = fails[:, 0].mean() + handed.mean() * (fails[:, 1] - fails[:, 0]).mean()
        row = change.after.cells("failing") | ratio.cells("cost_ratio")
        row |= {"delta": change.delta.estimate, "low": change.delta.low, "high": change.delta.high}
        return row | {"handed_on": handed.mean(), "at_random": at_random}

    def choose(part: np.ndarray) -> float:
        """Choose the least share that the cases of a part show to be good enough, else all."""
        for share in SHARES[:-1]:
            wrong = np.where(unsure < share * len(unsure), fails[:, 1], fails[:, 0])
            change = stats.paired_change(fails[part, 1], wrong[part], level=level, rng=rng)
            if change.delta.high < margin:
                return share
        return 1.0

    handed = {f"{share:.0%}": unsure < share * len(unsure) for share in SHARES}
    if len(set(half)) == 2:
        shares = [choose(half == 1), choose(half == 0)]
        handed[f"{np.mean(np.take(shares, half)):.0%}, {CHOSEN}"] = unsure < np.take(
            shares, half
        ) * len(unsure)
    about = {"surface": bad["surface"][0], "small": small, "large": large, "n": both.height}
    rows = [about | {"route": route} | measure(each) for route, each in handed.items()]
    return pl.DataFrame(rows, schema=ROUTES).fill_nan(None)
