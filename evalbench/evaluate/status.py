"""What an evaluator may be used for: a fold over definitions, calibrations and promotions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection

from evalbench.errors import EvaluatorError
from evalbench.schema import BODIES, TIME, EvaluatorCalibrated, columns
from evalbench.settings import Evaluators
from evalbench.stats.binary import ENOUGH
from evalbench.store.ledger import Draft, Ledger
from evalbench.store.workspace import Workspace

KINDS = ("evaluator.defined", "evaluator.calibrated", "evaluator.promoted", "evaluator.archived")
# The statuses whose evaluators enter a rate and coverage; "gating" alone enters a gate.
COUNTING = ("aligned", "gating")
# How much a failure mode weighs in coverage by its severity.
SEVERITIES = {"safety": 9, "user impact": 3, "polish": 1}
STATUS = columns(
    (pl.String, "evaluator_id surface mode kind version owner status why"),
    (pl.Boolean, "ready"),
    (pl.Float64, "mcc mcc_low mcc_high"),
    (pl.Int64, "n calibration"),
    (TIME, "calibrated_at"),
)
COVERAGE = columns(
    (pl.String, "surface weight"), (pl.Float64, "covered of share"), (pl.String, "uncovered")
)
_COUNTS = pl.col("status").is_in(COUNTING)
_MODE = ["surface", "mode"]


class Reading(NamedTuple):
    """What a calibration says: insufficient, not aligned, aligned or gating; and why."""

    status: str
    why: str


class Model(NamedTuple):
    """Which model gave a verdict: the name it gave itself, and its fingerprint."""

    name: str | None
    fingerprint: str | None


def read_calibration(counts: Mapping[str, Any], settings: Evaluators) -> Reading:
    """Read how one version agreed with people: ``tp, fn, fp, tn, mcc, mcc_high, mcc_shown``.

    Aligned takes an MCC shown to be above ``settings.aligned`` (:func:`shown_level`); not aligned
    is one whose interval lies under it; between, or with fewer than 10 of a class, nothing is said.
    """
    failing, passing = counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]
    mcc, high, shown = counts["mcc"], counts["mcc_high"], counts.get("mcc_shown")
    shown = counts["mcc_low"] if shown is None else shown
    if min(failing, passing) < ENOUGH:
        why = f"{failing} failing and {passing} passing; {ENOUGH} of each are needed"
        status = "insufficient"
    elif mcc is None or shown is None:
        status, why = "insufficient", "it says the same of every session"
    elif shown > settings.gating:
        status, why = "gating", f"MCC {mcc:.2f}, shown to be above {settings.gating:g}"
    elif shown > settings.aligned:
        status, why = "aligned", f"MCC {mcc:.2f}, shown to be above {settings.aligned:g}"
    elif high < settings.aligned:
        status, why = "not aligned", f"MCC {mcc:.2f}, surely under {settings.aligned:g}"
    else:
        status, why = "insufficient", f"MCC {mcc:.2f}, shown to be above {shown:.2f} so far"
    return Reading(status, why)


def shown_level(level: float, *, before: int, beside: int) -> float:
    r"""Return the level of an interval whose lower end pays for all looks at evaluators of a mode.

    After ``before`` looks, each of ``beside`` evaluators measured together spends
    :math:`\alpha / ((b + 1)(b + m + 1))` of :math:`\alpha = 1 - \mathrm{level}`. That telescopes:
    in however many looks, at the best of however many candidates, an evaluator that is not above
    the bar is shown to be so with probability :math:`\alpha` at most. A first look at a single one
    spends half, as the lower end of the ordinary interval does.
    """
    return 1 - 2 * (1 - level) / ((before + 1) * (before + beside + 1))


def read_statuses(
    ledger: Ledger,
    verdicts: pl.LazyFrame,
    *,
    settings: Evaluators,
    now: datetime,
    until: int | None = None,
    connection: Connection | None = None,
) -> pl.DataFrame:
    """Fold the status of the latest version of every evaluator, as of event ``until``.

    A version counts once a person promoted it, while its last calibration reads aligned, is not
    older than ``settings.days`` at ``now``, and is of the model that judged last in ``verdicts``.
    Gives :data:`STATUS`: draft, insufficient, not aligned, aligned, gating, needs recalibration or
    archived; ``ready``: a draft may be promoted.
    """
    defined, archived = dict[str, Any](), dict[str, str]()
    calibrated, promoted = dict[tuple[str, str], Any](), set[tuple[str, str]]()
    events = ledger.events(KINDS, until=until, connection=connection)
    for seq, at, kind, text in events.select("seq", "at", "kind", "body").iter_rows():
        body: Any = BODIES[kind].model_validate_json(text)
        name = body.evaluator_id
        if kind == "evaluator.archived":
            archived[name] = body.reason or "archived"
        elif kind == "evaluator.calibrated":
            calibrated[name, body.version] = (seq, at, body)
        elif kind == "evaluator.promoted":
            promoted.add((name, body.version))
        else:
            defined[name] = body
            archived.pop(name, None)
    judging = judging_models(verdicts)
    rows = []
    for name, body in sorted(defined.items()):
        row, key = body.model_dump(include=set(STATUS)) | {"ready": False}, (name, body.version)
        if key in calibrated:
            seq, at, found = calibrated[key]
            cells = found.model_dump()
            row |= {each: cells[each] for each in ("mcc", "mcc_low", "mcc_high")}
            row |= {"calibration": seq, "calibrated_at": at}
            row["n"] = found.tp + found.fn + found.fp + found.tn
            reading = read_calibration(cells, settings)
            if stale := _find_stale(found, judging.get(key), age=now - at, days=settings.days):
                reading = Reading("needs recalibration", stale)
            elif reading.status in COUNTING and key not in promoted:
                row["ready"] = name not in archived
                reading = Reading("draft", f"{reading.why}: a person may promote it")
        elif any(name == evaluator_id for evaluator_id, _ in promoted):
            reading = Reading("needs recalibration", "what it does has changed since it counted")
        else:
            reading = Reading("draft", "not calibrated")
        if name in archived:
            reading = Reading("archived", archived[name])
        rows.append(row | reading._asdict())
    return pl.DataFrame(rows, schema=STATUS)


def promote(ws: Workspace, evaluator_id: str) -> int:
    """Let an evaluator count: the user answers for it. EvaluatorError unless it is aligned."""

    def choose(connection: Connection) -> list[Draft]:
        aged: Any = {"settings": ws.settings.evaluators, "now": ws.ledger.clock()}
        verdicts = ws.lake.verdicts()
        statuses = read_statuses(ws.ledger, verdicts, **aged, connection=connection)
        row = statuses.rows_by_key("evaluator_id", named=True, unique=True).get(evaluator_id)
        if row is None:
            known = ", ".join(statuses["evaluator_id"]) or "none yet"
            raise EvaluatorError(f"no evaluator {evaluator_id!r} is defined; there are {known}")
        if row["status"] in COUNTING:
            raise EvaluatorError(f"{evaluator_id} counts already: it is {row['status']}")
        if not row["ready"]:
            raise EvaluatorError(
                f"{evaluator_id} cannot be promoted, it is {row['status']} ({row['why']}):"
                " calibrate it with 07_calibrate until it reads aligned"
            )
        body = {name: row[name] for name in ("version", "calibration")}
        body["evaluator_id"] = evaluator_id
        return [("evaluator.promoted", evaluator_id, body)]

    return ws.ledger.extend(choose)


def judging_models(verdicts: pl.LazyFrame) -> dict[tuple[str, str], Model]:
    """Tell by which model each version of each evaluator judged last, errors apart."""
    model = pl.col("model", "model_fingerprint").sort_by("judged_at", "repeat", "session_id").last()
    judged = verdicts.filter(pl.col("error").is_null())
    last = judged.group_by("evaluator_id", "evaluator_version").agg(model).collect()
    return {(row[0], row[1]): Model(*row[2:]) for row in last.iter_rows()}


def measure_coverage(
    statuses: pl.DataFrame, modes: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """Measure the share of failure modes (``surface, mode, name, severity``) with one that counts.

    ``rates`` are ``surface, mode, estimate``; a mode without one has no weight by frequency. Gives
    :data:`COVERAGE`, three rows a surface; ``uncovered`` are the heaviest first.
    """
    weights = {
        "modes": pl.lit(1.0),
        "severity": pl.col("weight"),
        "severity x frequency": pl.col("weight") * pl.col("often"),
    }
    held = pl.col("held")
    return (
        _weigh(statuses, modes, rates)
        .select("surface", "name", "held", **weights)
        .unpivot(list(weights), index=["surface", "name", "held"], variable_name="weight")
        .sort("value", "name", descending=[True, False])
        .group_by("surface", "weight")
        .agg(
            covered=pl.col("value").filter(held).sum(),
            of=pl.col("value").sum(),
            uncovered=pl.col("name").filter(~held).str.join("; "),
        )
        .with_columns(share=pl.when(pl.col("of") > 0).then(pl.col("covered") / pl.col("of")))
        .select(*COVERAGE)
        .sort("surface", pl.col("weight").cast(pl.Enum(list(weights))))
    )


def severity_coverage(statuses: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Sum over surfaces which weight is ``covered, of`` which, by ``severity`` and for "all"."""
    rates, rows = modes.select(*_MODE, estimate=pl.lit(0.0)), list[Any]()
    for severity in ("all", *SEVERITIES):
        own = modes if severity == "all" else modes.filter(severity=severity)
        weighed = measure_coverage(statuses, own, rates).filter(weight="severity")
        rows.append((severity, weighed["covered"].sum(), weighed["of"].sum()))
    schema = columns((pl.String, "severity"), (pl.Float64, "covered of"))
    return pl.DataFrame(rows, schema=schema, orient="row")


def list_uncovered(
    statuses: pl.DataFrame, modes: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """List the failure modes without an evaluator that counts, the heaviest first."""
    each = pl.format("{}: {}", "kind", "status").sort().str.join("; ")
    often = ["per_1000", "low_per_1000", "high_per_1000"]
    heaviest = (pl.col("weight") * pl.col("often"), "weight", "name")
    return (
        _weigh(statuses, modes, rates)
        .filter(~pl.col("held"))
        .join(statuses.group_by(_MODE).agg(standing=each), on=_MODE, how="left")
        .join(rates.select(*_MODE, *often), on=_MODE, how="left")
        .with_columns(pl.col("standing").fill_null("none"))
        .sort(*heaviest, descending=[True, True, False])
        .select(*_MODE, "name", "severity", *often, "standing")
    )


def _weigh(statuses: pl.DataFrame, modes: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add to the modes whether each is ``held``, its ``weight`` by severity and how ``often``."""
    held = statuses.filter(_COUNTS).select(*_MODE, held=True).unique()
    weight = pl.col("severity").replace_strict(SEVERITIES, default=1, return_dtype=pl.Float64)
    return (
        modes.join(held, on=_MODE, how="left")
        .join(rates.select(*_MODE, often="estimate"), on=_MODE, how="left")
        .with_columns(pl.col("held").fill_null(False), pl.col("often").fill_null(0), weight=weight)
    )


def counting_verdicts(verdicts: pl.LazyFrame, statuses: pl.DataFrame) -> pl.DataFrame:
    """Keep verdicts that may enter a rate: of what counts, and of evaluators made elsewhere."""
    known, key = statuses.lazy(), ["evaluator_id", "evaluator_version"]
    counting = known.filter(_COUNTS).select("evaluator_id", evaluator_version="version")
    elsewhere = verdicts.join(known, on="evaluator_id", how="anti", maintain_order="left")
    return pl.concat([verdicts.join(counting, on=key), elsewhere]).collect()


def _find_stale(
    found: EvaluatorCalibrated, current: Model | None, *, age: timedelta, days: int
) -> str:
    """Say why a calibration holds no longer; empty where it does."""
    if current and current.name != found.model:
        return f"the model was {found.model or 'unnamed'} and is {current.name or 'unnamed'}"
    if current and current.fingerprint != found.model_fingerprint:
        return "the model's fingerprint has changed since its calibration"
    if age > timedelta(days=days):
        return f"calibrated {age.days} days ago; it holds for {days}"
    return ""
