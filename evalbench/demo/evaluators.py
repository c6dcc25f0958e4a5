"""Evaluators of the simulated company: proposed from what its people say, checked against truth."""

from __future__ import annotations

from pathlib import Path

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
from evalbench.evaluate.proposals.candidates import look
from evalbench.evaluate.proposals.propose import Proposals, adopt, propose
from evalbench.evaluate.score import score
from evalbench.evaluate.split import assign_split, with_split
from evalbench.evaluate.status import COUNTING, promote
from evalbench.label.agreement.consensus import decide
from evalbench.label.codebook.acts import read_codebook
from evalbench.session import read_sessions
from evalbench.store.workspace import Workspace

HELD = ("tpr", "tnr")


def propose_evaluators(ws: Workspace, surface: str, *, rng: np.random.Generator) -> Proposals:
    """Propose an evaluator for each mode of a surface, as ``06_evaluators`` does."""
    modes = read_codebook(ws.ledger).live.filter(surface=surface)
    return propose(ws, _read_truth(ws, modes), modes, rng=rng)


def promote_evaluators(ws: Workspace, surface: str, *, rng: np.random.Generator) -> Proposals:
    """Propose evaluators, define, score and calibrate them as 06 and 07 do, and promote them."""
    modes = read_codebook(ws.ledger).live.filter(surface=surface)
    truth = _read_truth(ws, modes)
    found = propose(ws, truth, modes, rng=rng)
    adopted = adopt(ws, found, found.modes["evaluator_id"].drop_nulls().to_list(), modes=modes)
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
    for row in measured.filter(pl.col("status").is_in(COUNTING)).iter_rows(named=True):
        promote(ws, row["evaluator_id"])
    return found


def compare_proposals(ws: Workspace, proposals: Proposals, truth: Path) -> pl.DataFrame:
    """Put the true TPR and TNR beside those printed of each evaluator that was proposed.

    The truth is what was planted in all sessions of the surface but those it was tuned on.

    Parameters
    ----------
    truth : Path
        Folder that :func:`evalbench.demo.closing.write_truth` wrote.

    Returns
    -------
    polars.DataFrame
        ``surface, mode, kind``, and of ``tpr`` and ``tnr`` the estimate, its interval, the truth
        (``true_...``) and whether the interval holds it (``..._held``).
    """
    planted = pl.read_parquet(truth / "sessions.parquet")
    labelled = set(ws.ledger.events("label.set")["subject"])
    rows = []
    for [surface], part in proposals.candidates.filter("proposed").group_by("surface"):
        own = planted.filter(surface=surface)
        opened = [
            session
            for session in read_sessions(ws.lake, str(surface), own["session_id"].to_list())
            if session.session_id not in labelled
            or assign_split(str(surface), session.session_id, session.row["group_key"]) == "test"
        ]
        shown = dict(own.select("session_id", "modes").iter_rows())
        for row in part.iter_rows(named=True):
            fails = np.array([row["mode"] in shown[each.session_id] for each in opened])
            found = look(proposals.made[row["evaluator_id"]], opened)
            flagged = np.array([each.fails for each in found], dtype=float)
            rates = {"tpr": (flagged[fails] == 1).mean(), "tnr": (flagged[~fails] == 0).mean()}
            ends = {
                f"{name}{end}": row[f"{name}{end}"]
                for name in HELD
                for end in ("", "_low", "_high")
            }
            told = {f"true_{name}": float(rates[name]) for name in HELD}
            rows.append({name: row[name] for name in ("surface", "mode", "kind")} | ends | told)
    return pl.DataFrame(rows).with_columns(
        pl.col(f"true_{name}").is_between(f"{name}_low", f"{name}_high").alias(f"{name}_held")
        for name in HELD
    )


def _read_truth(ws: Workspace, modes: pl.DataFrame) -> pl.DataFrame:
    given, ruled = (
        ws.ledger.bodies(kind).join(modes, on="surface", how="semi")
        for kind in ("label.set", "label.adjudicated")
    )
    return decide(given, ruled, modes).rename({"fails": "truth"})
