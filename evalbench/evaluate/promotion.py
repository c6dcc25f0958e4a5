"""What it would take until an evaluator may be promoted: labels by verdict, and dollars."""

from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.evaluate.calibrate import CELLS
from evalbench.evaluate.status import shown_level
from evalbench.evaluate.weights import KEY, SESSION_KEY
from evalbench.schema import columns
from evalbench.settings import Evaluators

# How many labels are tried; half of them are of sessions that the evaluator fails.
SIZES = (25, 50, 100, 200, 400, 800)
ASSURANCE = 0.8
PLAN = columns(
    (pl.String, "evaluator_id mode status why aim"),
    (pl.Int64, "flagged passed"),
    (pl.Float64, "assurance dollars"),
)


def plan_promotion(
    statuses: pl.DataFrame,
    tried: pl.DataFrame,
    verdicts: pl.DataFrame,
    n_sessions: int,
    *,
    settings: Evaluators,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Plan the labels that would show each insufficient evaluator to be aligned, and gating.

    All looks at the mode so far are paid for, and so is the next. Gives :data:`PLAN`, the fewest
    labels first: how many of what it fails and passes give 80% ``assurance``, else the largest
    plan; and what judging the rest of ``n_sessions`` costs, null where unknown.
    """
    rows: list[dict[str, Any]] = []
    for row in statuses.filter(status="insufficient").iter_rows(named=True):
        looks = tried.filter(surface=row["surface"], mode=row["mode"])
        own = looks.filter(evaluator_id=row["evaluator_id"], evaluator_version=row["version"])
        judged = (
            verdicts.filter(evaluator_id=row["evaluator_id"], evaluator_version=row["version"])
            .sort("judged_at", "repeat")
            .unique(SESSION_KEY, keep="last")
        )
        sessions = np.array([(judged["fails"] == said).sum() for said in (True, False)])
        if own.is_empty() or not sessions.all():
            continue
        tp, fn, fp, tn = own.select(CELLS).row(-1)
        labels = np.array([tp + fp, fn + tn])
        known: dict[str, Any] = {"sessions": sessions, "labels": labels, "fails": [tp, fn]}
        left = np.maximum(sessions - labels, 0)
        about = {name: row[name] for name in ("evaluator_id", "mode", "status", "why")}
        costs, rest = judged["cost_usd"].drop_nulls().to_numpy(), n_sessions - judged.height
        dollars = float(costs.mean()) * max(rest, 0) if costs.size else None
        at = shown_level(level, before=looks.unique([*KEY, *CELLS]).height, beside=1)
        for aim, bar in (("aligned", settings.aligned), ("gating", settings.gating)):
            for size in SIZES:
                extra = np.minimum(left, size // 2)
                chance = stats.mcc_assurance(bar, **known, extra=extra, level=at, rng=rng)
                if chance >= ASSURANCE or (left < size // 2).all():
                    break
            plan = {"aim": aim, "flagged": int(extra[0]), "passed": int(extra[1])}
            rows.append(about | plan | {"assurance": chance, "dollars": dollars})
    order = (pl.col("assurance") < ASSURANCE).min().over("evaluator_id")
    few = (pl.col("flagged") + pl.col("passed")).min().over("evaluator_id")
    return pl.DataFrame(rows, schema=PLAN).sort(order, few, "evaluator_id", "aim")
