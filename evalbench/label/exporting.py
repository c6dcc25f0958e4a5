"""Labels, ratings and notes of the ledger to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evalbench.label.entries import FIELDS, read_entries, to_record
from evalbench.store.tabular import write_table

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace


def export_labels(ws: Workspace, path: str | Path, *, surface: str | None = None) -> int:
    """Write every label, rating and note, those replaced later too, and give how many.

    They come by surface, session and annotator, each one's in the order they were given, as CSV
    where the path ends so, else as JSONL. What another ledger imports of them it writes again byte
    for byte; the number of a queue means something only in the ledger where it was drawn.
    """
    entries = [each for each in read_entries(ws.ledger) if surface in (None, each.body.surface)]
    entries.sort(key=lambda each: (each.body.surface, each.body.session_id, each.annotator))
    write_table(Path(path), map(to_record, entries), FIELDS)
    return len(entries)
