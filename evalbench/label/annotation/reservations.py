"""How a queue stands: who holds, labelled and skipped what, folded from its events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from evalbench.schema import DrawnItem, ItemReserved, ItemSkipped, Label
from evalbench.store.ledger import GIVEN_BY

KINDS = ("item.reserved", "item.skipped", "label.set")
QUEUE = pl.col("body").str.json_path_match("$.queue").cast(pl.Int64, strict=False)
"""The queue that an event is about, read without a model of each of many thousand bodies."""


class Hold(NamedTuple):
    """Somebody has a session before them: since which event, and until when."""

    since: int
    until: datetime


class Given(NamedTuple):
    """The last label somebody gave a session."""

    at: datetime
    verdict: str
    seconds: float | None


@dataclass
class Place:
    """One item of a queue with what each annotator did about it."""

    item: DrawnItem
    holds: dict[str, Hold] = field(default_factory=dict)
    labels: dict[str, Given] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def is_done(self) -> bool:
        """Say whether it has all its labels."""
        return len(self.labels) >= self.item.annotators

    def holders(self, now: datetime) -> set[str]:
        """Return those who have it before them."""
        return {actor for actor, hold in self.holds.items() if hold.until > now}

    def is_free(self, actor: str, now: datetime) -> bool:
        """Say whether an annotator may have it: neither labelled nor skipped by them, nor full."""
        if actor in self.labels or actor in self.reasons or self.is_done():
            return False
        holders = self.holders(now)
        return actor in holders or len(self.labels) + len(holders) < self.item.annotators

    def count(self, now: datetime) -> tuple[int, int, int, list[str]]:
        """Count those who labelled, hold and skipped it, with their reasons to skip."""
        holders, reasons = self.holders(now), list(self.reasons.values())
        return len(self.labels), len(holders), len(reasons), reasons

    def describe(self, people: set[str], now: datetime) -> str:
        """Say how it stands among the people of its queue, in one word of :meth:`Queue.state`."""
        if self.is_done():
            return "done"
        if self.holders(now):
            return "held"
        stuck = self.reasons and people <= self.labels.keys() | self.reasons.keys()
        return "skipped" if stuck else "open"


class Standing:
    """The fold of a queue's events up to ``seq``: its places, in the order of the queue."""

    def __init__(self, number: int, items: tuple[DrawnItem, ...]) -> None:
        self.number = self.seq = number
        self.places = {item.session_id: Place(item) for item in items}

    def update(self, read: Callable[..., pl.DataFrame]) -> None:
        """Add what was written since; ``read`` is the ledger's ``events``, or stands for it."""
        events = read(KINDS, since=self.seq).with_columns(actor=GIVEN_BY)
        for event in events.filter(QUEUE == self.number).iter_rows(named=True):
            place = self.places.get(event["subject"])
            if place is not None:
                self._add(place, event)
        self.seq = max(events["seq"], default=self.seq)

    def choose(self, actor: str, now: datetime) -> list[DrawnItem]:
        """List what an annotator may label: first what they began, then what others began."""

        def rank(place: Place) -> tuple[float, int]:
            hold = place.holds.get(actor)
            others = len(place.labels) + len(place.holders(now) - {actor})
            return (hold.since, 0) if hold else (float("inf"), -others)

        free = [place for place in self.places.values() if place.is_free(actor, now)]
        return [place.item for place in sorted(free, key=rank)]

    def people(self) -> set[str]:
        """Return everybody who ever held, labelled or skipped an item."""
        parts = [{*place.holds, *place.labels, *place.reasons} for place in self.places.values()]
        return set().union(*parts)

    def _add(self, place: Place, event: dict[str, Any]) -> None:
        actor, text = event["actor"], event["body"]
        match event["kind"]:
            case "item.reserved":
                earlier = place.holds.get(actor)
                since = earlier.since if earlier else event["seq"]
                place.holds[actor] = Hold(since, ItemReserved.model_validate_json(text).expires_at)
            case "item.skipped":
                place.holds.pop(actor, None)
                place.reasons[actor] = ItemSkipped.model_validate_json(text).reason
            case "label.set":
                label = Label.model_validate_json(text)
                place.holds.pop(actor, None)
                place.reasons.pop(actor, None)
                place.labels[actor] = Given(event["at"], label.verdict, label.seconds)
