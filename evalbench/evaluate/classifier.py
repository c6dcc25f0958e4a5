"""Classifiers: a linear model on the words of a session and on its signals, cross-fitted."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate.finding import ASSISTANT, Finding, list_said
from evalbench.evaluate.split import require_train
from evalbench.schema import SIGNALS
from evalbench.session import Session
from evalbench.stats.binary import MEASURES

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

NUMBERS = [
    *SIGNALS,
    *"n_turns n_tool_calls n_tool_errors n_retries prompt_tokens completion_tokens".split(),
    *"cost_usd latency_p95_ms".split(),
]
TRUSTED = ["numpy.dtype"]  # types in our files beyond those that skops trusts by itself
WORDS = 5  # words that a finding quotes
# Sessions of either class that training takes, and the groups that they must be of.
LEAST, FOLDS = 20, 5


@dataclass(frozen=True)
class Classifier:
    """A trained pipeline, its out-of-fold ``scores``, and the best threshold on them by MCC.

    ``value`` is the MCC there, chosen to be high: the test split tells what it is worth.
    """

    pipeline: Pipeline
    scores: np.ndarray
    threshold: float
    value: float


def train_classifier(sessions: Sequence[Session], fails: Sequence[bool]) -> Classifier:
    """Train on sessions of the train split, folds by group; EvaluatorError where too few."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    require_train([each.row for each in sessions], use="training example")
    labels = np.asarray(fails, dtype=bool)
    groups = name_groups(sessions)
    for name, chosen in (("failing", labels), ("passing", ~labels)):
        n, n_groups = int(chosen.sum()), len(set(groups[chosen]))
        if n < LEAST or n_groups < FOLDS:
            raise EvaluatorError(
                f"insufficient: {n} {name} sessions of {n_groups} groups, {LEAST} of {FOLDS} "
                "needed: label more, or take a check or a judge"
            )
    frame, how = features(sessions), {"cv": StratifiedGroupKFold(FOLDS), "groups": groups}
    try:
        by_class = cross_val_predict(_make_pipeline(), frame, labels, method="predict_proba", **how)
    except ValueError as error:  # a fold without one class, or without any word
        raise EvaluatorError(
            f"insufficient: a part of the sessions teaches nothing: {error}"
        ) from error
    scores = by_class[:, 1]
    return Classifier(
        _make_pipeline().fit(frame, labels), scores, *choose_threshold(scores, labels)
    )


def name_groups(sessions: Sequence[Session]) -> np.ndarray:
    """Name the group of each session; one without a group is its own."""
    return np.array([each.row["group_key"] or f"session {each.session_id}" for each in sessions])


def choose_threshold(scores: np.ndarray, fails: np.ndarray) -> tuple[float, float]:
    """Choose the threshold, midway between scores, that is best by MCC; and its value there."""
    levels, where = np.unique(scores, return_inverse=True)
    failing = np.bincount(where, fails, len(levels))[::-1].cumsum()[::-1]
    passing = np.bincount(where, ~fails, len(levels))[::-1].cumsum()[::-1]
    values = measure_mcc(failing, failing[0] - failing, passing, passing[0] - passing)
    values = np.nan_to_num(values, nan=-1.0)
    best = int(values.argmax())
    return float(levels[max(best - 1, 0) : best + 1].mean()), float(values[best])


def measure_mcc(*cells: Any) -> np.ndarray:
    """Measure MCC of ``tp, fn, fp, tn``, numbers or arrays; nan where it is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return MEASURES["mcc"](np.stack(np.broadcast_arrays(*cells), axis=-1).astype(float))


def classify(pipeline: Pipeline, sessions: Sequence[Session], *, threshold: float) -> list[Finding]:
    """Score sessions, a finding each; the evidence is the words that speak most for failing."""
    columns, model = pipeline
    values = columns.transform(features(sessions))
    scores = model.predict_proba(values)[:, 1]
    names = columns.get_feature_names_out()
    findings = []
    weights = values.multiply(model.coef_).tocsr()
    for session, score, row in zip(sessions, scores, weights, strict=True):
        raising = [at for at in np.argsort(-row.data) if row.data[at] > 0]
        top = [str(names[row.indices[at]]) for at in raising]
        told = ", ".join(name.partition("__")[2].strip() for name in top[:WORDS]) or "nothing"
        answers = list_said(session, *ASSISTANT)
        words = [name.removeprefix("words__") for name in top if name.startswith("words__")]
        quoted = [
            text.quote(found[0])
            for word in words
            for text in answers
            if (found := re.search(re.escape(word), text.content, re.IGNORECASE))
        ]
        said = f"score {score:.2f}, fails from {threshold:.2f}; most for it: {told}"
        evidence = quoted[:WORDS] or [text.quote() for text in answers[-1:]]
        findings.append(Finding(bool(score >= threshold), float(score), said, evidence))
    return findings


def features(sessions: Sequence[Session]) -> pl.DataFrame:
    """Return the text, and signals and measures by arcsinh (NaN: unknown), a row a session."""
    texts = [each.text() for each in sessions]
    rows = [[each.row[name] for name in NUMBERS] for each in sessions]
    numbers = np.array(rows, dtype=float).reshape(-1, len(NUMBERS))
    frame = pl.DataFrame(np.arcsinh(numbers), schema=NUMBERS)
    return frame.with_columns(text=pl.Series(texts, dtype=pl.String))


def dump_classifier(pipeline: Pipeline) -> tuple[bytes, str]:
    """Give the file of a classifier, and the SHA-256 that its specification names."""
    import skops.io

    content = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
    return content, hashlib.sha256(content).hexdigest()


@lru_cache(maxsize=16)
def load_classifier(content: bytes, *, sha256: str) -> Pipeline:
    """Read the file of a classifier, of that hash and of trusted types; else EvaluatorError."""
    import skops.io
    from sklearn.pipeline import Pipeline

    try:
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("it is not the one that the specification names")
        loaded = skops.io.loads(content, trusted=TRUSTED)
        if not isinstance(loaded, Pipeline):
            raise TypeError(f"it holds a {type(loaded).__name__}")
    except Exception as error:  # skops raises whatever a broken file leads it to
        again = "train it again, or take the file from where it was trained"
        raise EvaluatorError(f"not a classifier's file ({error}): {again}") from error
    return loaded


def _make_pipeline() -> Pipeline:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shared = {"sublinear_tf": True, "max_features": 20_000}
    words = TfidfVectorizer(ngram_range=(1, 2), **shared)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), **shared)
    missing = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = make_pipeline(missing, StandardScaler())
    texts = [("words", words, "text"), ("characters", characters, "text")]
    columns = ColumnTransformer([*texts, ("numbers", numbers, NUMBERS)], sparse_threshold=1)
    return make_pipeline(columns, LogisticRegression(class_weight="balanced", max_iter=1000))
