"""Labels and notes as they stand: what was taken back is gone, and a note reads as it was last put.

The ledger keeps every label and every wording; whoever counts asks here.
"""

from collections.abc import Iterable

import polars as pl
from sqlalchemy import Connection

from evalbench.schema import NoteChanged
from evalbench.store.ledger import GIVEN_BY, Ledger

NOTE_KINDS = ("note.added", "note.changed")


def read_bodies(ledger: Ledger, kind: str, *, until: int | None = None) -> pl.DataFrame:
    """Read events of a kind as ``ledger.bodies`` does, of labels those that nobody took back."""
    return drop_retracted(ledger.bodies(kind, until=until), ledger, until=until)


def drop_retracted(
    events: pl.DataFrame, ledger: Ledger, *, until: int | None = None
) -> pl.DataFrame:
    """Return the events, by ``seq``, without the labels that were taken back up to ``until``."""
    taken = ledger.events("label.retracted", until=until)["body"]
    numbers = taken.str.json_path_match("$.label").cast(pl.Int64)
    return events.filter(~pl.col("seq").is_in(numbers.to_list()))


def reword_notes(notes: pl.DataFrame, changes: Iterable[NoteChanged]) -> pl.DataFrame:
    """Return notes, by ``seq``, with their last ``text``; those that were taken back are gone."""
    last = {each.note: each.text for each in changes}
    worded = pl.DataFrame(
        {"seq": list(last), "last": list(last.values())}, {"seq": pl.Int64, "last": pl.String}
    )
    joined = notes.join(worded, on="seq", how="left", maintain_order="left")
    reworded = joined.with_columns(text=pl.coalesce("last", "text")).drop("last")
    return reworded.filter(pl.col("text").str.strip_chars() != "")


def read_notes(ledger: Ledger, *, until: int | None = None) -> pl.DataFrame:
    """Read the notes that stand, as ``ledger.bodies`` does; ``session_id`` is never null."""
    changes = map(
        NoteChanged.model_validate_json, ledger.events("note.changed", until=until)["body"]
    )
    notes = reword_notes(ledger.bodies("note.added", until=until), changes)
    return notes.with_columns(session_id=pl.coalesce("session_id", "subject"))


def read_own_note(
    ledger: Ledger, surface: str, session_id: str, *, connection: Connection | None = None
) -> tuple[int, str]:
    """Return number and text of the actor's last note of a session; 0 and "": none stands."""
    events = ledger.events(NOTE_KINDS, subject=session_id, connection=connection)
    if events.is_empty():
        return 0, ""
    own = events.filter(pl.col("body").str.json_path_match("$.surface") == surface)
    notes: dict[int, str] = {}
    text = pl.col("body").str.json_path_match("$.text")
    changed = pl.col("body").str.json_path_match("$.note").cast(pl.Int64)
    own = own.filter(GIVEN_BY == ledger.actor).select(pl.coalesce(changed, "seq"), text=text)
    for number, wording in own.iter_rows():
        notes[number] = wording
    return max(((number, each) for number, each in notes.items() if each), default=(0, ""))
