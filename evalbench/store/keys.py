"""Rows of a table told apart by two 64-bit hashes of their key, and by one of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from evalbench.schema import KEYS, TABLES
from evalbench.store.files import Staged

KEY = ["h1", "h2"]
# What is no content of a row; the key of a user hangs on the secret of the workspace.
ASIDE = ("surface", "ingest_id", "user_key")
# Personal data taken out; its number hangs on what else of the session was read with it.
PLACEHOLDER = r"<([A-Z_]+)_\d+>"


def compare_rows(staged: Sequence[Staged], stored: pl.LazyFrame) -> pl.DataFrame:
    """Compare staged rows with those that a table has, and with those staged before them.

    Gives ``file, row, state`` in order: "new", or under a taken key "duplicate" or "collision".
    """
    table, stored = staged[0].table, stored.filter(surface=staged[0].surface)
    keys, content = hash_key(table), hash_content(table).alias("content")
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    files = [
        each.scan().with_columns(row, file=pl.lit(number, pl.UInt32))
        for number, each in enumerate(staged)
    ]
    listed = pl.concat(file.select("file", "row", *keys) for file in files)
    rows = listed.collect(engine="streaming").sort("file", "row")
    known = stored.select(keys).join(rows.lazy(), on=KEY, how="semi").collect(engine="streaming")
    taken = ~pl.struct(KEY).is_first_distinct() | pl.col("known").is_not_null()
    rows = rows.join(known.with_columns(known=True), on=KEY, how="left", maintain_order="left")
    rows = rows.with_columns(taken=taken)
    again = rows.filter("taken").select(KEY).unique().lazy()
    if rows["taken"].any():  # only then is all that rows say read
        says = pl.concat(file.select("file", "row", *keys, content) for file in files)
        says = says.join(again, on=KEY, how="semi").select("file", "row", "content")
        rows = rows.join(says.collect(engine="streaming"), on=["file", "row"], how="left")
        there = stored.select(*keys, first=content).join(again, on=KEY, how="semi").collect()
        first = rows.filter(~pl.col("taken")).select(*KEY, first="content")
        rows = rows.join(pl.concat([there, first]), on=KEY, how="left").sort("file", "row")
        same = pl.when(pl.col("content") == pl.col("first")).then(pl.lit("duplicate"))
        state = pl.when("taken").then(same.otherwise(pl.lit("collision")))
        return rows.select("file", "row", state=state.otherwise(pl.lit("new")))
    return rows.select("file", "row", state=pl.lit("new"))


def hash_key(table: str) -> list[pl.Expr]:
    """Hash a row's key to 128 bits as two columns: two rows of one hash are one row.

    Among a billion rows two keys share a hash with a probability below 1e-20.
    """
    names = [name for name in KEYS[table] if name != "surface"]
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in names]
    forward = pl.concat_str(parts, separator="\x1f")
    backward = pl.concat_str(parts[::-1], separator="\x1e")
    return [forward.hash(1).alias(KEY[0]), backward.hash(2).alias(KEY[1])]


def hash_content(table: str) -> pl.Expr:
    """Hash what a row says."""
    columns = [
        pl.col(name).str.replace_all(PLACEHOLDER, "<$1>") if kind == pl.String else pl.col(name)
        for name, kind in TABLES[table].items()
        if name not in ASIDE
    ]
    return pl.struct(columns).hash(3)
