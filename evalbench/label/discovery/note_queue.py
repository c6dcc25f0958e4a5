"""The notes of a surface on their way into failure modes: what to ask an analyst next, and why.

Only what a person said counts as sorted. All else is a suggestion, and is shown as one.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from evalbench.label.codebook.fold import Act, find_undone
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.discovery import suggestions
from evalbench.label.discovery.naming import name_by
from evalbench.label.discovery.texts import LONG, Discovery
from evalbench.label.discovery.vectors import FEW, offline_vectors

RECENT = 10  # acts of sorting that say whether new modes still turn up
UNDONE = {
    "mode.defined": "what was written about {name}",
    "mode.merged": "the merge into {name}",
    "mode.split": "the split of {name}",
    "mode.retired": "the putting away of {name}",
    "mode.promoted": "the promotion of {name}",
    "codebook.proposed": "the draft {name}",
    "member.confirmed": "the look at a note of {name}",
    "notes.sorted": "the sorting of {n} into {name}",
}
OFFERED = 3  # modes offered for a note


class NoteQueue:
    """Notes, those that say the same as one; ``few``: they are sorted one by one.

    A note whose writer gave its session one mode alone is an example of that mode, until somebody
    sorts it elsewhere; it is sorted no more than others.
    """

    def __init__(self, discovery: Discovery, book: Codebook) -> None:
        self._discovery, self.surface = discovery, discovery.surface
        self.induced = discovery.induced
        self.numbers: list[int] = discovery.texts["seq"].to_list()
        self._first, self._one = np.unique(discovery.clusters.same_as, return_inverse=True)
        self.few = len(self._first) < FEW
        self._weights = np.bincount(self._one, minlength=len(self._first)).astype(float)
        self._put_off: set[int] = set()
        self.look(book)

    def look(self, book: Codebook) -> None:
        """Take the codebook as it stands."""
        own = [mode for (surface, _), mode in book.modes.items() if surface == self.surface]
        standing = ("", "retired")  # what was put away is sorted too, and like it is no failure
        told = {
            int(one): live
            for one, session, labelled in zip(
                self._one, *self._discovery.texts.select("session_id", "labelled"), strict=True
            )
            if labelled and (live := book.follow(self.surface, labelled, session))
        }
        holding = [mode for mode in own if mode.ended in standing and mode.notes]
        holding += [mode for mode in own if not mode.notes and mode.mode in set(told.values())]
        self.modes: dict[str, Mode] = {mode.mode: mode for mode in holding}
        place = {note: int(one) for note, one in zip(self.numbers, self._one, strict=True)}
        self._named = np.full(len(self._first), -1)
        self._struck: set[tuple[int, int]] = set()
        for number, mode in enumerate(self.modes.values()):
            self._named[[place[note] for note in mode.notes if note in place]] = number
            self._struck |= {(place[note], number) for note in mode.struck if note in place}
        self._examples = self._named.copy()
        numbers = {mode: number for number, mode in enumerate(self.modes)}
        for one, live in told.items():
            if self._named[one] < 0 and (one, numbers[live]) not in self._struck:
                self._examples[one] = numbers[live]
        self.__dict__.pop("_placed", None)

    @cached_property
    def _alike(self) -> np.ndarray:
        texts = self._discovery.texts["text"].str.slice(0, LONG).gather(self._first).to_list()
        seed = np.random.default_rng(self._discovery.seed)
        alike = suggestions.measure_similarity(offline_vectors(texts, rng=seed))
        if self.few and self.induced and self.induced.agrees:
            read = replace(self.induced, passes=self.induced.passes[:, self._first])
            return read.blend(alike)
        return alike

    @cached_property
    def _placed(self) -> np.ndarray:
        """Of each different note a mode's number, or beyond them that of a group."""
        clusters = self._discovery.clusters.assignment[self._first]
        if self.few and (self._examples >= 0).any():
            return suggestions.place(self._alike, self._weights, self._examples, self._struck)
        return np.where(self._examples >= 0, self._examples, len(self.modes) + clusters)

    @property
    def _known(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Collection[tuple[int, int]]]:
        return self._alike, self._weights, self._named, self._struck

    def suggest(self) -> dict[str, list[int]]:
        """Return for each mode the notes that are believed to be of it, by their numbers."""
        placed, waiting = self._placed[self._one], self._named[self._one] < 0
        return {
            key: [self.numbers[at] for at in np.flatnonzero(waiting & (placed == number))]
            for number, (key, mode) in enumerate(self.modes.items())
            if not mode.ended
        }

    def group(self) -> list[tuple[str, list[int]]]:
        """Return groups of notes that no mode is suggested for, each named, the largest first."""
        groups = []
        clusters, proposals = self._discovery.clusters.assignment, self._discovery.proposals
        beyond = np.unique(self._placed[self._placed >= len(self.modes)])
        for number in beyond:
            own = np.flatnonzero(self._placed == number)
            places = np.flatnonzero(np.isin(self._one, own))
            one = clusters[places[0]]
            left = np.flatnonzero((clusters == one) & (self._named[self._one] < 0))
            name = proposals[one].name
            if not np.array_equal(left, places):
                middle = own[self._alike[np.ix_(own, own)].sum(axis=1).argmax()]
                name = name_by(self._discovery.texts["text"][int(self._first[middle])])
            groups.append((name, [self.numbers[at] for at in places]))
        return sorted(groups, key=lambda each: len(each[1]), reverse=True)

    def _members(self, one: int) -> list[int]:
        """Places of the notes that say what a different note says, its own first."""
        return np.flatnonzero(self._one == one).tolist()

    def ask(self, *, batches_from: int = suggestions.BATCHES_FROM) -> dict[str, Any]:
        """Choose what to ask next: ``notes``, lists of numbers that say the same, and of what mode.

        One list is a question, with ``offers``; several, once one note in ``batches_from`` is
        named, a batch "all of these are ``mode``" (empty: a new one). Empty where nothing waits.
        """
        waiting = self._named < 0
        if not self.few or not waiting.any():
            return {}
        mode, chosen = None, np.zeros(0, dtype=int)
        if (~waiting).sum() * batches_from >= len(waiting):
            mode, chosen = suggestions.next_batch(*self._known)
        if len(chosen) < 2:
            chosen = np.array([self._ask_one()])
        notes = [[self.numbers[at] for at in self._members(one)] for one in chosen]
        if len(notes) > 1:
            believed = np.bincount(self._placed[chosen]).argmax() if mode is None else mode
            own = [*self.modes.values()][believed : believed + 1]  # none: a group without a mode
            return {"notes": notes, "mode": own[0].mode if own and not own[0].ended else ""}
        return {"notes": notes, "offers": self._offer(int(chosen[0]))}

    def _ask_one(self) -> int:
        """Choose one note; those put off come when nothing else waits."""
        named = self._named.copy()
        off = [one for one in self._put_off if named[one] < 0]
        if len(off) < (named < 0).sum():
            named[off] = len(self.modes)  # as if somebody had named it something else
            return suggestions.ask_next(self._alike, self._weights, named, self._struck)
        return suggestions.ask_next(*self._known)

    def put_off(self, note: int) -> None:
        """Ask for a note again only when all others are sorted."""
        self._put_off.add(int(self._one[self.numbers.index(note)]))

    def _offer(self, one: int) -> list[dict[str, Any]]:
        """Offer the modes that fit a note best, each with the number of its most similar note."""
        named, fits = suggestions.score(self._alike, self._examples, np.array([one]), self._struck)
        modes, offers = list(self.modes.values()), []
        for column in np.argsort(-fits[0], kind="stable"):
            own = np.flatnonzero(self._examples == named[column])
            own = own[own != one] if len(own) > 1 else own
            nearest = self.numbers[self._first[own[self._alike[one, own].argmax()]]]
            if not modes[named[column]].ended:
                offers.append({"mode": modes[named[column]].mode, "like": nearest})
        return offers[:OFFERED]

    @property
    def sorted(self) -> int:
        """Notes that a person put into a mode."""
        return int((self._named[self._one] >= 0).sum())


def measure_progress(queue: NoteQueue, acts: Sequence[Act]) -> dict[str, Any]:
    """Count what is sorted, and new modes; ``astray``: what was offered was seldom chosen."""
    undone = find_undone(acts)
    done = [
        act.body
        for act in acts
        if act.kind == "notes.sorted"
        and act.body.surface == queue.surface
        and act.seq not in undone
    ]
    asked = [body for body in done if body.offered and not body.name][-2 * RECENT :]
    right = sum(body.mode in body.offered for body in asked)
    return {
        "sorted": queue.sorted,
        "of": len(queue.numbers),
        "modes": sum(bool(mode.notes) and not mode.ended for mode in queue.modes.values()),
        "recent": min(RECENT, len(done)),
        "new": sum(bool(body.name) for body in done[-RECENT:]),
        "astray": len(asked) == 2 * RECENT and 2 * right < len(asked),
        "few": queue.few and bool(queue.numbers),
    }
