"""Clusters of notes as drafts of failure modes, and what the notes in them tell."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from evalbench.label.codebook.modes import Codebook, Mode, make_key
from evalbench.label.discovery.note_queue import NoteQueue
from evalbench.schema import DraftedMode


def draft_clusters(queue: NoteQueue, book: Codebook) -> list[DraftedMode]:
    """Turn groups of notes into drafts: of those that no mode holds, and none is suggested for."""
    taken, drafts = {key for surface, key in book.modes if surface == queue.surface}, []
    for name, notes in queue.group():
        key = make_key(name, taken)
        taken.add(key)
        drafts.append(DraftedMode(mode=key, name=name, notes=tuple(notes)))
    return drafts


def add_drafts(book: Codebook, surface: str, drafts: Sequence[DraftedMode]) -> Codebook:
    """Return the codebook of a surface as it would be with these drafts in it."""
    new = {
        (surface, each.mode): Mode(surface, each.mode, each.name, notes=each.notes)
        for each in drafts
    }
    own = {key: mode for key, mode in book.modes.items() if key[0] == surface}
    return replace(book, modes=own | new)


def label_drafts(book: Codebook, notes: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Label every session that was read (``labels``) by whether a note put it into a draft.

    A reader who saw the failure and wrote no note counts as none: rates of it are a floor. Gives
    ``surface, session_id, mode, fails``.
    """
    key = ["surface", "session_id", "mode"]
    drafts = book.to_frame().filter(status="draft").select("surface", "mode")
    noted = _list_noted(book, notes).with_columns(fails=pl.lit(True)).unique()
    read = labels.select("surface", "session_id").unique(maintain_order=True)
    spread = drafts.join(read, on="surface", maintain_order="left_right").select(key)
    labelled = spread.join(noted, on=key, how="left", maintain_order="left")
    return labelled.with_columns(pl.col("fails").fill_null(False))


def list_seen(book: Codebook, notes: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """List what was seen where (``surface, session_id, mode``), by labels once a mode counts.

    Until then by the drafts that notes are in: a draft and a mode of one failure would count twice.
    """
    if not book.live.is_empty():
        return decided.filter("fails").select("surface", "session_id", "mode")
    return _list_noted(book, notes)


def _list_noted(book: Codebook, notes: pl.DataFrame) -> pl.DataFrame:
    """List the standing modes that notes are in: ``surface, session_id, mode``."""
    held = [
        (mode.surface, note, mode.mode)
        for mode in book.modes.values()
        if not mode.ended
        for note in mode.notes
    ]
    schema = {"surface": pl.String, "seq": pl.Int64, "mode": pl.String}
    placed = pl.DataFrame(held, schema=schema, orient="row").join(notes, on="seq")
    return placed.select("surface", "session_id", "mode")
