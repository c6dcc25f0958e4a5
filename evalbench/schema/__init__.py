"""The contracts between stages: the columns of every frame and the body of every ledger event.

Times are UTC, identifiers are text as the source gave them, and a value nobody recorded is null.
"""

from evalbench.schema.columns import (
    KEYS as KEYS,
)
from evalbench.schema.columns import (
    SESSION as SESSION,
)
from evalbench.schema.columns import (
    SESSION_FACTS as SESSION_FACTS,
)
from evalbench.schema.columns import (
    SIGNALS as SIGNALS,
)
from evalbench.schema.columns import (
    SPAN as SPAN,
)
from evalbench.schema.columns import (
    SPAN_KINDS as SPAN_KINDS,
)
from evalbench.schema.columns import (
    TABLES as TABLES,
)
from evalbench.schema.columns import (
    TIME as TIME,
)
from evalbench.schema.columns import (
    VERDICT as VERDICT,
)
from evalbench.schema.columns import (
    columns as columns,
)
from evalbench.schema.events import (
    BODIES as BODIES,
)
from evalbench.schema.events import (
    Anchor as Anchor,
)
from evalbench.schema.events import (
    Body as Body,
)
from evalbench.schema.events import (
    CodebookProposed as CodebookProposed,
)
from evalbench.schema.events import (
    Design as Design,
)
from evalbench.schema.events import (
    DraftedMode as DraftedMode,
)
from evalbench.schema.events import (
    DrawnItem as DrawnItem,
)
from evalbench.schema.events import (
    Evaluator as Evaluator,
)
from evalbench.schema.events import (
    EvaluatorArchived as EvaluatorArchived,
)
from evalbench.schema.events import (
    EvaluatorCalibrated as EvaluatorCalibrated,
)
from evalbench.schema.events import (
    EvaluatorDefined as EvaluatorDefined,
)
from evalbench.schema.events import (
    EvaluatorKind as EvaluatorKind,
)
from evalbench.schema.events import (
    EvaluatorPromoted as EvaluatorPromoted,
)
from evalbench.schema.events import (
    FailureClass as FailureClass,
)
from evalbench.schema.events import (
    ItemReserved as ItemReserved,
)
from evalbench.schema.events import (
    ItemSkipped as ItemSkipped,
)
from evalbench.schema.events import (
    Judgement as Judgement,
)
from evalbench.schema.events import (
    Label as Label,
)
from evalbench.schema.events import (
    LabelAdjudicated as LabelAdjudicated,
)
from evalbench.schema.events import (
    LabelsImported as LabelsImported,
)
from evalbench.schema.events import (
    MemberConfirmed as MemberConfirmed,
)
from evalbench.schema.events import (
    ModeDefined as ModeDefined,
)
from evalbench.schema.events import (
    ModeMerged as ModeMerged,
)
from evalbench.schema.events import (
    ModePromoted as ModePromoted,
)
from evalbench.schema.events import (
    ModeRetired as ModeRetired,
)
from evalbench.schema.events import (
    ModeSplit as ModeSplit,
)
from evalbench.schema.events import (
    ModeUndone as ModeUndone,
)
from evalbench.schema.events import (
    Name as Name,
)
from evalbench.schema.events import (
    Note as Note,
)
from evalbench.schema.events import (
    QueueDrawn as QueueDrawn,
)
from evalbench.schema.events import (
    Rating as Rating,
)
from evalbench.schema.events import (
    ReleaseShipped as ReleaseShipped,
)
from evalbench.schema.events import (
    ReportPublished as ReportPublished,
)
from evalbench.schema.events import (
    Severity as Severity,
)
