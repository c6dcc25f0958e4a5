"""The contracts between stages: the columns of every frame and the body of every ledger event.

Times are UTC, identifiers are text as the source gave them, and a value nobody recorded is null.
"""
# ruff: noqa: I001 (sorting would give every name a statement of its own)

from evalbench.schema.columns import (
    KEYS as KEYS,
    SESSION as SESSION,
    SIGNALS as SIGNALS,
    SPAN as SPAN,
    SPAN_KINDS as SPAN_KINDS,
    TABLES as TABLES,
    TIME as TIME,
    VERDICT as VERDICT,
    columns as columns,
)
from evalbench.schema.events import (
    BODIES as BODIES,
    Anchor as Anchor,
    Body as Body,
    CodebookProposed as CodebookProposed,
    Design as Design,
    DraftedMode as DraftedMode,
    DrawnItem as DrawnItem,
    Evaluator as Evaluator,
    EvaluatorArchived as EvaluatorArchived,
    EvaluatorCalibrated as EvaluatorCalibrated,
    EvaluatorDefined as EvaluatorDefined,
    EvaluatorKind as EvaluatorKind,
    EvaluatorPromoted as EvaluatorPromoted,
    FailureClass as FailureClass,
    ItemReserved as ItemReserved,
    ItemSkipped as ItemSkipped,
    Judgement as Judgement,
    Label as Label,
    LabelAdjudicated as LabelAdjudicated,
    LabelsImported as LabelsImported,
    MemberConfirmed as MemberConfirmed,
    ModeDefined as ModeDefined,
    ModeMerged as ModeMerged,
    ModePromoted as ModePromoted,
    ModeRetired as ModeRetired,
    ModeSplit as ModeSplit,
    Name as Name,
    Note as Note,
    QueueDrawn as QueueDrawn,
    Rating as Rating,
    ReleaseShipped as ReleaseShipped,
    ReportPublished as ReportPublished,
    Severity as Severity,
)
