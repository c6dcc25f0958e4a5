"""Evaluators of the simulated company: proposed from what its people say, and promoted."""

from typing import Any

import numpy as np
import polars as pl

from evalbench.evaluate import calibrate
from evalbench.evaluate.proposals.propose import Proposals, adopt, propose
from evalbench.evaluate.score import score
from evalbench.evaluate.split import with_split
from evalbench.evaluate.status import COUNTING, promote
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import Workspace


def promote_evaluators(ws: Workspace, surface: str, *, rng: np.random.Generator) -> Proposals:
    """Propose evaluators, define, score and calibrate them as 06 and 07 do, and promote them."""
    view = take_snapshot(ws, surface)
    truth = view.truth.rename({"fails": "truth"})
    proposals = propose(ws, truth, view.modes, rng=rng)
    proposed = proposals.modes["evaluator_id"].drop_nulls().to_list()
    adopted = adopt(ws, proposals, proposed, modes=view.modes)
    labelled = with_split(view.sessions.join(truth, on=calibrate.SESSION_KEY, how="semi"))
    score(ws, adopted, labelled.filter(split="test"))
    view = take_snapshot(ws, surface)
    own = view.every_verdict.filter(pl.col("evaluator_id").is_in(list(view.specifications)))
    verdicts = calibrate.current_verdicts(own.collect(), view.specifications)
    pairs = calibrate.pair_verdicts(verdicts, truth, view.frame, view.specifications)
    how: dict[str, Any] = {"settings": ws.settings.evaluators, "level": ws.settings.level}
    measured = calibrate.measure_alignment(
        pairs, by=calibrate.KEY, tried=view.tried, rng=rng, **how
    )
    calibrate.record_calibrations(ws, measured, **view.pins)
    for name in measured.filter(pl.col("status").is_in(COUNTING))["evaluator_id"]:
        promote(ws, name)
    return proposals
