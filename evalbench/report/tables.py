"""Tables of the reports: headed and written as the glossary says."""

import math
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from html import escape

import polars as pl
from IPython.display import HTML

from evalbench.label.annotation.markdown import visible
from evalbench.report.glossary import COLUMNS, PARTICULAR, TABLES, Column
from evalbench.report.sentences import say_group, say_interval, say_number, say_surface

LISTED = 5
"""Items of a list that a cell names."""
Anchors = Mapping[tuple[str, str], str]
"""Where the page shows sessions with a failure, by its surface and mode."""


def set_table(
    name: str, frame: pl.DataFrame, *, by: list[str], level: float, anchors: Anchors | None = None
) -> HTML:
    """Set the table of this name in the glossary; text is escaped, and hidden characters shown.

    The values of the columns ``by`` become headings between the rows; ``level`` is that of the
    intervals. The name of a failure leads to its anchor.
    """
    if by and frame.height:
        frame = pl.concat(frame.partition_by(by, maintain_order=True))
    shown = TABLES[name]
    cells = {column: _write_cells(frame, column) for column in shown}
    if anchors and {"surface", "mode", "name"} <= set(frame.columns) and "name" in cells:
        places = [anchors.get(key) for key in frame.select("surface", "mode").iter_rows()]
        linked = zip(cells["name"], places, strict=True)
        cells["name"] = [f'<a href="#{at}">{text}</a>' if at else text for text, at in linked]
    right = {each for each in shown if frame.schema[each].is_numeric() and not _ends(each, frame)}
    kinds = [' class="number"' if column in right else "" for column in shown]
    heads = [_head(name, column, frame, level) for column in shown]
    titles = "".join(
        f'<th scope="col"{kind}>{escape(head)}</th>'
        for kind, head in zip(kinds, heads, strict=True)
    )
    rows, group = [], None
    keys = frame.select(by).rows() if by else [()] * frame.height
    for key, *row in zip(keys, *cells.values(), strict=True):
        if by and key != group:
            heading = escape(visible(say_group(dict(zip(by, key, strict=True)))))
            rows.append(f'<tr><th colspan="{len(shown)}" scope="rowgroup">{heading}</th></tr>')
            group = key
        written = (f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        rows.append(f"<tr>{''.join(written)}</tr>")
    head = f"<thead><tr>{titles}</tr></thead>" if any(heads) else ""
    label = escape(name.replace("_", " "))
    return HTML(
        f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table>{head}'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(name: str, column: str, frame: pl.DataFrame, level: float) -> str:
    heading = PARTICULAR.get(name, {}).get(column, COLUMNS[column].heading)
    return heading + (f" ({level:.0%} interval)" if _ends(column, frame) else "")


def _ends(name: str, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns that hold the ends of a column's interval; none where there is none."""
    ends = tuple(COLUMNS[name].ends) or (f"{name}_low", f"{name}_high")
    return ends if set(ends) <= set(frame.columns) else ()


def _write_cells(frame: pl.DataFrame, name: str) -> list[str]:
    """Write a column as HTML, with a dash where there is nothing to say."""
    column = COLUMNS[name]
    if ends := _ends(name, frame):
        rows = (frame.select(name, *ends) * column.scale).iter_rows()
        texts = [say_interval(*row, decimals=column.decimals, signed=column.signed) for row in rows]
        return [text.replace(" ", "\u00a0") for text in texts]
    write = say_surface if name == "surface" else partial(_write_cell, column=column)
    return [escape(visible(text)) if text else "–" for text in map(write, frame[name])]


def _write_cell(value: object, column: Column) -> str | None:
    match value:
        case pl.Series():
            named = ", ".join(map(str, value.head(LISTED)))
            more = len(value) - LISTED
            return f"{named} and {more} more" if more > 0 else named
        case None | "":
            return None
        case float() if math.isnan(value):
            return None
        case datetime():
            return f"{value:%Y-%m-%d}"
        case bool():
            return "fails" if value else "passes"
        case int() | float():
            decimals = column.decimals if isinstance(value, float) else 0
            return say_number(value * column.scale, decimals=decimals, signed=column.signed)
    return str(value)
