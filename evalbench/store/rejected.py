"""The input rows that could not be used, as whoever read them left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import polars as pl

REJECT = pl.Schema({"line": pl.Int64, "reason": pl.String})


def read_rejects(folder: Path) -> pl.DataFrame:
    """Read every file of rejects, without the rejected text.

    Gives ``file, line, reason``; no rows where nothing was rejected.
    """
    parts = [
        pl.scan_ndjson(path, schema=REJECT)
        .collect()
        .select(pl.lit(path.name).alias("file"), *REJECT)
        for path in sorted(folder.glob("*.jsonl"))
    ]
    return pl.concat([pl.DataFrame(schema={"file": pl.String, **REJECT}), *parts])


def write_rejects(path: Path, rejects: Sequence[Mapping[str, object]]) -> Path | None:
    """Write ``line, reason, text`` of each, in place of what was there; None where none is."""
    path.unlink(missing_ok=True)
    if not rejects:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(r, option=orjson.OPT_APPEND_NEWLINE) for r in rejects))
    return path
