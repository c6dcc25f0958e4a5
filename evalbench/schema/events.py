"""The body of every ledger event: what people decide, one kind an event."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from evalbench.schema.labelling import (
    Body,
    CommentAdded,
    ItemReserved,
    ItemReturned,
    ItemSkipped,
    Label,
    LabelAdjudicated,
    LabelRetracted,
    LabelsImported,
    Name,
    Note,
    NoteChanged,
    QueueDrawn,
    Rating,
    Severity,
)
from evalbench.schema.operating import (
    AlertRaised,
    DecisionRecorded,
    IssueMoved,
    IssueOpened,
    MetricObserved,
    TargetSet,
)
from evalbench.schema.releasing import (
    BaselineSet,
    ForecastMade,
    GateDecided,
    GateOverridden,
    GoldenAdded,
    GoldenRetired,
    OverrideClosed,
    ReleaseShipped,
    RunRecorded,
)

FailureClass = Literal[
    "answer quality",
    "tool selection",
    "tool arguments",
    "policy boundary",
    "evidence quality",
    "recovery",
]


class VerdictsImported(Body):
    """``verdicts.imported``: the actor brought an evaluator's verdicts in from a file."""

    surface: Name
    evaluator: Name
    version: Name
    file: Name
    sha256: Name
    verdicts: int = Field(ge=1)


MODE_KEYS = "123456789abdhikqtwxy"
"""The keys that failure modes may have; an annotator's other keys do something else."""


class ModeDefined(Body):
    """``mode.defined``: a named failure mode of a surface, at one version.

    Without a definition, an example, a severity, a class or an owner it is a draft. ``key`` is the
    one that annotators press for it.
    """

    mode: Name
    surface: Name
    name: Name
    definition: str = ""
    example: str = ""
    severity: Severity | None = None
    failure_class: FailureClass | None = None
    owner: str = ""
    key: str = Field(default="", pattern=f"^[{MODE_KEYS}]?$")
    version: int = Field(default=1, ge=1)


class ModeMerged(Body):
    """``mode.merged``: ``sources`` are one failure mode with ``into``; their labels follow."""

    surface: Name
    sources: tuple[Name, ...] = Field(min_length=1)
    into: Name
    reason: str = ""


class ModeSplit(Body):
    """``mode.split``: ``source`` was several failure modes.

    ``parts`` gives the sessions whose labels go to each, ``notes`` the notes by number; whatever is
    not listed goes to the part ``otherwise``. ``names`` are how people name new parts.
    """

    surface: Name
    source: Name
    names: dict[Name, Name] = Field(default={})
    parts: dict[Name, tuple[Name, ...]] = Field(min_length=2)
    notes: dict[Name, tuple[int, ...]] = Field(default={})
    otherwise: Name
    reason: str = ""


class ModeRetired(Body):
    """``mode.retired``: labels of this failure mode count no longer."""

    surface: Name
    mode: Name
    reason: str = ""


class ModePromoted(Body):
    """``mode.promoted``: a draft counts from now on, ``belonging`` of ``members`` looked at."""

    surface: Name
    mode: Name
    members: int = Field(ge=0)
    belonging: int = Field(ge=0)


class ModeUndone(Body):
    """``mode.undone``: the codebook is as if the event ``undoes`` had not been."""

    undoes: int


class DraftedMode(Body):
    """One cluster of notes as a draft; ``notes`` are the numbers of ``note.added`` events."""

    mode: Name
    name: Name
    notes: tuple[int, ...] = Field(min_length=1)


class CodebookProposed(Body):
    """``codebook.proposed``: clusters of the notes up to ``ledger_seq`` became drafts."""

    surface: Name
    seed: int
    ledger_seq: int
    drafts: tuple[DraftedMode, ...] = Field(min_length=1)


class MemberConfirmed(Body):
    """``member.confirmed``: a person looked whether a note belongs to a failure mode."""

    surface: Name
    mode: Name
    note: int
    belongs: bool


class NotesSorted(Body):
    """``notes.sorted``: a person read ``notes``, and they tell of a failure mode.

    A ``name`` makes a new draft of it. ``struck`` were shown with them and are not of it;
    ``offered`` are the modes that were offered.
    """

    surface: Name
    mode: Name
    name: str = ""
    notes: tuple[int, ...] = ()
    struck: tuple[int, ...] = ()
    offered: tuple[Name, ...] = ()


EvaluatorKind = Literal["check", "classifier", "judge"]


class Evaluator(Body):
    """What an evaluator is; a score of ``threshold`` or more fails.

    ``parameters`` are those of its kind, ``prompt`` the rubric of a judge and ``model`` its name.
    """

    surface: Name
    mode: Name
    kind: EvaluatorKind
    owner: Name
    parameters: dict[str, JsonValue] = Field(default={})
    prompt: str = ""
    model: Name | None = None
    threshold: float | None = Field(default=None, allow_inf_nan=False)


class EvaluatorDefined(Evaluator):
    """``evaluator.defined``: an evaluator at one version, which is the hash of what it does."""

    evaluator_id: Name
    version: Name


class EvaluatorCalibrated(Body):
    """``evaluator.calibrated``: how one version agreed with people on the test split.

    The counts are of sessions; an ``mcc`` that is not defined is null, and ``mcc_shown`` is what it
    is shown to be above with this and all earlier looks paid for. ``model`` is the name that
    the model gave itself. ``lake_versions`` and ``ledger_seq`` pin the verdicts and the labels.
    """

    evaluator_id: Name
    version: Name
    model: str | None = None
    model_fingerprint: str | None = None
    tp: int = Field(ge=0)
    fn: int = Field(ge=0)
    fp: int = Field(ge=0)
    tn: int = Field(ge=0)
    mcc: float | None = None
    mcc_low: float | None = None
    mcc_high: float | None = None
    mcc_shown: float | None = None
    level: float = Field(gt=0.5, lt=1)
    lake_versions: dict[str, int]
    ledger_seq: int


class EvaluatorPromoted(Body):
    """``evaluator.promoted``: a person lets a version count, by the event of its calibration."""

    evaluator_id: Name
    version: Name
    calibration: int


class EvaluatorArchived(Body):
    """``evaluator.archived``: no version of this evaluator counts any longer."""

    evaluator_id: Name
    reason: str = ""


class TracesReplaced(Body):
    """``traces.replaced``: a source was read anew in place of what other ingests of it brought."""

    surface: Name
    by: Name
    replaced: tuple[Name, ...]
    n_spans: int


class RoleGranted(Body):
    """``role.granted``: a user of the database may append what a role may; "reader" ends all."""

    member: Name
    role: Name


class SessionsForgotten(Body):
    """``sessions.forgotten``: what so many sessions said was erased, for good.

    ``texts`` are the events whose text stood beside the chain. ``events`` held theirs themselves,
    as version 0.1 wrote them: they keep their hash, and have now bodies of these hashes.
    """

    reason: Literal["asked", "expired"]
    sessions: int = Field(ge=0)
    texts: tuple[int, ...] = ()
    events: dict[str, str] = Field(default={})


class ReportPublished(Body):
    """``report.published``: a report was made from pinned inputs."""

    notebook: Name
    run: Name
    parameters: dict[str, object]
    lake_versions: dict[str, int]
    ledger_seq: int
    result_sha256: str


BODIES: dict[str, type[Body]] = {
    "note.added": Note,
    "note.changed": NoteChanged,
    "comment.added": CommentAdded,
    "label.set": Label,
    "label.retracted": LabelRetracted,
    "label.adjudicated": LabelAdjudicated,
    "labels.imported": LabelsImported,
    "rating.set": Rating,
    "queue.drawn": QueueDrawn,
    "item.reserved": ItemReserved,
    "item.skipped": ItemSkipped,
    "item.returned": ItemReturned,
    "mode.defined": ModeDefined,
    "mode.merged": ModeMerged,
    "mode.split": ModeSplit,
    "mode.retired": ModeRetired,
    "mode.promoted": ModePromoted,
    "mode.undone": ModeUndone,
    "codebook.proposed": CodebookProposed,
    "member.confirmed": MemberConfirmed,
    "notes.sorted": NotesSorted,
    "evaluator.defined": EvaluatorDefined,
    "evaluator.calibrated": EvaluatorCalibrated,
    "evaluator.promoted": EvaluatorPromoted,
    "evaluator.archived": EvaluatorArchived,
    "release.shipped": ReleaseShipped,
    "golden.added": GoldenAdded,
    "golden.retired": GoldenRetired,
    "run.recorded": RunRecorded,
    "baseline.set": BaselineSet,
    "gate.decided": GateDecided,
    "gate.overridden": GateOverridden,
    "override.closed": OverrideClosed,
    "forecast.made": ForecastMade,
    "alert.raised": AlertRaised,
    "issue.opened": IssueOpened,
    "issue.moved": IssueMoved,
    "target.set": TargetSet,
    "metric.observed": MetricObserved,
    "decision.recorded": DecisionRecorded,
    "traces.replaced": TracesReplaced,
    "verdicts.imported": VerdictsImported,
    "role.granted": RoleGranted,
    "sessions.forgotten": SessionsForgotten,
    "report.published": ReportPublished,
}
"""The kinds of event that the ledger takes."""
