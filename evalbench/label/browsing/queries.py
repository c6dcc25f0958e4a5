"""What one asks of sessions, in a line: words, and what columns have to be.

``refund "next week" release=2.1 n_tool_errors>0 -outcome:yes`` are the sessions that say refund and
next week, of release 2.1, with a tool error, whose task was not achieved for sure.
"""

import re
from dataclasses import dataclass

import polars as pl

from evalbench.errors import EvalbenchError

TOKEN = re.compile(r'(-?)(?:([\w.]+)(>=|<=|[:=<>]))?("[^"]*"|\S+)')
ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
NOTHING = "none"


@dataclass(frozen=True)
class Query:
    """What a line asks: ``words`` that a session says, each one, and ``filters`` of its columns."""

    words: tuple[str, ...]
    filters: tuple[pl.Expr, ...]


def parse_query(line: str, schema: pl.Schema) -> Query:
    """Parse what is asked; a name that is no column of ``schema`` is a word like any other.

    Case is ignored: ``:`` finds text within a value, or the beginning of a time, ``=`` the whole;
    ``none`` is what nobody recorded. EvalbenchError where a value does not fit its column.
    """
    words, filters = [], []
    for found in TOKEN.finditer(line):
        minus, name, sign, value = found.groups()
        value = value.strip('"')
        if name in schema:
            holds = _compare(name, schema[name], sign, value)
            filters.append(~holds if minus else holds)
        elif word := found[0].strip('"'):
            words.append(word)
    return Query(tuple(words), tuple(filters))


def contains(text: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    """Tell where a text has each of the words, in any case."""
    return pl.all_horizontal(text.str.contains("(?i)" + re.escape(word)) for word in words)


def _compare(name: str, dtype: pl.DataType, sign: str, value: str) -> pl.Expr:
    column = pl.col(name)
    if value.lower() == NOTHING:
        return column.is_null()
    if dtype == pl.Boolean:
        if value.lower() not in ANSWERS:
            raise EvalbenchError(f"{name} is yes, no or none, not {value!r}")
        return column.eq(ANSWERS[value.lower()]).fill_null(False)
    if dtype.is_numeric():
        try:
            return _order(column, sign, pl.lit(float(value)))
        except ValueError:
            raise EvalbenchError(f"{name} is a number or none, not {value!r}") from None
    if dtype.is_temporal():
        column, value = column.dt.strftime("%Y-%m-%d %H:%M"), value.replace("T", " ")
        if sign == ":":
            return column.str.starts_with(value).fill_null(False)
    elif sign == ":":
        return column.str.contains("(?i)" + re.escape(value)).fill_null(False)
    return _order(column.str.to_lowercase(), sign, pl.lit(value.lower()))


def _order(column: pl.Expr, sign: str, value: pl.Expr) -> pl.Expr:
    orders = {
        ">": column > value,
        ">=": column >= value,
        "<": column < value,
        "<=": column <= value,
    }
    return orders.get(sign, column == value).fill_null(False)
