"""How a queue stands: who holds, labelled and skipped what, folded from its events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from evalbench.schema import BODIES, DrawnItem
from evalbench.store.ledger import GIVEN_BY

KINDS = ("item.reserved", "item.skipped", "item.returned", "label.set", "label.retracted")
# The queue that an event is about, read without a model of each of many thousand bodies.
QUEUE = pl.col("body").str.json_path_match("$.queue").cast(pl.Int64, strict=False)


class Hold(NamedTuple):
    """Somebody has a session before them: since which event, and until when."""

    since: int
    until: datetime


class Given(NamedTuple):
    """A label that somebody gave a session, in the event ``seq``."""

    seq: int
    at: datetime
    verdict: str
    modes: tuple[str, ...]
    seconds: float | None


@dataclass
class Place:
    """One item of a queue, and of each annotator all labels ``given`` and the last of them."""

    item: DrawnItem
    holds: dict[str, Hold] = field(default_factory=dict)
    labels: dict[str, Given] = field(default_factory=dict)
    given: dict[str, list[Given]] = field(default_factory=dict)
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

    def give(self, actor: str, labels: list[Given]) -> None:
        """Put these labels in the place of those an annotator gave."""
        self.given[actor] = labels
        self.labels.pop(actor, None)
        if labels:
            self.labels[actor] = labels[-1]

    def differs(self) -> bool:
        """Say whether those who are sure named other failures."""
        sure = [each for each in self.labels.values() if each.verdict != "unsure"]
        return len({(each.verdict, frozenset(each.modes)) for each in sure}) > 1

    def describe(self, people: set[str], now: datetime) -> tuple[object, ...]:
        """Say how it stands among the people of its queue: a row of :meth:`Queue.state`."""
        holders, reasons = self.holders(now), list(self.reasons.values())
        counts = (len(self.labels), len(holders), len(reasons))
        stuck = reasons and people <= self.labels.keys() | self.reasons.keys()
        state = "done" if self.is_done() else "held" if holders else "skipped" if stuck else "open"
        return self.item.session_id, self.item.annotators, *counts, reasons, state


class Standing:
    """The fold of a queue's events up to ``seq``: its places, in the order of the queue."""

    def __init__(self, number: int, items: tuple[DrawnItem, ...]) -> None:
        self.number = self.seq = number
        self.places = {item.session_id: Place(item) for item in items}

    def update(self, read: Callable[..., pl.DataFrame]) -> None:
        """Add what was written since; ``read`` is the ledger's ``events``, or stands for it."""
        events = read(KINDS, since=self.seq).with_columns(actor=GIVEN_BY)
        for event in events.filter(QUEUE == self.number).iter_rows(named=True):
            if place := self.places.get(event["subject"]):
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
        places = self.places.values()
        return {who for place in places for who in (*place.holds, *place.labels, *place.reasons)}

    def _add(self, place: Place, event: dict[str, Any]) -> None:
        actor, kind = event["actor"], event["kind"]
        body: Any = BODIES[kind].model_validate_json(event["body"])
        held = place.holds.pop(actor, None)
        if kind == "item.reserved":
            place.holds[actor] = Hold(held.since if held else event["seq"], body.expires_at)
        elif kind == "item.skipped":
            place.reasons[actor] = body.reason
        elif kind == "item.returned":
            place.reasons.pop(actor, None)
        elif kind == "label.set":
            place.reasons.pop(actor, None)
            given = Given(event["seq"], event["at"], body.verdict, body.modes, body.seconds)
            place.give(actor, [*place.given.get(actor, ()), given])
        else:
            place.give(actor, [each for each in place.given[actor] if each.seq != body.label])
