"""One annotator at a queue: the session before them, the next one, what they say of each."""

from typing import Any

import polars as pl

from evalbench.errors import LabelError
from evalbench.label.annotation.answering import Answer, answer
from evalbench.label.annotation.markdown import render_markdown, visible
from evalbench.label.annotation.queue import Queue
from evalbench.label.annotation.transcript import READING, transcript
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.entries import redact_note
from evalbench.schema import Label
from evalbench.session import Session, make_session, read_sessions
from evalbench.store.ledger import GIVEN_BY
from evalbench.store.workspace import Workspace

CODEBOOK = ("mode", "name", "definition", "example", "severity", "failure_class")
ACTS = "submit skip previous next undo text find turns touch suggestion".split()
AHEAD = 2
"""Sessions held at a time: the one being read, and the one shown next without a wait."""


class Annotation:
    """What one annotator sees of a queue, and the way of what they say into the ledger.

    It knows no widget: messages are plain dicts, and every answer is one. The label of a session is
    in the ledger before its receipt is given out.

    ``item`` and ``upcoming`` are the transcripts of the session before the annotator and of the one
    that follows, empty where there is none; one that was labelled before carries its ``label``.
    ``codebook`` holds the failure modes of the queue's surface, ``policies`` its rules as clean
    HTML, ``progress`` what ``measure_progress`` gives.
    """

    def __init__(self, ws: Workspace, queue: Queue) -> None:
        self._ws, self._queue = ws, queue
        self.surface = queue.body.surface
        defined = read_codebook(ws.ledger).live.filter(surface=self.surface)
        told = pl.col("name", "definition", "example").map_elements(visible, pl.String)
        self.codebook = defined.select(CODEBOOK).with_columns(told).to_dicts()
        settings = ws.settings.surfaces.get(self.surface)
        self.policies = [render_markdown(text) for text in settings.policies] if settings else []
        self._reasons = {item.session_id: item.reason for item in queue.body.items}
        self._labels: dict[str, Label] = {}
        given = ws.ledger.events("label.set", since=queue.number).filter(GIVEN_BY == ws.user)
        for label in map(Label.model_validate_json, given["body"]):
            if label.queue == queue.number:
                self._keep(label)
        self._suggested = {name for name, each in self._labels.items() if each.after_suggestion}
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

    def answer(self, message: Any) -> Answer | None:
        """Do what a message asks: ``act`` names one of :data:`ACTS`, the rest are its arguments.

        Returns None where what changed is seen in :attr:`item`; else ``tell`` is saved, text,
        suggestion or refused (then ``why``).
        """
        return answer({act: getattr(self, act) for act in ACTS}, message)

    def submit(self, *, session_id: str, note: str = "", **given: Any) -> Answer:
        """Write the label of the item into the ledger, and go on to the next.

        LabelError where another item is before the annotator, or the label contradicts itself or
        the codebook.
        """
        self._expect(session_id)
        about = {"surface": self.surface, "session_id": session_id, "queue": self._queue.number}
        if session_id in self._suggested:
            given["after_suggestion"] = True
        label = Label.model_validate({**given, **about})
        self._check(label, note)
        seq = self._queue.submit(label, note=redact_note(self._ws, note, session_id))
        self._keep(label)
        self._leave()
        return {"tell": "saved", "session_id": session_id, "seq": seq}

    def skip(self, *, session_id: str, reason: str) -> None:
        """Give the item back with a reason; it is not shown to this annotator again."""
        self._expect(session_id)
        self._queue.skip(session_id, redact_note(self._ws, reason, session_id))
        self._leave()
        self.touch()

    def previous(self) -> None:
        """Go back to the session labelled before the one that is shown."""
        self._turn_to(self._place() - 1)

    def next(self) -> None:
        """Go on again, after :meth:`previous`."""
        self._turn_to(self._place() + 1)

    def undo(self) -> None:
        """Go back to the session labelled last; submitting it again replaces its label."""
        self._turn_to(len(self._labels) - 1)

    def text(self, **asked: Any) -> Answer:
        """Read on in a text that the item shows cut."""
        return self._consult("text", **asked)

    def find(self, **asked: Any) -> Answer:
        """Find words in the whole session."""
        return self._consult("find", **asked)

    def turns(self, **asked: Any) -> Answer:
        """Read the turns that the item left out."""
        return self._consult("turns", **asked)

    def suggestion(self) -> Answer:
        """Show what judges said of the item, once the annotator has said it alone."""
        name = self.item.get("session_id")
        if name not in self._labels:
            raise LabelError("first your own label: a judge's draft is shown to compare with it")
        said = self._ws.lake.verdicts(surface=self.surface).filter(session_id=name)
        drafts = (
            said.drop_nulls("fails")
            .select("evaluator_id", "fails", "rationale")
            .with_columns(pl.col("evaluator_id", "rationale").map_elements(visible, pl.String))
            .collect()
        )
        if drafts.height:
            self._suggested.add(name)
        return {"tell": "suggestion", "session_id": name, "verdicts": drafts.to_dicts()}

    def touch(self) -> None:
        """Hold the item and the next one, or hold them longer, and read what is not read yet."""
        minutes = self._ws.settings.annotation.reservation_minutes
        held = [item.session_id for item in self._queue.reserve(ahead=AHEAD, minutes=minutes)]
        known = {item["session_id"]: item for item in self._ahead}
        # What somebody is reading stays before them, even where its hold ran out meanwhile.
        names = list(dict.fromkeys([*list(known)[:1], *held]))[:AHEAD]
        self._ahead = [known.get(name) or self._read(name) for name in names]
        kept = {*names, self._back.get("session_id")}
        self._sessions = {name: each for name, each in self._sessions.items() if name in kept}
        slot = self._ws.settings.annotation.slot_minutes
        self.progress = self._queue.progress(slot)

    def _consult(self, act: str, session_id: str = "", **asked: Any) -> Answer:
        session = self._sessions.get(session_id or self.item["session_id"])
        if session is None:
            raise LabelError(f"session {session_id} is not before you: reload the page")
        return READING[act](session, **asked)

    def _leave(self) -> None:
        if self._back:
            self._back = {}
        else:
            del self._ahead[0]

    def _place(self) -> int:
        """Where the item stands among those labelled; behind the last while it has no label."""
        labelled = list(self._labels)
        return labelled.index(self._back["session_id"]) if self._back else len(labelled)

    def _turn_to(self, place: int) -> None:
        if not 0 <= place <= len(self._labels) or (place == self._place() and not self._back):
            raise LabelError("there is no session that way")
        here = place < len(self._labels)
        self._back = self._read(list(self._labels)[place]) if here else {}

    def _expect(self, session_id: str) -> None:
        if not session_id or session_id != self.item.get("session_id"):
            raise LabelError(f"session {session_id} is not before you: reload the page")

    def _check(self, label: Label, note: str) -> None:
        if label.verdict == "fail" and not label.modes and not note.strip():
            raise LabelError("a failure needs a failure mode, or a note that says what went wrong")
        session = self._sessions[label.session_id]
        spans = {turn.span_id for turn in session.turns} | {call.span_id for call in session.calls}
        if astray := [each.span_id for each in label.anchors if each.span_id not in spans]:
            raise LabelError(f"the session has no span {astray[0]}")

    def _keep(self, label: Label) -> None:
        """Keep the last word on a session, in the order of the last words."""
        self._labels.pop(label.session_id, None)
        self._labels[label.session_id] = label

    def _read(self, session_id: str) -> dict[str, Any]:
        """Return the transcript of a session as it was when it was drawn."""
        versions = self._queue.body.lake_versions
        held = read_sessions(self._ws.lake, self.surface, [session_id], versions=versions)
        session = next(held, None) or make_session(self.surface, session_id, [])
        self._sessions[session_id] = session
        item = transcript(session, reason=self._reasons.get(session_id, ""))
        label = self._labels.get(session_id)
        return {**item, "label": label.model_dump(mode="json")} if label else item
