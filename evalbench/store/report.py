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
    """The folder of one run, as the notebook sees it.

    Examples
    --------
    >>> report = Report("reports/draft")  # doctest: +SKIP
    >>> report.table("rates", rates)  # doctest: +SKIP
    >>> report.result({"rates": rates})  # doctest: +SKIP
    """

    folder: str | Path

    def table(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Write ``tables/{name}.csv`` and give the frame back."""
        path = Path(self.folder) / "tables" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
        return frame

    def result(self, parts: Mapping[str, object]) -> None:
        """Write ``result.json``; a frame becomes a list of its rows."""
        rows = {
            name: part.to_dicts() if isinstance(part, pl.DataFrame) else part
            for name, part in parts.items()
        }
        write_json(Path(self.folder) / "result.json", rows)
