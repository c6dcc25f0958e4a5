"""Records that cannot be used, kept in a file as they come."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import orjson

from evalbench.store.tabular import open_private

READABLE = "backslashreplace"  # how bytes that are no UTF-8 are shown in a reject


class Reject(NamedTuple):
    """A record that cannot be used: where it is, why, and what it says."""

    line: int
    reason: str
    text: str


def make_reject(line: int, text: bytes, *, reason: str) -> Reject:
    """Return the reject of a record."""
    return Reject(line, reason, text.decode(errors=READABLE).rstrip("\r\n"))


class Rejects:
    """The rejects of one source, ``count`` of them, written aside in a folder."""

    def __init__(self, folder: Path):
        self.path, self.count = folder / "rejects", 0
        self.digest = hashlib.blake2b(digest_size=8)

    def add(self, rejects: Iterable[Reject]) -> None:
        """Write some more."""
        for reject in rejects:
            text = orjson.dumps(reject._asdict()) + b"\n"
            with self.path.open("ab") if self.count else open_private(self.path) as file:
                file.write(text)
            self.digest.update(text)
            self.count += 1

    def keep(self, folder: Path, surface: str) -> Path | None:
        """Keep the file under a name after its content; one that was mended since stays."""
        if not self.count:
            return None
        name = f"{quote(surface, safe='')}-{self.digest.hexdigest()}"
        paths = (folder / f"{name}{f'-{n}' if n > 1 else ''}.jsonl" for n in count(1))
        path = next(p for p in paths if not p.exists() or filecmp.cmp(p, self.path, shallow=False))
        return self.path.replace(path)
