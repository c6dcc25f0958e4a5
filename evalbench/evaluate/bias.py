"""Where an evaluator errs: segments, biases, its own noise, flips, labels that help."""

import json
from typing import Any

import numpy as np
import polars as pl
import scipy

from evalbench import stats
from evalbench.evaluate.calibrate import (
    CELLS,
    COUNTED,
    KEY,
    SESSION_KEY,
    flatten,
    measure_alignment,
    measure_parts,
)
from evalbench.evaluate.split import with_split
from evalbench.schema import columns
from evalbench.settings import Evaluators


def list_traits(pairs: pl.DataFrame, spans: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """List what might sway an evaluator, a row a pair and trait.

    Every segment, the length of the answer, whether the product's model is of the evaluator's
    family, and where in the trace people anchored the failure. Takes ``pair_verdicts``' pairs, the
    spans of their sessions and ``label.set`` events. Gives the pairs' columns, then ``trait`` and
    ``value``.
    """
    order = pl.col("started_at").rank("ordinal").over(SESSION_KEY) / pl.len().over(SESSION_KEY)
    placed = spans.select(*SESSION_KEY, "span_id", place=order)
    anchors = labels.select(*SESSION_KEY, "anchors").explode("anchors").drop_nulls("anchors")
    anchored = (
        anchors.with_columns(span_id=pl.col("anchors").struct.field("span_id"))
        .join(placed, on=[*SESSION_KEY, "span_id"])
        .group_by(SESSION_KEY)
        .agg(pl.col("place").min())
    )
    calls = spans.filter(kind="llm").drop_nulls("model").group_by(SESSION_KEY)
    products = calls.agg(product=pl.col("model").sort().mode().first())
    how: dict[str, Any] = {"on": SESSION_KEY, "how": "left", "maintain_order": "left"}
    own, product = map(_family, ("model", "product"))
    longer = pl.col("answer_chars") > pl.col("answer_chars").median().over(KEY)
    traits = {
        "length of the answer": _say_either(longer, "longer half", "shorter half"),
        "family of the model": _say_either(own == product, "the evaluator's own", "another"),
        "place of the failure": _say_either(pl.col("place") > 0.5, "second half", "first half"),
    }
    held = [json.loads(text or "{}") for text in pairs["segments"]]
    segments = {
        f"segment {name}": pl.Series([each.get(name) for each in held], dtype=pl.String)
        for name in sorted({name for each in held for name in each})
    }
    known = pairs.join(anchored, **how).join(products, **how).with_columns(**traits, **segments)
    index = [*KEY, "session_id", "truth", "fails", "group", "stratum", "stands_for", "by_verdict"]
    listed = known.unpivot([*traits, *segments], index=index, variable_name="trait")
    return listed.drop_nulls("value")


def compare_traits(
    traits: pl.DataFrame, *, settings: Evaluators, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Measure alignment for each value of each trait, and tell where an evaluator errs otherwise.

    Fisher's exact test of a value against the rest of its trait, on errors among failing and among
    passing sessions, the smaller p doubled; Benjamini-Hochberg over all of an evaluator. Sessions
    are taken for independent. Gives ``KEY, trait, value, n``, cells, ``p_value, reading``, and
    alignment where it "errs otherwise".
    """
    varied = traits.filter(pl.col("value").n_unique().over(*KEY, "trait") > 1)
    by = [*KEY, "trait", "value"]
    counts = varied.drop_nulls("truth").group_by(by, maintain_order=True).agg(n=pl.len(), **COUNTED)
    rest = counts.select(pl.col(CELLS).sum().over(*KEY, "trait") - pl.col(CELLS))
    p_values = []
    for own, other in zip(counts[CELLS].iter_rows(), rest.iter_rows(), strict=True):
        tables = ([own[:2], other[:2]], [own[2:], other[2:]])
        both = [2 * float(scipy.stats.fisher_exact(table).pvalue) for table in tables]
        p_values.append(min(1.0, *both))
    adjusted = pl.col("p_value").map_batches(
        lambda p: pl.Series(stats.benjamini_hochberg(p.to_numpy())), return_dtype=pl.Float64
    )
    differs = adjusted.over(KEY) < 1 - level
    parts = counts.with_columns(p_value=pl.Series(p_values, dtype=pl.Float64)).with_columns(
        reading=_say_either(differs, "errs otherwise", "no difference shown")
    )
    unlike = varied.join(parts.filter(reading="errs otherwise"), on=by, how="semi")
    found = measure_alignment(unlike, by=by, settings=settings, level=level, rng=rng)
    return parts.join(found.drop("n", *CELLS), on=by, how="left").sort(*KEY, "trait", "value")


def measure_noise(current: pl.DataFrame, *, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Measure how often two verdicts of an evaluator on a session are the ``same``."""
    said = current.drop_nulls("fails").filter(pl.len().over(*KEY, "session_id") > 1)

    def measure(part: pl.DataFrame) -> dict[str, Any]:
        items, values = part["session_id"].to_numpy(), part["fails"].cast(pl.Int64).to_numpy()
        n = part["session_id"].n_unique()
        if part["fails"].n_unique() == 1:
            same = stats.proportion(np.ones(n), level=level, rng=rng)
        else:
            repeats = part["repeat"].to_numpy()
            same = stats.agreement(items, repeats, values, level=level, rng=rng).percent
        return {"n_sessions": n, "n_verdicts": part.height} | flatten({"same": same})

    schema = columns((pl.Int64, "n_sessions n_verdicts"), (pl.Float64, "same same_low same_high"))
    return measure_parts(said.sort(*KEY, "session_id", "repeat"), KEY, schema, measure)


def list_flips(verdicts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """List the sessions that an evaluator judges otherwise than its version before.

    Gives ``KEY, session_id, version_before, before, after, truth, turned``, ``rationale``; those
    that turned "wrong" come before those that turned "right".
    """
    same = ["surface", "mode", "evaluator_id", "session_id"]
    now = pairs.select("evaluator_id", "evaluator_version").unique()
    earlier = verdicts.join(now, on=now.columns, how="anti")
    last = pl.col("evaluator_version").sort_by("judged_at", "evaluator_version").last()
    before = (
        earlier.filter(pl.col("evaluator_version") == last.over("evaluator_id"))
        .sort("judged_at", "repeat")
        .unique(same, keep="last")
        .select(*same, before="fails", version_before="evaluator_version")
    )
    turned = _say_either(pl.col("fails").eq_missing(pl.col("truth")), "right", "wrong")
    shown = (*KEY, "session_id", "version_before", "before", "after", "truth", "turned")
    return (
        pairs.join(before, on=same)
        .filter(pl.col("before").ne_missing(pl.col("fails")), pl.col("truth").is_not_null())
        .with_columns(turned=turned, after="fails")
        .select(*shown, "rationale")
        .sort(*KEY, "turned", "session_id", descending=[False] * 4 + [True, False])
    )


def plan_labels(
    found: pl.DataFrame,
    current: pl.DataFrame,
    sessions: pl.DataFrame,
    labelled: pl.DataFrame,
    *,
    most: int,
) -> pl.DataFrame:
    """Divide the next labels of an evaluator that is insufficient over what it said.

    They are unlabelled sessions of the test split, divided by :func:`evalbench.stats.labels_next`.
    Takes what ``measure_alignment`` found, the verdicts of now, their sessions, and ``surface,
    session_id, mode, truth`` as decided. Gives ``KEY, fails, n``.
    """
    schema = columns((pl.String, " ".join(KEY)), (pl.Boolean, "fails"), (pl.Int64, "n"))
    rows = list[tuple[Any, ...]]()
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
    for key, part in judged.sort(KEY).group_by(KEY, maintain_order=True):
        cells = part.with_columns(verdict=pl.col("fails").cast(pl.Float64))
        known = cells.drop_nulls("truth").select("verdict", fails="truth")
        waiting = part["truth"].null_count()
        if waiting and not known.is_empty():
            population = cells.group_by("verdict").len("n").sort("verdict", descending=True)
            n = min(most, waiting)
            plan = stats.labels_next(known.to_dict(), population.to_dict(), n=n)
            rows += [(*key, *each) for each in zip(plan.verdict, plan.n.tolist(), strict=True)]
    return pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("n") > 0)


def _family(column: str) -> pl.Expr:
    """Read the family of a model: "gpt" of "openai/gpt-4o-2024"."""
    return pl.col(column).str.to_lowercase().str.extract(r"([^/\-_.:\d]*)[^/]*$")


def _say_either(holds: pl.Expr, then: str, otherwise: str) -> pl.Expr:
    """Say one thing or the other; null where neither is known."""
    return pl.when(holds).then(pl.lit(then)).when(holds.not_()).then(pl.lit(otherwise))
