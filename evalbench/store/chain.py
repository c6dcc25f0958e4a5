"""The hash chain of the ledger: each event seals its own fields and the event before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

GENESIS = "0" * 64  # what the first event names as the hash before it
ENCODE = json.JSONEncoder(separators=(",", ":"), default=repr).encode


class Event(NamedTuple):
    """A row of the ledger; ``at`` is ISO 8601 in UTC with microseconds, ``body`` JSON text."""

    seq: int
    at: str
    actor: str
    kind: str
    subject: str
    body: str
    previous_hash: str
    hash: str


class Break(NamedTuple):
    """The first event at which the chain does not hold, and what is wrong with it."""

    seq: int
    flaw: str


def seal(
    seq: int, at: str, actor: str, kind: str, subject: str, body: str, *, previous_hash: str
) -> Event:
    """Make an event; its hash is SHA-256 over its fields as a JSON array in ASCII."""
    fields = (seq, at, actor, kind, subject, body, previous_hash)
    return Event(*fields, hash=hashlib.sha256(ENCODE(fields).encode("ascii")).hexdigest())


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_break(
    events: Iterable[Event], *, head: tuple[int, str], erased: Mapping[int, str] | None = None
) -> Break | None:
    """Find the first of the events, in their order, that is missing, changed or foreign.

    ``head``, number and hash of the last as the writer noted them apart, shows what the end lacks.
    An event whose own text was ``erased`` keeps its hash; that of its body now is given instead.
    """
    erased = erased or {}
    seq, previous_hash = 0, GENESIS
    for event in events:
        if event.seq == seq:
            return Break(seq, "stands twice")
        if event.seq != seq + 1:
            return Break(seq + 1, "is missing")
        if event.previous_hash != previous_hash:
            return Break(event.seq, f"does not follow event {seq}: one was put in, out or changed")
        if event.seq in erased:
            whole = digest(event.body) == erased[event.seq]
        else:
            whole = event == seal(*event[:6], previous_hash=previous_hash)
        if not whole:
            return Break(event.seq, "was changed after it was written")
        seq, previous_hash = event.seq, event.hash
    if seq < head[0]:
        return Break(seq + 1, f"is missing, with all up to {head[0]} after it")
    if (seq, previous_hash) != head:
        return Break(min(seq, head[0] + 1) or 1, "was put in, or changed, behind the ledger's back")
    return None
