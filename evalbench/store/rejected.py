"""The input rows that could not be used, as an ingest left them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

REJECT = pl.Schema({"line": pl.Int64, "reason": pl.String})


def read_rejects(folder: Path) -> pl.DataFrame:
    """Read every file of rejects, without the rejected text.

    Returns
    -------
    polars.DataFrame
        ``file, line, reason``; no rows where nothing was rejected.
    """
    parts = [
        pl.scan_ndjson(path, schema=REJECT)
        .collect()
        .select(pl.lit(path.name).alias("file"), *REJECT)
        for path in sorted(folder.glob("*.jsonl"))
    ]
    return pl.concat([pl.DataFrame(schema={"file": pl.String, **REJECT}), *parts])
