"""Evaluators of the simulated company: proposed from what its people say, and promoted."""

from __future__ import annotations

import numpy as np
import polars as pl

from evalbench.evaluate.calibrate import (
    KEY,
    SESSION_KEY,
    current_verdicts,
    measure_alignment,
    pair_verdicts,
    record_calibrations,
)
from evalbench.evaluate.proposals.propose import Proposals, adopt, propose
from evalbench.evaluate.score import score
from evalbench.evaluate.split import with_split
from evalbench.evaluate.status import COUNTING, promote
from evalbench.label.agreement.consensus import decide
from evalbench.label.codebook.acts import read_codebook
from evalbench.store.workspace import Workspace


def read_truth(ws: Workspace, modes: pl.DataFrame) -> pl.DataFrame:
    """Return what people decided of the sessions and modes of a surface."""
    labels, rulings = (
        ws.ledger.bodies(kind).join(modes, on="surface", how="semi")
        for kind in ("label.set", "label.adjudicated")
    )
    return decide(labels, rulings, modes).rename({"fails": "truth"})


def promote_evaluators(ws: Workspace, surface: str, *, rng: np.random.Generator) -> Proposals:
    """Propose evaluators, define, score and calibrate them as 06 and 07 do, and promote them."""
    modes = read_codebook(ws.ledger).live.filter(surface=surface)
    truth = read_truth(ws, modes)
    proposals = propose(ws, truth, modes, rng=rng)
    proposed = proposals.modes["evaluator_id"].drop_nulls().to_list()
    adopted = adopt(ws, proposals, proposed, modes=modes)
    sessions = ws.lake.sessions(surface=surface).collect()
    labelled = with_split(sessions.join(truth, on=SESSION_KEY, how="semi"))
    score(ws, adopted, labelled.filter(split="test"))
    specifications = {each.evaluator_id: each for each in adopted}
    verdicts = ws.lake.verdicts(surface=surface)
    own = verdicts.filter(pl.col("evaluator_id").is_in(list(specifications))).collect()
    current = current_verdicts(own, specifications)
    pairs = pair_verdicts(current, truth, sessions, specifications)
    gate, level = ws.settings.evaluators, ws.settings.level
    measured = measure_alignment(pairs, by=KEY, settings=gate, level=level, rng=rng)
    record_calibrations(ws, measured, lake_versions=ws.lake.versions(), ledger_seq=ws.ledger.head())
    for name in measured.filter(pl.col("status").is_in(COUNTING))["evaluator_id"]:
        promote(ws, name)
    return proposals
