"""What shows that a workspace is whole: its chain, its lake, and what was kept of it elsewhere.

A chain shows a change within it. That its end was cut, or that all of it was written anew, shows
only beside a hash that was kept apart: in the manifest of a report, or in an anchor.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import polars as pl
from sqlalchemy import Connection, select

from evalbench.errors import StoreError
from evalbench.schema import TABLES
from evalbench.settings import load_settings
from evalbench.store.anchor import read_anchor
from evalbench.store.database import EVENT, HEAD, find_unguarded, guard, inspect_database, transact
from evalbench.store.delta import open_table
from evalbench.store.files import DIGEST, Place, digest_file
from evalbench.store.ledger import check_chain
from evalbench.store.workspace import find_folder, identify, locate_lake, locate_ledger

ENTRY = re.compile(r"/\d{20}\.json$")
CONTENT_NAME = re.compile(r"/([0-9a-f]{32})\.parquet$")  # files that are called after their content
PINNING = ("queue.drawn", "report.published")
# What the ledger says of a report, and its manifest too.
REPORTED = ("notebook", "parameters", "lake_versions", "ledger_seq", "result_sha256")
# Where an event was kept outside of the ledger, its number and its hash.
Kept = list[tuple[str, int, str]]
Pins = dict[str, dict[int, str]]  # versions of each table that must stay readable, and who says so


@dataclass(frozen=True)
class Verification:
    """What was found: ``flaws`` in plain words, none where all holds, and ``notes`` beside them."""

    flaws: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(
    path: str | Path | None = None,
    *,
    reports: Path | None = None,
    anchor: Path | None = None,
    signers: Path | None = None,
) -> Verification:
    """Check a workspace, and leave it as it is but for its triggers, which are restored.

    ``reports`` is a folder of reports beside its own; ``anchor, signers`` are as ``read_anchor``
    takes them.
    """
    found, folder = Verification(), find_folder(path)
    if not folder.is_dir():
        found.flaws.append(f"there is no workspace at {folder}")
        return found
    settings, identity = load_settings(folder / "evalbench.toml"), identify(folder)
    folders = [folder / "reports", *([] if reports is None else [reports.absolute()])]
    kept: Kept = []
    pins: Pins = {table: {} for table in TABLES}
    manifests = dict(_read_manifests(found, folders, identity, kept, pins))
    if anchor is not None:
        try:
            seq, digest, _, named = read_anchor(anchor, signers=signers)
            kept.append((f"the anchor {anchor}", seq, digest))
            if identity and named and named != identity:
                found.flaws.append(f"the anchor {anchor} is of another workspace")
        except StoreError as error:
            found.flaws.append(str(error))
    try:
        with inspect_database(locate_ledger(folder, settings)) as (engine, writable):
            with transact(engine, reads=True) as connection:
                found.flaws.extend(_find_event_flaws(connection, kept))
                found.flaws.extend(_find_unpublished(connection, manifests, pins))
                unguarded = ", ".join(find_unguarded(connection))
            if unguarded:
                found.flaws.append(f"ledger: its guarding triggers were tampered with: {unguarded}")
            if unguarded and writable:
                with transact(engine) as connection:
                    guard(connection)
                found.notes.append("the ledger's own triggers were restored")
    except StoreError as error:
        found.flaws.append(str(error))
    for table, versions in pins.items():
        place = Place(locate_lake(folder, settings), settings.lake_options, table)
        found.flaws.extend(_find_table_flaws(place, versions, found.notes))
    return found


def _read_manifests(
    found: Verification, folders: Iterable[Path], identity: str | None, kept: Kept, pins: Pins
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read the manifests of this workspace, and compare each with the result beside it."""
    for file in sorted({each for folder in folders for each in folder.rglob("manifest.json")}):
        if file.parent.name.startswith("."):  # a report that was not finished
            continue
        try:
            manifest = orjson.loads(file.read_bytes())
            of, ledger = manifest.get("workspace"), manifest.get("ledger")
            if (identity and of and of != identity) or not (of or ledger):
                found.notes.append(f"{file}: not checked, it is of another workspace")
                continue
            if ledger:
                kept.append((str(file), int(ledger["seq"]), ledger["hash"]))
            _pin(pins, manifest.get("lake_versions"), str(file))
            result = hashlib.sha256(file.with_name("result.json").read_bytes()).hexdigest()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            found.flaws.append(f"{file}: it, or the result beside it, cannot be read: {error}")
            continue
        if manifest.get("result_sha256") != result:
            found.flaws.append(f"{file}: not of the result beside it; one of them was changed")
        yield file, manifest


def _pin(pins: Pins, versions: Mapping[str, int] | None, who: str) -> None:
    for table, version in (versions or {}).items():
        pins.setdefault(table, {}).setdefault(version, who)


def _find_event_flaws(connection: Connection, kept: Kept) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        damage = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
        if damage != "ok":
            yield f"ledger: its file is damaged: {damage}"
    if broken := check_chain(connection):
        yield f"ledger: event {broken.seq} {broken.flaw}"
    last = connection.execute(select(HEAD.c.seq)).scalar() or 0
    for where, seq, digest in kept:
        there = connection.execute(select(EVENT.c.hash).where(EVENT.c.seq == seq)).scalar()
        if seq > last:
            about = "its end is missing, or it is another ledger"
            yield f"ledger: it ends at event {last}, but {where} names event {seq}: {about}"
        elif seq and there != digest:
            about = "it was written anew, is another ledger, or what names it was changed"
            yield f"ledger: event {seq} is not the one that {where} names: {about}"


def _find_unpublished(
    connection: Connection, manifests: Mapping[Path, dict[str, Any]], pins: Pins
) -> Iterator[str]:
    """Compare manifests with what the ledger says of them; the versions that it pins are added."""
    published: dict[str, list[dict[str, Any]]] = {}
    query = select(EVENT.c.seq, EVENT.c.subject, EVENT.c.body).where(EVENT.c.kind.in_(PINNING))
    for seq, subject, text in connection.execute(query):
        try:
            body = orjson.loads(text)
            _pin(pins, body["lake_versions"], f"event {seq} of the ledger")
        except (ValueError, TypeError, KeyError):  # which the chain has shown
            continue
        published.setdefault(subject, []).append(body)
    for file, manifest in manifests.items():
        named = published.get("/".join(file.parts[-3:-1]), [])
        same = [
            each for each in named if all(each.get(key) == manifest.get(key) for key in REPORTED)
        ]
        if manifest.get("workspace") and not same:
            yield f"{file}: the ledger knows of no such report; one of them was changed"


def _find_table_flaws(place: Place, pins: Mapping[int, str], notes: list[str]) -> Iterator[str]:
    """Fold the log of a table, and look at every file of its latest and its pinned versions.

    What no version names is noted: a writer was killed, came second, or has yet to commit it.
    """
    from deltalake.exceptions import DeltaError, TableNotFoundError
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import FileSelector, PyFileSystem

    paths, stray = [], set[str]()
    try:
        store = PyFileSystem(DeltaStorageHandler(str(place), dict(place.options)))
        entries = store.get_file_info(FileSelector("_delta_log", allow_not_found=True))
        paths = [each.path for each in entries if ENTRY.search(each.path)]
        files = store.get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        stray = {each.path for each in files if each.is_file and "_delta_log" not in each.path}
    except TableNotFoundError:
        pass
    except (DeltaError, OSError) as error:
        yield f"lake: {place}: cannot be read: {error}"
    log = {int(path[-25:-5]): path for path in paths}
    latest, intact = max(log, default=-1), True
    for version, who in pins.items():
        if version > latest:
            yield f"lake: {place}: version {version}, which {who} pins, is missing"
    live, needed = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
    for version in range(latest + 1):
        try:
            actions = list(map(orjson.loads, _read(store, log[version]).splitlines()))
            gone = [unquote(each["remove"]["path"]) for each in actions if "remove" in each]
            added = {unquote(each["add"]["path"]): each["add"] for each in actions if "add" in each}
            if not actions:
                raise ValueError("it is empty")
        except (OSError, ValueError, LookupError, TypeError) as error:
            intact = False
            flaw = f"cannot be read: {error}" if version in log else "is missing"
            yield f"lake: {place}: entry {version} of its log {flaw}"
            continue
        live = {path: file for path, file in live.items() if path not in gone} | added
        stray -= added.keys()
        if version == latest or version in pins:
            needed |= live
    if stray and intact:
        about = "no version names them, and they may be deleted once nobody writes"
        notes.append(
            f"lake: {place}: files left over: {len(stray):,}, such as {min(stray)}: {about}"
        )
    try:
        delta = open_table(place) if intact and log else None
        seen = delta.get_add_actions()["path"].to_pylist() if delta else live
        if {unquote(path) for path in seen} != live.keys() and intact:
            yield f"lake: {place}: readers see other files than its log says: a wrong checkpoint"
    except StoreError as error:
        yield f"lake: {error}"
    for path, file in needed.items():
        if wrong := _find_file_flaw(store, path, file):
            yield f"lake: {place}/{path}: {wrong}"


def _find_file_flaw(store: Any, path: str, file: dict[str, Any]) -> str | None:
    statistics = orjson.loads(file.get("stats") or "{}")
    try:
        content = _read(store, path)
        if len(content) != file["size"]:
            return f"has {len(content):,} bytes; it was written with {file['size']:,}"
        keys = pl.read_parquet(content, columns=["session_id"])["session_id"]
    except FileNotFoundError:
        return "is missing"
    except (OSError, pl.exceptions.PolarsError) as error:
        return f"cannot be read: {error}"
    if len(keys) != (rows := statistics.get("numRecords", len(keys))):
        return f"has {len(keys):,} rows; it was written with {rows:,}"
    surface, named = file["partitionValues"]["surface"], CONTENT_NAME.search(path)
    digest, known = digest_file(surface, content), named and named[1]
    known = (file.get("tags") or {}).get(DIGEST) or known  # sessions were forgotten: written anew
    # Others have no digest; the least key, unless it is shortened, tells most of them apart.
    least = statistics.get("minValues", {}).get("session_id")
    if known != digest if known else least and len(least) < 32 and least != keys.min():
        return "is not the file that was written"
    return None


def _read(store: Any, path: str) -> bytes:
    with store.open_input_file(path) as file:
        return bytes(file.read())
