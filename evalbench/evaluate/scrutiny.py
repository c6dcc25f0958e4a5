"""Where an evaluator errs: segments, biases, its own noise, flips, thresholds, labels that help."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import fisher_exact

from evalbench import stats
from evalbench.evaluate.calibrate import KEY, SESSION_KEY, measure_alignment
from evalbench.evaluate.split import with_split
from evalbench.settings import Evaluators
from evalbench.stats.binary import MEASURES

THRESHOLDS = 40
"""Of a sweep, at most; they lie at quantiles of the scores."""


def list_traits(pairs: pl.DataFrame, spans: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """List what might sway an evaluator, a row a pair and trait.

    The traits are every segment; the length of the answer; whether the product's model is of the
    evaluator's own family; and where in the trace the failure shows that people anchored.

    Parameters
    ----------
    pairs : polars.DataFrame
        From :func:`evalbench.evaluate.calibrate.pair_verdicts`.
    spans : polars.DataFrame
        ``surface, session_id, span_id, started_at, kind, model`` of their sessions.
    labels : polars.DataFrame
        ``label.set`` events as ``ledger.bodies`` gives them.

    Returns
    -------
    polars.DataFrame
        Of ``pairs``: ``KEY, session_id, truth, fails, group``; then ``trait`` and ``value``.
    """
    order = pl.col("started_at").rank("ordinal").over(SESSION_KEY) / pl.len().over(SESSION_KEY)
    placed = spans.select(*SESSION_KEY, "span_id", place=order)
    anchored = (
        labels.select(*SESSION_KEY, "anchors")
        .explode("anchors")
        .drop_nulls("anchors")
        .select(*SESSION_KEY, span_id=pl.col("anchors").struct.field("span_id"))
        .join(placed, on=[*SESSION_KEY, "span_id"])
        .group_by(SESSION_KEY)
        .agg(pl.col("place").min())
    )
    products = (
        spans.filter(pl.col("kind") == "llm")
        .drop_nulls("model")
        .group_by(SESSION_KEY)
        .agg(product=pl.col("model").sort().mode().first())
    )
    known = pairs.join(anchored, on=SESSION_KEY, how="left", maintain_order="left").join(
        products, on=SESSION_KEY, how="left", maintain_order="left"
    )
    own, product = (
        pl.col(name).map_elements(_family, return_dtype=pl.String) for name in ("model", "product")
    )
    median = pl.col("answer_chars").median().over(KEY)
    known = known.with_columns(
        pl.when(pl.col("answer_chars") > median)
        .then(pl.lit("longer half"))
        .when(pl.col("answer_chars").is_not_null())
        .then(pl.lit("shorter half"))
        .alias("length of the answer"),
        pl.when(own == product)
        .then(pl.lit("the evaluator's own"))
        .when(own != product)
        .then(pl.lit("another"))
        .alias("family of the model"),
        pl.when(pl.col("place") > 0.5)
        .then(pl.lit("second half"))
        .when(pl.col("place").is_not_null())
        .then(pl.lit("first half"))
        .alias("place of the failure"),
    )
    held = [json.loads(text or "{}") for text in known["segments"]]
    names = sorted({name for each in held for name in each})
    segments = [
        pl.Series(f"segment {name}", [each.get(name) for each in held], dtype=pl.String)
        for name in names
    ]
    traits = ["length of the answer", "family of the model", "place of the failure"]
    return (
        known.with_columns(segments)
        .unpivot(
            [*traits, *(f"segment {name}" for name in names)],
            index=[*KEY, "session_id", "truth", "fails", "group"],
            variable_name="trait",
        )
        .drop_nulls("value")
    )


def compare_traits(
    traits: pl.DataFrame, *, settings: Evaluators, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure alignment for each value of each trait, and tell where an evaluator errs otherwise.

    A value is compared with the rest of its trait: Fisher's exact test on the errors among failing
    and among passing sessions, the smaller p doubled, then Benjamini-Hochberg over all values of
    all traits of an evaluator. It takes sessions to be independent. Where it "errs otherwise", one
    calibration does not fit all: measure and correct by segment.

    Returns
    -------
    polars.DataFrame
        ``KEY, trait, value``, then alignment as ``measure_alignment`` gives it, ``p_value`` and
        ``reading``; a trait with one value alone has no row.
    """
    varied = traits.filter(pl.col("value").n_unique().over(*KEY, "trait") > 1)
    found = measure_alignment(
        varied, by=[*KEY, "trait", "value"], settings=settings, level=level, rng=rng
    )
    cells = ["tp", "fn", "fp", "tn"]
    rest = found.select(pl.col(cells).sum().over(*KEY, "trait") - pl.col(cells))
    p_values = [
        min(1.0, 2 * min(_exact(own[:2], other[:2]), _exact(own[2:], other[2:])))
        for own, other in zip(found[cells].iter_rows(), rest.iter_rows(), strict=True)
    ]
    tested = found.with_columns(p_value=pl.Series(p_values, dtype=pl.Float64))
    adjusted = pl.col("p_value").map_batches(
        lambda p: pl.Series(stats.benjamini_hochberg(p.to_numpy())), return_dtype=pl.Float64
    )
    differs = pl.when(adjusted.over(KEY) < 1 - level).then(pl.lit("errs otherwise"))
    return tested.with_columns(reading=differs.otherwise(pl.lit("no difference shown"))).sort(
        *KEY, "trait", "value"
    )


def measure_noise(current: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Measure how far an evaluator agrees with itself on sessions it judged more than once.

    Returns
    -------
    polars.DataFrame
        ``KEY, n_sessions, n_verdicts, same, same_low, same_high``: the share of two verdicts on
        one session that are equal.
    """
    said = current.drop_nulls("fails").filter(pl.len().over(*KEY, "session_id") > 1)
    rows = []
    for key, part in said.sort(*KEY, "session_id", "repeat").group_by(KEY, maintain_order=True):
        n_sessions = part["session_id"].n_unique()
        row = (*key, n_sessions, part.height)
        if part["fails"].n_unique() == 1:
            always = stats.proportion(np.ones(n_sessions), level=level, rng=rng)
            rows.append((*row, always.estimate, always.low, always.high))
            continue
        items, repeats = part["session_id"].to_numpy(), part["repeat"].to_numpy()
        values = part["fails"].cast(pl.Int64).to_numpy()
        same = stats.agreement(items, repeats, values, level=level, rng=rng).percent
        rows.append((*row, same.estimate, same.low, same.high))
    schema: dict[str, Any] = dict.fromkeys(KEY, pl.String)
    schema |= dict.fromkeys(("n_sessions", "n_verdicts"), pl.Int64)
    schema |= dict.fromkeys(("same", "same_low", "same_high"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def list_flips(verdicts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """List the sessions that an evaluator judges otherwise than its version before, one by one.

    Returns
    -------
    polars.DataFrame
        ``KEY, session_id, version_before, before, after, truth, turned`` ("right" or "wrong"),
        ``rationale``.
    """
    same = ["surface", "evaluator_id", "session_id"]
    versions = (
        verdicts.group_by("evaluator_id", version_before="evaluator_version")
        .agg(judged=pl.col("judged_at").max())
        .join(pairs.select("evaluator_id", "evaluator_version").unique(), on="evaluator_id")
        .filter(pl.col("version_before") != pl.col("evaluator_version"))
        .sort("judged", "version_before")
        .unique("evaluator_id", keep="last")
        .select("evaluator_id", "version_before")
    )
    before = (
        verdicts.join(
            versions,
            left_on=["evaluator_id", "evaluator_version"],
            right_on=["evaluator_id", "version_before"],
        )
        .sort("judged_at", "repeat")
        .unique(same, keep="last")
        .select(*same, before="fails", version_before="evaluator_version")
    )
    turned = pl.when(pl.col("fails") == pl.col("truth")).then(pl.lit("right"))
    return (
        pairs.join(before, on=same)
        .filter(pl.col("before").ne_missing(pl.col("fails")))
        .with_columns(turned=turned.otherwise(pl.lit("wrong")), after="fails")
        .select(
            *KEY, "session_id", "version_before", "before", "after", "truth", "turned", "rationale"
        )
        .sort(*KEY, "turned", "session_id", descending=[False] * 4 + [True, False])
    )


def sweep_thresholds(pairs: pl.DataFrame) -> pl.DataFrame:
    """Measure what each threshold on the score would give, on the sessions of ``pairs``.

    Choose on the train split: the best threshold of a test split flatters itself. Which end of the
    score fails is told by the evaluator's own verdicts.

    Returns
    -------
    polars.DataFrame
        ``KEY, threshold, flagged`` (share), ``mcc, tpr, tnr``; null where not defined.
    """
    parts = [
        pl.DataFrame(
            schema=dict.fromkeys(KEY, pl.String)
            | dict.fromkeys(("threshold", "flagged", "mcc", "tpr", "tnr"), pl.Float64)
        )
    ]
    scored = pairs.filter(pl.col("score").is_not_null() & pl.col("fails").is_not_null())
    for key, part in scored.group_by(KEY, maintain_order=True):
        means = dict(part.group_by("fails").agg(pl.col("score").mean()).iter_rows())
        values = part["score"].unique().to_numpy()
        if len(values) < 3 or len(means) < 2:
            continue
        levels = np.unique(np.quantile(values, np.linspace(0, 1, THRESHOLDS + 1)))
        thresholds = np.array([(low + high) / 2 for low, high in pairwise(levels)])
        score, truth = part["score"].to_numpy(), part["truth"].to_numpy()
        above = score >= thresholds[:, None]
        flagged = above if means[True] > means[False] else ~above
        cells = np.stack(
            [
                (flagged & truth).sum(axis=1),
                (~flagged & truth).sum(axis=1),
                (flagged & ~truth).sum(axis=1),
                (~flagged & ~truth).sum(axis=1),
            ],
            axis=-1,
        ).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {name: MEASURES[name](cells) for name in ("mcc", "tpr", "tnr")}
        frame = pl.DataFrame(
            {"threshold": thresholds, "flagged": flagged.mean(axis=1), **found}
        ).fill_nan(None)
        parts.append(
            frame.select(*(pl.lit(v).alias(k) for k, v in zip(KEY, key, strict=True)), "*")
        )
    return pl.concat(parts)


def plan_labels(
    found: pl.DataFrame,
    current: pl.DataFrame,
    sessions: pl.DataFrame,
    labelled: pl.DataFrame,
    *,
    most: int,
) -> pl.DataFrame:
    """Choose the sessions whose labels would settle an evaluator that is insufficient, best first.

    They are of the test split, unlabelled, and divided over what the evaluator said of them by
    :func:`evalbench.stats.labels_next`: where failures are rare most are sessions that it fails.

    Parameters
    ----------
    found : polars.DataFrame
        From :func:`evalbench.evaluate.calibrate.measure_alignment`.
    current, sessions : polars.DataFrame
        Verdicts of now and the sessions they are of.
    labelled : polars.DataFrame
        ``surface, session_id, mode`` and ``truth`` of what people decided.
    most : int
        Labels that might be asked for.

    Returns
    -------
    polars.DataFrame
        ``KEY, session_id, fails, place``.
    """
    schema = dict.fromkeys((*KEY, "session_id"), pl.String)
    parts = [pl.DataFrame(schema={**schema, "fails": pl.Boolean, "place": pl.Int64})]
    test = with_split(sessions.select(*SESSION_KEY, "group_key")).filter(split="test")
    open_ones = found.filter(status="insufficient").select(KEY)
    judged = (
        current.sort("judged_at", "repeat")
        .unique([*KEY, "session_id"], keep="last")
        .drop_nulls("fails")
        .join(test, on=SESSION_KEY)
        .join(open_ones, on=KEY, how="semi")
        .join(labelled.select(*SESSION_KEY, "mode", "truth"), on=[*SESSION_KEY, "mode"], how="left")
    )
    for _, part in judged.sort(*KEY, "session_id").group_by(KEY, maintain_order=True):
        cells = part.with_columns(stratum=pl.col("fails").cast(pl.String))
        known = cells.drop_nulls("truth").select("stratum", fails="truth")
        waiting = cells.filter(pl.col("truth").is_null())
        if waiting.is_empty() or known.is_empty():
            continue
        population = cells.group_by("stratum").len("n").sort("stratum")
        plan = stats.labels_next(known.to_dict(), population.to_dict(), n=min(most, waiting.height))
        wanted = dict(zip(plan.stratum, plan.n.tolist(), strict=True))
        order = pl.int_range(pl.len(), dtype=pl.Int64).over("stratum")
        chosen = waiting.with_columns(place=order).filter(
            pl.col("place") < pl.col("stratum").replace_strict(wanted, return_dtype=pl.Int64)
        )
        parts.append(
            chosen.sort("place", "stratum", descending=[False, True]).select(parts[0].columns)
        )
    return pl.concat(parts)


def _family(model: str) -> str:
    """Give the family of a model: "gpt" of "openai/gpt-4o-2024"."""
    return re.split(r"[-_.:\d]", model.rsplit("/")[-1].lower(), maxsplit=1)[0]


def _exact(own: tuple[int, ...], other: tuple[int, ...]) -> float:
    return float(fisher_exact([own, other]).pvalue)
