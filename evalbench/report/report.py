"""What one run of a notebook leaves for others to read: result, tables and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def write_json(path: Path, value: object) -> None:
    """Write JSON that is the same bytes for the same value: sorted keys, shortest floats.

    ``nan`` is written as null; times are UTC.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value, option=_JSON))


@dataclass(frozen=True, slots=True)
class Report:
    """The folder of one run, as the notebook sees it."""

    folder: str | Path

    def write(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write ``result.json``, each frame as a list of its rows, and ``tables/{name}.csv``."""
        tables = Path(self.folder) / "tables"
        tables.mkdir(parents=True, exist_ok=True)
        rows = {name: frame.to_dicts() for name, frame in frames.items()}
        write_json(tables.parent / "result.json", rows)
        for name, frame in frames.items():
            frame.write_csv(tables / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
