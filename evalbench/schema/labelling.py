"""The bodies of events about queues, and about what annotators say of their sessions."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["safety", "user impact", "polish"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Body of a ledger event: frozen, and closed to fields that its kind does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Note(Body):
    """``note.added``: an open code, what a reader saw in a session, in free words."""

    text: str = Field(min_length=1)
    surface: str | None = None
    session_id: str | None = None
    annotator: str | None = None


class NoteChanged(Body):
    """``note.changed``: the note of event ``note`` reads ``text`` from now on; "" takes it back."""

    note: int
    text: str
    surface: Name
    session_id: Name


class CommentAdded(Body):
    """``comment.added``: an annotator's word to whoever leads the labelling, about a session."""

    queue: int
    surface: Name
    session_id: Name
    text: str = Field(min_length=1)


Judgement = Literal["pass", "fail", "unsure"]


class Anchor(Body):
    """A place in a trace that shows a failure: the words, and the span they stand in."""

    span_id: Name
    quote: str = Field(min_length=1)
    mode: Name | None = None


class Label(Body):
    """``label.set``: one annotator's judgement of one session, over the whole codebook.

    ``verdict`` "fail" names the ``modes`` seen; every other mode of the surface is absent. "pass"
    says that none was seen; "unsure" says nothing of any mode. ``queue`` is the number of the
    ``queue.drawn`` event it answers; ``after_suggestion`` says that a judge's draft had been seen,
    ``unblinded`` that the outcome, the signals or the reason of the draw had been;
    ``labelled_at`` is when it was given, where that is not when the event was written: an import.
    ``annotator`` is who gave it where that is not the actor, who then imported it; of ratings and
    notes too.
    """

    surface: Name
    session_id: Name
    verdict: Judgement
    modes: tuple[Name, ...] = ()
    queue: int | None = None
    seconds: float | None = Field(default=None, ge=0)
    severity: Severity | None = None
    anchors: tuple[Anchor, ...] = ()
    after_suggestion: bool = False
    unblinded: bool = False
    labelled_at: datetime | None = None
    annotator: str | None = None


class LabelRetracted(Body):
    """``label.retracted``: the label of event ``label`` is taken back; what it replaced holds."""

    label: int
    queue: int | None
    surface: Name
    session_id: Name


class Rating(Body):
    """``rating.set``: one annotator's rating of one session on a scale; it says nothing of modes.

    ``value`` is text as given, such as "4" or "tie"; a later one on the same ``criterion``
    replaces it.
    """

    surface: Name
    session_id: Name
    criterion: Name
    value: Name
    labelled_at: datetime | None = None
    annotator: str | None = None


class LabelsImported(Body):
    """``labels.imported``: the actor brought labels and ratings of others in from a file."""

    file: Name
    sha256: Name
    added: int = Field(ge=1)


class LabelAdjudicated(Body):
    """``label.adjudicated``: what holds of a session whose annotators disagreed, and why.

    ``labels`` are the numbers of the ``label.set`` events that were before the adjudicator.
    """

    surface: Name
    session_id: Name
    verdict: Judgement
    modes: tuple[Name, ...] = ()
    reason: str = Field(min_length=1)
    labels: tuple[int, ...] = ()


class DrawnItem(Body):
    """One session of a draw, with what is needed to weigh it, and how many people label it.

    One that was picked by hand has no ``inclusion_probability``: nobody knows it.
    """

    session_id: Name
    stratum: str
    inclusion_probability: float | None = Field(gt=0, le=1)
    reason: str
    annotators: int = Field(default=1, ge=1)


class Design(Body):
    """How sessions are put into strata and drawn.

    ``by`` names session columns (``release``) or segments (``segments.tier``); ``always`` names
    signals whose sessions are all taken; ``floor`` is the least number drawn from a stratum.
    ``evaluators`` names those whose verdicts divide the strata, ``targets`` those whose failing
    sessions take half of the sample, since a decision waits for what they judge.
    """

    by: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    floor: int = Field(default=5, ge=1)
    weights: dict[str, float] = {}


class QueueDrawn(Body):
    """``queue.drawn``: which sessions of which frame were drawn, how, and why each one.

    ``lake_versions`` pins the frame, so that the stratum of every session can be worked out again.
    ``blind`` keeps outcome, signals and the reason of the draw from annotators until their label.
    Verdicts of the evaluator ``suggests`` are shown before the label, but on a random fifth.
    """

    surface: Name
    start: datetime | None = None
    end: datetime | None = None
    seed: int
    design: Design
    lake_versions: dict[str, int]
    items: tuple[DrawnItem, ...]
    blind: bool = True
    suggests: Name | None = None

    def shows_first(self, session_id: str) -> bool:
        """Whether a session's suggestion is shown before the annotator's own label."""
        draw = sha256(f"{self.seed}/{session_id}".encode()).digest()[0]
        return self.suggests is not None and draw >= 256 / 5


class ItemReserved(Body):
    """``item.reserved``: a session of a queue is the actor's to label until ``expires_at``."""

    queue: int
    surface: Name
    session_id: Name
    expires_at: datetime


class ItemSkipped(Body):
    """``item.skipped``: the actor gives a session of a queue back, and will not see it again."""

    queue: int
    surface: Name
    session_id: Name
    reason: str = Field(min_length=1)


class ItemReturned(Body):
    """``item.returned``: the actor takes back that they skipped a session of a queue."""

    queue: int
    surface: Name
    session_id: Name
