"""What each column of a report's tables is called, and how its numbers are written: once.

The words are in ``glossary.toml``, for whoever writes the reports.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple


class Column(NamedTuple):
    """How a column is headed and written; ``ends`` name the columns of its interval.

    Shares are written as so many of 1,000 by a ``scale`` of 1000, changes ``signed``.
    """

    heading: str
    decimals: int = 2
    ends: tuple[str, ...] = ()
    scale: int = 1
    signed: bool = False


_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
COLUMNS = {
    name: Column(**given) if isinstance(given, dict) else Column(given)
    for name, given in _WORDS["columns"].items()
}
TABLES: dict[str, list[str]] = {name: shown.split() for name, shown in _WORDS["tables"].items()}
"""The columns that the table of this name shows on the page; its CSV has all."""
PARTICULAR: dict[str, dict[str, str]] = _WORDS["particular"]
"""Headings of columns that hold something else in one table, by table."""
LIMITS: dict[str, str] = _WORDS["limits"]
READINGS: dict[str, str] = _WORDS["readings"]
VERDICTS: dict[str, str] = _WORDS["verdicts"]
WEIGHTS: dict[str, str] = _WORDS["weights"]
ASKED: dict[str, str] = _WORDS["asked"]
"""Sentences, and parts of them, by the key that stages give."""
STEPS: dict[str, tuple[str, str]] = _WORDS["steps"]
"""Title and command of each step of the starter plan."""
