"""What an ingest would make of an export, before anything of it is in the lake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.batch import read_records
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.formats.guess import guess_columns, write_map
from evalbench.observe.ingestion import ingest
from evalbench.observe.record import Row, lookup
from evalbench.observe.source import Chunk, read_chunks
from evalbench.schema import SESSION_FACTS
from evalbench.session import read_session
from evalbench.store.tabular import read_rejects
from evalbench.store.workspace import open_workspace

if TYPE_CHECKING:
    from types import ModuleType

    from evalbench.store.workspace import Workspace

READ = 2000  # records from which a map is guessed
SHOWN, PIECES, WIDTH = 3, 12, 90  # sessions, texts and calls of each, and characters of each
# Columns of which the whole session has one, and those that tell nobody anything.
FACTS = SESSION_FACTS.keys() | {"session_id"}
HIDDEN = "surface trace_id span_id parent_id attributes source_format ingest_id".split()
UNKNOWN = pl.Series("unknown", [None])
SAMPLE = "sample.jsonl"


def explain(
    path: str | Path,
    *,
    surface: str = "",
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
) -> str:
    """Say how an export would be read, show sessions of it, and give the command that reads it so.

    Its first records are read in a workspace that is gone afterwards. What ``columns`` do not map
    is guessed. ReadError where nothing can be made of it.
    """
    path, modules, surface = Path(path), load_formats(format), surface or "my_product"
    with closing(read_chunks(path)) as parts:
        first = next((part for part in parts if isinstance(part, Chunk)), Chunk(0, 0, []))
    read = (record.value for _, record in read_records(first.records[:READ]))
    records = [record for record in read if record is not None]
    given = dict(columns or {})
    with TemporaryDirectory() as folder:
        sample = Path(folder, SAMPLE)
        sample.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        module = next(filter(None, (find_format(each, modules, given) for each in records)), None)
        known = set[str]()
        if module and module.SIGNATURES:
            known = _find_filled(_try(folder, "plain", sample, surface, format, given))
        mapped = {**guess_columns(records, known), **given}
        try:
            ws = _try(folder, "mapped", sample, surface, format, mapped)
        except ReadError as error:
            raise ReadError(str(error).replace(str(sample), str(path))) from None
        module = module or load_formats("openai-chat")[0]
        lines = [*_describe(path, records, module, mapped, ws), *_show(ws, surface)]
    options = " ".join(filter(None, [f"--surface {quote(surface)}", write_map(mapped)]))
    return "\n".join([*lines, f"evalbench ingest {quote(str(path))} {options}"])


def _try(
    folder: str, name: str, sample: Path, surface: str, format: str, columns: Mapping[str, str]
) -> Workspace:
    """Read a sample into a workspace of its own."""
    ws = open_workspace(Path(folder, name), user="explain")
    ingest(ws, sample, surface=surface, format=format, columns=columns)
    return ws


def _find_filled(ws: Workspace) -> set[str]:
    """Find the columns that say something; a session is unknown where all have a trace's name."""
    spans = ws.lake.spans().collect()
    filled = {name for name in spans.columns if spans[name].null_count() < len(spans)}
    return filled - ({"session_id"} if (spans["session_id"] == spans["trace_id"]).all() else set())


def _describe(
    path: Path, records: Sequence[Row], module: ModuleType, mapped: Mapping[str, str], ws: Workspace
) -> Iterator[str]:
    names = next((s for s in module.SIGNATURES if any(s <= each.keys() for each in records)), ())
    told = f"told by {', '.join(sorted(names))}" if names else "told by what its fields hold"
    yield f"{path}: {module.NAMES[0]}, {told}"
    spans = ws.lake.spans().collect()
    rejects = read_rejects(ws.rejected)
    counts = f"sessions={spans['session_id'].n_unique()} spans={len(spans)} rejected={len(rejects)}"
    yield f"of the first {len(records):,} records: {counts}"
    yield from (f"  rejected: {reason}" for reason in rejects["reason"].unique().sort()[:SHOWN])
    yield ""
    yield f"{'column':<18}{'from':<26}{'filled':>6}  such as"
    places = {**_find_names(module, records), **mapped}
    sessions = ws.lake.sessions().collect()
    for name in dict.fromkeys([*mapped, *spans.columns]):
        values = (sessions if name in FACTS else spans).get_column(name, default=UNKNOWN)
        if name in mapped or (name not in HIDDEN and values.null_count() < len(values)):
            filled, first = values.count() / max(len(values), 1), values.drop_nulls()[:1]
            example = _cut("".join(map(str, first)), 40)
            share = "" if name == "messages" else f"{filled:.0%}"
            yield f"{name:<18}{places.get(name, ''):<26}{share:>6}  {example}".rstrip()
    kept = [json.loads(text) for text in spans["attributes"].drop_nulls()]
    if names := dict.fromkeys(chain.from_iterable(kept)):
        yield f"kept as they are, in attributes: {_cut(', '.join(names), WIDTH)}"
    yield ""


def _find_names(module: ModuleType, records: Sequence[Row]) -> dict[str, str]:
    """Find which names of a source fill the columns of a format that is known by its names."""
    table: Mapping[str, Any] = module.MAPPING.columns if hasattr(module, "MAPPING") else {}
    found = {
        column: next((n for n in names if any(lookup(each, n) for each in records)), "")
        for column, names in table.items()
    }
    return {column: name for column, name in found.items() if name}


def _show(ws: Workspace, surface: str) -> Iterator[str]:
    """Show sessions as people and judges would read them."""
    ids = ws.lake.sessions(surface=surface).sort("n_turns", descending=True).collect()["session_id"]
    for name in ids[:SHOWN]:
        turns = read_session(ws, surface, name).turns
        pieces = list(chain.from_iterable(turn.text_lines() for turn in turns))
        yield f"session {name}"
        yield from (f"  {_cut(piece, WIDTH)}" for piece in pieces[:PIECES])
        if (left := len(pieces) - PIECES) > 0:
            yield f"  … and {left:,} more"
        yield ""


def _cut(text: str, width: int) -> str:
    """Write a text in one line, marked where it is cut."""
    indent, flat = text[: len(text) - len(text.lstrip(" "))], " ".join(text.split())
    return indent + (flat if len(flat) <= width else f"{flat[:width]} …")
