"""The codebook as a table in a file, in a stable order for review in git, and read back in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import Connection

from evalbench.errors import LabelError
from evalbench.label.annotation.answering import explain_invalid
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.modes import REQUIRED, Codebook
from evalbench.schema import ModeDefined
from evalbench.store.ledger import Draft
from evalbench.store.tabular import ImportReport, read_table, write_table

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

FIELDS = dict.fromkeys(("surface", "mode", "name", *REQUIRED), "")


def export_codebook(ws: Workspace, path: str | Path, *, surface: str | None = None) -> int:
    """Write the modes that count and the drafts by surface and mode, and give how many.

    As CSV where the path ends so, else as JSONL.
    """
    modes = read_codebook(ws.ledger).modes.values()
    records = [
        {name: getattr(mode, name) for name in FIELDS if getattr(mode, name)}
        for mode in modes
        if not mode.ended and surface in (None, mode.surface)
    ]
    write_table(Path(path), records, FIELDS)
    return len(records)


def import_codebook(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImportReport:
    """Define the modes of a file, and edit those that it says otherwise of, in one transaction.

    A row needs a ``mode``, and a ``name`` where the mode is new; what it leaves empty stays as it
    is. ``surface`` is of rows that name none; ``columns`` are as for
    :func:`~evalbench.label.importing.import_labels`. Raises ReadError as it does.
    """
    table = read_table(path, FIELDS, columns or {})
    records, flaws = table.read({"surface": surface} if surface else {})
    drafts, reasons = list[Draft](), dict[int, str]()

    def choose(connection: Connection) -> list[Draft]:
        codebook = read_codebook(ws.ledger, connection=connection)
        drafts.clear()
        reasons.clear()
        reasons.update(flaws)
        defined = dict[tuple[str, str], ModeDefined]()
        for row, record in records.items():
            try:
                body = _define(record, codebook)
            except LabelError as error:
                reasons[row] = str(error)
                continue
            key = (body.surface, body.mode)
            if defined.setdefault(key, body) != body:
                reasons[row] = f"mode: {body.mode!r} stands in the file twice"
        for key, body in defined.items():
            old = codebook.modes.get(key)
            if not old or any(getattr(old, name) != getattr(body, name) for name in FIELDS):
                drafts.append(("mode.defined", body.mode, body))
        return drafts

    ws.ledger.extend(choose)
    return table.conclude(reasons, added=len(drafts), folder=ws.rejected / "codebook")


def _define(record: Mapping[str, Any], codebook: Codebook) -> ModeDefined:
    """Make the next version of the mode that a row defines."""
    old = codebook.modes.get((str(record.get("surface")), str(record.get("mode"))))
    if old and old.ended:
        raise LabelError(f"mode: {old.mode!r} was {old.ended}; take another, or undo that event")
    kept = {name: getattr(old, name) for name in FIELDS} if old else {}
    version = old.version + 1 if old else 1
    try:
        return ModeDefined.model_validate({**kept, **record, "version": version})
    except ValidationError as error:
        raise LabelError(explain_invalid(error)) from error
