"""What the simulated judge says of every session, and the simulated people of drawn ones."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from evalbench.demo.company import ADJUDICATOR, ANNOTATORS, Mode, Reader
from evalbench.demo.conversation import Facts
from evalbench.demo.simulate import Simulated
from evalbench.label.agreement.adjudication import disagreements
from evalbench.schema import TIME, VERDICT, Label, LabelAdjudicated, Note

JUDGE = "demo-judge"  # stands in for a judge: it is a draw from planted truth, and calls no model
UNSURE_SHARE = 0.008
NOTED_SHARE = 0.05
BOTH_SHARE = 0.4  # of the notes on a session that shows two failures, how many tell of both
JOINTS = (" + ", " / ", " - also: ", ", also ")
MEDIAN_SECONDS = 70


def evaluator_id(mode: str) -> str:
    """Return the name of the evaluator that stands in for a judge of one mode."""
    return f"{JUDGE}/{mode}"


def read_modes(
    failing: np.ndarray, readers: Sequence[Reader], *, rng: np.random.Generator
) -> np.ndarray:
    """Draw which modes are seen of those ``failing`` (sessions, modes), errors independent."""
    sensitivity = np.array([reader.sensitivity for reader in readers])
    specificity = np.array([reader.specificity for reader in readers])
    return rng.random(failing.shape) < np.where(failing, sensitivity, 1 - specificity)


def judge_sessions(simulated: Simulated, *, rng: np.random.Generator) -> pl.DataFrame:
    """Draw the judge's verdict on every session and mode, in the columns of a verdict."""
    modes = simulated.surface.modes
    flagged = read_modes(simulated.failing, [mode.judge for mode in modes], rng=rng)
    high, low = rng.beta(8, 2, size=flagged.shape), rng.beta(1.5, 12, size=flagged.shape)
    sessions, names = simulated.sessions.height, [mode.mode for mode in modes]
    judged = simulated.sessions.select("surface", "session_id", "started_at")
    frame = judged[np.repeat(np.arange(sessions), len(modes))].select(
        "surface",
        "session_id",
        mode=pl.Series(names * sessions),
        evaluator_id=pl.Series([evaluator_id(name) for name in names] * sessions),
        evaluator_version=pl.lit("1"),
        repeat=pl.lit(0, pl.Int64),
        fails=pl.Series(flagged.ravel()),
        score=pl.Series(np.where(flagged, high, low).ravel().round(3)),
        rationale=pl.lit("simulated: a draw from planted truth"),
        model=pl.lit("simulated"),
        judged_at=pl.col("started_at").dt.offset_by("1d").cast(TIME),
    )
    return pl.concat([pl.DataFrame(schema=VERDICT), frame], how="diagonal")


def label_sessions(
    simulated: Simulated, session_ids: Sequence[str], *, queue: int, rng: np.random.Generator
) -> dict[str, list[Label]]:
    """Let every annotator label these sessions alone; their labels by name."""
    failing = simulated.failing_of(session_ids)
    modes = np.array([mode.mode for mode in simulated.surface.modes])
    labels = {}
    for annotator, reader in ANNOTATORS.items():
        seen = read_modes(failing, [reader], rng=rng)
        unsure = rng.random(len(failing)) < UNSURE_SHARE
        seconds = rng.lognormal(np.log(MEDIAN_SECONDS), 0.5, size=len(failing)).round(1)
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
    simulated: Simulated, labels: pl.DataFrame, codebook: pl.DataFrame, *, rng: np.random.Generator
) -> list[LabelAdjudicated]:
    """Let the adjudicator decide on modes that some annotators of a session saw and some not."""
    none = labels.clear().with_columns(labels=pl.lit(None, pl.List(pl.Int64)))
    disputes = disagreements(labels, codebook, none).sort("session_id")
    sure = labels.filter(pl.col("verdict") != "unsure")
    given = dict(sure.group_by("session_id").agg("modes").iter_rows())
    failing = simulated.failing_of(disputes["session_id"].to_list())
    decided = []
    for row, found in zip(
        disputes.iter_rows(named=True), read_modes(failing, [ADJUDICATOR], rng=rng), strict=True
    ):
        holds = set.intersection(*map(set, given[row["session_id"]]))
        read = {m.mode for m, there in zip(simulated.surface.modes, found, strict=True) if there}
        holds |= read & set(row["disputed"])
        decided.append(
            LabelAdjudicated(
                surface=simulated.surface.surface,
                session_id=row["session_id"],
                verdict="fail" if holds else "pass",
                modes=tuple(sorted(holds)),
                reason="Read again, with all labels at hand.",
                labels=row["labels"],
            )
        )
    return decided


def note_failures(
    simulated: Simulated,
    session_ids: Sequence[str],
    facts: Mapping[str, Facts],
    *,
    rng: np.random.Generator,
) -> list[Note]:
    """Write open codes on a few of the failing sessions; ``facts`` are theirs, by session."""
    surface, notes = simulated.surface, []
    failing = simulated.failing_of(session_ids)
    for row, column in np.argwhere(failing):
        if rng.random() < NOTED_SHARE:
            others = [other for other in np.flatnonzero(failing[row]) if other != column]
            shown = [surface.modes[each] for each in (column, *others)]
            # One draw a note: how it is worded moves no label.
            words = np.random.default_rng(rng.integers(2**32))
            session = session_ids[row]
            text = write_note(shown, facts[session], rng=words)
            notes.append(Note(text=text, surface=surface.surface, session_id=session))
    return notes


def write_note(modes: Sequence[Mode], facts: Facts, *, rng: np.random.Generator) -> str:
    """Write what a reader jots down of the first of a session's modes, or of the first two."""
    note, *more = (mode.notes[rng.integers(len(mode.notes))] for mode in modes[:2])
    if more and rng.random() < BOTH_SHARE:
        note = note.rstrip(".") + JOINTS[rng.integers(len(JOINTS))] + more[0]
    return note.format_map(facts)
