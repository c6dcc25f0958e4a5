"""Traces in: any known export becomes spans, verdicts and sessions of the lake, each row once."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson
import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.batch import Outcome, Plan, process_part
from evalbench.observe.decode import decode
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.frames import RECORD, hash_key
from evalbench.observe.parallel import map_parallel
from evalbench.observe.record import check_columns
from evalbench.observe.sessions import fold_sessions
from evalbench.observe.source import Chunk, Flaw, read_chunks
from evalbench.store.tabular import open_private

if TYPE_CHECKING:
    from evalbench.store.files import Staged
    from evalbench.store.lake import Lake
    from evalbench.store.workspace import Workspace

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
    modules = load_formats(format)
    try:
        check_columns(columns)
    except ValueError as error:
        raise ReadError(str(error)) from error
    parts = read_chunks(path)
    first = _take_first(parts)
    if format == "auto":
        _require_known(path, first, modules)
    ingest_id = _identify(path, surface, format, sorted(columns.items()), redact)
    with _alone(ws.path):
        versions = ".".join(str(version) for _, version in sorted(ws.lake.versions().items()))
        plan = Plan(
            lake=ws.lake,
            surface=surface,
            name=f"{ingest_id}-{versions}",
            ingest_id=ingest_id,
            format=format,
            columns=columns,
            redact=redact,
            secret=ws.secret,
        )
        rejects_path = ws.rejected / f"{quote(surface, safe='')}-{ingest_id}.jsonl"
        parts_done = map_parallel(process_part, chain(first, parts), plan)
        outcomes = _gather(parts_done, path, rejects_path, progress)
        _name_across(outcomes, ws.lake, surface)
        spans, accepted = _commit_new(outcomes, ws.lake, surface)
        records = sum(outcome.records for outcome in outcomes)
        rejected = sum(len(outcome.rejects) for outcome in outcomes)
        return IngestReport(
            sessions=refresh_sessions(ws.lake, surface),
            spans=spans,
            rejected=rejected,
            duplicates=records - rejected - accepted,
            records=records,
            rejects_path=rejects_path if rejected else None,
        )


def _take_first(parts: Iterator[Chunk | Flaw]) -> list[Chunk | Flaw]:
    """Take parts up to the first that has records."""
    first = []
    for part in parts:
        first.append(part)
        if isinstance(part, Chunk):
            break
    return first


def _require_known(path: Path, parts: list[Chunk | Flaw], modules: list[ModuleType]) -> None:
    lines = [line for part in parts if isinstance(part, Chunk) for line in part.records[:FIRST]]
    for record in chain.from_iterable(decode(text) for _, text in lines):
        if record.value is not None and find_format(record.value, modules):
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


def _gather(
    outcomes: Iterator[Outcome],
    path: Path,
    rejects_path: Path,
    progress: Callable[[int, int], None] | None,
) -> list[Outcome]:
    """Collect outcomes, and write their rejects to a file that appears when it is whole."""
    collected, size = [], path.stat().st_size
    unfinished = rejects_path.with_suffix(".unfinished")
    with open_private(unfinished) as file:
        for outcome in outcomes:
            collected.append(outcome)
            for reject in outcome.rejects:
                file.write(orjson.dumps(reject._asdict(), option=orjson.OPT_APPEND_NEWLINE))
            if progress and outcome.position is not None:
                progress(outcome.position, size)
    if any(outcome.rejects for outcome in collected):
        unfinished.replace(rejects_path)
    else:
        unfinished.unlink()
        rejects_path.unlink(missing_ok=True)
    return collected


def _name_across(outcomes: list[Outcome], lake: Lake, surface: str) -> None:
    """Give spans that name no session the one their trace names in another chunk or the lake."""
    if not any(outcome.unnamed for outcome in outcomes):
        return
    own = pl.col("session_id") == pl.col("trace_id")
    spans = [lake.scan_staged(each.staged["span"]) for each in outcomes if "span" in each.staged]
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
        for table in outcome.staged:
            rows = lake.scan_staged(outcome.staged[table]).collect()
            session = pl.col("session_id").replace(names["trace_id"], names["session_id"])
            renamed = rows.with_columns(session)
            changed = not renamed["session_id"].equals(rows["session_id"])
            if changed and (staged := lake.restage(outcome.staged[table], renamed)):
                outcome.staged[table] = staged
                outcome.keys[table] = renamed.select(*hash_key(table), outcome.keys[table][RECORD])


def _commit_new(outcomes: list[Outcome], lake: Lake, surface: str) -> tuple[int, int]:
    """Make rows visible whose key was not; return how many spans, and the records that have any."""
    accepted, n_spans = pl.DataFrame(), 0
    for table, there in (("span", lake.spans), ("verdict", lake.verdicts)):
        chunks = {i: each.staged[table] for i, each in enumerate(outcomes) if table in each.staged}
        if not chunks:
            continue
        keys = pl.concat(
            outcomes[i].keys[table].with_columns(pl.lit(i).alias("chunk")).with_row_index()
            for i in chunks
        )
        stored = there(surface=surface).select(*hash_key(table))
        known = stored.join(keys.lazy(), on=["h1", "h2"], how="semi").collect(engine="streaming")
        new = keys.unique(["h1", "h2"], keep="first", maintain_order=True)
        new = new.join(known, on=["h1", "h2"], how="anti", maintain_order="left")
        kept = dict(new.group_by("chunk").agg("index").iter_rows())
        files = (_keep(lake, file, kept.get(i, [])) for i, file in chunks.items())
        lake.commit(table, [file for file in files if file])
        accepted = pl.concat([accepted, new.select("chunk", RECORD)])
        n_spans += len(new) if table == "span" else 0
    return n_spans, accepted.n_unique() if len(accepted) else 0


def _keep(lake: Lake, staged: Staged, rows: Sequence[int]) -> Staged | None:
    """Keep some rows of a staged file by their numbers."""
    if len(rows) == staged.rows:
        return staged
    return lake.restage(staged, lake.scan_staged(staged).collect()[rows])


def refresh_sessions(lake: Lake, surface: str) -> int:
    """Fold anew each session whose row is missing or counts fewer spans than the lake has.

    Spans are only ever added, so the count tells; a run killed before this step is made good by
    the next. Gives how many sessions are new.
    """
    known = lake.sessions(surface=surface).select("session_id", known="n_spans").collect()
    counted = lake.spans(surface=surface).group_by("session_id").agg(n=pl.len())
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
        lake.upsert("session", fold_sessions(spans).sort("session_id"))
    return stale["known"].null_count()
