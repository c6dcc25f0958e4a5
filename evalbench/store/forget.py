"""Forget sessions: what they said is erased for good, and that it was is on record."""

from __future__ import annotations

import fcntl
import gzip
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
import polars as pl
from sqlalchemy import Connection, Engine, delete, select, update

from evalbench.errors import StoreError
from evalbench.schema import ERASABLE, ERASED, RUN_SIGN, SPAN, SessionsForgotten, erase
from evalbench.store.chain import digest
from evalbench.store.database import EVENT, TEXT, guard, unguard
from evalbench.store.erasing import NONE, ONE, erase_rows, find_sessions
from evalbench.store.files import Place
from evalbench.store.ledger import Draft
from evalbench.store.workspace import Workspace

Reason = Literal["asked", "expired"]
# What a session says, and not whose it is, when it was, or which document it was given.
TEXTS = [name for name, kind in SPAN.items() if kind == pl.String and name not in (
    *("surface", "session_id", "trace_id", "span_id", "parent_id", "kind", "name", "status"),
    *("model", "provider", "tool_name", "source_format", "ingest_id", "group_key", "release"),
    *("environment", "user_key"),
)]  # fmt: skip
# Pieces by which a text is found again where it was cut, or written as JSON or HTML.
RUN, PIECE = re.compile(r"[^<>&\"'\\\x00-\x1f{}\[\]|*_`#]{12,}"), 20
WORD = re.compile(r"[\w.@+-]+")
LINES = ("rejected", "scoring")  # folders whose files lose lines, and not themselves
COPIES = ("search", "exports", "staged")  # folders whose files are made again when wanted
KEPT = ("lake", "secret", "evalbench.toml")


@dataclass
class Forgotten:
    """What was erased: ``removed`` and ``mended`` files, and what is ``left`` for people to do."""

    sessions: int
    events: int = 0
    removed: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def find_user(ws: Workspace, user_key: str) -> pl.DataFrame:
    """Find the sessions of a user by their key, and the runs on cases made of them."""
    return _find_users(ws, [user_key], NONE)


def find_user_of(ws: Workspace, surface: str, session_id: str) -> pl.DataFrame:
    """Find a session with all others of its user; StoreError where there is no such session."""
    rows = ws.lake.spans(surface=surface).filter(session_id=session_id).collect()
    if rows.is_empty():
        raise StoreError(f"{surface} has no session {session_id}: evalbench browse finds its id")
    return _find_users(ws, rows["user_key"].drop_nulls().to_list(), rows.select(ONE))


def _find_users(ws: Workspace, user_keys: list[str], own: pl.DataFrame) -> pl.DataFrame:
    places = [_locate(ws, table) for table in ("session", "span")]
    found = pl.concat([own, *(find_sessions(place, user_keys) for place in places)]).unique()
    return pl.concat([found, _find_runs(ws, found)])


def find_expired(ws: Workspace, *, now: datetime | None = None) -> pl.DataFrame:
    """Find the sessions that are older than the settings let their surface keep them."""
    kept, now = ws.settings.retention, now or datetime.now(UTC)
    parts = [NONE]
    for surface, days in kept.items():
        old = pl.coalesce("ended_at", "started_at") < now - timedelta(days=days)
        parts.append(ws.lake.sessions(surface=surface).filter(old).select(ONE).collect())
    own = pl.concat(parts)
    return pl.concat([own, _find_runs(ws, own)])


def forget(
    ws: Workspace,
    sessions: pl.DataFrame,
    *,
    reason: Reason,
    names: Sequence[str] = (),
    reports: Path | None = None,
) -> Forgotten:
    """Erase sessions (``surface, session_id``) from lake, ledger, files and reports, for good.

    ``names`` are ids of their users, by which rejected rows are found. Reports that quote them are
    removed whole; a run that was killed is made good by the same call.
    """
    done = Forgotten(len(sessions))
    with open(ws.path / "ingest.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = [*_read_lake(ws, sessions), *_read_events(ws, sessions)]
        pieces = sorted({piece for text in said for piece in cut(text)})
        _clean_files(ws, sessions, pieces, names, reports, done)
        _erase_events(ws, sessions, pieces, reason, done)
        for table in ("verdict", "session", "span"):  # by the last they are found again
            erase_rows(_locate(ws, table), sessions)
        for surface in sessions["surface"].unique():
            shutil.rmtree(ws.path / "search" / surface.encode().hex(), ignore_errors=True)
        if any((ws.path / "classifiers").glob("*.skops")):
            done.left.append("classifiers/: single words of what they were trained on; train again")
    return done


def cut(text: str) -> Iterator[str]:
    """Cut a text, or all texts of a JSON value, into pieces that can be found elsewhere."""
    for one in _walk(text):
        for run in RUN.findall(one):
            pieces = [run[at : at + PIECE] for at in range(0, len(run) - PIECE + 1, PIECE)]
            yield from (each for each in pieces or [run] if sum(map(str.isalpha, each)) >= 6)


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        try:
            inner = orjson.loads(value) if value[:1] in ("{", "[", '"') else None
        except orjson.JSONDecodeError:
            inner = None
        yield from [value] if inner is None else _walk(inner)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _walk(each)


def _locate(ws: Workspace, table: str) -> Place:
    return Place(ws.lake.url, ws.lake.options, table)


def _find_runs(ws: Workspace, sessions: pl.DataFrame) -> pl.DataFrame:
    """Find what candidates answered on the cases that were made of sessions."""
    cases = {body["case"] for _, body in _own_events(ws, sessions) if "case" in body}
    if not cases:
        return sessions.clear()
    rows = pl.scan_delta(str(_locate(ws, "span")), storage_options=dict(ws.lake.options))
    run = pl.col("surface").str.contains(RUN_SIGN, literal=True)
    asked = pl.col("session_id").str.split("#").list.first().is_in(list(cases))
    return rows.filter(run, asked).select(ONE).unique().collect()


def _read_lake(ws: Workspace, sessions: pl.DataFrame) -> Iterator[str]:
    """Read what sessions said, and what evaluators said of them."""
    for table, columns in (("span", TEXTS), ("verdict", ["rationale", "evidence"])):
        for surface in sessions["surface"].unique():
            rows = ws.lake.scan(table, surface=surface).select("surface", "session_id", *columns)
            own = rows.join(sessions.lazy(), on=ONE, how="semi").select(columns).collect()
            for column in own:
                yield from column.drop_nulls().unique()


def _own_events(
    ws: Workspace, sessions: pl.DataFrame, connection: Connection | None = None
) -> Iterator[tuple[tuple[int, str], dict[str, Any]]]:
    """Read the events about sessions that hold texts: ``(number, kind), body``."""
    own, names = set(sessions.rows()), set(sessions["session_id"])
    events = ws.ledger.events(list(ERASABLE), connection=connection)
    for seq, kind, subject, text in events["seq", "kind", "subject", "body"].iter_rows():
        body = orjson.loads(text)
        named = body.get("session_id") or subject
        surface = body.get("surface")
        if named in names and (surface is None or (surface, named) in own):
            yield (seq, kind), body


def _read_events(ws: Workspace, sessions: pl.DataFrame) -> Iterator[str]:
    for (_, kind), body in _own_events(ws, sessions):
        for name in ERASABLE[kind]:
            yield from _walk(body.get(name))


def _clean_files(
    ws: Workspace,
    sessions: pl.DataFrame,
    pieces: Sequence[str],
    names: Sequence[str],
    reports: Path | None,
    done: Forgotten,
) -> None:
    """Remove reports and copies that hold a piece, and mend files of lines."""
    own = {*names, *sessions["session_id"]}
    for file in _list_lined(ws.path):
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _speaks_of(line, own, pieces)]
        if len(kept) < len(lines):
            file.write_bytes(b"".join(kept))
            done.mended.append(f"{file}: {len(lines) - len(kept)} lines")
    roots = [root.absolute() for root in (ws.path / "reports", reports) if root and root.is_dir()]
    known = dict.fromkeys(file for root in (ws.path, *roots) for file in _list_files(root))
    database = ws.ledger.engine.url.database or ""
    files = [file for file in known if not str(file).startswith(database) or not database]
    held = {file: found for file in files if (found := _find_pieces(_read_text(file), pieces))}
    common = _find_common(ws, sessions, {piece for found in held.values() for piece in found})
    for file in (each for each, found in held.items() if found - common):
        root = next((root for root in roots if file.is_relative_to(root)), None)
        parts = file.relative_to(root or ws.path).parts
        if root is not None:
            # The report it is a part of: its pages, tables and figures say the same.
            target = root.joinpath(*parts[:2]) if len(parts) > 2 else file
        elif parts[0] in COPIES:
            target = file
        else:
            done.left.append(f"{file}: quotes them, and is no file of evalbench; delete it")
            continue
        if target.exists():
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            done.removed.append(str(target))


def _list_lined(folder: Path) -> list[Path]:
    files = (file for name in LINES for file in (folder / name).glob("*") if file.is_file())
    return sorted(files)


def _list_files(root: Path) -> Iterator[Path]:
    for file in sorted(root.rglob("*")):
        if file.is_file() and file.relative_to(root).parts[0] not in (*KEPT, *LINES):
            yield file


def _speaks_of(line: bytes, own: set[str], pieces: Sequence[str]) -> bool:
    text = line.decode("utf-8", "replace")
    unpacked = "\n".join(_walk(text)) if text[:1] == "{" else text
    words = {word for word in WORD.findall(unpacked) if len(word) >= 4}
    return bool(words & own) or bool(_find_pieces(text, pieces) | _find_pieces(unpacked, pieces))


def _read_text(file: Path) -> str:
    """Read all that a file says: of a table its rows, of an archive its members."""
    if file.suffix in (".parquet", ".arrow"):
        read: Any = pl.read_parquet if file.suffix == ".parquet" else pl.read_ipc
        rows = read(file)
        return str(rows.select(pl.selectors.string()).write_ndjson())
    content = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            content = b"\n".join(packed.read(name) for name in packed.namelist())
    elif content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


def _find_pieces(text: str, pieces: Sequence[str]) -> set[str]:
    if not pieces:
        return set()
    found = pl.Series([text]).str.extract_many(list(pieces), overlapping=True)
    return set(found.explode().drop_nulls())


def _find_common(ws: Workspace, sessions: pl.DataFrame, pieces: set[str]) -> set[str]:
    """Find the pieces that other sessions have too: what everybody is told is nobody's."""
    if not pieces:
        return set()
    others = ws.lake.spans().join(sessions.lazy(), on=ONE, how="anti")
    texts = others.select(pl.concat_str(TEXTS, separator="\n", ignore_nulls=True).alias("text"))
    found = pl.col("text").str.extract_many(sorted(pieces), overlapping=True)
    rows = texts.select(found.explode().alias("piece")).unique().collect(engine="streaming")
    return set(rows["piece"].drop_nulls())


def _erase_events(
    ws: Workspace, sessions: pl.DataFrame, pieces: Sequence[str], reason: Reason, done: Forgotten
) -> None:
    """Erase the texts of events, retire their cases, and put on record that it was done."""

    def choose(connection: Connection) -> Iterable[Draft]:
        own = {key: body for key, body in _own_events(ws, sessions, connection)}
        others = ws.ledger.events(connection=connection)
        said = zip(*(others[name] for name in ("seq", "kind", "body")), strict=True)
        quoting = [(each, _find_pieces(each[2], pieces)) for each in said if each[:2] not in own]
        common = _find_common(ws, sessions, {one for _, found in quoting for one in found})
        for (seq, kind, text), found in quoting:
            if not found - common:
                continue
            if _find_pieces(orjson.dumps(erase(kind, orjson.loads(text))).decode(), pieces):
                done.left.append(f"event {seq} ({kind}) quotes them in what cannot be erased")
            own[seq, kind] = orjson.loads(text)
        texts, events = _blank_events(connection, own)
        done.events = len(texts) + len(events)
        body = {"reason": reason, "sessions": len(sessions), "texts": texts, "events": events}
        yield "sessions.forgotten", "sessions", SessionsForgotten.model_validate(body)
        live: dict[tuple[str, ...], dict[str, Any]] = {}
        for kind, text in (
            ws.ledger.events(["golden.added", "golden.retired"], connection=connection)
            .select("kind", "body")
            .iter_rows()
        ):
            case = orjson.loads(text)
            key = tuple(case[name] for name in ("surface", "suite", "case"))
            live.pop(key, None) if kind == "golden.retired" else live.update({key: case})
        for key, case in live.items():
            if case["expected"] == ERASED:
                why = "what it was made of was forgotten"
                about = dict(zip(("surface", "suite", "case"), key, strict=True))
                yield "golden.retired", key[2], about | {"reason": why}

    ws.ledger.extend(choose)
    _vacuum(ws.ledger.engine)


def _blank_events(
    connection: Connection, own: dict[tuple[int, str], dict[str, Any]]
) -> tuple[list[int], dict[str, str]]:
    """Delete texts beside the chain; an event of 0.1 that holds its text gets another body."""
    numbers = [seq for seq, _ in own]
    beside = set(connection.scalars(select(TEXT.c.seq).where(TEXT.c.seq.in_(numbers))))
    connection.execute(delete(TEXT).where(TEXT.c.seq.in_(beside)))
    stored = select(EVENT.c.seq, EVENT.c.body).where(EVENT.c.seq.in_(numbers))
    bodies = {seq: text for seq, text in connection.execute(stored).all()}
    events = {}
    for seq, kind in own:
        known = orjson.loads(bodies[seq])
        blank = erase(kind, known)
        if "sealed" not in known and blank != known:
            events[seq] = orjson.dumps(blank).decode()
    if events:
        unguard(connection)
        for seq, text in events.items():
            connection.execute(update(EVENT).where(EVENT.c.seq == seq).values(body=text))
        guard(connection)
    return sorted(beside), {str(seq): digest(text) for seq, text in events.items()}


def _vacuum(engine: Engine) -> None:
    """Write the database anew, so that no page of it has what was deleted."""
    sqlite = engine.dialect.name == "sqlite"
    raw = engine.raw_connection()
    try:
        if not sqlite:
            raw.driver_connection.autocommit = True  # type: ignore[union-attr]
        for statement in (
            ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
            if sqlite
            else ("VACUUM FULL event", "VACUUM FULL event_text")
        ):
            raw.cursor().execute(statement)
        if not sqlite:
            raw.driver_connection.autocommit = False  # type: ignore[union-attr]
    finally:
        raw.close()
