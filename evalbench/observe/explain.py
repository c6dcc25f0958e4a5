"""What an ingest would make of an export, before anything of it is in the lake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import orjson
import polars as pl

from evalbench.observe.batch import read_records
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.formats.guess import guess_columns, write_map
from evalbench.observe.ingestion import ingest, require_known, take_first
from evalbench.observe.record import Row, lookup
from evalbench.observe.source import Chunk, open_sources, read_chunks
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


def explain(
    path: str | Path, *, surface: str, format: str = "auto", columns: Mapping[str, str]
) -> str:
    """Say how an export would be read, show sessions of it, and give the command that reads it so.

    Its first records are read in a workspace that is gone afterwards. What ``columns`` do not map
    is guessed. ReadError where nothing can be made of it.
    """
    with TemporaryDirectory() as folder:
        with closing(open_sources(path, Path(folder), {})) as files:
            file = next(files)
            with closing(read_chunks(file)) as parts:
                first = take_first(parts)
        lines = [each for part in first if isinstance(part, Chunk) for each in part.records[:READ]]
        records = [each.value for _, each in read_records(lines) if each.value is not None]
        modules, mapped = load_formats(format), dict(columns)
        module = next(filter(None, (find_format(each, modules, mapped) for each in records)), None)
        mapped = guess_columns(records, _find_known(module, records, mapped)) | mapped
        require_known(file, first, modules, mapped)
        sample = Path(folder, "sample")
        sample.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        ws = open_workspace(Path(folder, "workspace"), user="explain")
        ingest(ws, sample, surface=surface, format=format, columns=mapped)
        about = _describe(ws, records, module or modules[-1], mapped)
        options = f"--surface {quote(surface)} {write_map(mapped)}".rstrip()
        command = f"evalbench ingest {quote(str(path))} {options}"
        return "\n".join([*about, *_show(ws, surface), command])


def _find_known(
    module: ModuleType | None, records: Sequence[Row], columns: Mapping[str, str]
) -> set[str]:
    """Find what a format that is known by its names says; of sessions only more than the trace."""
    known = set[str]()
    for record in records if module and module.SIGNATURES else ():
        with suppress(ValueError):
            for span in module.parse(record, columns).spans:  # type: ignore[union-attr]
                known |= {name for name, value in span.items() if value is not None}
                named = span["session_id"] != span["trace_id"]
                known |= {"a session"} if named else set()
    return known if "a session" in known else known - {"session_id"}


def _describe(
    ws: Workspace, records: Sequence[Row], module: ModuleType, mapped: Mapping[str, str]
) -> Iterator[str]:
    names = next((s for s in module.SIGNATURES if any(s <= each.keys() for each in records)), ())
    told = ", ".join(sorted(names)) or "what its fields hold"
    yield f"{module.NAMES[0]}, told by {told}"
    spans, sessions = ws.lake.spans().collect(), ws.lake.sessions().collect()
    rejects = read_rejects(ws.rejected)
    counts = f"sessions={len(sessions)} spans={len(spans)} rejected={len(rejects)}"
    yield f"of the first {len(records):,} records: {counts}"
    yield from (f"  rejected: {reason}" for reason in rejects["reason"].unique().sort()[:SHOWN])
    yield f"\n{'column':<18}{'from':<26}{'filled':>6}  such as"
    table = module.MAPPING.columns if names else {}
    places = {
        column: next((name for name in names if any(lookup(each, name) for each in records)), "")
        for column, names in table.items()
    }
    for name in dict.fromkeys([*mapped, *spans.columns]):
        values = (sessions if name in FACTS else spans).get_column(name, default=UNKNOWN)
        if name in mapped or (name not in HIDDEN and values.count()):
            share = "" if name == "messages" else f"{values.count() / max(len(values), 1):.0%}"
            place = mapped.get(name, places.get(name, ""))
            example = _cut("".join(map(str, values.drop_nulls()[:1])), 40)
            yield f"{name:<18}{place:<26}{share:>6}  {example}".rstrip()
    kept = [json.loads(text) for text in spans["attributes"].drop_nulls()]
    kept_names = ", ".join(dict.fromkeys(chain.from_iterable(kept))) or "nothing"
    yield f"kept as they are, in attributes: {_cut(kept_names, WIDTH)}\n"


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
