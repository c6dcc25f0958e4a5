"""Forget sessions: what they said is erased for good, and that it was is on record."""

from __future__ import annotations

import fcntl
import gzip
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Connection, bindparam, delete, select, update

from evalbench.errors import StoreError
from evalbench.schema import ERASABLE, RUN_SIGN, SessionsForgotten, erase
from evalbench.store.chain import digest
from evalbench.store.database import EVENT, TEXT, guard, transact, unguard, vacuum
from evalbench.store.erasing import NONE, ONE, erase_rows, find_sessions
from evalbench.store.files import Place
from evalbench.store.ledger import Draft
from evalbench.store.postgresql import require_owner
from evalbench.store.workspace import Workspace

TEXTS = (
    *("status_message", "input", "output", "input_messages", "output_messages"),
    *("tool_arguments", "tool_result", "attributes", "segments"),
)
# Pieces by which a text is found again where it was cut, or written as JSON or HTML.
RUN, PIECE = re.compile(r"[^<>&\"'\\\x00-\x1f{}\[\]|*_`#]{12,}"), 20
WORD = re.compile(r"[\w.@+-]{4,}")
LINES = ("rejected", "scoring")  # folders whose files lose lines, and not themselves
COPIES = ("exports", "staged")  # folders whose files are made again when wanted
KEPT = ("search", "secret", "evalbench.toml", *LINES)


def find_user(ws: Workspace, user_keys: Sequence[str], own: pl.DataFrame = NONE) -> pl.DataFrame:
    """Find all sessions of users, by key, with their ``own`` and the runs on cases made of them."""
    places = [_locate(ws, table) for table in ("session", "span")]
    return _with_runs(ws, pl.concat([own, *(find_sessions(each, user_keys) for each in places)]))


def find_user_of(ws: Workspace, surface: str, session_id: str) -> pl.DataFrame:
    """Find a session with all others of its user; StoreError where there is no such session."""
    rows = ws.lake.spans(surface=surface).filter(session_id=session_id).collect()
    if rows.is_empty():
        raise StoreError(f"{surface} has no session {session_id}: evalbench browse finds its id")
    return find_user(ws, rows["user_key"].drop_nulls().to_list(), rows.select(ONE))


def find_expired(ws: Workspace, *, now: datetime | None = None) -> pl.DataFrame:
    """Find the sessions that are older than the settings let their surface keep them."""
    parts, now = [NONE], now or datetime.now(UTC)
    for surface, days in ws.settings.retention.items():
        old = pl.coalesce("ended_at", "started_at") < now - timedelta(days=days)
        parts.append(ws.lake.sessions(surface=surface).filter(old).select(ONE).collect())
    return _with_runs(ws, pl.concat(parts))


def forget(
    ws: Workspace,
    sessions: pl.DataFrame,
    *,
    reason: str,
    names: Sequence[str] = (),
    reports: Path | None = None,
) -> list[str]:
    """Erase sessions (``surface, session_id``) from lake, ledger, files and reports, for good.

    ``reason`` is "asked" or "expired"; by ``names``, ids of users, rejected rows are found. Reports
    that quote them are removed whole. Returns what was removed, mended, and is left for people to
    do. A run that was killed is made good by the same call.
    """
    done: list[str] = []
    if sessions.is_empty() and not names:
        return done
    with transact(ws.ledger.engine, reads=True) as connection:
        require_owner(connection, "erases what is in it")
    with open(ws.path / "ingest.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        events = _read_events(ws, sessions)
        noted = _cut_all(events.filter("own")["text"])
        often = _find_pieces("\n".join(events.filter(pl.col("own").not_())["text"]), noted)
        pieces = sorted(_cut_all(_read_lake(ws, sessions)) | noted - often)
        _mend_files(ws.path, {*names, *sessions["session_id"]}, pieces, done)
        _remove_files(ws, sessions, pieces, reports, done)
        ws.ledger.extend(lambda connection: _erase(ws, sessions, pieces, reason, done, connection))
        if not vacuum(ws.ledger.engine):
            done.append("left: another program reads the ledger; end it, and forget the same again")
        for table in ("verdict", "session", "span"):  # by the last they are found again
            erase_rows(_locate(ws, table), sessions)
        for surface in sessions["surface"].unique():
            shutil.rmtree(ws.path / "search" / surface.encode().hex(), ignore_errors=True)
    if any((ws.path / "classifiers").glob("*.skops")):
        done.append("left: classifiers/ hold single words of what they learnt from; train again")
    return done


def cut(text: Any) -> Iterator[str]:
    """Cut a text, or all texts of a JSON value, into pieces that can be found elsewhere."""
    for one in _walk(text):
        for run in RUN.findall(one):
            pieces = [run[at : at + PIECE] for at in range(0, len(run) - PIECE + 1, PIECE)]
            yield from (each for each in pieces or [run] if sum(map(str.isalpha, each)) >= 6)


def _cut_all(texts: Iterable[str]) -> set[str]:
    return {piece for text in texts for piece in cut(text)}


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


def _with_runs(ws: Workspace, sessions: pl.DataFrame) -> pl.DataFrame:
    """Add what candidates answered on the cases that were made of sessions."""
    events = _read_events(ws, sessions).filter("own", kind="golden.added")
    cases = events["body"].str.json_path_match("$.case").unique().to_list()
    parts = [sessions]
    for run in ws.ledger.events("run.recorded")["body"] if cases else ():
        body = orjson.loads(run)
        outputs = ws.lake.spans(surface=f"{body['surface']}{RUN_SIGN}{body['run']}")
        asked = pl.col("session_id").str.split("#").list.first().is_in(cases)
        parts.append(outputs.filter(asked).select(ONE).collect())
    return pl.concat(parts).unique()


def _read_lake(ws: Workspace, sessions: pl.DataFrame) -> Iterator[str]:
    """Read what sessions said, and what evaluators said of them."""
    for table, columns in (("span", TEXTS), ("verdict", ("rationale", "evidence"))):
        for surface in sessions["surface"].unique():
            rows = ws.lake.scan(table, surface=surface).join(sessions.lazy(), on=ONE, how="semi")
            for column in rows.select(columns).collect():
                yield from column.drop_nulls().unique()


def _read_events(
    ws: Workspace, sessions: pl.DataFrame, connection: Connection | None = None
) -> pl.DataFrame:
    """Read events that hold texts: whether they are of these sessions (null: of none), the text."""
    events = ws.ledger.events(list(ERASABLE), connection=connection)
    surface, bound = (pl.col("body").str.json_path_match(f"$.{name}") for name in ONE)
    events = events.with_columns(surface=surface, session_id=pl.coalesce(bound, "subject"))
    known, ids = sessions.with_columns(own=True), sessions["session_id"].implode()
    events = events.join(known, on=ONE, how="left", maintain_order="left")
    anywhere = pl.col("surface").is_null() & pl.col("session_id").is_in(ids)
    others = pl.when(bound.is_not_null()).then(False)
    own = pl.when(pl.col("own") | anywhere).then(True).otherwise(others)
    texts = [
        orjson.dumps([orjson.loads(body).get(name) for name in ERASABLE[kind]]).decode()
        for kind, body in events.select("kind", "body").iter_rows()
    ]
    return events.with_columns(own=own, text=pl.Series(texts, dtype=pl.String))


def _mend_files(folder: Path, own: set[str], pieces: Sequence[str], done: list[str]) -> None:
    """Take the lines that speak of sessions or users out of rejects and journals."""
    for file in (each for name in LINES for each in sorted((folder / name).glob("*"))):
        lines = file.read_bytes().splitlines(keepends=True)
        texts = ["\n".join(_walk(line.decode("utf-8", "replace"))) for line in lines]
        spoken = [own & {*WORD.findall(each)} or _find_pieces(each, pieces) for each in texts]
        if any(spoken):
            kept = [line for line, speaks in zip(lines, spoken, strict=True) if not speaks]
            file.write_bytes(b"".join(kept))
            done.append(f"mended: {file}, {len(lines) - len(kept)} lines taken out")


def _remove_files(
    ws: Workspace,
    sessions: pl.DataFrame,
    pieces: Sequence[str],
    reports: Path | None,
    done: list[str],
) -> None:
    """Remove reports and copies that quote sessions; whatever else does is left to people."""
    roots = [root.absolute() for root in (ws.path / "reports", reports, ws.path) if root]
    held, root_of = dict[Path, set[str]](), dict[Path, Path]()
    stores = ws.lake.url, str(ws.ledger.engine.url.database)
    for root in roots:
        for file in root.rglob("*"):
            own = file.relative_to(root).parts[0] in KEPT or str(file).startswith(stores)
            if not own and file.is_file() and root_of.setdefault(file, root) is root:
                held[file] = _find_pieces(_read_text(file), pieces)
    common = _find_common(ws, sessions, {piece for found in held.values() for piece in found})
    for file in (each for each, found in held.items() if found - common):
        root = root_of[file]
        parts = file.relative_to(root).parts
        if root == ws.path and parts[0] not in COPIES:
            done.append(f"left: {file} quotes them, and is no file of evalbench; delete it")
            continue
        # Of a report all goes: its pages, tables and figures say the same.
        target = root.joinpath(*parts[:2]) if root != ws.path and len(parts) > 2 else file
        if target.exists():
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            done.append(f"removed: {target}")


def _read_text(file: Path) -> str:
    """Read all that a file says: of a table its rows, of an archive its members."""
    if file.suffix == ".parquet":
        return str(pl.read_parquet(file).select(pl.selectors.string()).write_ndjson())
    content = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            content = b"\n".join(map(packed.read, packed.namelist()))
    elif content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


def _find_pieces(text: str, pieces: Iterable[str]) -> set[str]:
    found = pl.Series([text]).str.extract_many(list(pieces), overlapping=True) if pieces else None
    return set() if found is None else set(found.explode().drop_nulls())


def _find_common(ws: Workspace, sessions: pl.DataFrame, pieces: set[str]) -> set[str]:
    """Find the pieces that other sessions have too: what everybody is told is nobody's."""
    others = ws.lake.spans().join(sessions.lazy(), on=ONE, how="anti")
    texts = pl.concat_str(TEXTS, separator="\n", ignore_nulls=True)
    found = texts.str.extract_many(sorted(pieces), overlapping=True).explode()
    rows = others.select(found.alias("piece")).unique() if pieces else None
    return set() if rows is None else set(rows.collect(engine="streaming")["piece"].drop_nulls())


def _erase(
    ws: Workspace,
    sessions: pl.DataFrame,
    pieces: Sequence[str],
    reason: str,
    done: list[str],
    connection: Connection,
) -> Iterator[Draft]:
    """Erase texts of events, put that on record, and retire the cases they were."""
    events = ws.ledger.events(connection=connection)
    nothing = pl.lit([], pl.List(pl.String))
    quoted = pl.col("body").str.extract_many(list(pieces), overlapping=True) if pieces else nothing
    quoting = events.with_columns(found=quoted).filter(pl.col("found").list.len() > 0)
    common = list(_find_common(ws, sessions, {*quoting["found"].explode()}))
    quoting = quoting.filter(pl.col("found").list.set_difference(common).list.len() > 0)
    known = _read_events(ws, sessions, connection)
    erased = known.filter(pl.col("own") | pl.col("seq").is_in(quoting["seq"].implode()))
    for seq, kind, body in quoting.select("seq", "kind", "body").iter_rows():
        if _find_pieces(orjson.dumps(erase(kind, orjson.loads(body))).decode(), pieces):
            done.append(f"left: event {seq} ({kind}) quotes them in what cannot be erased")
    numbers = TEXT.c.seq.in_(erased["seq"].to_list())
    texts = list(connection.scalars(select(TEXT.c.seq).where(numbers)))
    connection.execute(delete(TEXT).where(numbers))
    inline: dict[int, str] = {}  # as 0.1 wrote them: the body is another, and keeps its hash
    for seq, kind, body in erased.select("seq", "kind", "body").iter_rows():
        blank = orjson.dumps(erase(kind, orjson.loads(body))).decode()
        if seq not in texts and orjson.loads(blank) != orjson.loads(body):
            inline[seq] = blank
    if inline:
        unguard(connection)
        changed = update(EVENT).where(EVENT.c.seq == bindparam("n")).values(body=bindparam("b"))
        connection.execute(changed, [{"n": seq, "b": body} for seq, body in inline.items()])
        guard(connection)
    done += [f"mended: event {seq} of the ledger" for seq in sorted([*texts, *inline])]
    hashes = {str(seq): digest(body) for seq, body in inline.items()}
    about = {"reason": reason, "sessions": len(sessions), "texts": texts, "events": hashes}
    yield "sessions.forgotten", "sessions", SessionsForgotten.model_validate(about)
    for body in erased.filter(pl.col("seq").is_in([*texts, *inline]), kind="golden.added")["body"]:
        case = {name: orjson.loads(body)[name] for name in ("surface", "suite", "case")}
        yield "golden.retired", case["case"], case | {"reason": "its session was forgotten"}
