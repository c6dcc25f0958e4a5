"""Traces in: any known export becomes spans, verdicts and sessions of the lake, each row once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from evalbench.errors import ReadError
from evalbench.observe.batch import Outcome, Plan, process_part, read_records
from evalbench.observe.formats import find_format, load_formats
from evalbench.observe.formats.guess import guess_columns, write_map
from evalbench.observe.frames import RECORD
from evalbench.observe.json_values import Flaw
from evalbench.observe.parallel import map_parallel
from evalbench.observe.record import check_columns
from evalbench.observe.rejects import Reject, Rejects, make_reject
from evalbench.observe.session_table import add_sessions, refresh_sessions
from evalbench.observe.source import Chunk, open_sources, read_chunks
from evalbench.schema import RUN_SIGN, TracesReplaced
from evalbench.settings import Limits

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
# Chunks whose spans become visible at once, 512 MiB of text: what is known of each waits for it.
CHUNKS_AT_ONCE = 32
NOTHING = pl.DataFrame(schema={"ingest_id": pl.String, "session_id": pl.String})
COLLIDED = pl.Schema({"chunk": pl.UInt32, RECORD: pl.UInt32})
Progress = Callable[[int, int], None]


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

    def __add__(self, other: IngestReport) -> IngestReport:
        """Take two files together; of several rejects the last are named."""
        return IngestReport(
            self.sessions + other.sessions,
            self.spans + other.spans,
            self.rejected + other.rejected,
            self.duplicates + other.duplicates,
            self.records + other.records,
            other.rejects_path or self.rejects_path,
            self.collisions + other.collisions,
            "\n".join(filter(None, (self.warning, other.warning))),
        )


def ingest(
    ws: Workspace,
    path: str | Path,
    *,
    surface: str,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    redact: bool | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Read exports of traces into the lake: a file, or all that a pattern names (``*.jsonl``).

    A record is a line of JSONL, an item of a JSON list, a row of CSV or Parquet, a whole document,
    or in OTLP a span. One that cannot be used is rejected, with line and reason. Spans of 512 MiB
    of text appear in one transaction, and a killed ingest is made good by the same command; any
    number of writers may share a lake.

    A file may be gzip or zstd (but Parquet), told by content as ``format`` is where "auto"; of an
    object store, ``s3://bucket/traces/*.jsonl``, it is opened with the settings' ``lake_options``.
    ``columns`` map a column to a field, dotted path or ``{template}``, over those of the settings;
    ``redact`` is by default theirs. ``replace``: spans take the place of what the source brought
    before, labels stay. ``progress`` takes bytes read and in all. ReadError where there is nothing
    of a known format.
    """
    if not surface:
        raise ReadError("surface is empty; name the product surface that the traces are of")
    if len(quote(surface, safe="")) > LONGEST_SURFACE or surface == NO_PARTITION:
        raise ReadError(f"surface {surface[:40]!r} is no name for a folder; choose a shorter one")
    product = ws.settings.surfaces.get(surface.partition(RUN_SIGN)[0])
    columns = {**(product.columns if product else {}), **(columns or {})}
    try:
        check_columns(columns)
    except ValueError as error:
        raise ReadError(str(error)) from error
    load_formats(format)
    redact = ws.settings.redact if redact is None else redact
    how = _digest(repr((format, sorted(columns.items()), redact)).encode()).hexdigest()
    reports, changed = [], set[str]()
    for file in open_sources(path, ws.path, ws.settings.lake_options):
        with file.open("rb") as content:
            source = hashlib.file_digest(content, _digest).hexdigest()
        plan = Plan(
            lake=ws.lake,
            folder=ws.path / "staged",
            surface=surface,
            ingest_id=f"{source}-{how}",
            format=format,
            columns=columns,
            redact=redact,
            secret=ws.secret,
        )
        with _alone(ws.path):
            earlier = _find_earlier(ws.lake, surface, source) if replace else NOTHING
            brought = [*earlier["ingest_id"].unique().sort()]
            reports.append(_read_file(ws, file, plan, brought, progress))
            changed.update(earlier["session_id"])
    with _alone(ws.path):
        n_more = refresh_sessions(ws.lake, surface, changed=changed)
    return sum(reports, IngestReport(n_more, 0, 0, 0, 0))


def _read_file(
    ws: Workspace, path: Path, plan: Plan, earlier: list[str], progress: Progress | None
) -> IngestReport:
    """Read a file in portions of some chunks, each visible at once; replace what is ``earlier``."""
    limits = ws.settings.limits
    first = take_first(cut := read_chunks(path, limits))
    if plan.format == "auto":
        require_known(path, first, load_formats(plan.format), plan.columns)
    parts, at, counts, warning = chain(first, cut), 0, Counter[str](), ""
    rejects, collided, replaced = Rejects(plan.folder), [COLLIDED.to_frame()], list[str]()
    size = path.stat().st_size
    tell = (lambda done: progress(done, size)) if progress else None
    while outcomes := _process(islice(parts, CHUNKS_AT_ONCE), plan, rejects, tell):
        _name_across(outcomes, plan, earlier)
        warning = warning or (_warn_merged(outcomes) if "session_id" in plan.columns else "")
        now = earlier if not replaced and any("span" in each.staged for each in outcomes) else []
        states = _commit(outcomes, plan, now and [*now, plan.ingest_id])
        replaced = replaced or now
        new = states.filter(state="new")
        collisions = states.filter(state="collision").select("chunk", RECORD).unique()
        accepted = new.select("chunk", RECORD).unique()
        used = accepted.join(collisions, on=["chunk", RECORD], how="anti")
        counts["spans"] += len(new.filter(table="span"))
        counts["used"] += len(used)
        counts["records"] += sum(outcome.records for outcome in outcomes)
        collided.append(collisions.with_columns(pl.col("chunk") + at))
        partly = {*states.filter(pl.col("state") != "new", table="span")["chunk"]}
        whole = [each for n, each in enumerate(outcomes) if n not in partly and len(each.outlines)]
        if whole:
            staged, outlines = [each.staged["span"] for each in whole], [e.outlines for e in whole]
            counts["sessions"] += add_sessions(plan.lake, staged, outlines, folder=plan.folder)
        at += len(outcomes)
    if replaced:
        about: dict[str, Any] = {"surface": plan.surface, "by": plan.ingest_id}
        body = TracesReplaced(replaced=tuple(replaced), n_spans=counts["spans"], **about)
        ws.ledger.append("traces.replaced", plan.surface, body)
    rejected, taken = rejects.count, pl.concat(collided)
    rejects.add(_tell_collisions(path, taken, limits))
    return IngestReport(
        sessions=counts["sessions"],
        spans=counts["spans"],
        rejected=rejected,
        duplicates=counts["records"] - counts["used"] - len(taken) - rejected,
        records=counts["records"],
        rejects_path=rejects.keep(ws.rejected, plan.surface),
        collisions=len(taken),
        warning=warning,
    )


def _process(
    parts: Iterable[Chunk | Flaw],
    plan: Plan,
    rejects: Rejects,
    progress: Callable[[int], None] | None,
) -> list[Outcome]:
    """Let workers read parts of a source; what they reject is written at once."""
    outcomes = []
    for outcome in map_parallel(process_part, parts, plan):
        rejects.add(outcome.rejects)
        outcomes.append(replace(outcome, rejects=[]))
        if progress and outcome.position is not None:
            progress(outcome.position)
    return outcomes


def _find_earlier(lake: Lake, surface: str, source: str) -> pl.DataFrame:
    """Find what ingests of the same source brought: ``ingest_id, session_id``."""
    spans = lake.spans(surface=surface).filter(pl.col("ingest_id").str.starts_with(source))
    return spans.select("ingest_id", "session_id").unique().collect(engine="streaming")


def take_first(parts: Iterator[Chunk | Flaw]) -> list[Chunk | Flaw]:
    """Take parts up to the first that has records."""
    first = []
    for part in parts:
        first.append(part)
        if isinstance(part, Chunk):
            break
    return first


def require_known(
    path: Path, parts: list[Chunk | Flaw], modules: list[ModuleType], columns: Mapping[str, str]
) -> None:
    """Refuse a source none of whose first records is of a known format: ReadError says what is."""
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
def _alone(workspace: Path) -> Iterator[None]:
    """Wait until no other ingest of this workspace runs; make a folder that goes with it."""
    folder = workspace / "staged"
    with open(workspace / "ingest.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _name_across(outcomes: list[Outcome], plan: Plan, replaced: Sequence[str]) -> None:
    """Give spans that name no session the one their trace names in another chunk or the lake."""
    if not any(outcome.unnamed for outcome in outcomes):
        return
    own = pl.col("session_id") == pl.col("trace_id")
    spans = [each.staged["span"].scan() for each in outcomes if "span" in each.staged]
    stored = plan.lake.spans(surface=plan.surface).filter(~pl.col("ingest_id").is_in(replaced))
    pairs = pl.concat(rows.select("trace_id", "session_id") for rows in (stored, *spans))
    names = (
        pairs.filter(~own)
        .join(pairs.filter(own), on="trace_id", how="semi")
        .unique("trace_id", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    for outcome in outcomes if len(names) else ():
        for table, staged in outcome.staged.items():
            session = pl.col("session_id").replace(names["trace_id"], names["session_id"])
            rows = staged.scan().with_columns(session, surface=pl.lit(plan.surface)).collect()
            outcome.staged[table] = plan.lake.stage(table, rows, folder=plan.folder)


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


def _commit(outcomes: Sequence[Outcome], plan: Plan, replaced: Sequence[str]) -> pl.DataFrame:
    """Make new rows visible; give ``table, chunk, RECORD, state`` of every row that was read."""
    schema = pl.Schema({"table": pl.String, "chunk": pl.UInt32, RECORD: pl.UInt32})
    parts = [pl.DataFrame(schema={**schema, "state": pl.String})]
    for table in ("span", "verdict"):
        chunks = [number for number, each in enumerate(outcomes) if table in each.staged]
        if not chunks:
            continue
        staged = [outcomes[number].staged[table] for number in chunks]
        own = replaced if table == "span" else ()
        states = plan.lake.commit(table, staged, folder=plan.folder, replaced=own)
        if replaced and table == "verdict":
            rows = pl.concat(each.scan() for each in staged).with_columns(
                surface=pl.lit(staged[0].surface)
            )
            plan.lake.upsert(table, rows.collect())
            states = states.with_columns(state=pl.lit("new"))
        read = pl.concat(outcomes[number].read_from[table] for number in chunks)
        chunk = pl.col("file").replace_strict(dict(enumerate(chunks)), return_dtype=pl.UInt32)
        parts.append(
            states.select(pl.lit(table).alias("table"), chunk.alias("chunk"), read, "state")
        )
    return pl.concat(parts)


def _tell_collisions(path: Path, collided: pl.DataFrame, limits: Limits) -> Iterator[Reject]:
    """Read again the records whose id another row has already that says something else."""
    chunks = {each["chunk"].item(0): each[RECORD] for each in collided.partition_by("chunk")}
    for number, part in enumerate(read_chunks(path, limits) if chunks else ()):
        if isinstance(part, Chunk) and number in chunks:
            wanted = set(chunks[number])
            for index, (line, record) in enumerate(read_records(part.records)):
                if index in wanted:
                    yield make_reject(line, record.text, reason=COLLISION)
