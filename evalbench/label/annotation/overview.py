"""What stands beside the session: the items of the queue, and the codebook with its keys."""

from collections.abc import Collection
from typing import Any

import polars as pl

from evalbench.errors import LabelError
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.queue import Queue
from evalbench.label.annotation.reservations import Place
from evalbench.label.codebook.acts import define, edit, read_codebook
from evalbench.label.codebook.modes import make_key
from evalbench.schema import MODE_KEYS
from evalbench.store.ledger import Ledger
from evalbench.store.workspace import Workspace

MODE = ("mode", "name", "key", "definition", "example", "severity", "failure_class")
OPENING = 90  # characters of a session's first message in the list


def list_modes(ledger: Ledger, surface: str) -> list[dict[str, Any]]:
    """List the failure modes of a surface that count, by their keys, or those that are left."""
    told = pl.col("name", "definition", "example").map_elements(visible, pl.String)
    book = read_codebook(ledger)
    modes = book.live.filter(surface=surface).select(MODE).with_columns(told)
    rows = [row | {"key": book.keys(surface)[row["mode"]]} for row in modes.to_dicts()]
    return sorted(rows, key=lambda row: (not row["key"], MODE_KEYS.find(row["key"]), row["mode"]))


def pin_key(ledger: Ledger, surface: str, mode: str, key: str) -> None:
    """Let a mode have a key that is free; the others keep theirs. LabelError where one has it."""
    book = read_codebook(ledger)
    keys = book.keys(surface)
    for other in keys:
        if key not in keys.values() and other != mode and not book.find(surface, other).key:
            edit(ledger, surface, other)  # which writes down the key that it has
    edit(ledger, surface, mode, key=key)


def list_items(ws: Workspace, queue: Queue, *, revealed: Collection[str]) -> list[dict[str, Any]]:
    """List a queue in its order, as it stands for the annotator.

    ``state`` is mine, skipped, waiting or taken, ``verdict`` the annotator's own; ``differs``
    (others say otherwise) and ``ruled`` are told of those ``revealed`` alone.
    """
    actor, now, surface = queue.ledger.actor, queue.ledger.clock(), queue.body.surface
    ruled = set(queue.ledger.bodies("label.adjudicated").filter(surface=surface)["session_id"])
    texts = ws.lake.sessions(surface=surface).select("session_id", "first_input").collect()
    openings = dict(texts.rows())

    def state(place: Place) -> str:
        if actor in place.labels:
            return "mine"
        if actor in place.reasons:
            return "skipped"
        return "waiting" if place.is_free(actor, now) else "taken"

    return [
        {
            "session_id": name,
            "name": visible(name),
            "opening": visible((openings.get(name) or "")[:OPENING]),
            "state": state(place),
            "verdict": place.labels[actor].verdict if actor in place.labels else None,
            "differs": name in revealed and place.differs(),
            "ruled": name in revealed and name in ruled,
        }
        for name, place in queue.places().items()
    ]


def propose_mode(ledger: Ledger, surface: str, *, name: str, definition: str) -> int:
    """Write a draft of a failure mode; LabelError where the name or the sentence is empty."""
    if not (name.strip() and definition.strip()):
        raise LabelError("a proposal is a name and one sentence that says what goes wrong")
    taken = {mode for where, mode in read_codebook(ledger).modes if where == surface}
    fields = {"name": name.strip(), "definition": definition.strip()}
    return define(ledger, surface, make_key(name, taken), **fields)
