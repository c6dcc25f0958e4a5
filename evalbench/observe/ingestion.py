"""Traces in: any known export becomes spans, verdicts and sessions of the lake, each row once."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.batch import Outcome, Plan
from evalbench.observe.decode import decode, find_formats, load_formats
from evalbench.observe.frames import RECORD, hash_key
from evalbench.observe.record import check_columns
from evalbench.observe.sessions import collect_signals
from evalbench.observe.source import Chunk, Flaw, read_chunks
from evalbench.observe.workers import process_all

if TYPE_CHECKING:
    from evalbench.store.lake import Lake, Staged
    from evalbench.store.workspace import Workspace

INGESTED = ("span", "verdict")
FIRST = 200
"""Records among which one must be of a known format."""
EDGE = 1 << 20
"""Bytes at each end of a file that, with its size, stand for its content."""
SPANS_AT_ONCE = 2_000_000
"""Spans whose sessions are folded at a time, to keep to the promised memory."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Attributes
    ----------
    sessions, spans : int
        Rows that the lake did not have before.
    rejected, duplicates : int
        Records of the source that cannot be used, and those of which every row was there already.
    records : int
        Records of the source: those accepted, and ``rejected``, and ``duplicates``.
    rejects_path : Path or None
        JSONL of the rejected records, ``{line, reason, text}`` each, which ``ingest`` reads again.
    """

    sessions: int
    spans: int
    rejected: int
    duplicates: int
    records: int
    rejects_path: Path | None = None

    @property
    def accepted(self) -> int:
        """Records with a row that was not there before."""
        return self.records - self.rejected - self.duplicates


@dataclass
class _Read:
    """A source that has been read, but of which nothing is visible yet."""

    records: int = 0
    rejected: int = 0
    chunks: list[Outcome] = field(default_factory=list)

    def keys(self, table: str) -> dict[int, pl.DataFrame]:
        """Hashed keys of a table's staged rows, by number of chunk."""
        return {i: each.keys[table] for i, each in enumerate(self.chunks) if table in each.keys}


Outcomes = Iterator[tuple[Chunk | Flaw, Outcome]]


def ingest(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    redact: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Read an export of traces into the lake.

    A record is a line of JSONL, an item of a JSON list, a row of CSV or Parquet, a whole document,
    or in OTLP a span. One that cannot be used goes to a file of rejects with its line and reason;
    one of which the lake has every row is a duplicate. Spans appear in one transaction: whoever
    reads sees all of a file or nothing, and a killed ingest is made good by the same command.

    Parameters
    ----------
    ws : Workspace
        Where to.
    path : str or Path
        JSONL, JSON, CSV or Parquet, plain or (but Parquet) as gzip or zstd, told by content.
    surface : str
        The product surface that the traces are of.
    format : str
        A format's name; ``auto`` tells by the names that a record has.
    columns : mapping of str to str, optional
        Column to source field, dotted path or ``{template}``; over those of the settings.
    redact : bool, optional
        Whether personal data is replaced by placeholders; by default what the settings say.
    progress : callable, optional
        Takes bytes read and bytes in all.

    Raises
    ------
    ReadError
        The file is missing, empty, or of no known format. The lake is then as it was.
    """
    path, settings = Path(path), ws.settings
    if not surface:
        raise ReadError("surface is empty; name the product surface that the traces are of")
    own = settings.surfaces[surface].columns if surface in settings.surfaces else {}
    columns = {**own, **(columns or {})}
    redact = settings.redact if redact is None else redact
    formats = find_formats(format)
    try:
        check_columns(columns)
    except ValueError as error:
        raise ReadError(str(error)) from error
    parts = read_chunks(path)
    first = _take_first(parts)
    if format == "auto":
        _require_known(path, first, formats)
    ingest_id = _identify(path, surface, format, sorted(columns.items()), redact)
    with _alone(ws.path):
        versions = ".".join(str(version) for _, version in sorted(ws.lake.versions().items()))
        plan = Plan(
            lake=ws.lake,
            surface=surface,
            ingest_id=ingest_id,
            name=f"{ingest_id}-{versions}",
            formats=formats,
            columns=columns,
            redact=redact,
            secret=settings.user_key_secret,
        )
        rejects_path = ws.rejected / f"{quote(surface, safe='')}-{ingest_id}.jsonl"
        outcomes = process_all(chain(first, parts), plan)
        size = path.stat().st_size
        read = _gather(outcomes, rejects_path, lambda at: progress(at, size) if progress else None)
        _name_across(read.chunks, ws.lake, surface)
        new_spans, duplicates = _commit_new(read, ws.lake, surface)
        return IngestReport(
            sessions=refresh_sessions(ws.lake, surface),
            spans=new_spans,
            rejected=read.rejected,
            duplicates=duplicates,
            records=read.records,
            rejects_path=rejects_path if read.rejected else None,
        )


def _take_first(parts: Iterator[Chunk | Flaw]) -> list[Chunk | Flaw]:
    """Take parts up to the first that has records."""
    first = []
    for part in parts:
        first.append(part)
        if isinstance(part, Chunk):
            break
    return first


def _require_known(path: Path, parts: list[Chunk | Flaw], formats: tuple[str, ...]) -> None:
    modules = load_formats(formats)
    lines = [line for part in parts if isinstance(part, Chunk) for line in part.lines()[:FIRST]]
    for record in chain.from_iterable(decode(text) for _, text in lines):
        if record.value is not None and any(each.matches(record.value) for each in modules):
            return
    names = ", ".join(name for module in modules for name in module.NAMES)
    raise ReadError(
        f"{path}: none of the first {FIRST} records is of a known format ({names}); "
        "name one with format= (--format), and its fields with columns= (--map)"
    )


def _identify(path: Path, *settings: object) -> str:
    """Name an ingest by what is read and how, so that a second run of it stages the same files."""
    digest = hashlib.blake2b(repr(settings).encode(), digest_size=12)
    size = path.stat().st_size
    with path.open("rb") as file:
        digest.update(size.to_bytes(8, "big") + file.read(EDGE))
        file.seek(max(size - EDGE, 0))
        digest.update(file.read(EDGE))
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other ingest of this workspace runs; a killed one holds nothing."""
    with open(folder / "ingest.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _gather(outcomes: Outcomes, rejects_path: Path, arrive_at: Callable[[int], None]) -> _Read:
    """Keep what chunks staged, and write their rejects to a file that appears when it is whole."""
    read = _Read()
    lines = 0
    unfinished = rejects_path.with_suffix(".unfinished")
    rejects_path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("wb") as file:
        for part, outcome in outcomes:
            first = lines + 1 if outcome.lines else 0
            lines += outcome.lines
            read.records += outcome.records
            read.rejected += len(outcome.rejects)
            read.chunks.append(outcome)
            for reject in outcome.rejects:
                told = reject._replace(line=first + reject.line)._asdict()
                file.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
            if isinstance(part, Chunk):
                arrive_at(part.position)
    if read.rejected:
        unfinished.replace(rejects_path)
    else:
        unfinished.unlink()
        rejects_path.unlink(missing_ok=True)
    return read


def _name_across(chunks: list[Outcome], lake: Lake, surface: str) -> None:
    """Give spans that name no session the one their trace names in another chunk or the lake."""
    staged = [chunk.staged["span"] for chunk in chunks if chunk.unnamed]
    if not staged:
        return
    own = pl.col("session_id") == pl.col("trace_id")
    left = pl.concat([lake.scan_staged(each).filter(own).select("trace_id") for each in staged])
    every = [lake.spans(surface=surface)]
    every += [lake.scan_staged(chunk.staged["span"]) for chunk in chunks if "span" in chunk.staged]
    named = (
        pl.concat([rows.filter(~own).select("trace_id", "session_id") for rows in every])
        .join(left, on="trace_id", how="semi")
        .unique("trace_id", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    trace = pl.col("session_id")
    for chunk in chunks if len(named) else ():
        for table in chunk.staged:
            rows = lake.scan_staged(chunk.staged[table])
            lost = trace.is_in(named["trace_id"].implode())
            if not rows.select(lost.any()).collect().item():
                continue
            session = trace.replace(named["trace_id"], named["session_id"])
            renamed = rows.with_columns(session).collect()
            chunk.staged[table] = lake.restage(chunk.staged[table], renamed)
            chunk.keys[table] = renamed.select(*hash_key(table), chunk.keys[table][RECORD])


def _commit_new(read: _Read, lake: Lake, surface: str) -> tuple[int, int]:
    """Make the new rows visible. Gives how many spans these are, and the duplicate records."""
    repeated = {table: _find_repeated(read.keys(table), lake, table, surface) for table in INGESTED}
    duplicates, new_spans = read.records - read.rejected, 0
    chosen: dict[str, list[Staged]] = {table: [] for table in INGESTED}
    for number, chunk in enumerate(read.chunks):
        kept_records = []
        for table, staged in chunk.staged.items():
            new = ~repeated[table][number]
            kept_records.append(chunk.keys[table][RECORD].to_numpy()[new])
            if new.all():
                chosen[table].append(staged)
            elif new.any():
                rows = lake.scan_staged(staged).collect().filter(new)
                chosen[table].append(lake.restage(staged, rows))
            else:
                lake.discard(staged)
            new_spans += int(new.sum()) if table == "span" else 0
        if kept_records:
            duplicates -= len(np.unique(np.concatenate(kept_records)))
    for table, files in chosen.items():
        if files:
            lake.commit(table, files)
    return new_spans, duplicates


def _find_repeated(
    keys: dict[int, pl.DataFrame], lake: Lake, table: str, surface: str
) -> dict[int, np.ndarray]:
    """Mark, by chunk, the rows whose key stands before them in the source or in the lake."""
    if not keys:
        return {}
    h1 = np.concatenate([frame["h1"].to_numpy() for frame in keys.values()])
    h2 = np.concatenate([frame["h2"].to_numpy() for frame in keys.values()])
    record = np.concatenate([frame[RECORD].to_numpy() for frame in keys.values()])
    chunk = np.repeat(np.arange(len(keys)), [len(frame) for frame in keys.values()])
    order = np.argsort(h1)
    if (np.diff(h1[order]) == 0).any():  # rare, and ten times slower: the first of equal keys first
        order = np.lexsort((record, chunk, h2, h1))
    h1, h2 = h1[order], h2[order]
    repeated = np.zeros(len(order), dtype=bool)
    repeated[order[1:]] = (h1[1:] == h1[:-1]) & (h2[1:] == h2[:-1])
    there = {"span": lake.spans, "verdict": lake.verdicts}[table](surface=surface)
    for batch in there.select(*hash_key(table)).collect_batches(engine="streaming"):
        known1, known2 = batch["h1"].to_numpy(), batch["h2"].to_numpy()
        place = np.minimum(np.searchsorted(h1, known1), len(h1) - 1)
        found = (h1[place] == known1) & (h2[place] == known2)
        repeated[order[place[found]]] = True
    ends = np.cumsum([len(frame) for frame in keys.values()])[:-1]
    return dict(zip(keys, np.split(repeated, ends), strict=True))


def refresh_sessions(lake: Lake, surface: str) -> int:
    """Fold anew each session whose row is missing or counts fewer spans than the lake has.

    Spans are only ever added, so the count tells; a run killed before this step is made good by
    the next. Gives how many sessions are new.
    """
    known = lake.sessions(surface=surface).select("session_id", known="n_spans").collect()
    spans = lake.spans(surface=surface)
    if known.is_empty() and spans.select(pl.len()).collect().item() <= SPANS_AT_ONCE:
        sessions = collect_signals(spans).sort("session_id")
        lake.upsert("session", sessions)
        return len(sessions)
    counted = spans.group_by("session_id").agg(n=pl.len())
    stale = (
        counted.join(known.lazy(), on="session_id", how="left")
        .filter(pl.col("known").is_null() | (pl.col("known") != pl.col("n")))
        .sort("session_id")
        .collect(engine="streaming")
    )
    part = (stale["n"].cum_sum() - 1) // SPANS_AT_ONCE
    for sessions in stale.with_columns(part=part).partition_by("part", maintain_order=True):
        spans = lake.spans(surface=surface)
        if len(sessions) < len(stale) or stale["known"].count():
            # Not a join: this is asked while a file is read, so that no other text is unpacked.
            spans = spans.filter(pl.col("session_id").is_in(sessions["session_id"].implode()))
        lake.upsert("session", collect_signals(spans).sort("session_id"))
    return stale["known"].null_count()
