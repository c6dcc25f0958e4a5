"""Tables of the reports: headed and written as the glossary says."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from evalbench.label.annotation.markdown import visible
from evalbench.report.glossary import COLUMNS, PARTICULAR, TABLES, Column
from evalbench.report.sentences import say_group, say_interval, say_number, say_surface

if TYPE_CHECKING:
    from great_tables import GT

INK = "#1b1f24"
LISTED = 5
"""Items of a list that a cell names."""


def set_table(name: str, frame: pl.DataFrame, *, by: list[str], level: float) -> GT:
    """Set the table of this name in the glossary; text is escaped, and hidden characters shown.

    The values of the columns ``by`` become headings between the rows; ``level`` is that of the
    intervals.
    """
    from great_tables import GT

    shown = TABLES[name]
    cells = [_write_cells(frame, column).alias(column) for column in shown]
    keys = (dict(zip(by, row, strict=True)) for row in frame.select(by).iter_rows())
    groups = [visible(say_group(key)) for key in keys]
    grouping = [pl.Series("group", groups, pl.String)] if by else []
    identity = "table-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    made = GT(pl.DataFrame([*cells, *grouping]), groupname_col="group" if by else None, id=identity)
    headings: dict[str, Any] = {column: _head(name, column, frame, level) for column in shown}
    numbers = [each for each in shown if frame.schema[each].is_numeric() and not _ends(each, frame)]
    made = made.cols_label(headings).cols_align("right", numbers).sub_missing(missing_text="–")
    return made.tab_options(
        column_labels_hidden=not any(headings.values()),
        table_font_size="13px",
        data_row_padding="4px",
        table_width="100%",
        row_group_font_weight="bold",
        column_labels_font_weight="bold",
        table_border_top_color=INK,
        table_border_bottom_color=INK,
    )


def _head(name: str, column: str, frame: pl.DataFrame, level: float) -> str:
    heading = PARTICULAR.get(name, {}).get(column, COLUMNS[column].heading)
    return heading + (f" ({level:.0%} interval)" if _ends(column, frame) else "")


def _ends(name: str, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns that hold the ends of a column's interval; none where there is none."""
    ends = tuple(COLUMNS[name].ends) or (f"{name}_low", f"{name}_high")
    return ends if set(ends) <= set(frame.columns) else ()


def _write_cells(frame: pl.DataFrame, name: str) -> pl.Series:
    """Write a column as text; null where there is nothing to say."""
    column = COLUMNS[name]
    if ends := _ends(name, frame):
        rows = (frame.select(name, *ends) * column.scale).iter_rows()
        texts = [say_interval(*row, decimals=column.decimals, signed=column.signed) for row in rows]
        return pl.Series(texts, dtype=pl.String).str.replace_all(" ", "\u00a0")
    write = say_surface if name == "surface" else partial(_write_cell, column=column)
    written = map(write, frame[name])
    return pl.Series([text and visible(text) for text in written], dtype=pl.String)


def _write_cell(value: object, column: Column) -> str | None:
    match value:
        case pl.Series():
            named = ", ".join(map(str, value.head(LISTED)))
            more = len(value) - LISTED
            return f"{named} and {more} more" if more > 0 else named
        case None | "":
            return None
        case bool():
            return "fails" if value else "passes"
        case int() | float():
            decimals = column.decimals if isinstance(value, float) else 0
            return say_number(value * column.scale, decimals=decimals, signed=column.signed)
    return str(value)
