"""The lake without some sessions: in its latest version, and in every one before."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import orjson
import polars as pl

from evalbench.errors import StoreError
from evalbench.store.delta import delete_rows, open_table
from evalbench.store.files import DIGEST, Place, digest_file, measure_rows, write_file

ONE = ["surface", "session_id"]
NONE = pl.DataFrame(schema=dict.fromkeys(ONE, pl.String))


def find_sessions(place: Place, user_keys: Sequence[str]) -> pl.DataFrame:
    """Find the sessions of users, by key, in any version of a table: ``surface, session_id``."""
    found = [NONE]
    for _, surface, file in _open_files(place):
        own = _read(file, "session_id", "user_key").filter(
            pl.col("user_key").is_in(list(user_keys))
        )
        found.append(own.select(pl.lit(surface, pl.String).alias("surface"), "session_id"))
    return pl.concat(found).drop_nulls().unique()


def erase_rows(place: Place, sessions: pl.DataFrame) -> None:
    """Delete the rows of sessions (``surface, session_id``) from every version of a table.

    Whoever writes now follows a version without them. Then the files of earlier versions are
    written anew, under their names, and the log with their sizes and bounds; a run that was killed
    is made good by the next.
    """
    if open_table(place) is None or sessions.is_empty():
        return
    here = pl.scan_delta(str(place), storage_options=dict(place.options))
    if here.join(sessions.lazy(), on=ONE, how="semi").head(1).collect().height:
        delete_rows(place, sessions)
    written: dict[str, dict[str, Any]] = {}
    sizes = {path: each["size"] for path, each in _read_added(place).items()}
    for path, surface, file in _open_files(place):
        own = sessions if surface is None else sessions.filter(surface=surface)
        gone = pl.col("session_id").is_in(own["session_id"].implode())
        if surface is None:  # a writer was killed
            if _read(file, "session_id").filter(gone).height:
                _open(place).delete_file(path)
        elif file.size() != sizes[path] or _read(file, "session_id").filter(gone).height:
            encoded, kept = io.BytesIO(), _read(file).filter(~gone)
            kept.write_parquet(encoded, compression_level=1)
            content = encoded.getvalue()
            write_file(place, path, content)
            about = {DIGEST: digest_file(surface, content)}
            stats = measure_rows(kept.lazy(), place.table, len(kept))
            written[path] = {"size": len(content), "stats": stats, "tags": about}
    if written:
        _rewrite_log(place, written)


def _rewrite_log(place: Place, written: dict[str, dict[str, Any]]) -> None:
    store = _open(place)
    for name in reversed(_list(place, "_delta_log")):  # what names a checkpoint goes before it
        if "checkpoint" in name:
            store.delete_file(name)
            continue
        changed = False
        actions = [*map(orjson.loads, store.open_input_file(name).read().splitlines())]
        for action in actions:
            for kind in action.keys() & {"add", "remove"}:
                new = written.get(unquote(action[kind]["path"]))
                if new is not None:
                    action[kind].update(new if kind == "add" else {"size": new["size"]})
                    changed = True
        if changed:
            content = b"".join(orjson.dumps(each) + b"\n" for each in actions)
            write_file(place, name, content)


def _read_added(place: Place) -> dict[str, dict[str, Any]]:
    """Read what the log says of every file that any version ever added, by its path."""
    store, added = _open(place), {}
    for name in _list(place, "_delta_log"):
        lines = store.open_input_file(name).read().splitlines() if name.endswith(".json") else []
        for action in map(orjson.loads, lines):
            if "add" in action:
                added[unquote(action["add"]["path"])] = action["add"]
    return added


def _open_files(place: Place) -> Iterator[tuple[str, str | None, Any]]:
    """Open each file of a table, with its surface: None where no version names the file."""
    if open_table(place) is None:
        return
    store, added = _open(place), _read_added(place)
    for path in _list(place, ""):
        if path.endswith(".parquet"):
            surface = added[path]["partitionValues"]["surface"] if path in added else None
            with store.open_input_file(path) as file:
                yield path, surface, file


def _read(file: Any, *columns: str) -> pl.DataFrame:
    """Read columns of a file, by default all; no more of it is fetched."""
    from pyarrow.parquet import read_table

    file.seek(0)
    return pl.DataFrame(read_table(file, columns=list(columns) or None))


def _list(place: Place, folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    found = _open(place).get_file_info(FileSelector(folder, recursive=not folder))
    inside = [each.path for each in found if each.is_file]
    return sorted(path for path in inside if bool(folder) == ("_delta_log" in path))


def _open(place: Place) -> Any:
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import PyFileSystem

    try:
        return PyFileSystem(DeltaStorageHandler(str(place), dict(place.options)))
    except OSError as error:
        raise StoreError(f"{place}: cannot be opened: {error}") from error
