"""One annotator at a queue: the session before them, the next one, what they say of each."""

from typing import Any

import polars as pl

from evalbench.errors import LabelError
from evalbench.label.annotation.alike import find_alike
from evalbench.label.annotation.answering import Answer, Desk
from evalbench.label.annotation.history import Deed, read_deeds
from evalbench.label.annotation.layout import lay_out
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.overview import list_items, list_modes, pin_key, propose_mode
from evalbench.label.annotation.queue import Queue, queue_picked
from evalbench.label.annotation.retraction import read_own_note
from evalbench.label.annotation.transcript import transcript
from evalbench.label.entries import redact_note
from evalbench.schema import CommentAdded, Label
from evalbench.session import Session, make_session, read_sessions
from evalbench.store.workspace import Workspace

AHEAD = 2  # sessions held at a time: the one being read, and the one shown next without a wait
ALIKE = 30  # sessions that are shown as most like one
SAID = ("verdict", "modes", "severity", "anchors")  # what makes two labels of a session the same
HIDDEN = {"reason": "", "signals": []}


class Annotation(Desk):
    """What one annotator sees of a queue, and the way of what they say into the ledger.

    Messages are plain dicts, and so are answers. A label is in the ledger before its receipt is
    given out, and a message that comes twice is done once. ``item`` and ``upcoming`` are
    transcripts, each with its ``note``, a ``suggestion`` where the queue shows one first and,
    labelled before, its ``label``; in a blind queue what tells the outcome is left out of one
    without a label, which is then ``blind``.
    """

    ACTS = (
        *"submit skip undo redo previous next open touch suggestion reveal items pin".split(),
        *("propose", "comment", "golden", "alike", "peek", "pick"),
    )

    def __init__(self, ws: Workspace, queue: Queue) -> None:
        self._ws, self._queue = ws, queue
        self.surface = queue.body.surface
        self.about = {"queue": queue.number, "surface": self.surface, "annotator": ws.user}
        self.codebook = list_modes(ws.ledger, self.surface)
        settings = ws.settings.surfaces.get(self.surface)
        policies = settings.policies if settings else ()
        self.policies = [{"text": text, "layout": lay_out(text)} for text in policies]
        self._reasons = {item.session_id: item.reason for item in queue.body.items}
        self._minutes = ws.settings.annotation.reservation_minutes
        self._deeds, self._undone = read_deeds(ws.ledger, queue.number)
        self._suggested = {
            deed.session_id for deed in self._deeds if deed.label and deed.label.after_suggestion
        }
        self._revealed = {deed.session_id for deed in self._deeds if deed.label}
        self._sessions: dict[str, Session] = {}
        self._ahead: list[dict[str, Any]] = []
        self._back: dict[str, Any] = {}
        self.progress: dict[str, Any] = {}
        self.touch()

    @property
    def item(self) -> dict[str, Any]:
        """What is before the annotator."""
        return self._back or (self._ahead[0] if self._ahead else {})

    @property
    def upcoming(self) -> dict[str, Any]:
        """What the next label leads to."""
        following = self._ahead[0 if self._back else 1 :]
        return following[0] if following else {}

    def submit(self, *, session_id: str, note: str = "", base: int = 0, **given: Any) -> Answer:
        """Write the label in place of event ``base`` (0: none), and go on; else LabelError."""
        given |= {"surface": self.surface, "session_id": session_id, "queue": self._queue.number}
        given["unblinded"] = not self._queue.body.blind or session_id in self._revealed
        if session_id in self._suggested:
            given["after_suggestion"] = True
        label = Label.model_validate(given)
        before = self._labelled.get(session_id)
        if before and before.seq != base and _says(before.label) == _says(label):
            self._leave(session_id)
            return {"tell": "saved", "session_id": session_id, "seq": before.seq}
        seq = self._write(label, redact_note(self._ws, note, session_id), base=base)
        self._undone.clear()
        return {"tell": "saved", "session_id": session_id, "seq": seq}

    def skip(self, *, session_id: str, reason: str) -> Answer:
        """Give the item back with a reason; it is not shown to this annotator again."""
        reason = redact_note(self._ws, reason, session_id)
        seq = self._queue.skip(session_id, reason)
        self._deeds.append(Deed(seq, session_id, reason=reason))
        self._undone.clear()
        self._leave(session_id)
        self.touch()
        return {"tell": "done", "said": "Skipped"}

    def undo(self) -> Answer:
        """Take back the last label with its note (the ``draft``), or skip; its session is shown."""
        if not self._deeds:
            raise LabelError("nothing of yours at this queue is left to undo")
        deed = self._deeds[-1]
        if deed.label is None:
            self._queue.take_on(deed.session_id, minutes=self._minutes)
        else:
            self._queue.retract(deed.session_id, deed.seq, note=deed.before, minutes=self._minutes)
        self._undone.append(self._deeds.pop())
        self._show(deed.session_id)
        self.touch()
        draft = deed.label.model_dump(mode="json", include={*SAID}) if deed.label else {}
        said = f"Undone: {deed.describe()}"
        return {"tell": "done", "said": said, "draft": {**draft, "note": deed.after or ""}}

    def redo(self) -> Answer:
        """Do again what was undone last."""
        if not self._undone:
            raise LabelError("nothing was undone that could be done again")
        deed = self._undone[-1]
        if deed.label:
            held = self._labelled.get(deed.session_id)
            self._write(deed.label, deed.after, base=held.seq if held else 0)
        else:
            seq = self._queue.skip(deed.session_id, deed.reason)
            self._deeds.append(Deed(seq, deed.session_id, reason=deed.reason))
            self._leave(deed.session_id)
        self._undone.pop()
        self.touch()
        return {"tell": "done", "said": f"Done again: {deed.describe()}"}

    def previous(self) -> None:
        """Go back to the session labelled before the one that is shown."""
        self._turn_to(self._place() - 1)

    def next(self) -> None:
        """Go on again, after :meth:`previous`."""
        self._turn_to(self._place() + 1)

    def open(self, *, session_id: str) -> None:
        """Show one session: one's own label, or one that nobody else has; else LabelError."""
        if session_id == self.item.get("session_id"):
            return
        if session_id not in self._labelled:
            self._queue.take_on(session_id, minutes=self._minutes)
        self._show(session_id)
        self.touch()

    def suggestion(self) -> Answer:
        """Show what judges said of the item, once the annotator has said it alone."""
        name = self.item.get("session_id")
        if name not in self._labelled:
            raise LabelError("first your own label: a judge's draft is shown to compare with it")
        return {"tell": "suggestion", "session_id": name, "verdicts": self._suggest(name)}

    def reveal(self) -> Answer:
        """Tell of the item what a blind queue keeps back; its label is then unblinded."""
        name = self.item.get("session_id", "")
        self._revealed.add(name)
        shown = self._lay_out(self._sessions[name])
        return {"tell": "revealed", "session_id": name, **{each: shown[each] for each in HIDDEN}}

    def items(self) -> Answer:
        """List the sessions of the queue as they stand for the annotator."""
        rows = list_items(self._ws, self._queue, revealed=self._labelled.keys())
        return {"tell": "items", "rows": rows}

    def pin(self, *, mode: str, key: str) -> Answer:
        """Let a failure mode have this key, for everybody."""
        pin_key(self._ws.ledger, self.surface, mode, key)
        self.codebook = list_modes(self._ws.ledger, self.surface)
        return {"tell": "done", "said": f"The key is {key}"}

    def propose(self, *, name: str, definition: str) -> Answer:
        """Write a failure mode that the codebook lacks as a draft for the analyst."""
        propose_mode(self._ws.ledger, self.surface, name=name, definition=definition)
        return {"tell": "done", "said": f"Proposed to the analyst: {name}"}

    def comment(self, *, session_id: str, text: str) -> Answer:
        """Tell whoever leads the labelling something about a session."""
        text = redact_note(self._ws, text, session_id)
        about = {"surface": self.surface, "queue": self._queue.number}
        body = CommentAdded.model_validate({**about, "session_id": session_id, "text": text})
        self._ws.ledger.append("comment.added", session_id, body)
        return {"tell": "done", "said": "Your comment is in the report of this queue"}

    def alike(self) -> Answer:
        """Find the sessions of the surface that are most like the item."""
        near = find_alike(self._ws, self.surface, self.item.get("session_id", ""), n=ALIKE)
        begun = self._ws.lake.sessions(surface=self.surface).select("session_id", "first_input")
        rows = near.lazy().join(begun, on="session_id", how="left", maintain_order="left").collect()
        names = [("name", "session_id"), ("text", "first_input")]
        shown = [
            (pl.col(old).fill_null("").map_elements(visible, pl.String)).alias(new)
            for new, old in names
        ]
        return {"tell": "alike", "rows": rows.select("session_id", "alike", *shown).to_dicts()}

    def peek(self, *, session_id: str) -> Answer:
        """Read a session whole beside the item, without a label."""
        self._session = next(read_sessions(self._ws.lake, self.surface, [session_id]), None)
        if self._session is None:
            raise LabelError(f"the lake has no session {session_id} of {self.surface}")
        return {"tell": "peeked", "item": transcript(self._session) | HIDDEN}

    def pick(self, *, sessions: list[str]) -> Answer:
        """Make a queue of sessions like the item; their labels count in no rate."""
        told = f"like {self.item.get('session_id', '')}"
        return queue_picked(
            self._ws, self.surface, pl.Series(sessions, dtype=pl.String), reason=told
        )

    def touch(self) -> None:
        """Hold the item and the next one, or hold them longer, and read what is not read yet."""
        back = self._back.get("session_id")
        apart = back is not None and back not in self._labelled
        held = self._queue.reserve(ahead=AHEAD + apart, minutes=self._minutes)
        known = {item["session_id"]: item for item in self._ahead}
        # What somebody is reading stays before them, even where its hold ran out meanwhile.
        free = dict.fromkeys([*list(known)[:1], *(item.session_id for item in held)])
        names = [name for name in free if name != back][:AHEAD]
        self._ahead = [known.get(name) or self._read(name) for name in names]
        kept = {*names, back}
        self._sessions = {name: each for name, each in self._sessions.items() if name in kept}
        self.progress = self._queue.progress()

    def _find_session(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id or self.item["session_id"]) or super()._find_session(
            session_id
        )

    @property
    def _labelled(self) -> dict[str, Deed]:
        """The last label of each session, in the order of the last labels."""
        last: dict[str, Deed] = {}
        for deed in self._deeds:
            if deed.label:
                last.pop(deed.session_id, None)
                last[deed.session_id] = deed
        return last

    def _write(self, label: Label, note: str | None, *, base: int) -> int:
        name = label.session_id
        if name not in self._sessions:
            self.open(session_id=name)
        self._check(label, note)
        before = read_own_note(self._ws.ledger, self.surface, name)[1]
        seq = self._queue.submit(label, note=note, base=base)
        words = (None, None) if note is None or note.strip() == before else (before, note.strip())
        self._deeds.append(Deed(seq, name, label, *words))
        self._revealed.add(name)
        self._leave(name)
        return seq

    def _show(self, session_id: str) -> None:
        """Put a session before the annotator; one without a label that was there comes next."""
        if self._back and self._back["session_id"] not in self._labelled:
            self._ahead.insert(0, self._back)
        self._back = self._read(session_id) if session_id else {}
        self._ahead = [item for item in self._ahead if item["session_id"] != session_id]

    def _leave(self, session_id: str) -> None:
        if self._back.get("session_id") == session_id:
            self._back = {}
        self._ahead = [item for item in self._ahead if item["session_id"] != session_id]

    def _place(self) -> int:
        """Where the item stands among those labelled; behind the last while it has no label."""
        labelled, shown = list(self._labelled), self.item.get("session_id")
        return labelled.index(shown) if shown in labelled else len(labelled)

    def _turn_to(self, place: int) -> None:
        labelled = list(self._labelled)
        if not 0 <= place <= len(labelled) or (place == self._place() and not self._back):
            raise LabelError("there is no session that way")
        self._show(labelled[place] if place < len(labelled) else "")

    def _check(self, label: Label, note: str | None) -> None:
        if label.verdict == "fail" and not label.modes and not (note or "").strip():
            raise LabelError("a failure needs a failure mode, or a note that says what went wrong")
        session = self._sessions[label.session_id]
        spans = {turn.span_id for turn in session.turns} | {call.span_id for call in session.calls}
        if astray := [each.span_id for each in label.anchors if each.span_id not in spans]:
            raise LabelError(f"the session has no span {astray[0]}")

    def _suggest(self, session_id: str, evaluator: str | None = None) -> list[dict[str, Any]]:
        """Give what judges said of a session; the annotator's label is then after a suggestion."""
        said = self._ws.lake.verdicts(surface=self.surface).filter(session_id=session_id)
        if evaluator:
            said = said.filter(evaluator_id=evaluator)
        drafts = (
            said.drop_nulls("fails")
            .select("evaluator_id", "fails", "rationale")
            .with_columns(pl.col("evaluator_id", "rationale").map_elements(visible, pl.String))
            .collect()
        )
        if drafts.height:
            self._suggested.add(session_id)
        return drafts.to_dicts()

    def _lay_out(self, session: Session) -> dict[str, Any]:
        return transcript(session, reason=self._reasons.get(session.session_id, ""))

    def _read(self, session_id: str) -> dict[str, Any]:
        """Return the transcript of a session as it was when it was drawn."""
        versions = self._queue.body.lake_versions
        held = read_sessions(self._ws.lake, self.surface, [session_id], versions=versions)
        session = next(held, None) or make_session(self.surface, session_id, [])
        self._sessions[session_id] = session
        item = self._lay_out(session)
        deed = self._labelled.get(session_id)
        item["note"] = read_own_note(self._ws.ledger, self.surface, session_id)[1]
        if deed and deed.label:
            item["label"] = {**deed.label.model_dump(mode="json"), "seq": deed.seq}
        elif self._queue.body.blind and session_id not in self._revealed:
            item |= {**HIDDEN, "blind": True}
        if session_id not in self._labelled and self._queue.body.shows_first(session_id):
            item["suggestion"] = self._suggest(session_id, self._queue.body.suggests)
        return item


def _says(label: Label | None) -> dict[str, Any]:
    return label.model_dump(include={*SAID}) if label else {}
