"""When to stop reading: how many failure modes are likely still unseen, and what more would show.

Sessions are weighted by the chance that they were read with; those of no draw show modes, but say
nothing of what is unread.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import scipy  # its parts load when they are used: scipy.stats takes a second

from evalbench import stats
from evalbench.label.agreement.consensus import SESSION_KEY
from evalbench.schema import columns

FEWEST = 30  # sessions under which nothing is said: any mode but the most frequent may be missing
POINTS = 60
STEPS = 4

SATURATION = columns(
    (pl.String, "surface measure"),
    (pl.Float64, "estimate low high level"),
    (pl.Int64, "n_sessions n_modes"),
    (pl.String, "status reason"),
)
CURVE = columns(
    (pl.String, "surface"),
    (pl.Int64, "sessions"),
    (pl.Float64, "modes low high"),
    (pl.String, "part"),
)


def review(labels: pl.DataFrame, seen: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """List the sessions that people read, with the modes each showed, in the order first labelled.

    Takes ``label.set`` events, what was ``seen`` (``surface, session_id, mode``) and the ``frame``.
    Gives ``surface, session_id, modes, chance, unread``: the share of its stratum that was drawn
    and read (null in no draw), and of the surface's sessions those in strata that nobody read.
    """
    showed = seen.group_by(SESSION_KEY).agg(modes=pl.col("mode").unique().sort())
    read = (
        labels.group_by(SESSION_KEY)
        .agg(pl.col("seq").min())
        .join(showed, on=SESSION_KEY, how="full", coalesce=True)
        .with_columns(read=True)
    )
    covered = frame.drop_nulls("stratum").join(read, on=SESSION_KEY, how="left")
    chosen = pl.col("drawn") & pl.col("read").fill_null(False)
    chances = covered.select(*SESSION_KEY, chosen, chance=chosen.mean().over("surface", "stratum"))
    unread = chances.group_by("surface").agg(unread=(pl.col("chance") == 0).mean())
    return (
        read.join(chances.filter("drawn").drop("drawn"), on=SESSION_KEY, how="left")
        .join(unread, on="surface", how="left")
        .sort("seq", *SESSION_KEY, nulls_last=True)
        .select(
            *SESSION_KEY, pl.col("modes").fill_null([]), "chance", pl.col("unread").fill_null(0)
        )
    )


def measure_saturation(
    reviewed: pl.DataFrame, *, more: int, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Estimate for each surface of :func:`review` how much of what fails has been seen.

    Three rows, by ``measure``: "coverage" (the share of unread failures that are of a mode seen),
    "unseen" (modes, at least) and "expected_new" (modes that ``more`` sessions would show).
    "insufficient" under 30 sessions, without a failure, or with over 5% in strata that nobody read.
    """
    rows = []
    for surface, modes, own in _count_by_surface(reviewed):
        counts, n, unread = modes["count"].to_numpy(), own.height, own["unread"][0]
        found = dict.fromkeys(("coverage", "unseen", "expected_new"))
        reason = "" if len(counts) else "no session read showed a failure mode"
        if unread > stats.UNREAD:
            reason = f"nobody has read a session of the kinds that {unread:.0%} of sessions are of"
        reason = reason if n >= FEWEST else f"{n} sessions read; at least {FEWEST} are needed"
        if not reason:
            found = {
                "coverage": stats.sample_coverage(
                    counts, **_weigh(modes, own), level=level, rng=rng
                ),
                "unseen": stats.unseen_modes(counts, n_sessions=n, level=level, rng=rng),
                "expected_new": stats.expected_new(counts, n, more, level=level, rng=rng),
            }
        for measure, one in found.items():
            numbers = (one.estimate, one.low, one.high) if one else (None, None, None)
            status = ("ok", one.reason) if one else ("insufficient", reason)
            rows.append((surface, measure, *numbers, level, n, len(counts), *status))
    return pl.DataFrame(rows, schema=SATURATION, orient="row")


def rarefaction(
    reviewed: pl.DataFrame, *, more: int, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Compute the curve of modes seen against sessions read, and on to ``more`` sessions.

    Over every order of the T sessions read it is S(m) = sum over modes of 1 - C(T - x, m) / C(T,
    m), x the sessions that showed the mode: nothing is estimated. Gives ``surface, sessions, modes,
    low, high, part`` ("read", "expected"). Hurlbert (1971), Ecology 52(4), 577-586.
    """
    rows: list[tuple[object, ...]] = []
    for surface, modes, own in _count_by_surface(reviewed):
        counts, n, seen = modes["count"].to_numpy(), own.height, modes.height
        grid = np.unique(np.linspace(0, n, POINTS).round().astype(int))
        expected = seen - scipy.stats.hypergeom.pmf(0, n, counts[:, None], grid).sum(axis=0)
        points = zip(grid.tolist(), expected.tolist(), strict=True)
        rows += [(surface, m, shown, None, None, "read") for m, shown in points]
        if n >= FEWEST and seen:
            rows.append((surface, n, seen, seen, seen, "expected"))
            for step in np.unique(np.linspace(0, more, STEPS + 1).round().astype(int))[1:].tolist():
                new = stats.expected_new(counts, n, step, level=level, rng=rng)
                ends = [seen + each for each in (new.estimate, new.low, new.high)]
                rows.append((surface, n + step, *ends, "expected"))
    return pl.DataFrame(rows, schema=CURVE, orient="row", strict=False)


def _count_by_surface(
    reviewed: pl.DataFrame,
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Give each surface, its sessions that were read, and its modes with their ``count``."""
    stands_for = (1 / pl.col("chance") - 1).sum()
    for (surface,), own in reviewed.sort("surface").group_by("surface", maintain_order=True):
        shown = own.explode("modes").drop_nulls("modes")
        modes = shown.group_by("modes", maintain_order=True).agg(count=pl.len(), unread=stands_for)
        yield str(surface), modes, own


def _weigh(modes: pl.DataFrame, own: pl.DataFrame) -> dict[str, Any]:
    """Return what modes stand for; nothing where no draw covers any session that was read."""
    if own["chance"].is_null().all():
        return {}
    heaviest = own.select((1 / pl.col("chance") - 1).max()).item()
    return {"unread": modes["unread"].to_numpy(), "heaviest": heaviest}
