"""What the simulated judge says of every session, and the simulated annotators of drawn ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from evalbench.demo.company import Company, Reader
from evalbench.demo.simulate import Simulated
from evalbench.schema import TIME, VERDICT, Label, LabelAdjudicated, Note

JUDGE = "demo-judge"
"""Stands in for a judge: it is a draw from planted truth, and calls no model."""
JUDGE_VERSION = "1"
UNSURE_SHARE = 0.008
NOTED_SHARE = 0.05
MEDIAN_SECONDS = 70


def evaluator_id(mode: str) -> str:
    """Name of the evaluator that stands in for a judge of one mode."""
    return f"{JUDGE}/{mode}"


def read_modes(
    failing: np.ndarray, readers: Reader | list[Reader], *, rng: np.random.Generator
) -> np.ndarray:
    """Say which modes a reader sees.

    Parameters
    ----------
    failing : numpy.ndarray of bool, shape (sessions, modes)
        Which are there.
    readers : Reader or list of Reader
        One for all modes, or one a mode.

    Returns
    -------
    numpy.ndarray of bool, shape (sessions, modes)
    """
    each = readers if isinstance(readers, list) else [readers]
    sensitivity = np.array([reader.sensitivity for reader in each])
    specificity = np.array([reader.specificity for reader in each])
    return rng.random(failing.shape) < np.where(failing, sensitivity, 1 - specificity)


def judge_sessions(simulated: Simulated, *, rng: np.random.Generator) -> pl.DataFrame:
    """Give the judge's verdict on every session and mode, in the columns of a verdict."""
    modes = simulated.surface.modes
    flagged = read_modes(simulated.failing, [mode.judge for mode in modes], rng=rng)
    sessions = simulated.sessions.height
    score = np.where(
        flagged, rng.beta(8, 2, size=flagged.shape), rng.beta(1.5, 12, size=flagged.shape)
    )
    judged = simulated.sessions.select("surface", "session_id", "started_at")
    frame = (
        judged[np.repeat(np.arange(sessions), len(modes))]
        .with_columns(
            mode=pl.Series([mode.mode for mode in modes] * sessions),
            evaluator_id=pl.Series([evaluator_id(mode.mode) for mode in modes] * sessions),
            evaluator_version=pl.lit(JUDGE_VERSION),
            repeat=pl.lit(0, pl.Int64),
            fails=pl.Series(flagged.ravel()),
            score=pl.Series(score.ravel().round(3)),
            rationale=pl.lit("simulated: a draw from planted truth"),
            model=pl.lit("simulated"),
            judged_at=pl.col("started_at").dt.offset_by("1d").cast(TIME),
        )
        .drop("started_at")
    )
    return pl.concat([pl.DataFrame(schema=VERDICT), frame], how="diagonal")


def label_sessions(
    company: Company,
    simulated: Simulated,
    session_ids: Sequence[str],
    *,
    queue: int,
    rng: np.random.Generator,
) -> dict[str, list[Label]]:
    """Let every annotator label these sessions, each for himself; their labels by name."""
    rows = _rows(simulated, session_ids)
    modes = np.array([mode.mode for mode in simulated.surface.modes])
    labels = {}
    for annotator, reader in company.annotators.items():
        seen = read_modes(simulated.failing[rows], reader, rng=rng)
        unsure = rng.random(len(rows)) < UNSURE_SHARE
        seconds = rng.lognormal(np.log(MEDIAN_SECONDS), 0.5, size=len(rows)).round(1)
        labels[annotator] = [
            Label(
                surface=simulated.surface.surface,
                session_id=session,
                verdict="unsure" if doubt else "fail" if found.any() else "pass",
                modes=() if doubt else tuple(modes[found].tolist()),
                queue=queue,
                seconds=float(spent),
            )
            for session, found, doubt, spent in zip(session_ids, seen, unsure, seconds, strict=True)
        ]
    return labels


def adjudicate_sessions(
    company: Company, simulated: Simulated, votes: pl.DataFrame, *, rng: np.random.Generator
) -> list[LabelAdjudicated]:
    """Let the adjudicator decide on the modes that some annotators of a session saw and some not.

    ``votes`` has a row a session: ``session_id, agreed, disputed`` (lists of modes) and ``labels``
    (the numbers of their events). What all saw holds, what nobody saw is not looked for.
    """
    rows = _rows(simulated, votes["session_id"].to_list())
    names = [mode.mode for mode in simulated.surface.modes]
    seen = read_modes(simulated.failing[rows], company.adjudicator, rng=rng)
    decided = []
    for row, found in zip(votes.iter_rows(named=True), seen, strict=True):
        read = zip(names, found, strict=True)
        holds = tuple(
            mode
            for mode, is_there in read
            if mode in row["agreed"] or (is_there and mode in row["disputed"])
        )
        decided.append(
            LabelAdjudicated(
                surface=simulated.surface.surface,
                session_id=row["session_id"],
                verdict="fail" if holds else "pass",
                modes=holds,
                reason="Read again, with all labels at hand.",
                labels=row["labels"],
            )
        )
    return decided


def note_failures(
    simulated: Simulated, session_ids: Sequence[str], *, rng: np.random.Generator
) -> list[Note]:
    """Write open codes on a few of the failing sessions, as a reader jots them down."""
    rows = _rows(simulated, session_ids)
    notes = []
    for session, failing in zip(session_ids, simulated.failing[rows], strict=True):
        for index in np.flatnonzero(failing):
            if rng.random() < NOTED_SHARE:
                mode = simulated.surface.modes[index]
                words = (mode.name, mode.definition.split(". ")[0], mode.example)
                text = words[rng.integers(len(words))]
                notes.append(Note(text=text, surface=simulated.surface.surface, session_id=session))
    return notes


def _rows(simulated: Simulated, session_ids: Sequence[str]) -> np.ndarray:
    order = {session: row for row, session in enumerate(simulated.sessions["session_id"])}
    return np.array([order[session] for session in session_ids], dtype=int)
