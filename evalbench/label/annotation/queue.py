"""Who reads which drawn session next, and what they said of it: safe for many people at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection

from evalbench.errors import LabelError
from evalbench.label.annotation.reservations import QUEUE, Place, Standing
from evalbench.label.annotation.retraction import drop_retracted, read_own_note
from evalbench.label.annotation.workload import measure_progress
from evalbench.label.codebook.acts import read_codebook
from evalbench.schema import DrawnItem, Label, Note, QueueDrawn
from evalbench.store.ledger import GIVEN_BY, Draft, Ledger
from evalbench.store.workspace import Workspace

ANY = -1  # whatever label of the annotator stands
STATE = pl.Schema(
    {"session_id": pl.String}
    | dict.fromkeys(("wanted", "labelled", "held", "skipped"), pl.Int64)
    | {"reasons": pl.List(pl.String), "state": pl.String}
)


@dataclass(frozen=True)
class Queue:
    """One annotator, the ledger's actor, at the queue of ``queue.drawn`` event ``number``.

    Every choice is made in the transaction that writes it, so several people in their own processes
    never get more of an item than it wants.
    """

    ledger: Ledger
    number: int

    @cached_property
    def body(self) -> QueueDrawn:
        """What was drawn; LabelError where no queue has this number."""
        drawn = self.ledger.events("queue.drawn", since=self.number - 1, until=self.number)
        if drawn.is_empty():
            numbers = self.ledger.events("queue.drawn")["seq"].to_list()
            known = f"there are {', '.join(map(str, numbers))}" if numbers else "there is none yet"
            raise LabelError(f"no queue {self.number}: {known}; notebook 02_sample draws one")
        return QueueDrawn.model_validate_json(drawn["body"].item())

    def reserve(self, *, ahead: int = 1, minutes: float) -> list[DrawnItem]:
        """Hold up to ``ahead`` items, one's own first, then begun ones; renew old holds."""
        annotator, items = self.ledger.actor, list[DrawnItem]()

        def choose(connection: Connection) -> list[Draft]:
            standing, now = self._look(connection), self.ledger.clock()
            items[:] = standing.choose(annotator, now)[:ahead]
            until, soon = (now + timedelta(minutes=minutes * share) for share in (1, 0.5))
            return [
                ("item.reserved", name, {**self._about(name), "expires_at": until})
                for name in (item.session_id for item in items)
                if annotator not in standing.places[name].holders(soon)
            ]

        self.ledger.extend(choose)
        return items

    def submit(self, label: Label, *, note: str | None = None, base: int = ANY) -> int:
        """Write the annotator's label, which replaces an earlier one, and what their note reads.

        ``note`` None leaves it as it is, "" takes it back; ``base`` is the number of the label they
        saw, 0 for none. Where others gave the item all its labels meanwhile, it is kept with no
        ``queue``. LabelError where ``base`` does not stand, or the label fits neither queue nor
        codebook.
        """
        name, surface = label.session_id, label.surface
        if surface != self.body.surface:
            raise LabelError(f"queue {self.number} is of {self.body.surface}, not of {surface}")
        check_modes(label, read_codebook(self.ledger).named)

        def choose(connection: Connection) -> list[Draft]:
            place = self._find(name, connection)
            mine = place.labels.get(self.ledger.actor)
            if base not in (ANY, mine.seq if mine else 0):
                raise LabelError(
                    f"you labelled {name} elsewhere meanwhile: look at that label first"
                )
            counts = mine is not None or not place.is_done()
            answer = label.model_copy(update={"queue": self.number if counts else None})
            noted = [] if note is None else self._word(name, note, connection)
            return [*noted, ("label.set", name, answer)]

        return self.ledger.extend(choose)

    def retract(self, session_id: str, label: int, *, note: str | None, minutes: float) -> int:
        """Take back the annotator's last label of a session, event ``label``, and hold it.

        What it replaced holds again; ``note`` as for :meth:`submit`. LabelError where another is
        the last.
        """

        def choose(connection: Connection) -> list[Draft]:
            mine = self._find(session_id, connection).labels.get(self.ledger.actor)
            if mine is None or mine.seq != label:
                raise LabelError(
                    f"you labelled {session_id} elsewhere meanwhile: nothing is undone"
                )
            noted = [] if note is None else self._word(session_id, note, connection)
            taken = ("label.retracted", session_id, {**self._about(session_id), "label": label})
            return [*noted, taken, self._hold(session_id, minutes)]

        return self.ledger.extend(choose)

    def take_on(self, session_id: str, *, minutes: float) -> int:
        """Hold a session for the annotator, also one they skipped; LabelError if it is others'."""

        def choose(connection: Connection) -> list[Draft]:
            place, now = self._find(session_id, connection), self.ledger.clock()
            skipped = place.reasons.pop(self.ledger.actor, None)
            free = place.is_free(self.ledger.actor, now)
            if skipped is not None:
                place.reasons[self.ledger.actor] = skipped
            if not free:
                raise LabelError(f"{session_id} is with somebody else, or has its labels")
            back = [("item.returned", session_id, self._about(session_id))] if skipped else []
            return [*back, self._hold(session_id, minutes)]

        return self.ledger.extend(choose)

    def skip(self, session_id: str, reason: str) -> int:
        """Give an item back with a reason, for good; LabelError where they labelled it."""

        def choose(connection: Connection) -> list[Draft]:
            if self.ledger.actor in self._find(session_id, connection).labels:
                raise LabelError(f"{session_id} has your label already; label it anew to change it")
            body = {**self._about(session_id), "reason": reason.strip()}
            return [("item.skipped", session_id, body)]

        return self.ledger.extend(choose)

    def state(self, *, until: int | None = None) -> pl.DataFrame:
        """Return how every item stands, or stood at event ``until``: columns :data:`STATE`."""
        standing, now = self._look(), self.ledger.clock()
        if until is not None:
            standing = Standing(self.number, self.body.items)
            standing.update(partial(self.ledger.events, until=until))
            now = max(self.ledger.events(since=until - 1, until=until)["at"], default=now)
        people, places = standing.people(), standing.places.values()
        rows = [place.describe(people, now) for place in places]
        return pl.DataFrame(rows, schema=STATE, orient="row")

    def progress(self) -> dict[str, Any]:
        """Measure how far the queue is, how fast the annotator, and what is left for them."""
        return measure_progress(self._look(), self.ledger.actor, now=self.ledger.clock())

    def places(self) -> Mapping[str, Place]:
        """Return how each item stands with each annotator, in the order of the queue."""
        return self._look().places

    def _hold(self, session_id: str, minutes: float) -> Draft:
        until = self.ledger.clock() + timedelta(minutes=minutes)
        return ("item.reserved", session_id, {**self._about(session_id), "expires_at": until})

    def _word(self, session_id: str, text: str, connection: Connection) -> list[Draft]:
        """Make the annotator's note of a session read ``text``."""
        surface, text = self.body.surface, text.strip()
        number, before = read_own_note(self.ledger, surface, session_id, connection=connection)
        about = {"text": text, "surface": surface, "session_id": session_id}
        if text == before:
            return []
        if number:
            return [("note.changed", session_id, {**about, "note": number})]
        return [("note.added", session_id, Note.model_validate(about))]

    @cached_property
    def _standing(self) -> Standing:
        return Standing(self.number, self.body.items)

    def _look(self, connection: Connection | None = None) -> Standing:
        self._standing.update(partial(self.ledger.events, connection=connection))
        return self._standing

    def _about(self, session_id: str) -> dict[str, object]:
        return {"queue": self.number, "surface": self.body.surface, "session_id": session_id}

    def _find(self, session_id: str, connection: Connection) -> Place:
        places = self._look(connection).places
        if session_id not in places:
            raise LabelError(f"queue {self.number} has no session {session_id}")
        return places[session_id]


def assign_annotators(
    n: int, annotators_per_item: float, *, rng: np.random.Generator
) -> np.ndarray:
    """Draw how many people each of ``n`` items wants: the mean, rounded down or up (at least 1).

    Their sum is ``n * annotators_per_item``, in expectation where that is no whole number.
    """
    if not annotators_per_item >= 1:
        raise ValueError(f"annotators_per_item must be at least 1, got {annotators_per_item}")
    steps = np.floor(annotators_per_item * np.arange(n + 1) + rng.random())
    return rng.permutation(np.diff(steps).astype(int))


def add_repeats(
    items: pl.DataFrame, frame: pl.DataFrame, *, share: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Add a ``share`` of sessions labelled before, at random places, as items of no draw."""
    key = ["surface", "session_id"]
    read = frame.filter("drawn", "labelled").join(items, on=key, how="anti").sort(key)
    n = min(round(share * items.height), read.height)
    again = read[np.sort(rng.permutation(read.height)[:n])].select(
        *key,
        stratum=pl.lit("read before"),
        inclusion_probability=pl.lit(None, pl.Float64),
        reason=pl.lit("labelled before; once more, to see how far labels repeat"),
        annotators=pl.lit(1, items.schema["annotators"]),
    )
    whole = (items["inclusion_probability"] == 1).arg_min() or 0  # what is always read comes first
    place = np.append(np.arange(items.height), rng.uniform(whole, items.height, n))
    return pl.concat([items, again])[np.argsort(place, kind="stable")]


def record_draw(
    ledger: Ledger, items: pl.DataFrame, *, surface: str, quarter: str, **drawn_from: Any
) -> int:
    """Write ``queue.drawn`` with ``items`` and its other fields; its number names the queue."""
    rows = items.select(list(DrawnItem.model_fields)).to_dicts()
    body = {"surface": surface, "items": rows, **drawn_from}
    return ledger.append("queue.drawn", f"{surface}/{quarter}", body)


def queue_picked(
    ws: Workspace, surface: str, sessions: pl.Series, *, reason: str
) -> dict[str, Any]:
    """Make a queue of sessions that somebody picked: their labels count in no rate."""
    if sessions.is_empty():
        raise LabelError("no session was picked: pick one first")
    items = sessions.to_frame("session_id").with_columns(
        stratum=pl.lit("picked by hand"),
        inclusion_probability=pl.lit(None, pl.Float64),
        reason=pl.lit(": ".join(["picked by hand", *filter(None, [reason])])),
        annotators=pl.lit(1),
    )
    drawn_from: dict[str, Any] = {"surface": surface, "quarter": "picked", "seed": 0, "design": {}}
    number = record_draw(ws.ledger, items, lake_versions=ws.lake.versions(), **drawn_from)
    return {"tell": "queued", "queue": number, "sessions": items.height}


def check_suggested(evaluator: str, verdicts: pl.DataFrame) -> str | None:
    """Return the evaluator that a queue suggests; LabelError where it has judged nothing."""
    there = set(verdicts["evaluator_id"])
    if evaluator and evaluator not in there:
        known = ", ".join(sorted(there)) or "there are none: run 06_evaluators first"
        raise LabelError(f"no verdict of {evaluator} can be suggested; evaluators: {known}")
    return evaluator or None


def find_queues(
    ledger: Ledger, surface: str | None = None, *, until: int | None = None
) -> pl.DataFrame:
    """List the queues that are not done, or were not at event ``until``, the newest last."""
    drawn = ledger.bodies("queue.drawn", until=until).rename({"seq": "queue"})
    if surface is not None:
        drawn = drawn.filter(surface=surface)
    wanted = drawn.select("queue", "items").explode("items").unnest("items")
    labels = drop_retracted(ledger.events("label.set", until=until), ledger, until=until)
    by_item = labels.group_by(queue=QUEUE, session_id="subject")
    given = by_item.agg(labelled=GIVEN_BY.n_unique())
    done = (
        wanted.join(given, on=["queue", "session_id"], how="left")
        .group_by("queue")
        .agg(items=pl.len(), done=(pl.col("labelled") >= pl.col("annotators")).sum())
        .filter(pl.col("done") < pl.col("items"))
    )
    columns = drawn.select("queue", "at", "surface", "start", "end")
    return columns.join(done, on="queue").sort("queue")


def read_state(ledger: Ledger, number: int, *, until: int | None = None) -> pl.DataFrame:
    """Tell how every item of a queue stands, in the columns :data:`STATE`; 0 is no queue."""
    return Queue(ledger, number).state(until=until) if number else pl.DataFrame(schema=STATE)


def check_modes(label: Label, codebook: pl.DataFrame) -> None:
    """Refuse with LabelError a label that names unknown modes, or modes though it does not fail."""
    known = set(codebook.filter(surface=label.surface)["mode"])
    named = [*label.modes, *(anchor.mode for anchor in label.anchors if anchor.mode)]
    about = f"{label.session_id}: "
    if unknown := [mode for mode in named if mode not in known]:
        why = f"no mode {unknown[0]!r} counts in the codebook of {label.surface}"
        raise LabelError(f"{about}{why}: define it, or complete its draft")
    if label.modes and label.verdict != "fail":
        raise LabelError(about + f"{label.verdict!r} names no mode, but got {label.modes[0]!r}")
