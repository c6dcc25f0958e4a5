"""An analyst's sitting at the clusters of notes, and the way of what they do into the codebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalbench.errors import LabelError
from evalbench.label import codebook
from evalbench.label.answering import Answer, answer
from evalbench.label.discover import STABLE, SURE
from evalbench.label.markdown import visible
from evalbench.label.modes import KINDS, SAMPLED, Mode, find_undone, read_acts
from evalbench.label.naming import make_key
from evalbench.label.reading import add_drafts, draft_found
from evalbench.label.restate import history
from evalbench.schema import DraftedMode

if TYPE_CHECKING:
    from evalbench.label.reading import Discovery
    from evalbench.store.workspace import Workspace

SHOWN = 300
"""Members of a cluster that are shown, those that say the same as one."""
READ = 1200
"""Characters of a member that are shown."""
FORM = ("name", "definition", "example", "severity", "failure_class", "owner")


class Sorting:
    """What an analyst sees of the notes of a surface, and does with them.

    It knows no widget: messages are plain dicts. Clusters that no mode holds yet become drafts, all
    in one event, with the first act on one of them; from then on each act is one event more.

    Attributes
    ----------
    groups : list of dict
        Clusters and standing modes, the largest first: ``mode`` (key), ``status`` ("found": no
        draft yet; "draft", "live"), the fields of the form, ``missing``, ``n_notes, n_unsure,
        stability`` (None: changed by hand, or notes came since), ``stable, sampled, waiting``, and
        ``precision`` as ``[estimate, low, high]`` or None.
    homes : numpy.ndarray of int16, shape (n,)
        Place in ``groups`` of each note; -1 where none holds it.
    members : dict
        ``mode`` and ``rows`` of the chosen one, the most telling first, with how many are
        ``left_out``. A row stands for ``notes`` that say the same.
    confirming : dict
        The member before the analyst: ``mode, name, note, text, session_id, done, of``; or empty.
    """

    def __init__(self, ws: Workspace, discovery: Discovery, *, sampled: int = SAMPLED) -> None:
        self._ws, self._discovery, self._sampled = ws, discovery, sampled
        self._numbers = discovery.texts["seq"].to_list()
        self._place = {note: index for index, note in enumerate(self._numbers)}
        self._drafts: list[DraftedMode] = []
        self._modes: dict[str, Mode] = {}
        self._order = self._rank()
        self._mode, self._asked = "", ""
        self._look()

    def answer(self, message: Any) -> Answer | None:
        """Do what a message asks; whatever is wrong with it is refused with a reason.

        Parameters
        ----------
        message : dict
            ``act`` names one of choose, rename, merge, split, confirm, judge, leave, promote,
            retire and undo; the rest are its arguments.

        Returns
        -------
        dict or None
            ``tell`` is done (with ``seq`` and ``said``) or refused (with ``why``); None where only
            what is shown changed.
        """
        acts = (self.choose, self.rename, self.merge, self.split, self.confirm, self.judge)
        rest = (self.leave, self.promote, self.retire, self.undo)
        said = answer({act.__name__: act for act in (*acts, *rest)}, message)
        self._look()
        return said

    def choose(self, *, mode: str) -> None:
        """Show the members of a cluster."""
        self._find(mode)
        self._mode = mode

    def rename(self, *, mode: str, name: str) -> Answer:
        """Give a cluster another name; its key stays."""
        self._propose(mode)
        seq = codebook.edit(self._ws.ledger, self.surface, mode, name=name)
        return _done(seq, f"Renamed to {name}")

    def merge(self, *, source: str, into: str) -> Answer:
        """Make a cluster one with another."""
        self._propose(source, into)
        names = self._find(source).name, self._find(into).name
        seq = codebook.merge(self._ws.ledger, self.surface, [source], into)
        self._mode = into
        return _done(seq, "Merged {} into {}".format(*names))

    def split(self, *, mode: str, notes: Sequence[int], name: str) -> Answer:
        """Take some members out of a cluster; both parts are new drafts."""
        whole = self._find(mode)
        if not notes or set(notes) >= set(whole.notes):
            raise LabelError("select some of the members, not all: they become the new part")
        self._propose(mode)
        taken = {key for _, key in codebook.read_codebook(self._ws.ledger).modes}
        part = make_key(name, taken)
        rest = make_key(f"{whole.name} rest", {*taken, part})
        parts: dict[str, list[str]] = {part: [], rest: []}
        seq = codebook.split(
            self._ws.ledger, self.surface, mode, parts, otherwise=rest, notes={part: list(notes)}
        )
        self._mode = part
        return _done(seq, f"Split {whole.name}: {len(notes)} notes are a part of their own")

    def confirm(self, *, mode: str) -> None:
        """Begin to look at the sampled members of a cluster, one after another."""
        self._find(mode)
        self._mode = self._asked = mode

    def judge(self, *, mode: str, note: int, belongs: bool) -> Answer:
        """Say whether a member belongs."""
        self._propose(mode)
        seq = codebook.confirm(self._ws.ledger, self.surface, mode, note, belongs)
        return _done(seq, "Belongs" if belongs else "Does not belong")

    def leave(self) -> None:
        """Look at no more members for now."""
        self._asked = ""

    def promote(self, *, mode: str, **fields: Any) -> Answer:
        """Fill in what a mode needs, and let it count; what was filled in stays in any case."""
        self._propose(mode)
        old = self._find(mode)
        given = {
            name: fields[name] or None if name in FORM[3:5] else fields[name] for name in fields
        }
        if any(getattr(old, name) != value for name, value in given.items()):
            codebook.edit(self._ws.ledger, self.surface, mode, **given)
        seq = codebook.promote(self._ws.ledger, self.surface, mode, members=self._sampled)
        return _done(seq, f"{self._find(mode).name} counts from now on")

    def retire(self, *, mode: str) -> Answer:
        """Put a cluster away: no failure mode."""
        self._propose(mode)
        seq = codebook.retire(self._ws.ledger, self.surface, mode)
        return _done(seq, f"{self._find(mode).name} put away")

    def undo(self) -> Answer:
        """Undo this analyst's last act on the clusters that still stands."""
        events = self._ws.ledger.events(KINDS)
        acts = read_acts(events)
        undone = find_undone(acts)
        standing = [
            act
            for act in acts
            if act.seq not in undone and getattr(act.body, "surface", "") == self.surface
        ]
        begun = [act.seq for act in standing if act.kind == "codebook.proposed"]
        own = [
            act.seq
            for act in standing
            if act.actor == self._ws.user and begun and act.seq >= begun[0]
        ]
        if not own:
            raise LabelError("nothing of yours is left to undo")
        seq = codebook.undo(self._ws.ledger, own[-1])
        what = history(events.filter(seq=own[-1]))["what"][0]
        return _done(seq, f"Undone: {what}")

    @property
    def surface(self) -> str:
        """Whose notes they are."""
        return self._discovery.surface

    @property
    def points(self) -> bytes:
        """Of each note x, y and how sure its cluster is, as float32."""
        clusters = self._discovery.clusters
        if clusters is None:
            return b""
        placed = np.column_stack([self._discovery.position, clusters.confidence])
        return placed.astype(np.float32).tobytes()

    @property
    def reason(self) -> str:
        """Why there are as many clusters as there are, or none."""
        return self._discovery.reason

    @property
    def weak(self) -> bool:
        """Whether the clusters are no pattern of the notes."""
        return self._discovery.clusters is not None and self._discovery.clusters.weak

    def _propose(self, *touched: str) -> None:
        """Write the clusters as drafts before the first act on one of them."""
        self._look()
        for mode in touched:
            self._find(mode)
        if {draft.mode for draft in self._drafts} & set(touched):
            made_from = {"seed": self._discovery.seed, "ledger_seq": self._discovery.ledger_seq}
            codebook.propose(self._ws.ledger, self.surface, self._drafts, **made_from)
            self._look()

    def _find(self, mode: str) -> Mode:
        if mode not in self._modes:
            raise LabelError(f"there is no cluster {mode!r} any more: choose another")
        return self._modes[mode]

    def _look(self) -> None:
        """Read the codebook as it is now, whoever changed it."""
        book = codebook.read_codebook(self._ws.ledger)
        self._drafts = draft_found(self._discovery, book)
        found = {draft.mode for draft in self._drafts}
        whole = add_drafts(book, self.surface, self._drafts).modes.values()
        standing = [mode for mode in whole if not mode.ended]
        everything = sorted(standing, key=lambda mode: (-len(mode.notes), mode.mode))
        self._modes = {mode.mode: _worded(mode) for mode in everything}
        if self._mode not in self._modes:
            self._mode = next(iter(self._modes), "")
        self.homes = np.full(len(self._numbers), -1, dtype=np.int16)
        for index, mode in enumerate(everything):
            self.homes[[self._place[note] for note in mode.notes if note in self._place]] = index
        self.groups = [self._describe(mode, mode.mode in found) for mode in self._modes.values()]
        self.members = self._list_members()
        self.confirming = self._next_member()

    def _describe(self, mode: Mode, found: bool) -> dict[str, Any]:
        clusters, known = self._discovery.clusters, [self._place.get(note) for note in mode.notes]
        places = [place for place in known if place is not None]
        group: dict[str, Any] = {"mode": mode.mode, "status": "found" if found else mode.status}
        group |= {name: visible(getattr(mode, name) or "") for name in FORM}
        group |= {"missing": list(mode.missing), "n_notes": len(mode.notes)}
        sample = mode.sample(self._sampled)
        waiting = sum(note not in mode.verdicts for note in sample)
        group |= {"sampled": len(sample), "waiting": waiting, "precision": None}
        if waiting < len(sample):
            rng = np.random.default_rng(self._discovery.seed)
            share = mode.precision(self._sampled, level=self._ws.settings.level, rng=rng)
            group["precision"] = [share.estimate, share.low, share.high]
        group |= {"stability": None, "stable": None, "n_unsure": 0}
        if clusters is None or not places:
            return group
        group["n_unsure"] = int((clusters.confidence[places] < SURE).sum())
        group["example"] = group["example"] or visible(self._text(self._sorted(mode.notes)[0]))
        group["owner"] = group["owner"] or self._ws.user
        [one, *others] = np.unique(clusters.assignment[places]).tolist()
        if not others and (clusters.assignment == one).sum() == len(mode.notes):
            stability, proposal = float(clusters.stability[one]), self._discovery.proposals[one]
            group |= {"stability": stability, "stable": stability >= STABLE}
            for name in ("definition", "severity", "failure_class"):
                group[name] = group[name] or visible(getattr(proposal, name) or "")
        return group

    def _list_members(self) -> dict[str, Any]:
        clusters, mode = self._discovery.clusters, self._modes.get(self._mode)
        if clusters is None or mode is None:
            return {"mode": self._mode, "rows": [], "left_out": 0}
        representatives = set(np.concatenate(clusters.representatives).tolist())
        folded: dict[int, list[int]] = {}
        for note in self._sorted(mode.notes):
            folded.setdefault(int(clusters.same_as[self._place[note]]), []).append(note)
        rows = [
            {
                "note": notes[0],
                "notes": notes,
                "places": [self._place[note] for note in notes],
                "text": visible(self._text(notes[0])[:READ]),
                "session_id": self._discovery.texts["session_id"][self._place[notes[0]]],
                "unsure": bool(clusters.confidence[self._place[notes[0]]] < SURE),
                "representative": self._place[notes[0]] in representatives,
                "belongs": mode.verdicts.get(notes[0]),
            }
            for notes in list(folded.values())[:SHOWN]
        ]
        return {"mode": mode.mode, "rows": rows, "left_out": max(0, len(folded) - SHOWN)}

    def _next_member(self) -> dict[str, Any]:
        mode = self._modes.get(self._asked)
        waiting = (
            [note for note in mode.sample(self._sampled) if note not in mode.verdicts]
            if mode
            else []
        )
        if mode is None or not waiting:
            self._asked = ""
            return {}
        place = self._place.get(waiting[0])
        of = len(mode.sample(self._sampled))
        about = {"mode": mode.mode, "name": mode.name, "definition": visible(mode.definition)}
        session = "" if place is None else self._discovery.texts["session_id"][place]
        text = visible(self._text(waiting[0]))
        return about | {
            "note": waiting[0],
            "text": text,
            "session_id": session,
            "done": of - len(waiting),
            "of": of,
        }

    def _text(self, note: int) -> str:
        place = self._place.get(note)
        return "" if place is None else self._discovery.texts["text"][place]

    def _rank(self) -> dict[int, tuple[int, float, int]]:
        """Put representatives first, then those that fit best."""
        clusters = self._discovery.clusters
        if clusters is None:
            return {}
        first = {
            int(place): at for each in clusters.representatives for at, place in enumerate(each)
        }
        return {
            note: (first.get(place, len(first)), -float(clusters.confidence[place]), note)
            for note, place in self._place.items()
        }

    def _sorted(self, notes: Sequence[int]) -> list[int]:
        return sorted((note for note in notes if note in self._order), key=self._order.__getitem__)


def _worded(mode: Mode) -> Mode:
    """Give a part of a split, which bears its key until somebody names it, a name to read."""
    if mode.name != mode.mode:
        return mode
    return replace(mode, name=mode.mode.replace("_", " "))


def _done(seq: int, said: str) -> Answer:
    return {"tell": "done", "seq": seq, "said": said}
