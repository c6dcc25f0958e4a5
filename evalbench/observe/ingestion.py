"""Traces in: any known export becomes spans, verdicts and sessions of the lake, each row once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.batch import (
    Outcome,
    Plan,
    Reject,
    make_reject,
    process_part,
    read_records,
)
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.formats.guess import guess_columns, write_map
from evalbench.observe.frames import RECORD
from evalbench.observe.json_values import Flaw
from evalbench.observe.parallel import map_parallel
from evalbench.observe.record import check_columns
from evalbench.observe.sessions import fold_sessions
from evalbench.observe.source import Chunk, read_chunks
from evalbench.schema import RUN_SIGN, TracesReplaced
from evalbench.settings import Limits
from evalbench.store.tabular import open_private

if TYPE_CHECKING:
    from evalbench.store.lake import Lake
    from evalbench.store.workspace import Workspace

FIRST = 200  # records among which one must be of a known format
LONGEST_SURFACE = 200  # characters of a surface's name as a file system has it
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # what the lake's folders call a surface without a name
COLLISION = (
    "its id is taken: the lake, or an earlier record of this file, says something else under it; "
    "where the lake is to say what this file says, ingest it with --replace; where one id stands "
    "for several spans, name a better one with --map span_id=..."
)
ASKED = "--map messages=FIELD, or --map input=FIELD --map output=FIELD"
# Traces that no session has, and those that it may have where they are most of a source.
MANY_TRACES, MOST_TRACES = 200, 4
# Spans whose sessions are folded at a time, to keep to the promised memory.
SPANS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did: rows that are new, and what became of the ``records`` of the source.

    ``rejected`` cannot be used, ``duplicates`` were there already, ``collisions`` have an id of
    another content; ``rejects_path`` is JSONL ``{line, reason, text}`` of those, to be mended and
    ingested. ``warning`` says that ``session_id`` was mapped to what tells few traces apart.
    """

    sessions: int
    spans: int
    rejected: int
    duplicates: int
    records: int
    rejects_path: Path | None = None
    collisions: int = 0
    warning: str = ""


def ingest(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    redact: bool | None = None,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Read an export of traces into the lake.

    A record is a line of JSONL, an item of a JSON list, a row of CSV or Parquet, a whole document,
    or in OTLP a span. One that cannot be used is rejected, with line and reason. Spans appear in
    one transaction, and a killed ingest is made good by the same command; any number of writers may
    share a lake.

    ``path`` may be gzip or zstd (but Parquet), told by content as ``format`` is where "auto".
    ``columns`` map a column to a field, dotted path or ``{template}``, over those of the settings;
    ``redact`` is by default theirs. ``replace``: spans take the place of what the source brought
    before, labels stay. ``progress`` takes bytes read and in all. ReadError where there is nothing
    of a known format.
    """
    path, settings = Path(path), ws.settings
    if not surface:
        raise ReadError("surface is empty; name the product surface that the traces are of")
    if len(quote(surface, safe="")) > LONGEST_SURFACE or surface == NO_PARTITION:
        raise ReadError(f"surface {surface[:40]!r} is no name for a folder; choose a shorter one")
    product = settings.surfaces.get(surface.partition(RUN_SIGN)[0])
    own = product.columns if product else {}
    columns = {**own, **(columns or {})}
    redact = settings.redact if redact is None else redact
    modules = load_formats(format)
    try:
        check_columns(columns)
    except ValueError as error:
        raise ReadError(str(error)) from error
    parts = read_chunks(path, settings.limits)
    first = _take_first(parts)
    if format == "auto":
        _require_known(path, first, modules, columns)
    with path.open("rb") as file:
        source = hashlib.file_digest(file, _digest).hexdigest()
    how = repr((format, sorted(columns.items()), redact))
    ingest_id = f"{source}-{_digest(how.encode()).hexdigest()}"
    with _alone(ws.path) as folder:
        plan = Plan(
            lake=ws.lake,
            folder=folder,
            surface=surface,
            ingest_id=ingest_id,
            format=format,
            columns=columns,
            redact=redact,
            secret=ws.secret,
        )
        outcomes = []
        for outcome in map_parallel(process_part, chain(first, parts), plan):
            outcomes.append(outcome)
            if progress and outcome.position is not None:
                progress(outcome.position, path.stat().st_size)
        _name_across(outcomes, ws.lake, surface, folder)
        warning = _warn_merged(outcomes) if "session_id" in columns else ""
        replace = replace and any("span" in each.staged for each in outcomes)
        earlier = _find_earlier(ws.lake, surface, source) if replace else pl.DataFrame()
        replaced = [*earlier["ingest_id"].unique().sort()] if len(earlier) else []
        states = _commit(outcomes, ws.lake, folder, replaced and [*replaced, ingest_id])
        n_new = len(states.filter(state="new", table="span"))
        if replaced:
            body = TracesReplaced(
                surface=surface, replaced=tuple(replaced), by=ingest_id, n_spans=n_new
            )
            ws.ledger.append("traces.replaced", surface, body)
        partly = {*states.filter(pl.col("state") != "new", table="span")["chunk"]}
        n_sessions = refresh_sessions(
            ws.lake,
            surface,
            outlines=[each.outlines for n, each in enumerate(outcomes) if n not in partly],
            changed=[*earlier["session_id"].unique()] if replaced else (),
        )
    record = ["chunk", RECORD]
    collided = states.filter(state="collision").select(record).unique()
    accepted = states.filter(state="new").select(record).unique()
    records = sum(outcome.records for outcome in outcomes)
    rejects = [*chain.from_iterable(outcome.rejects for outcome in outcomes)]
    known = len(accepted.join(collided, on=record, how="anti")) + len(collided) + len(rejects)
    told = [*rejects, *_tell_collisions(path, collided, settings.limits)]
    return IngestReport(
        sessions=n_sessions,
        spans=n_new,
        rejected=len(rejects),
        duplicates=records - known,
        records=records,
        rejects_path=_keep_rejects(told, ws.rejected, surface) if told else None,
        collisions=len(collided),
        warning=warning,
    )


def _find_earlier(lake: Lake, surface: str, source: str) -> pl.DataFrame:
    """Find what ingests of the same source brought: ``ingest_id, session_id``."""
    spans = lake.spans(surface=surface).filter(pl.col("ingest_id").str.starts_with(source))
    return spans.select("ingest_id", "session_id").unique().collect(engine="streaming")


def _take_first(parts: Iterator[Chunk | Flaw]) -> list[Chunk | Flaw]:
    """Take parts up to the first that has records."""
    first = []
    for part in parts:
        first.append(part)
        if isinstance(part, Chunk):
            break
    return first


def _require_known(
    path: Path, parts: list[Chunk | Flaw], modules: list[ModuleType], columns: Mapping[str, str]
) -> None:
    lines = [line for part in parts if isinstance(part, Chunk) for line in part.records[:FIRST]]
    records = [record.value for _, record in read_records(lines) if record.value is not None]
    if any(find_format(record, modules, columns) for record in records):
        return
    names = ", ".join(name for module in modules for name in module.NAMES)
    fields = ", ".join(dict.fromkeys(chain.from_iterable(records))) or "none"
    guessed = write_map(guess_columns(records))
    raise ReadError(
        f"{path}: none of the first {FIRST} records is of a known format ({names}); its fields are "
        f"{fields}: name those that hold the conversation: {guessed or ASKED}"
    )


def _digest(content: bytes = b"") -> Any:
    return hashlib.blake2b(content, digest_size=8)


@contextmanager
def _alone(workspace: Path) -> Iterator[Path]:
    """Wait until no other ingest of this workspace runs; give a folder that goes with it."""
    folder = workspace / "staged"
    with open(workspace / "ingest.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _name_across(outcomes: list[Outcome], lake: Lake, surface: str, folder: Path) -> None:
    """Give spans that name no session the one their trace names in another chunk or the lake."""
    if not any(outcome.unnamed for outcome in outcomes):
        return
    own = pl.col("session_id") == pl.col("trace_id")
    spans = [each.staged["span"].scan() for each in outcomes if "span" in each.staged]
    pairs = pl.concat(
        rows.select("trace_id", "session_id") for rows in (lake.spans(surface=surface), *spans)
    )
    names = (
        pairs.filter(~own)
        .join(pairs.filter(own), on="trace_id", how="semi")
        .unique("trace_id", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    for outcome in outcomes if len(names) else ():
        for table, staged in outcome.staged.items():
            session = pl.col("session_id").replace(names["trace_id"], names["session_id"])
            rows = staged.scan().with_columns(session, surface=pl.lit(surface)).collect()
            outcome.staged[table] = lake.stage(table, rows, folder=folder)


def _warn_merged(outcomes: Sequence[Outcome]) -> str:
    """Say which session takes in more traces than a conversation has, or most of the source's."""
    spans = [each.staged["span"].scan() for each in outcomes if "span" in each.staged]
    if not spans:
        return ""
    pairs = pl.concat(rows.select("session_id", "trace_id") for rows in spans).unique().collect()
    name, n = pairs["session_id"].value_counts(sort=True).row(0)
    of = pairs["trace_id"].n_unique()
    if n <= MANY_TRACES and n <= max(MOST_TRACES, of / 2):
        return ""
    return (
        f"session {name!r} takes in {n:,} of {of:,} traces: where these are different "
        "conversations, ingest again with --map session_id=... of a better field, and --replace"
    )


def _commit(
    outcomes: Sequence[Outcome], lake: Lake, folder: Path, replaced: Sequence[str]
) -> pl.DataFrame:
    """Make new rows visible; give ``table, chunk, RECORD, state`` of every row that was read."""
    schema = pl.Schema({"table": pl.String, "chunk": pl.UInt32, RECORD: pl.UInt32})
    parts = [pl.DataFrame(schema={**schema, "state": pl.String})]
    for table in ("span", "verdict"):
        chunks = [number for number, each in enumerate(outcomes) if table in each.staged]
        if not chunks:
            continue
        staged = [outcomes[number].staged[table] for number in chunks]
        own = replaced if table == "span" else ()
        states = lake.commit(table, staged, folder=folder, replaced=own)
        if replaced and table == "verdict":
            rows = pl.concat(each.scan() for each in staged).with_columns(
                surface=pl.lit(staged[0].surface)
            )
            lake.upsert(table, rows.collect())
            states = states.with_columns(state=pl.lit("new"))
        read = pl.concat(outcomes[number].read_from[table] for number in chunks)
        chunk = pl.col("file").replace_strict(dict(enumerate(chunks)), return_dtype=pl.UInt32)
        parts.append(
            states.select(pl.lit(table).alias("table"), chunk.alias("chunk"), read, "state")
        )
    return pl.concat(parts)


def _tell_collisions(path: Path, collided: pl.DataFrame, limits: Limits) -> list[Reject]:
    """Read again the records whose id another row has already that says something else."""
    told = []
    chunks = {each["chunk"].item(0): each[RECORD] for each in collided.partition_by("chunk")}
    for number, part in enumerate(read_chunks(path, limits) if chunks else ()):
        if isinstance(part, Chunk) and number in chunks:
            wanted = set(chunks[number])
            told += [
                make_reject(line, record.text, reason=COLLISION)
                for index, (line, record) in enumerate(read_records(part.records))
                if index in wanted
            ]
    return told


def _keep_rejects(rejects: Sequence[Reject], folder: Path, surface: str) -> Path:
    """Write rejects to a file that is called after them; one that was mended since stays."""
    content = b"".join(orjson.dumps(each._asdict()) + b"\n" for each in rejects)
    name = f"{quote(surface, safe='')}-{_digest(content).hexdigest()}"
    paths = (folder / f"{name}{f'-{n}' if n > 1 else ''}.jsonl" for n in count(1))
    path = next(path for path in paths if not path.exists() or path.read_bytes() == content)
    unfinished = path.with_suffix(".unfinished")
    with open_private(unfinished) as file:
        file.write(content)
    unfinished.replace(path)
    return path


def refresh_sessions(
    lake: Lake,
    surface: str,
    *,
    outlines: Sequence[pl.DataFrame] = (),
    changed: Collection[str] = (),
) -> int:
    """Fold anew each session ``changed``, or of another count than the lake's; count the new."""
    n_new = 0
    while True:
        known = lake.sessions(surface=surface).select("session_id", known="n_spans")
        counted = lake.spans(surface=surface).group_by("session_id").agg(n=pl.len())
        both = counted.join(known, on="session_id", how="full", coalesce=True)
        wrong = pl.col("known").ne_missing(pl.col("n")) | pl.col("session_id").is_in(list(changed))
        stale = both.filter(wrong).sort("session_id").collect(engine="streaming")
        if stale.is_empty():
            return n_new
        gone = stale.filter(pl.col("n").is_null())
        lake.remove("session", gone.select(surface=pl.lit(surface), session_id="session_id"))
        stale = stale.drop_nulls("n")
        n_new += stale["known"].null_count()
        part = (stale["n"].cum_sum() - 1) // SPANS_AT_ONCE
        for sessions in stale.with_columns(part=part).partition_by("part", maintain_order=True):
            spans = lake.spans(surface=surface)
            if len(sessions) < len(stale) or stale["known"].count():
                # Not a join: this is asked while a file is read, so that no other text is unpacked.
                spans = spans.filter(pl.col("session_id").is_in(sessions["session_id"].implode()))
            lake.upsert("session", fold_sessions(spans, outlines).sort("session_id"))
        changed = ()
