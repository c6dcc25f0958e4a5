"""How far the verdicts of evaluators can be trusted: against people, on sessions kept for that."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.errors import EvaluatorError
from evalbench.evaluate.doubt import allow_for_people
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split, require_train
from evalbench.evaluate.status import Model, judging_models, read_calibration, shown_level
from evalbench.evaluate.weights import KEY, SESSION_KEY, describe_sample, weigh_pairs
from evalbench.schema import EvaluatorCalibrated, columns
from evalbench.settings import Evaluators
from evalbench.stats import Estimate
from evalbench.store.ledger import Draft, Ledger
from evalbench.store.workspace import Workspace

FEWEST = 30  # sessions read by two people under which the human ceiling is insufficient
MEASURES = ("mcc", "kappa", "tpr", "tnr", "precision", "f1", "balanced_accuracy")
TABLE_MEASURES = ("mcc", "kappa", "accuracy", "macro_precision", "macro_recall", "macro_f1")
MOST_CATEGORIES = 10  # more values are a measurement, no scale of names
_SPOKEN = pl.col("score").map_elements(lambda score: f"{score:g}", return_dtype=pl.String)
ENDS = ("", "_low", "_high")
# Alignment as reported; a measure that is not defined is null. ``sample``: what it rests on.
ALIGNMENT = columns(
    (pl.Int64, "n n_groups tp fn fp tn silent undecided"),
    (pl.Float64, " ".join(name + end for name in MEASURES for end in ENDS)),
    (pl.Float64, "mcc_shown level"),
    (pl.String, "status why sample"),
)
CELLS = ["tp", "fn", "fp", "tn"]
_RIGHT, _FAILS = pl.col("fails").eq_missing(pl.col("truth")), pl.col("truth")
# How many pairs of known truth are in each cell; a silent verdict is wrong.
COUNTED = {
    name: cell.sum().cast(pl.Int64)
    for name, cell in zip(
        CELLS,
        (_FAILS & _RIGHT, _FAILS & ~_RIGHT, ~_FAILS & ~_RIGHT, ~_FAILS & _RIGHT),
        strict=True,
    )
}
CATEGORIES = columns(
    (pl.Int64, "n silent"),
    (pl.Float64, " ".join(name + end for name in TABLE_MEASURES for end in ENDS)),
    (pl.Float64, "level"),
)


def current_verdicts(
    verdicts: pl.DataFrame, specifications: Mapping[str, Specification]
) -> pl.DataFrame:
    """Keep what the latest version of each evaluator says by the model that judges now.

    The latest version is the one defined; of an evaluator made elsewhere, the one that judged last.
    """
    version = {name: each.version for name, each in specifications.items()}
    latest = pl.col("evaluator_version").sort_by("judged_at", "evaluator_version").last()
    wanted = pl.col("evaluator_id").replace_strict(version, default=latest.over("evaluator_id"))
    key, model = ["evaluator_id", "evaluator_version"], ["model", "model_fingerprint"]
    models = [(*who, *now) for who, now in judging_models(verdicts.lazy()).items()]
    judging = pl.DataFrame(models, schema=dict.fromkeys(key + model, pl.String), orient="row")
    known = judging.with_columns(now=True)
    latest_only = verdicts.filter(pl.col("evaluator_version") == wanted)
    joined = latest_only.join(known, on=key + model, how="left", nulls_equal=True)
    return joined.filter(pl.col("error").is_not_null() | pl.col("now")).drop("now")


def on_criterion(verdicts: pl.DataFrame, criterion: str) -> pl.DataFrame:
    """Take verdicts on a criterion, or on the session as a whole, as verdicts on the criterion."""
    spoken = verdicts.filter(pl.col("mode").is_in(["", criterion]))
    return spoken.with_columns(mode=pl.lit(criterion))


def count_silent(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Count what silent verdicts said instead, the most frequent first: ``KEY, said, n``."""
    said = pl.coalesce("error", pl.lit("nothing to judge")).str.slice(0, 80)
    silent = verdicts.filter(pl.col("fails").is_null()).group_by(*KEY, said=said)
    return silent.agg(n=pl.len().cast(pl.Int64)).sort(*KEY, -pl.col("n"), "said")


def vote(judged: pl.DataFrame) -> pl.DataFrame:
    """Let people vote on each session: ``surface, session_id, mode, truth``, null in a tie."""
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

    ``truth`` is :func:`vote`'s, with what is undecided; ``sessions`` are the snapshot's ``frame``
    of a surface, without a ``stratum`` where no draw is known. Gives verdict columns with ``mode,
    truth, group, segments, answer_chars, split`` ("elsewhere" where an evaluator was not made here
    and saw none) and what ``weigh_pairs`` adds. EvaluatorError where one was shown a session of the
    test split.
    """
    if "stratum" not in sessions.columns:
        in_no_draw = {"stratum": pl.lit(None, pl.String), "drawn": pl.lit(False)}
        sessions = sessions.with_columns(**in_no_draw)
    length = pl.col("final_output").str.len_chars()
    drawn = ("stratum", "drawn")
    facts = sessions.select(*SESSION_KEY, "group_key", "segments", *drawn, answer_chars=length)
    last = current.sort("judged_at", "repeat").unique([*KEY, "session_id"], keep="last")
    pairs = (
        last.join(truth, on=[*SESSION_KEY, "mode"], maintain_order="left")
        .join(facts, on=SESSION_KEY, how="left")
        .sort(*KEY, "session_id")
    )
    for name, specification in specifications.items():
        _refuse_leak(name, specification, sessions)
    sides = [
        assign_split(*row[1:]) if row[0] in specifications else "elsewhere"
        for row in pairs.select("evaluator_id", *SESSION_KEY, "group_key").iter_rows()
    ]
    split = pl.Series(sides, dtype=pl.String)
    grouped = pairs.with_columns(split=split, group=pl.coalesce("group_key", "session_id"))
    return weigh_pairs(grouped, last, sessions)


def read_looks(ledger: Ledger, *, until: int | None = None) -> pl.DataFrame:
    """List what each recorded calibration found of its mode: ``KEY, tp, fn, fp, tn``, in order."""
    found = ledger.bodies("evaluator.calibrated", until=until).unique(
        ["evaluator_id", "version", *CELLS], keep="last", maintain_order=True
    )
    modes = ledger.bodies("evaluator.defined", until=until).select(
        "evaluator_id", "surface", "mode"
    )
    last = modes.unique("evaluator_id", keep="last")
    tried = found.join(last, on="evaluator_id", maintain_order="left")
    return tried.rename({"version": "evaluator_version"}).select(*KEY, *CELLS)


def measure_alignment(
    pairs: pl.DataFrame,
    *,
    by: Sequence[str],
    settings: Evaluators,
    level: float,
    rng: np.random.Generator,
    tried: pl.DataFrame | None = None,
    beside: int = 1,
) -> pl.DataFrame:
    """Measure how verdicts agree with people, in each part of the pairs of :func:`pair_verdicts`.

    Every pair counts for the sessions that it stands for; intervals allow for shared groups; a
    verdict that is null is wrong, but no flag. ``mcc_shown`` pays for the looks ``tried``
    (:func:`read_looks`) at the mode, and for ``beside`` evaluators that it is chosen from. Gives
    ``by``, then :data:`ALIGNMENT`.
    """
    before, together = _count_looks(pairs, tried) if tried is not None else ({}, {})

    def measure(part: pl.DataFrame) -> dict[str, Any]:
        part = part.sort(pl.col("truth").is_null(), maintain_order=True)
        known = part.drop_nulls("truth")
        row: dict[str, Any] = {"n": known.height, "n_groups": known["group"].n_unique()}
        row |= {"level": level, "undecided": part.height - known.height}
        row["sample"] = part["sample"][0] if "sample" in part.columns else ""
        if known.is_empty():
            return row | {"status": "insufficient", "why": "people decided on no session"}
        about = describe_sample(known)
        truth = known["truth"].cast(pl.Float64).to_numpy()
        found = stats.alignment(truth, **about, level=level, rng=rng)
        row |= {"silent": found.abstained, **found.counts._asdict()}
        row |= flatten({name: getattr(found, name) for name in MEASURES})
        of = (part["surface"][0], part["mode"][0]) if tried is not None else None
        at = shown_level(level, before=before.get(of, 0), beside=max(beside, together.get(of, 1)))
        same = math.isclose(at, level)
        shown = found.mcc if same else stats.mcc(truth, **about, level=at, rng=rng)
        row["mcc_shown"] = flatten({"mcc": shown})["mcc_low"]
        if (unread := part["unread"][0] if "unread" in part.columns else 0) > stats.UNREAD:
            row["mcc_shown"] = -1.0
            row["sample"] += f"; {unread:.0%} of the sessions are of kinds that nobody labelled"
        if tried is not None:
            doubt = allow_for_people(part, level=at, rng=rng)
            row["sample"] += f"; {doubt.said}" * bool(doubt.said)
            if doubt.low is not None and row["mcc_shown"] is not None:
                row["mcc_shown"] = min(row["mcc_shown"], doubt.low)
        return row | read_calibration(row, settings)._asdict()

    return measure_parts(pairs, by, ALIGNMENT, measure)


def _count_looks(pairs: pl.DataFrame, tried: pl.DataFrame) -> tuple[dict[Any, int], dict[Any, int]]:
    """Count, by surface and mode, the other calibrations tried and the evaluators measured now."""
    now = pairs.drop_nulls("truth").group_by(KEY).agg(**COUNTED)
    earlier = tried.join(now, on=[*KEY, *CELLS], how="anti")
    counts = (each.group_by("surface", "mode").len().iter_rows() for each in (earlier, now))
    before, together = ({(row[0], row[1]): row[2] for row in rows} for rows in counts)
    return before, together


def human_ceiling(
    judged: pl.DataFrame, pairs: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure people against each other as evaluators are: every two who read a session.

    Over all sessions that the evaluator judged and two people read, disputed ones with them. Gives
    ``KEY``, ``ceiling`` (MCC), ``beside_people`` (the evaluator against single people on the same),
    their ends, null where insufficient, and ``ceiling_n``, the sessions.
    """
    item = [*SESSION_KEY, "mode"]
    said = judged.drop_nulls("value").select(*item, "annotator", "value")
    two = said.join(said, on=item, suffix="_other", maintain_order="left")
    two = two.filter(pl.col("annotator") != pl.col("annotator_other"))

    def measure(part: pl.DataFrame) -> dict[str, Any]:
        both = part.join(two, on=item, maintain_order="left")
        row = {"ceiling_n": both["session_id"].n_unique()}
        if row["ceiling_n"] < FEWEST:
            return row
        truth = both["value_other"].cast(pl.Float64).to_numpy()
        people = both.with_columns(fails="value", by_verdict=False)
        about = {"ceiling": people, "beside_people": both.with_columns(by_verdict=False)}
        how: dict[str, Any] = {"level": level, "rng": rng}
        found = {
            name: stats.mcc(truth, **describe_sample(each), **how) for name, each in about.items()
        }
        return row | flatten(found)

    names = " ".join(name + end for name in ("ceiling", "beside_people") for end in ENDS)
    schema = columns((pl.Float64, names), (pl.Int64, "ceiling_n"))
    return measure_parts(pairs, KEY, schema, measure)


def measure_categories(
    current: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    silent_as: str,
    level: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Measure verdicts of more than two categories, where people rated sessions by names.

    A verdict's ``score`` is the category's number; a silent one stands for ``silent_as``, if empty
    it is wrong. Gives ``KEY``, then :data:`CATEGORIES`, for up to :data:`MOST_CATEGORIES` values.
    """
    names = truth["truth"].drop_nulls().unique()
    paired = current.drop("mode").join(truth.drop_nulls("truth"), on=SESSION_KEY)
    spoken = paired.with_columns(said=_SPOKEN).sort(*KEY, "session_id")

    def measure(part: pl.DataFrame) -> dict[str, Any] | None:
        categories = sorted({*names, *part["said"].drop_nulls()})
        if not 2 <= len(categories) <= MOST_CATEGORIES:
            return None
        said = part["said"].fill_null(silent_as) if silent_as else part["said"]
        found = stats.table_alignment(
            part["truth"].to_numpy(), said.to_numpy(), categories=categories, level=level, rng=rng
        )
        row = {"n": part.height, "level": level, "silent": part["said"].null_count()}
        return row | flatten({name: getattr(found, name) for name in TABLE_MEASURES})

    return measure_parts(spoken, KEY, CATEGORIES, measure)


def as_failing(
    rated: pl.DataFrame, column: str, *, fails: Callable[[float], bool], tie: str = ""
) -> pl.DataFrame:
    """Read ratings as true where they fail, null in a ``tie``; EvaluatorError if no number."""
    try:
        said = [None if value in (None, tie) else fails(float(value)) for value in rated[column]]
    except ValueError as error:
        raise EvaluatorError(f"a rating that is no number fails by no rule: {error}") from error
    return rated.with_columns(pl.Series(column, said, dtype=pl.Boolean))


def compare_ratings(
    rated: pl.DataFrame, *, fails: Callable[[float], bool], tie: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return ratings on a scale as judgements, and the vote on them as truth."""
    truth = as_failing(vote(rated), "truth", fails=fails, tie=tie)
    return as_failing(rated, "value", fails=fails, tie=tie), truth


def without_tie(current: pl.DataFrame, *, tie: str, silent_as: str) -> pl.DataFrame:
    """Leave out verdicts whose score is the tie, and silent ones where they stand for it."""
    return current.filter(_SPOKEN.fill_null(silent_as) != tie) if tie else current


def record_calibrations(
    ws: Workspace, found: pl.DataFrame, *, lake_versions: Mapping[str, int], ledger_seq: int
) -> int:
    """Write ``evaluator.calibrated`` where it says something new; give how many were written."""
    models = judging_models(ws.lake.verdicts(version=lake_versions.get("verdict")))
    drafts, ledger = dict[str, EvaluatorCalibrated](), ws.ledger
    for row in found.iter_rows(named=True):
        name, version = row["evaluator_id"], row["evaluator_version"]
        model = models.get((name, version), Model(None, None))
        known: dict[str, Any] = {**row, "version": version, "model": model.name}
        known |= {"model_fingerprint": model.fingerprint, "lake_versions": dict(lake_versions)}
        known["ledger_seq"] = ledger_seq
        fields = {each: known.get(each) for each in EvaluatorCalibrated.model_fields}
        drafts[name] = EvaluatorCalibrated.model_validate(fields)

    def choose(connection: Any) -> list[Draft]:
        known = ledger.events(["evaluator.defined", "evaluator.calibrated"], connection=connection)
        defined = set(known.filter(kind="evaluator.defined")["subject"])
        rows = known.filter(kind="evaluator.calibrated")["subject", "body"].iter_rows()
        last = {name: EvaluatorCalibrated.model_validate_json(text) for name, text in rows}
        return [
            ("evaluator.calibrated", name, body)
            for name, body in drafts.items()
            # Its own event moves the ledger on, and nothing else of what it says.
            if name in defined
            and (
                name not in last
                or body.model_copy(update={"ledger_seq": last[name].ledger_seq}) != last[name]
            )
        ]

    before = ledger.head()
    return ledger.extend(choose) - before


def measure_parts(
    frame: pl.DataFrame,
    by: Sequence[str],
    schema: pl.Schema,
    measure: Callable[[pl.DataFrame], dict[str, Any] | None],
) -> pl.DataFrame:
    """Measure each part of a frame that the columns ``by`` tell apart; None leaves it out."""
    parts = frame.group_by(by, maintain_order=True) if by else [((), frame)]
    found = [(dict(zip(by, key, strict=True)), measure(part)) for key, part in parts]
    rows = [named | row for named, row in found if row is not None]
    return pl.DataFrame(rows, schema={name: frame.schema[name] for name in by} | schema)


def _plurality(values: Sequence[Any]) -> Any:
    """Give the value said most often, None in a tie or where nothing is said."""
    top = Counter(values).most_common(2)
    return None if not top or (len(top) > 1 and top[0][1] == top[1][1]) else top[0][0]


def _refuse_leak(name: str, specification: Specification, sessions: pl.DataFrame) -> None:
    """Refuse an evaluator whose examples are sessions of the test split."""
    examples = specification.parameters.get("examples") or ()
    shown = [str(each["session_id"]) for each in examples if isinstance(each, dict)]  # type: ignore[union-attr]
    rows = sessions.filter(pl.col("session_id").is_in(shown), surface=specification.surface)
    require_train(rows.iter_rows(named=True), use=f"few-shot example of {name}")


def flatten(estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    """Give each Estimate and the ends of its interval, null where they are not defined."""
    ends: dict[str, float] = {}
    for name, one in estimates.items():
        ends |= {name: one.estimate, f"{name}_low": one.low, f"{name}_high": one.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()}
