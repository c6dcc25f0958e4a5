"""An audit bundle: one report with what it rests on, to be checked where the workspace is not."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from sqlalchemy import select

from evalbench.errors import StoreError
from evalbench.store.chain import Event, find_break
from evalbench.store.database import EVENT, transact
from evalbench.store.delta import open_table
from evalbench.store.files import Place
from evalbench.store.verification import Verification
from evalbench.store.workspace import Workspace, locate_lake

HASHES, LEDGER, LAKE = "hashes.json", "ledger.jsonl", "lake.json"
NEVER = (1980, 1, 1, 0, 0, 0)
"""Every file of a bundle has this time, so that the same report gives the same bytes."""


def write_bundle(ws: Workspace, report: Path, bundle: Path) -> int:
    """Write a report's result, tables and manifest with the ledger and the lake that it pins.

    The ledger is every event up to the pinned one, which the chain needs, with the hashes of what
    people said of sessions, and not their texts; of the lake the names,
    sizes and rows of the files of each pinned version. Returns the number of events.

    Raises StoreError where the folder holds no report of this workspace.
    """
    try:
        manifest = orjson.loads((report / "manifest.json").read_bytes())
        seq, versions = manifest["ledger"]["seq"], manifest["lake_versions"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{report}: holds no report: {error}; give the folder of one") from None
    chain = select(EVENT).where(EVENT.c.seq <= seq).order_by(EVENT.c.seq)
    with transact(ws.ledger.engine, reads=True) as connection:  # without the texts beside it
        events = [orjson.dumps(Event(*row)._asdict()) for row in connection.execute(chain)]
    files = {LEDGER: b"".join(event + b"\n" for event in events)}
    files[LAKE] = orjson.dumps({name: _list_files(ws, name, at) for name, at in versions.items()})
    own = [report / "manifest.json", report / "result.json", *sorted(report.glob("tables/*.csv"))]
    files |= {str(path.relative_to(report)): path.read_bytes() for path in own}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted({**files, HASHES: orjson.dumps(hashes)}.items()):
            packed.writestr(zipfile.ZipInfo(name, NEVER), content, zipfile.ZIP_DEFLATED)
    if flaws := verify_bundle(bundle).flaws:
        bundle.unlink()
        raise StoreError(f"{report}: {flaws[0]}")
    return len(events)


def verify_bundle(bundle: Path) -> Verification:
    """Check a bundle by itself: its hashes, its chain, and that its result is the manifest's."""
    found = Verification()
    try:
        with zipfile.ZipFile(bundle) as packed:
            files = {name: packed.read(name) for name in packed.namelist()}
        hashes, manifest = (orjson.loads(files.pop(n)) for n in (HASHES, "manifest.json"))
        events = [Event(**orjson.loads(line)) for line in files[LEDGER].splitlines()]
        head = manifest["ledger"]["seq"], manifest["ledger"]["hash"]
        result = hashlib.sha256(files["result.json"]).hexdigest()
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        found.flaws.append(f"{bundle}: it is no audit bundle, or a part is missing: {error}")
        return found
    if hashes.keys() != {*files, "manifest.json"}:
        found.flaws.append(f"{bundle}: files were put in or taken out")
    for name, content in files.items():
        if hashes.get(name) != hashlib.sha256(content).hexdigest():
            found.flaws.append(f"{bundle}: {name} was changed")
    if broken := find_break(events, head=head):
        found.flaws.append(f"{bundle}: event {broken.seq} {broken.flaw}")
    if manifest.get("result_sha256") != result:
        found.flaws.append(f"{bundle}: result.json is not the one that the manifest names")
    return found


def _list_files(ws: Workspace, table: str, version: int) -> list[dict[str, Any]]:
    if version < 0:
        return []
    place = Place(locate_lake(ws.path, ws.settings), ws.settings.lake_options, table)
    delta = open_table(place, version=version)
    if delta is None:
        return []
    added = pl.DataFrame(delta.get_add_actions(flatten=True))
    return added.select("path", "size_bytes", "num_records").sort("path").to_dicts()
