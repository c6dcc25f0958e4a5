"""How far the verdicts of evaluators can be trusted: against people, on sessions kept for that."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.errors import EvaluatorError
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split, require_train
from evalbench.evaluate.status import judging_models, read_calibration
from evalbench.schema import EvaluatorCalibrated
from evalbench.settings import Evaluators
from evalbench.stats import Estimate
from evalbench.store.ledger import Draft

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

SESSION_KEY = ["surface", "session_id"]
KEY = ["surface", "evaluator_id", "evaluator_version", "mode"]
FEWEST = 30
"""Sessions read by two people under which the human ceiling is insufficient."""
MEASURES = ("mcc", "kappa", "tpr", "tnr", "precision", "f1", "balanced_accuracy")
TABLE_MEASURES = ("mcc", "kappa", "accuracy", "macro_precision", "macro_recall", "macro_f1")
MOST_CATEGORIES = 10
"""More values are a measurement, no scale of names."""
ALIGNMENT = pl.Schema(
    dict[str, Any](
        n=pl.Int64,
        n_groups=pl.Int64,
        **dict.fromkeys(("tp", "fn", "fp", "tn", "silent"), pl.Int64),
        **{name + end: pl.Float64 for name in MEASURES for end in ("", "_low", "_high")},
        level=pl.Float64,
        status=pl.String,
        why=pl.String,
    )
)
"""Alignment as reported; a measure that is not defined is null."""
CATEGORIES = pl.Schema(
    dict[str, Any](
        n=pl.Int64,
        silent=pl.Int64,
        **{name + end: pl.Float64 for name in TABLE_MEASURES for end in ("", "_low", "_high")},
        level=pl.Float64,
    )
)


def current_verdicts(
    verdicts: pl.DataFrame, specifications: Mapping[str, Specification]
) -> pl.DataFrame:
    """Keep what the latest version of each evaluator says by the model that judges now.

    The latest version is the one defined; of an evaluator made elsewhere, the one that judged last.
    Adds ``mode``: the one defined, else the last part of the evaluator's id.
    """
    defined = {name: each.version for name, each in specifications.items()}
    modes = {name: each.mode for name, each in specifications.items()}
    latest = pl.col("evaluator_version").sort_by("judged_at", "evaluator_version").last()
    last_part = pl.col("evaluator_id").str.split("/").list.last()
    models = [(*key, *model) for key, model in judging_models(verdicts.lazy()).items()]
    named = {"evaluator_id": pl.String, "evaluator_version": pl.String}
    judging = pl.DataFrame(
        models, schema={**named, "now": pl.String, "print_now": pl.String}, orient="row"
    )
    wanted = pl.col("evaluator_id").replace_strict(defined, default=latest.over("evaluator_id"))
    same = pl.col("model").eq_missing(pl.col("now")) & pl.col("model_fingerprint").eq_missing(
        pl.col("print_now")
    )
    return (
        verdicts.filter(pl.col("evaluator_version") == wanted)
        .join(judging, on=list(named), how="left")
        .filter(pl.col("error").is_not_null() | same)
        .drop("now", "print_now")
        .with_columns(mode=pl.col("evaluator_id").replace_strict(modes, default=last_part))
    )


def vote(judged: pl.DataFrame) -> pl.DataFrame:
    """Let people vote on each session: ``surface, session_id, mode, truth``, null in a tie.

    ``judged`` has ``surface, session_id, mode, annotator, value``, one row a person and session.
    """
    votes = judged.group_by(*SESSION_KEY, "mode", maintain_order=True).agg("value")
    said = [_plurality(values) for values in votes["value"]]
    return votes.drop("value").with_columns(truth=pl.Series(said, dtype=judged.schema["value"]))


def pair_verdicts(
    current: pl.DataFrame,
    truth: pl.DataFrame,
    sessions: pl.DataFrame,
    specifications: Mapping[str, Specification],
) -> pl.DataFrame:
    """Put the last verdict on each session beside what people say of it.

    Parameters
    ----------
    current : polars.DataFrame
        From :func:`current_verdicts`.
    truth : polars.DataFrame
        ``surface, session_id, mode, truth``, from :func:`vote`.
    sessions : polars.DataFrame
        Columns of a session; those it does not know are of no group and no segment.
    specifications : mapping
        By evaluator, those defined here.

    Returns
    -------
    polars.DataFrame
        Verdict columns with ``mode, truth, group, segments, answer_chars`` and ``split``: "train",
        "test", or "elsewhere" for an evaluator that was not made here and so saw none of them.

    Raises
    ------
    EvaluatorError
        An evaluator was shown a session of the test split.
    """
    facts = sessions.select(
        *SESSION_KEY,
        "group_key",
        "segments",
        answer_chars=pl.col("final_output").str.len_chars(),
    )
    pairs = (
        current.sort("judged_at", "repeat")
        .unique([*KEY, "session_id"], keep="last")
        .join(truth.drop_nulls("truth"), on=[*SESSION_KEY, "mode"], maintain_order="left")
        .join(facts, on=SESSION_KEY, how="left")
        .sort(*KEY, "session_id")
    )
    for name, specification in specifications.items():
        rows = sessions.filter(surface=specification.surface)
        _refuse_leak(name, specification, rows)
    sides = [
        assign_split(*row[1:]) if row[0] in specifications else "elsewhere"
        for row in pairs.select("evaluator_id", *SESSION_KEY, "group_key").iter_rows()
    ]
    return pairs.with_columns(
        split=pl.Series(sides, dtype=pl.String), group=pl.coalesce("group_key", "session_id")
    )


def measure_alignment(
    pairs: pl.DataFrame,
    *,
    by: Sequence[str],
    settings: Evaluators,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Measure how verdicts agree with people, in each part of the pairs.

    Intervals allow for sessions that share a group. A verdict that is null is a wrong answer.

    Parameters
    ----------
    pairs : polars.DataFrame
        From :func:`pair_verdicts`, the train split apart.
    by : sequence of str
        Columns that tell the parts apart.

    Returns
    -------
    polars.DataFrame
        ``by``, then :data:`ALIGNMENT`.
    """
    rows = []
    for key, part in pairs.group_by(by, maintain_order=True):
        n_groups = part["group"].n_unique()
        found = stats.alignment(
            part["truth"].cast(pl.Float64).to_numpy(),
            part["fails"].cast(pl.Float64).to_numpy(),
            groups=part["group"].to_numpy() if 1 < n_groups < part.height else None,
            level=level,
            rng=rng,
        )
        row = dict(zip(by, key, strict=True)) | {"n": part.height, "n_groups": n_groups}
        row |= found.counts._asdict() | {"silent": found.abstained, "level": level}
        for name in MEASURES:
            row |= _flat(name, getattr(found, name))
        rows.append(row | read_calibration(row, settings)._asdict())
    return pl.DataFrame(rows, schema={name: pairs.schema[name] for name in by} | ALIGNMENT)


def human_ceiling(
    judged: pl.DataFrame, pairs: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure people as evaluators are: each person against the vote of the others.

    Taken over the sessions that the evaluator is measured on and two people or more have read; an
    evaluator is hardly to be asked for more. Sessions of one group and the several people of one
    session are resampled together.

    Returns
    -------
    polars.DataFrame
        ``KEY``, then ``ceiling, ceiling_low, ceiling_high`` (MCC; null where insufficient) and
        ``ceiling_n``, the sessions.
    """
    others = _against_others(judged.drop_nulls("value"))
    columns = {f"ceiling{end}": pl.Float64 for end in ("", "_low", "_high")}
    rows = []
    for key, part in pairs.group_by(KEY, maintain_order=True):
        both = part.select(*SESSION_KEY, "mode", "group").join(
            others, on=[*SESSION_KEY, "mode"], maintain_order="left"
        )
        row = dict(zip(KEY, key, strict=True)) | {"ceiling_n": both["session_id"].n_unique()}
        if row["ceiling_n"] >= FEWEST:
            own, rest = (both[name].cast(pl.Float64).to_numpy() for name in ("value", "others"))
            groups = both["group"].to_numpy()
            found = stats.alignment(rest, own, groups=groups, level=level, rng=rng)
            row |= _flat("ceiling", found.mcc)
        rows.append(row)
    names = {name: pairs.schema[name] for name in KEY}
    return pl.DataFrame(rows, schema=names | columns | {"ceiling_n": pl.Int64})


def measure_categories(
    current: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    silent_as: str,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Measure verdicts of more than two categories, where people rated sessions by names.

    Parameters
    ----------
    current : polars.DataFrame
        From :func:`current_verdicts`; the ``score`` is the category's number.
    truth : polars.DataFrame
        From :func:`vote` on ratings. More than :data:`MOST_CATEGORIES` values give no row.
    silent_as : str
        The category that a silent verdict stands for; empty: it is wrong, whatever is right.

    Returns
    -------
    polars.DataFrame
        ``KEY``, then :data:`CATEGORIES`.
    """
    names = truth["truth"].drop_nulls().unique().sort().to_list()
    rows: list[dict[str, Any]] = []
    spoken = pl.col("score").map_elements(lambda score: f"{score:g}", return_dtype=pl.String)
    paired = current.drop("mode").join(truth.drop_nulls("truth"), on=SESSION_KEY)
    for key, part in paired.sort(*KEY, "session_id").group_by(KEY, maintain_order=True):
        said = part.select(said=spoken)["said"]
        categories = sorted({*names, *said.drop_nulls()})
        if not 2 <= len(categories) <= MOST_CATEGORIES:
            continue
        found = stats.table_alignment(
            part["truth"].to_numpy(),
            said.fill_null(silent_as).to_numpy() if silent_as else said.to_numpy(),
            categories=categories,
            level=level,
            rng=rng,
        )
        row = dict(zip(KEY, key, strict=True)) | {"n": part.height, "level": level}
        row["silent"] = said.null_count()
        for name in TABLE_MEASURES:
            row |= _flat(name, getattr(found, name))
        rows.append(row)
    return pl.DataFrame(rows, schema={**dict.fromkeys(KEY, pl.String), **CATEGORIES})


def as_failing(
    rated: pl.DataFrame, column: str, *, fails: Callable[[float], bool], tie: str = ""
) -> pl.DataFrame:
    """Read a column of ratings as true where they fail; null, and ``tie``, is null.

    Raises
    ------
    EvaluatorError
        A rating is no number.
    """
    try:
        said = [
            None if value is None or value == tie else fails(float(value))
            for value in rated[column]
        ]
    except ValueError as error:
        raise EvaluatorError(
            f"a rating that is no number cannot fail by a rule: {error}"
        ) from error
    return rated.with_columns(pl.Series(column, said, dtype=pl.Boolean))


def without_tie(current: pl.DataFrame, *, tie: str, silent_as: str) -> pl.DataFrame:
    """Leave out verdicts whose score is the tie, and silent ones where they stand for it."""
    said = pl.col("score").map_elements(lambda score: f"{score:g}", return_dtype=pl.String)
    return current.filter((said.fill_null(silent_as) != tie) | pl.lit(not tie))


def record_calibrations(
    ws: Workspace,
    found: pl.DataFrame,
    *,
    lake_versions: Mapping[str, int],
    ledger_seq: int,
) -> int:
    """Write ``evaluator.calibrated`` for each evaluator defined here; give how many were written.

    ``found`` is from :func:`measure_alignment` by :data:`KEY`. What the last calibration of an
    evaluator says already is not written again.
    """
    verdicts = ws.lake.verdicts(version=lake_versions.get("verdict"))
    models, drafts, ledger = judging_models(verdicts), [], ws.ledger
    for row in found.iter_rows(named=True):
        name, version = row["evaluator_id"], row["evaluator_version"]
        model = models.get((name, version))
        body = EvaluatorCalibrated(
            **{field: row[field] for field in ("tp", "fn", "fp", "tn", "level")},
            **{field: row[field] for field in ("mcc", "mcc_low", "mcc_high")},
            evaluator_id=name,
            version=version,
            model=model.name if model else None,
            model_fingerprint=model.fingerprint if model else None,
            lake_versions=dict(lake_versions),
            ledger_seq=ledger_seq,
        )
        drafts.append(("evaluator.calibrated", name, body))

    def choose(connection: Any) -> list[Draft]:
        known = ledger.events(["evaluator.defined", "evaluator.calibrated"], connection=connection)
        return [
            draft
            for draft in drafts
            if draft[1] in set(known.filter(kind="evaluator.defined")["subject"])
            and draft[2].model_dump_json()
            not in known.filter(kind="evaluator.calibrated", subject=draft[1])["body"].tail(1)
        ]

    before = ledger.head()
    return ledger.extend(choose) - before


def _against_others(judged: pl.DataFrame) -> pl.DataFrame:
    """Add ``others``, what the vote of the other people on the session is; ties are left out."""
    rows = []
    for key, part in judged.group_by(*SESSION_KEY, "mode", maintain_order=True):
        values = part["value"].to_list()
        for at, value in enumerate(values):
            if (others := _plurality(values[:at] + values[at + 1 :])) is not None:
                rows.append((*key, value, others))
    schema = {name: judged.schema[name] for name in (*SESSION_KEY, "mode", "value")}
    return pl.DataFrame(rows, schema=schema | {"others": judged.schema["value"]}, orient="row")


def _plurality(values: Sequence[Any]) -> Any:
    """Give the value said most often, None in a tie or where nothing is said."""
    top = Counter(values).most_common(2)
    return None if not top or (len(top) > 1 and top[0][1] == top[1][1]) else top[0][0]


def _refuse_leak(name: str, specification: Specification, sessions: pl.DataFrame) -> None:
    """Refuse an evaluator whose examples are sessions of the test split."""
    examples = specification.parameters.get("examples") or ()
    shown = [str(each["session_id"]) for each in examples if isinstance(each, dict)]  # type: ignore[union-attr]
    rows = sessions.filter(pl.col("session_id").is_in(shown))
    require_train(rows.iter_rows(named=True), use=f"few-shot example of {name}")


def _flat(name: str, estimate: Estimate) -> dict[str, float | None]:
    ends = {name: estimate.estimate, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {key: None if math.isnan(value) else value for key, value in ends.items()}
