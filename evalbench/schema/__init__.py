"""The contracts between stages: the columns of every frame and the body of every ledger event.

Times are UTC, identifiers are text as the source gave them, and a value nobody recorded is null.
"""
# ruff: noqa: I001 (sorting would give every name a statement of its own)

import polars as pl

from evalbench.schema.events import (
    BODIES as BODIES,
    MODE_KEYS as MODE_KEYS,
    CodebookProposed as CodebookProposed,
    DraftedMode as DraftedMode,
    Evaluator as Evaluator,
    EvaluatorArchived as EvaluatorArchived,
    EvaluatorCalibrated as EvaluatorCalibrated,
    EvaluatorDefined as EvaluatorDefined,
    EvaluatorKind as EvaluatorKind,
    EvaluatorPromoted as EvaluatorPromoted,
    FailureClass as FailureClass,
    MemberConfirmed as MemberConfirmed,
    NotesSorted as NotesSorted,
    ModeDefined as ModeDefined,
    ModeMerged as ModeMerged,
    ModePromoted as ModePromoted,
    ModeRetired as ModeRetired,
    ModeSplit as ModeSplit,
    ReportPublished as ReportPublished,
    TracesReplaced as TracesReplaced,
    VerdictsImported as VerdictsImported,
    SessionsForgotten as SessionsForgotten,
)
from evalbench.schema.kinds import (
    ERASABLE as ERASABLE,
    ERASED as ERASED,
    ROLES as ROLES,
    erase as erase,
)
from evalbench.schema.labelling import (
    Anchor as Anchor,
    Body as Body,
    CommentAdded as CommentAdded,
    Design as Design,
    DrawnItem as DrawnItem,
    ItemReserved as ItemReserved,
    ItemReturned as ItemReturned,
    ItemSkipped as ItemSkipped,
    Judgement as Judgement,
    Label as Label,
    LabelAdjudicated as LabelAdjudicated,
    LabelRetracted as LabelRetracted,
    LabelsImported as LabelsImported,
    Name as Name,
    Note as Note,
    NoteChanged as NoteChanged,
    QueueDrawn as QueueDrawn,
    Rating as Rating,
    Severity as Severity,
)
from evalbench.schema.operating import (
    AlertRaised as AlertRaised,
    DecisionRecorded as DecisionRecorded,
    IssueMoved as IssueMoved,
    IssueOpened as IssueOpened,
    IssueSource as IssueSource,
    IssueState as IssueState,
    MetricObserved as MetricObserved,
    TargetSet as TargetSet,
)
from evalbench.schema.releasing import (
    RUN_SIGN as RUN_SIGN,
    BaselineSet as BaselineSet,
    ForecastMade as ForecastMade,
    GateDecided as GateDecided,
    GateOverridden as GateOverridden,
    GateReading as GateReading,
    GateRow as GateRow,
    GoldenAdded as GoldenAdded,
    GoldenRetired as GoldenRetired,
    OverrideClosed as OverrideClosed,
    ReleaseShipped as ReleaseShipped,
    RowRole as RowRole,
    RunRecorded as RunRecorded,
    Suite as Suite,
)

TIME = pl.Datetime("us", "UTC")

SPAN_KINDS = tuple(
    "llm tool retriever chain agent embedding reranker guardrail evaluator prompt other".split()
)


def columns(*groups: tuple[pl.DataType | type[pl.DataType], str]) -> pl.Schema:
    """Make the columns of a frame from groups of a type and its names, in their order."""
    return pl.Schema([(name, dtype) for dtype, names in groups for name in names.split()])


SIGNALS = columns(
    (pl.Boolean, "outcome regenerated"),
    (pl.Int64, "edited_chars"),
    (pl.Boolean, "abandoned escalated schema_valid refused"),
    (pl.Int64, "thumbs"),
    (pl.Float64, "stars"),
    (pl.Boolean, "reported"),
    (pl.Float64, "confidence"),
)
"""What a user or a product recorded about a session. ``thumbs`` is 1 or -1, ``stars`` 1 to 5,
``confidence`` 0 to 1, ``outcome`` true where the task was achieved."""

_NAMED = columns((pl.String, "user_key group_key release environment segments"))

SESSION_FACTS = pl.Schema({**_NAMED, **SIGNALS})
"""Facts about a whole session that a source attaches to one of its spans. ``segments`` is a JSON
object of text (tier, locale, intent, ...)."""

_STEP = columns(
    (pl.String, "surface session_id trace_id span_id parent_id kind name"),
    (TIME, "started_at"),
    (pl.Float64, "latency_ms"),
    (pl.String, "status status_message model provider input output input_messages output_messages"),
    (pl.String, "tool_name tool_arguments tool_result"),
    (pl.List(pl.Struct(columns((pl.String, "id content"), (pl.Float64, "score")))), "documents"),
    (pl.Int64, "prompt_tokens completion_tokens cached_tokens"),
    (pl.Float64, "cost_usd"),
    (pl.String, "attributes source_format ingest_id"),
)

SPAN = pl.Schema({**_STEP, **SESSION_FACTS})
"""One step of a trace. The last columns, :data:`SESSION_FACTS`, say something of its session."""

_WHOLE = columns(
    (TIME, "started_at ended_at"),
    (pl.Int64, "n_turns n_spans n_tool_calls n_tool_errors n_retries"),
    (pl.Int64, "prompt_tokens completion_tokens"),
    (pl.Float64, "cost_usd latency_p95_ms"),
    (pl.String, "first_input final_output"),
)

SESSION = pl.Schema({**columns((pl.String, "surface session_id")), **_NAMED, **_WHOLE, **SIGNALS})
"""One conversation or task of one user, with every signal somebody recorded."""

VERDICT = columns(
    (pl.String, "surface session_id mode evaluator_id evaluator_version"),
    (pl.Int64, "repeat"),
    (pl.Boolean, "fails"),
    (pl.Float64, "score"),
    (pl.String, "rationale evidence error model model_fingerprint"),
    (pl.Float64, "latency_ms"),
    (pl.Int64, "prompt_tokens completion_tokens"),
    (pl.Float64, "cost_usd"),
    (TIME, "judged_at"),
    (pl.String, "run_id"),
)
"""What one evaluator said of one session. ``mode`` is the failure mode it speaks of, "" where it
speaks of the session as a whole; ``evidence`` is a JSON list of span ids and quotes."""

TABLES = {"span": SPAN, "session": SESSION, "verdict": VERDICT}

KEYS = {
    "span": ("surface", "trace_id", "span_id"),
    "session": ("surface", "session_id"),
    "verdict": ("surface", "session_id", "mode", "evaluator_id", "evaluator_version", "repeat"),
}
"""The columns that identify a row of each table; what is there already by these is a duplicate."""
