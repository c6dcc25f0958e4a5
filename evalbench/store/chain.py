"""The hash chain of the ledger: each event seals its own fields and the event before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

GENESIS = "0" * 64
"""What the first event names as the hash before it."""


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


def seal(
    seq: int, at: str, actor: str, kind: str, subject: str, body: str, *, previous_hash: str
) -> Event:
    """Make an event with the hash of its fields.

    The hash is SHA-256 over the fields as a JSON array in ASCII, which no other fields share.
    """
    fields = (seq, at, actor, kind, subject, body, previous_hash)
    encoded = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return Event(*fields, hash=hashlib.sha256(encoded).hexdigest())


def find_break(events: Iterable[Event], *, head: tuple[int, str]) -> int | None:
    """Find the number of the first event that is missing, changed or foreign; None if all holds.

    The events come in the order of ``seq`` and are read once, one at a time. ``head`` is the number
    and hash of the last one as the writer noted them apart; it shows that events at the end are
    gone or were added, of which the chain itself says nothing.
    """
    seq, previous_hash = 0, GENESIS
    for event in events:
        if event.seq != seq + 1:
            return seq + 1
        if event != seal(*event[:6], previous_hash=previous_hash):
            return event.seq
        seq, previous_hash = event.seq, event.hash
    if (seq, previous_hash) == head:
        return None
    return seq if seq == head[0] else min(seq, head[0]) + 1
