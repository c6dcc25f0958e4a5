"""The codebook as a table in a file, in a stable order for review in git, and read back in."""

from collections.abc import Mapping
from pathlib import Path

from evalbench.label.codebook import acts
from evalbench.label.codebook.modes import REQUIRED
from evalbench.store.tabular import ImportReport, Record, attempt, read_table, write_table
from evalbench.store.workspace import Workspace

FIELDS = dict.fromkeys(("surface", "mode", "name", *REQUIRED, "key"), "")


def export_codebook(ws: Workspace, path: str | Path, *, surface: str | None = None) -> int:
    """Write standing modes in a stable order, CSV where the path ends so, else JSONL; count."""
    modes = acts.read_codebook(ws.ledger).modes.values()
    standing = [mode for mode in modes if not mode.ended and surface in (None, mode.surface)]
    filled = [
        {name: value for name in FIELDS if (value := getattr(mode, name))} for mode in standing
    ]
    write_table(Path(path), filled, FIELDS)
    return len(filled)


def import_codebook(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImportReport:
    """Define the modes of a file, and edit those that it says otherwise of.

    A row needs a ``mode``, and a ``name`` where it is new; what is empty stays. Otherwise as
    :func:`~evalbench.label.importing.import_labels`.
    """
    table = read_table(path, FIELDS, columns or {})
    records, reasons = table.read(surface=surface)
    modes = acts.read_codebook(ws.ledger).modes
    written = dict[tuple[str, str], Record]()

    def write(record: Record) -> bool:
        key = (str(record.pop("surface", "")), str(record.pop("mode", "")))
        if key in written and written[key] != record:
            raise ValueError(f"mode: {key[1]!r} stands in the file twice")
        old = modes.get(key)
        same = old and all(getattr(old, name) == value for name, value in record.items())
        changed = key not in written and not (old and same and not old.ended)
        if changed:
            (acts.edit if old else acts.define)(ws.ledger, *key, **record)
        written[key] = record
        return changed

    changed, refused = attempt(records, write)
    added = sum(changed.values())
    return table.conclude(reasons | refused, added=added, folder=ws.rejected / "codebook")
