"""What a release will do to production: golden results reweighted to traffic, and scored later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evalbench.release.compare import ANY, ITEM
from evalbench.schema import ForecastMade, columns
from evalbench.stats import proportion
from evalbench.stats.projection import (
    at_level,
    draw_rates,
    effective_counts,
    forecasts_hold,
    mean_error,
    project_changes,
)
from evalbench.store.workspace import Workspace

LEVEL, DRAWS, WEEKS = 0.9, 4_000, 4
LEAST = 30
"""Passing cases under which nobody can say what will newly fail."""
SPAN = timedelta(weeks=WEEKS)
"""Of the intervals; and the weeks that a forecast speaks of, and that traffic is counted over."""
FORECAST = columns(
    (pl.String, "surface mode"),
    (pl.Float64, "now change low high level sessions_a_week"),
    (pl.Int64, "n_failing n_passing"),
)
"""``now`` is failing sessions a week, ``change`` by how many that will change; the mode of all of
them together is :data:`~evalbench.release.compare.ANY`. ``n_failing`` cases fail at the baseline
and ``n_passing`` pass."""
ERRORS = columns((pl.String, "mode"), (pl.Float64, "tp fn fp tn"))
SCORED = columns(
    (pl.String, "surface release mode"),
    (pl.Float64, "change low high level seen_change seen_low seen_high"),
    (pl.String, "reading"),
)
SCORE = columns((pl.String, "measure"), (pl.Float64, "estimate low high"), (pl.Int64, "n"))
FAILING = "any failure"
"""In traffic the mode of all sessions that fail in any mode."""


def forecast_release(
    outcomes: pl.DataFrame,
    cases: pl.DataFrame,
    rates: pl.DataFrame,
    traffic: pl.DataFrame,
    errors: pl.DataFrame,
    *,
    baseline: str,
    candidate: str,
    sessions_a_week: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Forecast by how many failing sessions a week the candidate changes production: FORECAST.

    ``cases`` say of each ``case`` the mode it was ``picked`` for, and its ``segment``; ``rates``
    have ``mode, estimate, low, high, level`` of production now; ``errors`` are of
    :func:`count_errors`. Modes without a rate, without known errors of both kinds, or without
    :data:`LEAST` passing cases, are left out. Failing cases of a mode stand for the sessions that
    fail in it, passing cases of *other* modes for all the rest: those of its own were picked for
    failing. Cases of a segment weigh as much more as it is larger in ``traffic`` than among them; a
    segment without a case is not spoken of. The interval holds the change as counted over four
    weeks.
    """
    old = outcomes.filter(run=baseline).select(*ITEM, "mode", before="fails")
    pairs = outcomes.filter(run=candidate).join(old, on=[*ITEM, "mode"])
    tagged = pairs.drop_nulls(["fails", "before"]).join(cases, on="case", how="left")
    judged = pl.col("mode").is_in(tagged["mode"].unique().implode())
    known = rates.drop_nulls("estimate").filter(judged).join(errors, on="mode").sort("mode")
    counts = [_count_cases(tagged.filter(mode=mode), traffic, mode) for mode in known["mode"]]
    verdicts = np.reshape(counts, (-1, 2, 4))
    failing, passing = verdicts[:, :, :2].sum(axis=(1, 2)), verdicts[:, 1, 2:].sum(axis=1)
    enough = passing >= LEAST
    known = known.filter(pl.Series(enough, dtype=pl.Boolean))
    if known.is_empty():
        return FORECAST.to_frame()
    failing, passing = failing[enough], passing[enough]
    ends = (known[name].to_numpy() for name in ("estimate", "low", "high"))
    shares = draw_rates(*ends, level=known["level"][0], draws=DRAWS, rng=rng)
    told = {"verdicts": verdicts[enough], "errors": known.select(list(ERRORS)[1:]).to_numpy()}
    changes = project_changes(shares, **told, rng=rng)
    counted = np.sqrt(np.maximum(2 * shares + changes, 0) / sessions_a_week / WEEKS)
    later = changes + counted * rng.standard_normal(changes.shape)
    # A session with several failures is one failing session.
    several = int(traffic.filter(pl.col("mode").is_in(known["mode"].implode()))["n"].sum())
    once = int(traffic.filter(mode=FAILING)["n"].sum()) / several if several else 1.0

    def with_all(each: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([each.sum(axis=0, keepdims=True) * once, each]) * sessions_a_week

    low, high = np.quantile(with_all(later), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    made = {"mode": [ANY, *known["mode"]], "now": with_all(known["estimate"].to_numpy())}
    made |= {"change": with_all(changes).mean(axis=1), "low": low, "high": high}
    made["n_failing"] = np.rint([failing.sum(), *failing]).astype(np.int64)
    made["n_passing"] = np.rint([passing.max(), *passing]).astype(np.int64)
    about = {"surface": outcomes["surface"][0], "level": LEVEL, "sessions_a_week": sessions_a_week}
    frame = pl.DataFrame(made).with_columns(**{name: pl.lit(each) for name, each in about.items()})
    return frame.select(list(FORECAST)).cast(FORECAST)


def count_errors(pairs: pl.DataFrame) -> pl.DataFrame:
    """Count by mode how the evaluator that judged most errs, as :data:`ERRORS`.

    ``pairs`` are of ``pair_verdicts``, of sessions that it did not learn from; a session weighs as
    many as it stands for. A mode without failing, or without passing sessions, is left out.
    """
    rows = []
    known = pairs.drop_nulls(["truth", "fails"])
    for (mode,), own in known.group_by("mode", maintain_order=True):
        lead = own.filter(evaluator_id=own["evaluator_id"].mode().sort()[0])
        counts = []
        for truth in (True, False):
            side = lead.filter(truth=truth)
            flagged, n = effective_counts(side["fails"].cast(pl.Float64), side["stands_for"])
            counts.append((flagged, n - flagged))
        if all(map(sum, counts)):
            rows.append((mode, *counts[0], *counts[1]))
    return pl.DataFrame(rows, schema=ERRORS, orient="row")


def count_traffic(sessions: pl.DataFrame, verdicts: pl.DataFrame, *, by: str = "") -> pl.DataFrame:
    """Count sessions by segment ``by``, as ``mode, segment, n``: all, failing, and by failure mode.

    ``verdicts`` are of evaluators that count, ``fails`` true or not.
    """
    placed = sessions.select("session_id", segment=read_segment(by))
    fails = placed.join(
        verdicts.filter("fails").select("session_id", "mode").unique(), on="session_id"
    )
    parts = [
        placed.with_columns(mode=pl.lit(ANY)),
        fails.unique("session_id").with_columns(mode=pl.lit(FAILING)),
        fails,
    ]
    rows = pl.concat(each.select("mode", "segment") for each in parts)
    return rows.group_by("mode", "segment").agg(n=pl.len().cast(pl.Int64)).sort("mode", "segment")


def read_segment(by: str) -> pl.Expr:
    """Read one segment of the JSON of all; "" is none, and the same of every session."""
    value = pl.col("segments").str.json_path_match(f"$['{by}']") if by else pl.lit(None, pl.String)
    return value.fill_null("")


def _count_cases(tagged: pl.DataFrame, traffic: pl.DataFrame, mode: str) -> NDArray[np.float64]:
    """Count (2, 4) cases, weighed by segments: picked for a mode or not, by what is said of them.

    That is failing in both runs, before, after, in neither.
    """
    picked, counts = pl.col("picked").eq_missing(mode), []
    for cases, share_of in ((tagged.filter(picked), mode), (tagged.filter(~picked), ANY)):
        asked = traffic.filter(mode=share_of).select("segment", traffic="n")
        weight = pl.col("traffic") / pl.len().over("segment")
        weighed = cases.join(asked, on="segment").with_columns(weight=weight)
        whole = cases.with_columns(weight=1.0) if asked.is_empty() else weighed
        before, after = (whole[name].to_numpy() for name in ("before", "fails"))
        cells = (before & after, before & ~after, ~before & after, ~before & ~after)
        counts.append([effective_counts(each, whole["weight"])[0] for each in cells])
    return np.array(counts)


def record_forecasts(ws: Workspace, forecast: pl.DataFrame, *, gate: int, release: str) -> int:
    """Write a forecast into the ledger beside its gate, once; give how many rows.

    A ``gate`` of 0 is not on record, and neither is its forecast.
    """
    if not gate or not ws.ledger.bodies("forecast.made").filter(gate=gate).is_empty():
        return 0
    drafts = [
        ("forecast.made", f"{row['surface']} {release}", _make_body(row, gate, release))
        for row in forecast.iter_rows(named=True)
    ]
    ws.ledger.extend(drafts)
    return len(drafts)


def _make_body(row: dict[str, Any], gate: int, release: str) -> ForecastMade:
    fields = {name: row[name] for name in ForecastMade.model_fields if name in row}
    fields["estimate"] = row["change"]
    mode = None if row["mode"] == ANY else row["mode"]
    return ForecastMade(**fields | {"gate": gate, "release": release, "mode": mode})


def score_forecasts(made: pl.DataFrame, changes: pl.DataFrame, *, level: float) -> pl.DataFrame:
    """Put beside each forecast what production showed of the release, as :data:`SCORED`.

    ``changes`` are those of ``release_changes`` with intervals of ``level``: they are no truth
    either, so a forecast holds where its interval, widened by their error, has the change in it. Of
    several forecasts of a release the last counts; one without a change of its mode is not scored.
    """
    key = ["surface", "release", "mode"]
    last = made.unique(key, keep="last", maintain_order=True).rename({"estimate": "change"})
    seen = changes.drop_nulls("delta").select(*key, observed=pl.concat_list("delta", "low", "high"))
    both = last.join(seen, on=key, maintain_order="left")
    observed = np.reshape(both["observed"].to_list(), (-1, 3)).T
    observed = at_level(observed, level=level, to=LEVEL) * both["sessions_a_week"].to_numpy()
    held = pl.Series(forecasts_hold(both.select("change", "low", "high").to_numpy().T, observed))
    reading = pl.select(pl.when(held).then(pl.lit("held")).otherwise(pl.lit("missed"))).to_series()
    names = ("seen_change", "seen_low", "seen_high")
    ends = {name: pl.Series(each) for name, each in zip(names, observed, strict=True)}
    return both.with_columns(**ends, reading=reading).select(list(SCORED)).cast(SCORED)


def score_summary(scored: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Say how many forecasts held, and by how much they were too high on average: a row each.

    Gives ``measure, estimate, low, high, n``; what cannot be told yet is left out.
    """
    if scored.is_empty():
        return pl.DataFrame(schema=SCORE)
    held = proportion((scored["reading"] == "held").cast(pl.Int8).to_list(), level=level, rng=rng)
    high = mean_error(scored["change"].to_numpy(), scored["seen_change"].to_numpy(), level=level)
    rows = [
        (measure, each.estimate, each.low, each.high, each.n)
        for measure, each in (("coverage", held), ("bias", high))
    ]
    return pl.DataFrame(rows, schema=SCORE, orient="row")
