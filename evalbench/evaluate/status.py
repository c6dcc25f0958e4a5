"""What an evaluator may be used for: a fold over definitions, calibrations and promotions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
from sqlalchemy import Connection

from evalbench.errors import EvaluatorError
from evalbench.schema import (
    TIME,
    EvaluatorArchived,
    EvaluatorCalibrated,
    EvaluatorDefined,
    EvaluatorPromoted,
)
from evalbench.settings import Evaluators
from evalbench.stats.binary import ENOUGH
from evalbench.store.ledger import Draft, Ledger

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

KINDS = ("evaluator.defined", "evaluator.calibrated", "evaluator.promoted", "evaluator.archived")
COUNTING = ("aligned", "gating")
"""The statuses whose evaluators enter a rate and coverage; "gating" alone enters a gate."""
SEVERITIES = {"safety": 9, "user impact": 3, "polish": 1}
"""How much a failure mode weighs in coverage by its severity."""
STATUS = pl.Schema(
    dict[str, Any](
        evaluator_id=pl.String,
        surface=pl.String,
        mode=pl.String,
        kind=pl.String,
        version=pl.String,
        owner=pl.String,
        status=pl.String,
        why=pl.String,
        ready=pl.Boolean,
        mcc=pl.Float64,
        mcc_low=pl.Float64,
        mcc_high=pl.Float64,
        n=pl.Int64,
        calibration=pl.Int64,
        calibrated_at=TIME,
    )
)
COVERAGE = pl.Schema(
    dict[str, Any](
        surface=pl.String,
        weight=pl.String,
        covered=pl.Float64,
        of=pl.Float64,
        share=pl.Float64,
        uncovered=pl.String,
    )
)


class Reading(NamedTuple):
    """What a calibration says: insufficient, not aligned, aligned or gating; and why."""

    status: str
    why: str


class Model(NamedTuple):
    """Which model gave a verdict: the name it gave itself, and its fingerprint."""

    name: str | None
    fingerprint: str | None


def read_calibration(counts: Mapping[str, Any], settings: Evaluators) -> Reading:
    """Read how one version agreed with people.

    Aligned takes an MCC of ``settings.aligned`` and a lower bound above ``settings.lower_bound``.
    An interval that holds both says nothing yet, nor do fewer than 10 sessions of a class.

    Parameters
    ----------
    counts : mapping
        ``tp, fn, fp, tn, mcc, mcc_low, mcc_high``, as :class:`evalbench.schema.EvaluatorCalibrated`
        has them.
    """
    failing, passing = counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]
    if min(failing, passing) < ENOUGH:
        return Reading(
            "insufficient", f"{failing} failing and {passing} passing; {ENOUGH} of each are needed"
        )
    mcc, low, high = counts["mcc"], counts["mcc_low"], counts["mcc_high"]
    if mcc is None or low is None:
        return Reading("insufficient", "it says the same of every session")
    if low <= settings.lower_bound and high >= settings.aligned:
        return Reading(
            "insufficient", f"MCC lies between {low:.2f} and {high:.2f}: too wide to say"
        )
    if mcc < settings.aligned:
        return Reading("not aligned", f"MCC {mcc:.2f} is under {settings.aligned:g}")
    if mcc < settings.gating:
        return Reading("aligned", f"MCC {mcc:.2f}, surely above {settings.lower_bound:g}")
    return Reading("gating", f"MCC {mcc:.2f}, at least {settings.gating:g}")


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

    A version counts once a person promoted it, for as long as its last calibration reads aligned,
    is not older than ``settings.days``, and is of the model that judges now.

    Parameters
    ----------
    verdicts : polars.LazyFrame
        Columns of a verdict: the model that judged last is the one that judges now.
    now : datetime
        The time at which the calibration's age is told.
    connection : Connection, optional
        That of a transaction of ``ledger.extend``.

    Returns
    -------
    polars.DataFrame
        Columns :data:`STATUS`, one row an evaluator. ``status`` is draft, insufficient, not
        aligned, aligned, gating, needs recalibration or archived; only :data:`COUNTING` count.
        ``ready`` says that a draft may be promoted.
    """
    defined: dict[str, EvaluatorDefined] = {}
    calibrated: dict[tuple[str, str], tuple[int, datetime, EvaluatorCalibrated]] = {}
    promoted: dict[str, set[str]] = {}
    archived: dict[str, str] = {}
    events = ledger.events(KINDS, until=until, connection=connection)
    for seq, at, kind, text in events.select("seq", "at", "kind", "body").iter_rows():
        if kind == "evaluator.defined":
            body = EvaluatorDefined.model_validate_json(text)
            defined[body.evaluator_id] = body
            archived.pop(body.evaluator_id, None)
        elif kind == "evaluator.calibrated":
            found = EvaluatorCalibrated.model_validate_json(text)
            calibrated[found.evaluator_id, found.version] = (seq, at, found)
        elif kind == "evaluator.promoted":
            said = EvaluatorPromoted.model_validate_json(text)
            promoted.setdefault(said.evaluator_id, set()).add(said.version)
        else:
            gone = EvaluatorArchived.model_validate_json(text)
            archived[gone.evaluator_id] = gone.reason or "archived"
    judging = judging_models(verdicts)
    rows = []
    for name, body in sorted(defined.items()):
        row = body.model_dump(include=set(STATUS)) | {"ready": False}
        versions = promoted.get(name, set())
        if held := calibrated.get((name, body.version)):
            seq, at, found = held
            row |= {"calibration": seq, "calibrated_at": at}
            row |= found.model_dump(include={"mcc", "mcc_low", "mcc_high"})
            row["n"] = found.tp + found.fn + found.fp + found.tn
            reading = read_calibration(found.model_dump(), settings)
            current = judging.get((name, body.version))
            if stale := _find_stale(found, current, age=now - at, settings=settings):
                reading = Reading("needs recalibration", stale)
            elif reading.status in COUNTING and body.version not in versions:
                row["ready"] = name not in archived
                reading = Reading("draft", f"{reading.why}: a person may promote it")
        elif versions:
            reading = Reading("needs recalibration", "what it does has changed since it counted")
        else:
            reading = Reading("draft", "not calibrated")
        if name in archived:
            reading = Reading("archived", archived[name])
        rows.append(row | reading._asdict())
    return pl.DataFrame(rows, schema=STATUS)


def promote(ws: Workspace, evaluator_id: str) -> int:
    """Let the latest version of an evaluator count: the workspace's user answers for it.

    Returns
    -------
    int
        The number of its ``evaluator.promoted`` event.

    Raises
    ------
    EvaluatorError
        No such evaluator, or it is not calibrated aligned, by the model that judges now.
    """

    def choose(connection: Connection) -> list[Draft]:
        statuses = read_statuses(
            ws.ledger,
            ws.lake.verdicts(),
            settings=ws.settings.evaluators,
            now=ws.ledger.clock(),
            connection=connection,
        )
        found = statuses.filter(evaluator_id=evaluator_id).to_dicts()
        if not found:
            known = ", ".join(statuses["evaluator_id"]) or "none yet"
            raise EvaluatorError(f"no evaluator {evaluator_id!r} is defined; there are {known}")
        [row] = found
        if row["status"] in COUNTING:
            raise EvaluatorError(f"{evaluator_id} counts already: it is {row['status']}")
        if not row["ready"]:
            raise EvaluatorError(
                f"{evaluator_id} cannot be promoted, it is {row['status']} ({row['why']}):"
                " calibrate it with 07_calibrate until it reads aligned"
            )
        body = EvaluatorPromoted(
            evaluator_id=evaluator_id, version=row["version"], calibration=row["calibration"]
        )
        return [("evaluator.promoted", evaluator_id, body)]

    return ws.ledger.extend(choose)


def judging_models(verdicts: pl.LazyFrame) -> dict[tuple[str, str], Model]:
    """Tell by which model each version of each evaluator judged last, errors apart."""
    last = (
        verdicts.filter(pl.col("error").is_null())
        .group_by("evaluator_id", "evaluator_version")
        .agg(
            pl.col("model", "model_fingerprint").sort_by("judged_at", "repeat", "session_id").last()
        )
        .collect()
    )
    return {(row[0], row[1]): Model(*row[2:]) for row in last.iter_rows()}


def measure_coverage(
    statuses: pl.DataFrame, modes: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """Measure the share of failure modes with an evaluator that counts.

    Parameters
    ----------
    statuses : polars.DataFrame
        From :func:`read_statuses`.
    modes : polars.DataFrame
        The modes tracked: ``surface, mode, name, severity``.
    rates : polars.DataFrame
        ``surface, mode, estimate``: how often each occurs; a mode without one has no weight by
        frequency and is named in the last row.

    Returns
    -------
    polars.DataFrame
        Columns :data:`COVERAGE`: three rows a surface, ``weight`` "modes", "severity" and
        "severity x frequency"; ``uncovered`` by weight, the heaviest first.
    """
    counting = statuses.filter(pl.col("status").is_in(COUNTING)).select("surface", "mode").unique()
    weighed = (
        modes.join(counting.with_columns(held=True), on=["surface", "mode"], how="left")
        .join(rates.select("surface", "mode", "estimate"), on=["surface", "mode"], how="left")
        .with_columns(
            pl.col("held").fill_null(False),
            severity=pl.col("severity").replace_strict(SEVERITIES, default=1).cast(pl.Float64),
        )
    )
    weights = {
        "modes": pl.lit(1.0),
        "severity": pl.col("severity"),
        "severity x frequency": pl.col("severity") * pl.col("estimate").fill_null(0),
    }
    parts = [pl.DataFrame(schema=COVERAGE)]
    for name, weight in weights.items():
        told = (
            weighed.with_columns(told=weight)
            .sort("told", "name", descending=[True, False])
            .group_by("surface", maintain_order=True)
            .agg(
                weight=pl.lit(name),
                covered=pl.col("told").filter("held").sum(),
                of=pl.col("told").sum(),
                uncovered=pl.col("name").filter(~pl.col("held")).str.join("; "),
            )
        )
        share = pl.when(pl.col("of") > 0).then(pl.col("covered") / pl.col("of"))
        parts.append(told.with_columns(share=share).select(*COVERAGE))
    return pl.concat(parts).sort("surface", maintain_order=True)


def list_uncovered(
    statuses: pl.DataFrame, modes: pl.DataFrame, rates: pl.DataFrame
) -> pl.DataFrame:
    """List the failure modes without an evaluator that counts, the heaviest first.

    Parameters
    ----------
    statuses, modes, rates
        As for :func:`measure_coverage`; ``rates`` with ``per_1000`` and its interval.

    Returns
    -------
    polars.DataFrame
        ``surface, mode, name, severity, said`` (the rate in words) and ``standing`` (the status of
        each of its evaluators).
    """
    key = ["surface", "mode"]
    counting = statuses.filter(pl.col("status").is_in(COUNTING))
    standing = statuses.group_by(key).agg(
        standing=pl.format("{}: {}", "kind", "status").sort().str.join("; ")
    )
    ends = [pl.col(name).round(1) for name in ("per_1000", "low_per_1000", "high_per_1000")]
    weight = pl.col("severity").replace_strict(SEVERITIES, default=1).cast(pl.Float64)
    return (
        modes.join(counting, on=key, how="anti")
        .join(standing, on=key, how="left")
        .join(
            rates.select(*key, "estimate", said=pl.format("{} ({} to {})", *ends)),
            on=key,
            how="left",
        )
        .with_columns(
            pl.col("said").fill_null("insufficient"), pl.col("standing").fill_null("none")
        )
        .sort(
            weight * pl.col("estimate").fill_null(0), weight, "name", descending=[True, True, False]
        )
        .select(*key, "name", "severity", "said", "standing")
    )


def counting_verdicts(verdicts: pl.LazyFrame, statuses: pl.DataFrame) -> pl.DataFrame:
    """Keep the verdicts that may enter a rate: of evaluators that count, by their latest version.

    The ``evaluator_id`` becomes "{evaluator_id}/{mode}", by whose end rates find the mode.
    """
    counting = statuses.filter(pl.col("status").is_in(COUNTING)).select(
        "evaluator_id", "mode", evaluator_version="version"
    )
    return (
        verdicts.join(counting.lazy(), on=["evaluator_id", "evaluator_version"])
        .with_columns(evaluator_id=pl.format("{}/{}", "evaluator_id", "mode"))
        .drop("mode")
        .collect()
    )


def _find_stale(
    found: EvaluatorCalibrated,
    current: Model | None,
    *,
    age: timedelta,
    settings: Evaluators,
) -> str:
    """Say why a calibration holds no longer; empty where it does."""
    if current is not None and current.name != found.model:
        return f"the model was {found.model or 'unnamed'} and is {current.name or 'unnamed'}"
    if current is not None and current.fingerprint != found.model_fingerprint:
        return "the model's fingerprint has changed since its calibration"
    if age > timedelta(days=settings.days):
        return f"calibrated {age.days} days ago; it holds for {settings.days}"
    return ""
