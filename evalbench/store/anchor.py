"""Anchors: the end of a ledger, kept elsewhere, so that nobody cuts or rewrites it unseen."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson
from sqlalchemy import select

from evalbench.errors import StoreError
from evalbench.settings import load_settings
from evalbench.store.database import HEAD, inspect_database, transact
from evalbench.store.ledger import check_chain
from evalbench.store.workspace import find_folder, identify, locate_ledger

# The namespace of the signatures: one that was given to something else does not count.
PURPOSE = "evalbench-anchor"


class Anchor(NamedTuple):
    """The last event of the ledger at a time, and of which workspace it was."""

    seq: int
    hash: str
    at: str
    workspace: str | None


def write_anchor(path: str | Path | None, file: Path, *, key: Path | None = None) -> Anchor:
    """Write the head of a ledger to a file that is to be kept elsewhere; ``key`` of SSH signs it.

    StoreError where the ledger is empty or broken, or the file is there or cannot be signed.
    """
    folder = find_folder(path)
    url = locate_ledger(folder, load_settings(folder / "evalbench.toml"))
    with inspect_database(url) as (engine, _), transact(engine, reads=True) as connection:
        if broken := check_chain(connection):
            raise StoreError(f"ledger: event {broken.seq} {broken.flaw}; run evalbench verify")
        seq, digest = connection.execute(select(HEAD.c.seq, HEAD.c.hash)).one()
    if not seq:
        raise StoreError("ledger: it has no event yet, so there is nothing to anchor")
    anchor = Anchor(seq, digest, datetime.now(UTC).isoformat(timespec="seconds"), identify(folder))
    try:
        with file.open("xb") as written:
            written.write(orjson.dumps(anchor._asdict(), option=orjson.OPT_APPEND_NEWLINE))
    except FileExistsError:
        raise StoreError(f"{file}: is there already; anchors are kept, so name another") from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
    if key is not None:
        _run_ssh("sign", "-n", PURPOSE, "-f", str(key), str(file))
    return anchor


def read_anchor(file: Path, *, signers: Path | None = None) -> Anchor:
    """Read an anchor that one of the ``signers`` must have signed; else StoreError."""
    try:
        content = file.read_bytes()
        anchor = Anchor(**orjson.loads(content))
        anchor = anchor._replace(seq=int(anchor.seq))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"anchor {file}: cannot be read: {error}") from error
    if signers is not None:
        about = ("-s", f"{file}.sig", "-f", str(signers))
        try:
            signer = _run_ssh("find-principals", *about).split("\n")[0]
            _run_ssh("verify", *about, "-n", PURPOSE, "-I", signer, content=content)
        except StoreError as error:
            raise StoreError(f"anchor {file}: it has no good signature: {error}") from error
    return anchor


def _run_ssh(action: str, *arguments: str, content: bytes = b"") -> str:
    command = ["ssh-keygen", "-Y", action, *arguments]
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise StoreError("ssh-keygen is not installed; install OpenSSH") from error
    except subprocess.CalledProcessError as error:
        raise StoreError((error.stderr + error.stdout).decode().strip()) from error
    return str(done.stdout.decode())
