"""An analyst at the clusters of notes: what they see, and how it gets into the codebook."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalbench.errors import LabelError
from evalbench.label.annotation.answering import Answer, Desk
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.transcript import transcript
from evalbench.label.codebook import acts as codebook
from evalbench.label.codebook.fold import KINDS, find_undone, fold, read_acts
from evalbench.label.codebook.modes import REQUIRED, Mode, make_key
from evalbench.label.discovery.clustering import STABLE, SURE
from evalbench.label.discovery.drafts import add_drafts, draft_clusters
from evalbench.label.discovery.note_queue import UNDONE, NoteQueue, measure_progress
from evalbench.label.discovery.texts import Discovery
from evalbench.label.discovery.vectors import FEW
from evalbench.schema import DraftedMode
from evalbench.session import read_sessions
from evalbench.store.workspace import Workspace

SHOWN = 300  # members of a cluster that are shown, those that say the same as one
READ = 1200  # characters of a member that are shown
FORM = ("name", *REQUIRED)
BEGINNINGS = ("codebook.proposed", "notes.sorted")


class Curation(Desk):
    """What an analyst sees of the notes of a surface, and does with them.

    A group of notes becomes a draft with the first act on it. ``points`` are of each note x, y and
    how sure its home is (float32), ``homes`` its place in ``groups``, -1 where none holds it;
    ``members`` are rows of the chosen group, each for ``notes`` that say the same; ``sorting`` is
    what is asked, ``confirming`` the member to look at, or empty.
    """

    ACTS = (
        *"choose rename merge split sort put later confirm judge leave promote".split(),
        *("retire", "undo", "read", "keep_note"),
    )

    def __init__(self, ws: Workspace, discovery: Discovery) -> None:
        self._ws, self._discovery = ws, discovery
        clusters, self.surface = discovery.clusters, discovery.surface
        self.reason, self.weak = clusters.reason, clusters.weak
        ranked = [place for each in clusters.representatives for place in enumerate(each)]
        self._typical = {int(place): rank for rank, place in ranked}
        self._place = {note: index for index, note in enumerate(discovery.texts["seq"])}
        self._queue = NoteQueue(discovery, codebook.read_codebook(ws.ledger))
        self._drafts: list[DraftedMode] = []
        self._modes: dict[str, Mode] = {}
        self._suggested: dict[str, list[int]] = {}
        self._chosen, self._asked, self._sorting = "", "", False
        self._look()

    def answer(self, message: Any) -> Answer | None:
        """Do what a message asks, and look at what came of it."""
        reply = super().answer(message)
        self._look()
        return reply

    def choose(self, *, mode: str) -> None:
        """Show the members of a cluster."""
        self._find(mode)
        self._chosen = mode

    def rename(self, *, mode: str, name: str) -> Answer:
        """Give a cluster another name; its key stays."""
        self._propose(mode)
        seq = codebook.edit(self._ws.ledger, self.surface, mode, name=name)
        return _done(seq, f"Renamed to {name}")

    def merge(self, *, source: str, into: str) -> Answer:
        """Merge a cluster into another."""
        self._propose(source, into)
        said = f"Merged {self._find(source).name} into {self._find(into).name}"
        seq = codebook.merge(self._ws.ledger, self.surface, [source], into)
        self._chosen = into
        return _done(seq, said)

    def split(self, *, mode: str, notes: Sequence[int], name: str) -> Answer:
        """Take some members out of a cluster; both parts are new drafts."""
        whole = self._find(mode)
        if not notes or set(notes) >= set(whole.notes):
            raise LabelError("select some of the members, not all: they become the new part")
        self._propose(mode)
        taken = {key for _, key in codebook.read_codebook(self._ws.ledger).modes}
        part = make_key(name, taken)
        rest = make_key(f"{whole.name} rest", {*taken, part})
        homes: dict[str, Any] = {"otherwise": rest, "notes": {part: list(notes)}}
        homes["names"] = {part: name, rest: f"{whole.name}, the rest"}
        seq = codebook.split(self._ws.ledger, self.surface, mode, {part: [], rest: []}, **homes)
        self._chosen = part
        return _done(seq, f"Split {whole.name}: {len(notes)} notes are a part of their own")

    def sort(self) -> None:
        """Begin to sort notes, the most telling first."""
        if not self._queue.ask():
            raise LabelError(
                "every note is sorted"
                if self._queue.few
                else f"notes are sorted one by one where fewer than {FEW} differ: act on clusters"
            )
        self._sorting = True

    def put(
        self, *, notes: Sequence[int], struck: Sequence[int] = (), mode: str = "", name: str = ""
    ) -> Answer:
        """Put notes into a mode, or into a new one of this name; the ``struck`` are not of it."""
        asked = self.sorting
        if not notes:
            raise LabelError("strike out some, not all: Later puts off what is none of these")
        same = [key for key, each in self._modes.items() if each.name.lower() == name.lower()]
        mode = mode or next(iter(same), "")
        offered = [each["mode"] for each in asked.get("offers", [])]
        more: dict[str, Any] = {"struck": struck, "offered": offered}
        if not mode:
            taken = {key for _, key in codebook.read_codebook(self._ws.ledger).modes}
            mode, more["name"] = make_key(name, taken), name
        else:
            self._propose(mode)
        seq = codebook.sort_notes(self._ws.ledger, self.surface, mode, notes, **more)
        told = f"{len(notes)} notes" if len(notes) > 1 else "Sorted"
        return _done(seq, f"{told}: {name if 'name' in more else self._find(mode).name}")

    def later(self, *, note: int) -> None:
        """Ask for a note again when all others are sorted."""
        self._queue.put_off(note)

    def read(self, *, note: int) -> Answer:
        """Open the session that a note was written about."""
        session_id = self._discovery.texts["session_id"][self._place[note]]
        self._session = next(read_sessions(self._ws.lake, self.surface, [session_id]), None)
        if self._session is None:
            raise LabelError(f"the lake has no session {session_id} of {self.surface}")
        return {"tell": "item", "item": transcript(self._session)}

    def keep_note(self, *, note: int, mode: str, expected: str) -> Answer:
        """Make a golden case of the session that a note was written about."""
        self._propose(mode)
        session_id = self._discovery.texts["session_id"][self._place[note]]
        return self.golden(session_id=session_id, mode=mode, expected=expected)

    def confirm(self, *, mode: str) -> None:
        """Begin to look at the sampled members of a cluster, one after another."""
        self._find(mode)
        self._chosen = self._asked = mode

    def judge(self, *, mode: str, note: int, belongs: bool) -> Answer:
        """Record whether a member belongs."""
        self._propose(mode)
        seq = codebook.confirm(self._ws.ledger, self.surface, mode, note, belongs)
        return _done(seq, "Belongs" if belongs else "Does not belong")

    def leave(self) -> None:
        """Sort no more notes and look at no more members for now."""
        self._asked, self._sorting = "", False

    def promote(self, *, mode: str, **fields: Any) -> Answer:
        """Fill in what a mode needs, and let it count; what was filled in stays in any case."""
        self._propose(mode)
        old = self._find(mode)
        chosen = {"severity", "failure_class"}  # nothing chosen is no text
        given = {name: (text or None) if name in chosen else text for name, text in fields.items()}
        if any(getattr(old, name) != value for name, value in given.items()):
            codebook.edit(self._ws.ledger, self.surface, mode, **given)
        seq = codebook.promote(self._ws.ledger, self.surface, mode)
        return _done(seq, f"{given.get('name', old.name)} counts from now on")

    def retire(self, *, mode: str) -> Answer:
        """Put a cluster away: no failure mode."""
        self._propose(mode)
        seq = codebook.retire(self._ws.ledger, self.surface, mode)
        return _done(seq, f"{self._find(mode).name} put away")

    def undo(self) -> Answer:
        """Undo this analyst's last act on the notes that still stands, and say which it was."""
        acts = read_acts(self._ws.ledger.events(KINDS))
        known = [act for act in acts if act.kind in UNDONE]
        here = [act for act in known if act.body.surface == self.surface]
        undone = find_undone(acts)
        standing = [act for act in here if act.seq not in undone]
        begun = [act.seq for act in standing if act.kind in BEGINNINGS][:1]
        own = [act for act in standing if act.actor == self._ws.user and [act.seq] >= begun]
        if not own or not begun:
            raise LabelError("nothing of yours is left to undo")
        last = own[-1]
        said = UNDONE[last.kind].format(**self._tell(last.body))
        if last.seq <= self._discovery.ledger_seq:
            said += f", of {last.at:%-d %B, %H:%M} UTC"
        return _done(codebook.undo(self._ws.ledger, last.seq), f"Undone: {said}")

    def _tell(self, body: Any) -> dict[str, Any]:
        """Give what an act was about, as people read it."""
        drafts = getattr(body, "drafts", ())
        key = next(
            (getattr(body, name) for name in ("into", "mode", "source") if hasattr(body, name)), ""
        )
        name = drafts[0].name if drafts else getattr(self._modes.get(key), "name", key)
        return {"name": visible(name), "n": len(getattr(body, "notes", ()))}

    def _propose(self, *touched: str) -> None:
        """Write groups as drafts before the first act on them."""
        self._look()
        for mode in touched:
            self._find(mode)
        if drafts := [draft for draft in self._drafts if draft.mode in touched]:
            made_from = {"seed": self._discovery.seed, "ledger_seq": self._discovery.ledger_seq}
            codebook.propose(self._ws.ledger, self.surface, drafts, **made_from)
            self._look()

    def _find(self, mode: str) -> Mode:
        if mode not in self._modes:
            raise LabelError(f"there is no cluster {mode!r} any more: choose another")
        return self._modes[mode]

    def _look(self) -> None:
        """Read the codebook as it is now, whoever changed it."""
        acts = read_acts(self._ws.ledger.events(KINDS))
        book = fold(acts)
        self._queue.look(book)
        self._drafts, self._suggested = draft_clusters(self._queue, book), self._queue.suggest()
        new = {draft.mode for draft in self._drafts}
        whole = add_drafts(book, self.surface, self._drafts).modes.values()
        standing = [_with_name(mode) for mode in whole if not mode.ended]
        standing.sort(key=lambda mode: (-len(mode.notes), mode.mode))
        self._modes = {mode.mode: mode for mode in standing}
        if self._chosen not in self._modes:
            self._chosen = next(iter(self._modes), "")
        sure = self._discovery.clusters.confidence.copy()
        self.homes = np.full(len(self._place), -1, dtype=np.int16)
        for index, mode in enumerate(standing):
            own = [self._place[note] for note in self._rank(mode)]
            guessed = [self._place[note] for note in self._suggested.get(mode.mode, [])]
            self.homes[own + guessed] = index
            sure[guessed] = 0
            if mode.mode not in new:
                sure[own] = 1
        placed = np.column_stack([self._discovery.position, sure])
        self.points = placed.astype(np.float32).tobytes()
        self.groups = [self._describe(mode, mode.mode in new) for mode in standing]
        self.members = self._list_members()
        self.confirming = self._next_member()
        self.sorting = self._next_notes() if self._sorting else {}
        self.progress = measure_progress(self._queue, acts)

    def _next_notes(self) -> dict[str, Any]:
        """Give what is asked next: rows of notes that say the same, and what they may be."""
        asked = self._queue.ask()
        if not asked:
            self._sorting = False
            return {}
        rows = [
            self._quote(first) | {"notes": [first, *others]} for first, *others in asked["notes"]
        ]
        offers = [
            each
            | {"name": visible(self._modes[each["mode"]].name)}
            | {"like": self._quote(each["like"])["text"]}
            for each in asked.get("offers", [])
        ]
        mode = asked.get("mode", "")
        name = visible(self._modes[mode].name) if mode else ""
        induced = self._discovery.induced
        names = [visible(concept.name) for concept in induced.concepts] if induced else []
        return {"rows": rows, "offers": offers, "mode": mode, "name": name, "names": names}

    def _describe(self, mode: Mode, new: bool) -> dict[str, Any]:
        """Describe a cluster or mode; changed by hand, or with notes since, it has no stability."""
        clusters, ranked = self._discovery.clusters, self._rank(mode)
        rng = np.random.default_rng(self._discovery.seed)
        share = mode.precision(level=self._ws.settings.level, rng=rng)
        if set(mode.notes) <= mode.verdicts.keys():
            share = None  # each was looked at: nothing is left to estimate
        group: dict[str, Any] = {name: visible(getattr(mode, name) or "") for name in FORM} | {
            "mode": mode.mode,
            "status": "found" if new else mode.status,
            "missing": list(mode.missing),
            "n_notes": len(mode.notes),
            "sampled": len(mode.sample()),
            "waiting": len(mode.waiting()),
            "n_suggested": len(self._suggested.get(mode.mode, ())),
            "precision": [share.estimate, share.low, share.high] if share else None,
        }
        group |= {"stability": None, "stable": None, "n_unsure": 0}
        if not ranked:
            return group
        places = [self._place[note] for note in ranked]
        group["n_unsure"] = int((clusters.confidence[places] < SURE).sum()) if new else 0
        group["example"] = group["example"] or self._quote(ranked[0])["text"]
        group["owner"] = group["owner"] or visible(self._ws.user)
        if concept := self._discovery.induced and self._discovery.induced.name(places):
            group["example"] = self._quote(ranked[0])["text"] if mode.example else concept.quotes[0]
            for name in ("definition", "severity", "failure_class"):
                group[name] = group[name] or visible(getattr(concept, name))
        [one, *others] = np.unique(clusters.assignment[places]).tolist()
        if not others and (clusters.assignment == one).sum() == len(mode.notes):
            stability, proposal = float(clusters.stability[one]), self._discovery.proposals[one]
            group |= {"stability": stability, "stable": stability >= STABLE}
            for name in ("definition", "severity", "failure_class"):
                group[name] = group[name] or visible(getattr(proposal, name) or "")
        return group

    def _list_members(self) -> dict[str, Any]:
        clusters, mode = self._discovery.clusters, self._modes.get(self._chosen)
        if mode is None:
            return {"mode": self._chosen, "rows": [], "left_out": 0}
        alike: dict[int, list[int]] = {}
        suggested = self._suggested.get(mode.mode, [])
        for note in [*self._rank(mode), *suggested]:
            alike.setdefault(int(clusters.same_as[self._place[note]]), []).append(note)
        rows = []
        for first, *others in list(alike.values())[:SHOWN]:
            places = [self._place[note] for note in (first, *others)]
            row = self._quote(first) | {"notes": [first, *others], "places": places}
            row |= {"text": row["text"][:READ], "belongs": mode.verdicts.get(first)}
            row["unsure"] = bool(clusters.confidence[places[0]] < SURE)
            row |= {"suggested": first in suggested}
            rows.append(row | {"representative": places[0] in self._typical})
        return {"mode": mode.mode, "rows": rows, "left_out": max(0, len(alike) - SHOWN)}

    def _next_member(self) -> dict[str, Any]:
        mode = self._modes.get(self._asked)
        waiting = mode.waiting() if mode else ()
        if mode is None or not waiting:
            self._asked = ""
            return {}
        sampled = len(mode.sample())
        about: dict[str, Any] = {"done": sampled - len(waiting), "of": sampled, "mode": mode.mode}
        about |= {"name": visible(mode.name), "definition": visible(mode.definition)}
        return about | self._quote(waiting[0])

    def _quote(self, note: int) -> dict[str, Any]:
        """Give a note with its text and session, empty where it was not clustered."""
        session_id = text = ""
        if note in self._place:
            _, session_id, text, _ = self._discovery.texts.row(self._place[note])
        return {"note": note, "session_id": visible(session_id), "text": visible(text)}

    def _rank(self, mode: Mode) -> list[int]:
        """Order the notes of a mode: representatives first, then those that fit best."""
        confidence, last = self._discovery.clusters.confidence, len(self._typical)

        def rank(note: int) -> tuple[int, float, int]:
            place = self._place[note]
            return self._typical.get(place, last), -confidence[place], note

        return sorted(self._place.keys() & set(mode.notes), key=rank)


def _with_name(mode: Mode) -> Mode:
    """Give a part of a split, which bears its key until somebody names it, a name to read."""
    return replace(mode, name=mode.mode.replace("_", " ")) if mode.name == mode.mode else mode


def _done(seq: int, said: str) -> Answer:
    return {"tell": "done", "seq": seq, "said": said}
