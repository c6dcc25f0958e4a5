"""What people's own errors and undecided sessions leave open of an evaluator's MCC."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.evaluate.weights import describe_sample
from evalbench.stats._resampling import normal_quantile
from evalbench.stats.latent import latent_truth

IMPUTED = 8


class Doubt(NamedTuple):
    """What is to be said of it, and the lower end of MCC that allows for it, if that is known."""

    said: str
    low: float | None = None


def allow_for_people(part: pl.DataFrame, *, level: float, rng: np.random.Generator) -> Doubt:
    """Say what MCC is where people err, or between which values ties could move it.

    Where enough sessions of the evaluator's pairs were read twice, what each is is imputed 8 times
    from :func:`~evalbench.stats.latent.latent_truth`; the variance between widens the interval
    (Rubin 1987). Else undecided sessions are all taken for the evaluator, then all against it.
    """
    if "n_fail" in part.columns and part["n_fail"].null_count() == 0:
        readers, failing = (part[name].to_numpy() for name in ("n_annotators", "n_fail"))
        decided, verdict = (part[name].cast(pl.Float64).to_numpy() for name in ("truth", "fails"))
        vote = np.sign(2 * failing - readers)
        ruling = np.where(vote == np.sign(2 * decided - 1), np.nan, decided)
        found = latent_truth(readers, failing, ruling=ruling, verdict=verdict, rng=rng)
        if not found.reason:
            return _impute(part, found.chances, level, rng)
    return _bound_ties(part) if part["truth"].has_nulls() else Doubt("")


def _impute(
    part: pl.DataFrame, chances: np.ndarray, level: float, rng: np.random.Generator
) -> Doubt:
    known = ~np.isnan(chances[0])
    read = part.filter(pl.Series(known))
    about = describe_sample(read)
    rows = []
    for one in rng.choice(len(chances), IMPUTED, replace=False):
        truth = (rng.random(read.height) < chances[one, known]).astype(float)
        mcc = stats.mcc(truth, **about, level=level, rng=rng)
        rows.append((mcc.estimate, mcc.low, mcc.high))
    value, low, high = np.array(rows).T
    between = normal_quantile(level) ** 2 * (1 + 1 / IMPUTED) * value.var(ddof=1)
    mean = float(value.mean())
    least, most = (
        mean + sign * float(np.sqrt(((value - end) ** 2).mean() + between))
        for sign, end in ((-1, low), (1, high))
    )
    if np.isnan(mean):
        return Doubt("")
    said = f"people's own errors allowed for: MCC {mean:.2f} ({least:.2f} to {min(most, 1.0):.2f})"
    return Doubt(said, max(least, -1.0))


def _bound_ties(part: pl.DataFrame) -> Doubt:
    """Say what MCC would be if all undecided sessions were for the evaluator, or against it."""
    ends = []
    for turned in (~pl.col("fails"), pl.col("fails")):
        decided = part.with_columns(truth=pl.coalesce("truth", turned)).drop_nulls("truth")
        how: Any = {"level": 0.95, "rng": np.random.default_rng(0)}
        said = decided["truth"].cast(pl.Float64).to_numpy()
        ends.append(stats.mcc(said, **describe_sample(decided), **how).estimate)
    ties = part["truth"].null_count()
    return Doubt(f"{ties} undecided left out: MCC between {ends[0]:.2f} and {ends[1]:.2f}")
