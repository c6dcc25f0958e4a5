"""Sets of notes as codebooks are made from, and an analyst who sorts them: both are stand-ins.

A set is drawn from public short texts: 12 to 18 kinds, Zipf sizes. The analyst knows the kind of
each text, sees what the desk shows, and counts acts: a note named is one, a batch is one and one
more for each note that has to be struck out (or named, where those are fewer).
"""

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import polars as pl
from sklearn.metrics import adjusted_rand_score

import evalbench as eb
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.discovery.induction import Assignment, Merges, induce
from evalbench.label.discovery.naming import propose_all
from evalbench.label.discovery.note_queue import NoteQueue
from evalbench.label.discovery.suggestions import measure_similarity
from evalbench.label.discovery.texts import Discovery
from evalbench.label.discovery.vectors import offline_vectors


@dataclass(frozen=True)
class Case:
    """Notes and the kind of each."""

    texts: list
    kinds: np.ndarray


def draw_case(texts, kinds, n, rng):
    """Draw n notes of 12 to 18 kinds whose sizes fall as 1 / rank."""
    names = rng.choice(np.unique(kinds), int(rng.integers(12, 19)), replace=False)
    pools = [rng.permutation(np.flatnonzero(kinds == name)) for name in names]
    share = 1 / np.arange(1, len(names) + 1)
    sizes = np.minimum(np.maximum(2, share / share.sum() * n).astype(int), list(map(len, pools)))
    while sizes.sum() != n:
        step = 1 if sizes.sum() < n else -1
        room = [one for one, pool in enumerate(pools) if 2 <= sizes[one] + step <= len(pool)]
        sizes[rng.choice(room, p=share[room] / share[room].sum())] += step
    drawn = rng.permutation(
        np.concatenate([pool[:size] for pool, size in zip(pools, sizes, strict=True)])
    )
    return Case([texts[one] for one in drawn], np.unique(kinds[drawn], return_inverse=True)[1])


class ScriptedModel:
    """Stands in for a model: it knows the kinds, and is right on a note with probability ``p``.

    Of its calls a share is ``broken``.
    """

    def __init__(self, case, p, seed, broken=0.0):
        self.kind = dict(zip(case.texts, case.kinds.tolist(), strict=True))
        self.p, self.broken, self.rng = p, broken, np.random.default_rng(seed)

    def __call__(self, messages, *, model, schema):
        if self.rng.random() < self.broken:
            return SimpleNamespace(error="bad answer: no JSON", parsed=None)
        given = json.loads(messages[1]["content"])
        if schema is Merges:
            return SimpleNamespace(error=None, parsed={"same": []})
        right = [f"kind {self.kind[note]}" for note in given["notes"]]
        if schema is Assignment:
            number = {each["name"]: each["number"] for each in given["kinds"]}
            wrong = self.rng.random(len(right)) >= self.p
            guesses = self.rng.integers(1, len(number) + 1, len(right)).tolist()
            told = [
                g if w else number.get(r, 0) for r, w, g in zip(right, wrong, guesses, strict=True)
            ]
            return SimpleNamespace(error=None, parsed={"numbers": told})
        known = {each["name"] for each in given["known"]}
        first = {name: note for note, name in zip(given["notes"], right, strict=True)}
        about = {"definition": "d", "severity": "polish", "failure_class": "recovery"}
        fresh = [{"name": n, "quotes": [q], **about} for n, q in first.items() if n not in known]
        return SimpleNamespace(error=None, parsed={"concepts": fresh})


def discover_case(case, seed, model=None):
    """Group the notes of a case as 03 does."""
    rng, alike, induced = np.random.default_rng(seed), None, None
    if model:
        induced = induce(case.texts, model="scripted", calls=100, rng=rng, complete=model)
        alike = measure_similarity(offline_vectors(case.texts, rng=rng))
        alike = induced.blend(alike) if induced.agrees else alike
    found = eb.label.cluster(case.texts, alike=alike, rng=rng)
    rows = [(number, "s", text) for number, text in enumerate(case.texts)]
    texts = pl.DataFrame(rows, schema=["seq", "session_id", "text"], orient="row")
    texts = texts.with_columns(labelled=pl.lit(None, pl.String))
    names = tuple(propose_all(case.texts, found))
    return Discovery("s", texts, found, np.zeros((len(rows), 2)), names, seed, 0, induced)


class Analyst:
    """Sorts the notes of a case; keeps what the desk would suggest after each act.

    ``order`` is "desk" (single notes, then batches), "batches" alone, or "plain": in random order.
    Of ``slips`` notes one is taken for another kind.
    """

    def __init__(self, case, seed, *, order="desk", slips=0.0, model=None):
        self.case, self.slips, self.order = case, slips, order
        self.rng = np.random.default_rng([seed, 1])
        self.queue = NoteQueue(discover_case(case, seed, model), Codebook({}, {}))
        self.modes, self.acts = {}, 0
        self.log = [(0, self.placed())]
        self.shuffled = self.rng.permutation(len(case.texts)).tolist()

    def placed(self):
        """Return of each note the mode it is in, is suggested for, or its group."""
        home = np.zeros(len(self.case.texts), dtype=int)
        own = {key: [*mode.notes] for key, mode in self.queue.modes.items()}
        for key, notes in self.queue.suggest().items():
            own[key] += notes
        groups = [*own.values(), *(notes for _, notes in self.queue.group())]
        for number, notes in enumerate(groups):
            home[notes] = number
        return home

    def see(self, notes):
        slip = self.slips and self.rng.random() < self.slips
        return str(self.rng.choice(self.case.kinds) if slip else self.case.kinds[notes[0]])

    def ask(self):
        """Return lists of notes that say the same, and the mode they are believed to be of."""
        if self.order == "plain":
            held = {note for mode in self.modes.values() for note in mode.notes}
            waiting = [note for note in self.shuffled if note not in held]
            return [waiting[:1]] if waiting else [], ""
        asked = self.queue.ask(
            **({"batches_from": len(self.shuffled)} if self.order == "batches" else {})
        )
        return asked.get("notes", []), asked.get("mode", "")

    def sort(self, most=10**6):
        """Sort notes until all are, or for so many acts."""
        while self.acts < most:
            notes, mode = self.ask()
            if not notes:
                break
            seen = [self.see(same) for same in notes]
            if not mode:
                mode = max(seen, key=seen.count)
            right = [kind == mode for kind in seen]
            self.acts += 1 + (min(sum(right), len(right) - sum(right)) if any(right) else 0)
            self.put(mode, notes, right)
            self.log.append((self.acts, self.placed()))
        return self

    def put(self, mode, notes, right):
        fits = [note for same, fit in zip(notes, right, strict=True) if fit for note in same]
        struck = [note for same, fit in zip(notes, right, strict=True) if not fit for note in same]
        old = self.modes.get(mode) or Mode("s", mode, mode)
        fresh = {"notes": (*old.notes, *fits), "struck": (*old.struck, *struck)}
        self.modes[mode] = replace(old, **fresh)
        self.queue.look(Codebook({("s", key): each for key, each in self.modes.items()}, {}))

    def score(self, acts):
        """Return the adjusted Rand index of what the desk shows after so many acts."""
        placed = [placed for done, placed in self.log if done <= acts][-1]
        return adjusted_rand_score(self.case.kinds, placed)


def find_kinds(kinds, placed):
    """Share of kinds that a group is mostly about (.6) and holds a good part of (.4)."""
    found = 0
    for kind in np.unique(kinds):
        own = kinds == kind
        groups = [placed == group for group in np.unique(placed[own])]
        both = [(own & group).sum() for group in groups]
        found += any(
            b / group.sum() > 0.6 and b / own.sum() > 0.4
            for b, group in zip(both, groups, strict=True)
        )
    return found / len(np.unique(kinds))
