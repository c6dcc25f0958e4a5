"""The codebook as a file: written in a stable order for review in git, and read back in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sqlalchemy import Connection

from evalbench.errors import LabelError, ReadError
from evalbench.label.annotation.answering import explain_invalid
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.modes import REQUIRED, Codebook
from evalbench.schema import ModeDefined
from evalbench.store.ledger import Draft, Ledger
from evalbench.store.rows import read_csv

FIELDS = ("surface", "mode", "name", *REQUIRED)
EMPTY = {"severity": None, "failure_class": None}


@dataclass(frozen=True)
class Refused:
    """A row that could not be taken: its line, why, and what it says."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class TaxonomyReport:
    """What came of an import; the counts and ``refused`` add up to the rows of the file."""

    added: int
    changed: int
    unchanged: int
    refused: tuple[Refused, ...]


def export_taxonomy(codebook: Codebook, path: str | Path) -> int:
    """Write the modes that count and the drafts as YAML, and give how many these are.

    Sorted by surface and mode, a block each, so that a changed word is a changed line.
    """
    standing = [mode for mode in codebook.modes.values() if not mode.ended]
    rows = ({name: getattr(mode, name) for name in FIELDS} for mode in standing)
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100}
    text = "\n".join(yaml.safe_dump([row], **style) for row in rows) or "[]\n"
    Path(path).write_text(text, encoding="utf-8", newline="")
    return len(standing)


def import_taxonomy(
    ledger: Ledger, path: str | Path, *, surface: str | None = None
) -> TaxonomyReport:
    """Define the modes of a file, and edit those that it says otherwise of, in one transaction.

    A row that cannot be used is in the report, with line and reason; the others are written, as
    decided by the ledger's actor. What the file does not name stays as it is.

    Parameters
    ----------
    path : str or Path
        YAML, a list of modes as an export has it, or CSV with the same fields as columns; only
        ``mode`` and ``name`` must be filled.
    surface : str, optional
        Of rows that name none.

    Raises
    ------
    ReadError
        The file is missing, no text, or neither a list of modes nor a table.
    """
    rows = list(_read_rows(Path(path)))
    outcome: list[str | Refused] = []

    def choose(connection: Connection) -> list[Draft]:
        codebook = read_codebook(ledger, connection=connection)
        outcome.clear()
        seen, drafts = set(), list[Draft]()
        for line, row in rows:
            try:
                body, change = _compare(row, surface, codebook)
                if (body.surface, body.mode) in seen:
                    raise LabelError(f"mode: {body.mode!r} stands in the file twice")
            except LabelError as error:
                outcome.append(Refused(line, str(error), str(row)))
                continue
            seen.add((body.surface, body.mode))
            outcome.append(change)
            if change != "unchanged":
                drafts.append(("mode.defined", body.mode, body))
        return drafts

    ledger.extend(choose)
    added, changed, unchanged = map(outcome.count, ("added", "changed", "unchanged"))
    refused = tuple(each for each in outcome if isinstance(each, Refused))
    return TaxonomyReport(added, changed, unchanged, refused)


def _compare(
    row: Mapping[Any, Any] | str, surface: str | None, codebook: Codebook
) -> tuple[ModeDefined, str]:
    """Give the definition that a row asks for, and whether it is added, changed or unchanged."""
    if isinstance(row, str):
        raise LabelError(row)
    if odd := [str(name) for name in row if name not in FIELDS]:
        raise LabelError(f"no field is {odd[0]!r}; there are {', '.join(FIELDS)}")
    given = {
        name: EMPTY.get(name, "") if value in (None, "") else value for name, value in row.items()
    }
    given["surface"] = given.get("surface") or surface
    old = codebook.modes.get((str(given["surface"]), str(given.get("mode"))))
    if old and old.ended:
        raise LabelError(f"mode: {old.mode!r} was {old.ended}; take another, or undo that event")
    kept = {name: getattr(old, name) for name in FIELDS} if old else {}
    version = old.version + 1 if old else 1
    try:
        body = ModeDefined.model_validate({**kept, **given, "version": version})
    except ValidationError as error:
        raise LabelError(explain_invalid(error)) from error
    same = all(kept.get(name) == getattr(body, name) for name in FIELDS)
    return body, "unchanged" if same else "changed" if old else "added"


def _read_rows(path: Path) -> Iterator[tuple[int, Mapping[Any, Any] | str]]:
    """Read each row with its line; text is the reason why a row is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}: not UTF-8 text: {error}") from error
    if path.suffix != ".csv":
        yield from _read_blocks(path, text)
        return
    columns = next(iter(text.splitlines()), "").split(",")
    if "mode" not in columns or len(set(columns)) < len(columns):
        raise ReadError(f"{path}: its first line must name each column once: {', '.join(FIELDS)}")
    yield from ((row.line, row.record) for row in read_csv(text))


def _read_blocks(path: Path, text: str) -> Iterator[tuple[int, Mapping[Any, Any] | str]]:
    try:
        whole = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ReadError(f"{path}: no YAML: {error}") from error
    if not isinstance(whole, yaml.SequenceNode):
        raise ReadError(f"{path}: not a list of modes; `- mode: ...` begins each")
    for node in whole.value:
        keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        try:
            row = yaml.safe_load(yaml.serialize(node))
        except yaml.YAMLError as error:
            row = f"no YAML: {error}"
        if twice := [key for key in keys if keys.count(key) > 1]:
            row = f"{twice[0]}: stands in the row twice"
        elif not isinstance(node, yaml.MappingNode):
            row = "no mode: a mapping of fields is needed"
        yield node.start_mark.line + 1, row
