"""Tables of the reports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from great_tables import GT
    from IPython.display import Markdown

INK = "#1b1f24"


def table(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str],
    by: str | None = None,
    decimals: Mapping[str, int] | None = None,
    empty: str = "None.",
) -> GT | Markdown:
    """Set a frame as a report's table: the labelled columns alone, in the order of the labels.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a row; text is escaped.
    labels : mapping
        Column to heading.
    by : str, optional
        Column whose values become headings between the rows.
    decimals : mapping, optional
        Decimals of a number column; whole numbers get their thousands set apart without it.
    empty : str
        Said instead of a table without rows.
    """
    from great_tables import GT
    from IPython.display import Markdown

    if frame.is_empty():
        return Markdown(empty)
    shown = frame.select(*labels, *([by] if by else []))
    made = GT(
        shown, groupname_col=by, id="table-" + hashlib.sha256(str(labels).encode()).hexdigest()[:8]
    )
    made = made.cols_label(dict(labels)).sub_missing(missing_text="–")
    whole = [name for name in labels if shown.schema[name].is_integer()]
    made = made.fmt_integer(columns=whole) if whole else made
    for name, places in (decimals or {}).items():
        made = made.fmt_number(columns=name, decimals=places)
    return made.tab_options(
        column_labels_hidden=not any(labels.values()),
        table_font_size="13px",
        data_row_padding="4px",
        table_width="100%",
        row_group_font_weight="bold",
        column_labels_font_weight="bold",
        table_border_top_color=INK,
        table_border_bottom_color=INK,
    )
