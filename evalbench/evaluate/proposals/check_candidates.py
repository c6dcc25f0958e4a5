"""Checks found in labelled sessions: searched in a small family that is written down here.

The family: the checks of :data:`FIXED`, a call of one tool or the lack of it, a bound on one
measure, and phrases of up to :data:`WORDS` words that the assistant, the user or a tool says. Up to
:data:`PARTS` of them are joined by "any", one at a time, each of which must pay.

What keeps the search from learning its sessions by heart: every set of parts is scored as if it had
erred once more on either side, so that what is seen in two sessions counts for little; a part must
find sessions of two groups that no other part finds; and the score that is reported is
cross-fitted, the whole search made again without the sessions it is scored on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.checks.base import Place, read_place
from evalbench.evaluate.checks.bounds import Bound, Measure
from evalbench.evaluate.classifier import choose_threshold, name_groups
from evalbench.evaluate.finding import list_calls
from evalbench.evaluate.split import require_train
from evalbench.session import Session
from evalbench.stats.binary import MEASURES

FIXED: tuple[dict[str, Any], ...] = (
    *({"check": name} for name in ("citation_missing", "citation_unknown", "number_unsupported")),
    *({"check": name} for name in ("language", "refusal")),
    {"check": "personal_data", "except_given": True},
    *({"check": "tool_repeated", "times": times} for times in (2, 3, 4)),
)
PLACES: tuple[Place, ...] = ("assistant", "user", "tool_results")
WORDS = 4
SEEN = 3
"""Sessions that a phrase must be in."""
PARTS = 6
GAIN = 0.01
"""What a further part must add to the score."""
FOLDS = 5
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Columns:
    """What each check of the family says of each session of the train split.

    Attributes
    ----------
    sessions : sequence of Session
        The rows.
    checks : list of dict or (place, phrase)
        The columns of ``said``: the fixed ones, then phrases, the longest first.
    said : numpy.ndarray of int8, shape (sessions, checks)
        1 fails, 0 passes, -1 nothing to check.
    measures : dict of str to numpy.ndarray
        The values that bounds are put on, nan where nobody recorded one.
    """

    sessions: Sequence[Session]
    checks: list[Any]
    said: np.ndarray
    measures: dict[str, np.ndarray]


@dataclass(frozen=True)
class FoundCheck:
    """Parameters of a check, and what the search says of sessions it was made without.

    ``out_of_fold`` is right where it is: true for a failing session that is found and for a passing
    one that is not left alone; nothing to check is wrong.
    """

    parameters: dict[str, Any]
    out_of_fold: np.ndarray


def list_columns(sessions: Sequence[Session]) -> Columns:
    """Look at sessions by every check of the family that needs no labels.

    Raises
    ------
    EvaluatorError
        One of them is of the test split.
    """
    require_train([each.row for each in sessions], use="tuning example")
    tools = sorted({call.name for each in sessions for _, call in list_calls(each) if call.name})
    fixed = [
        *FIXED,
        *({"check": "tool_not_allowed", "allowed": [t for t in tools if t != u]} for u in tools),
        *({"check": "tool_missing", "tools": [tool]} for tool in tools),
    ]
    read = [read_check(each) for each in fixed]
    found = [[check.find(each).fails for check in read] for each in sessions]
    said = np.array([[-1 if f is None else int(f) for f in row] for row in found], dtype=np.int8)
    phrases, held = _list_phrases(sessions)
    measures = {}
    for name in get_args(Measure):
        bound = Bound(check="bound", measure=name, most=0)
        values = [bound.read(each) for each in sessions]
        measures[name] = np.array([np.nan if v is None else v for v in values], dtype=float)
    return Columns(sessions, [*fixed, *phrases], np.hstack([said, held]), measures)


def search_check(columns: Columns, fails: np.ndarray) -> FoundCheck:
    """Search the check that tells failing from passing sessions best.

    Parameters
    ----------
    columns : Columns
        Of sessions of the train split.
    fails : numpy.ndarray of float, shape (sessions,)
        What people say; nan is left out.

    Raises
    ------
    EvaluatorError
        Insufficient: sessions of a class are of fewer than :data:`FOLDS` groups. Or nothing of the
        family tells failing sessions from passing ones.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    rows = np.flatnonzero(~np.isnan(fails))
    groups = name_groups(columns.sessions)
    for name, value in (("failing", 1), ("passing", 0)):
        n_groups = len(set(groups[fails == value]))
        if n_groups < FOLDS:
            raise EvaluatorError(
                f"insufficient: {name} sessions of {n_groups} groups to learn from, {FOLDS} needed"
            )
    labels, out_of_fold = fails == 1, np.zeros(len(fails), dtype=bool)
    for train, test in StratifiedGroupKFold(FOLDS).split(rows, labels[rows], groups[rows]):
        parts = _search(columns, labels, groups, rows[train])
        held = [_flags(_say(columns, part), labels)[rows[test]] for part in parts]
        out_of_fold[rows[test]] = np.any(held, axis=0) if held else False
    parts = _search(columns, labels, groups, rows)
    if not parts:
        raise EvaluatorError("no check of the family tells failing from passing sessions")
    return FoundCheck(_write(columns, parts), out_of_fold)


def _list_phrases(sessions: Sequence[Session]) -> tuple[list[tuple[Place, str]], np.ndarray]:
    from sklearn.feature_extraction.text import CountVectorizer

    phrases: list[tuple[Place, str]] = []
    held = [np.zeros((len(sessions), 0), dtype=np.int8)]
    for place in PLACES:
        texts = [[text.content for text in read_place(each, place)] for each in sessions]
        counter = CountVectorizer(analyzer=_phrases, binary=True, min_df=SEEN, dtype=np.int8)
        try:
            found = counter.fit_transform(texts)
        except ValueError:  # nobody said a thing there, or all say different ones
            continue
        silent = np.array([not each for each in texts])
        dense = found.toarray()
        dense[silent] = -1
        held.append(dense)
        phrases += [(place, name) for name in counter.get_feature_names_out()]
    said = np.hstack(held)
    order = sorted(range(len(phrases)), key=lambda at: (-len(phrases[at][1]), phrases[at]))
    return [phrases[at] for at in order], said[:, order]


def _phrases(texts: Sequence[str]) -> set[str]:
    """Give the phrases of texts; none runs from one text into the next."""
    found = set()
    for text in texts:
        words = WORD.findall(text.lower())
        for n in range(1, WORDS + 1):
            found |= {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)}
    return found


def _search(
    columns: Columns, labels: np.ndarray, groups: np.ndarray, rows: np.ndarray
) -> list[Any]:
    """Join parts, the best first; each is a column's number, or a bound's parameters."""
    fails = labels[rows]
    bounds = [
        bound
        for name, values in columns.measures.items()
        for side in ("most", "least")
        if (bound := _best_bound(name, side, values[rows], fails))
    ]
    own = np.array([_say(columns, bound)[rows] for bound in bounds], dtype=np.int8)
    said = np.hstack([columns.said[rows], own.reshape(len(bounds), len(rows)).T])
    flagged = _flags(said.T, fails).T
    # What flags more passing than failing sessions cannot be a part of a check that is of use.
    useful = np.flatnonzero(flagged[fails].sum(axis=0) > flagged[~fails].sum(axis=0))
    flagged, own_groups = flagged[:, useful], groups[rows]
    known: list[Any] = [*range(columns.said.shape[1]), *bounds]
    parts: list[Any] = []
    covered, best = np.zeros(len(rows), dtype=bool), 0.0
    while len(useful) and len(parts) < PARTS:
        joined = flagged | covered[:, None]
        scores = _cautious_mcc(joined[fails].sum(axis=0), joined[~fails].sum(axis=0), fails)
        for at in np.argsort(-scores, kind="stable"):
            if scores[at] < best + GAIN:
                return parts
            if len(set(own_groups[flagged[:, at] & ~covered & fails])) > 1:
                break
        else:
            break
        parts.append(known[useful[at]])
        covered, best = joined[:, at], float(scores[at])
    return parts


def _cautious_mcc(tp: np.ndarray, fp: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """MCC as if it had missed one more and flagged one more that passes."""
    n_fail, n_pass = int(fails.sum()), int((~fails).sum())
    cells = np.stack([tp, n_fail - tp + 1, fp + 1, n_pass - fp], axis=-1).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(MEASURES["mcc"](cells), nan=-1.0)


def _flags(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Say fails or passes for good: nothing to check is wrong, as verdicts are scored."""
    return np.where(labels, said == 1, said != 0)


def _best_bound(
    name: str, side: str, values: np.ndarray, fails: np.ndarray
) -> dict[str, Any] | None:
    known = ~np.isnan(values)
    if len(set(fails[known])) < 2 or len(set(values[known])) < 2:
        return None
    sign = 1.0 if side == "most" else -1.0
    threshold, _ = choose_threshold(sign * values[known], fails[known], metric="mcc")
    return {"check": "bound", "measure": name, side: sign * threshold}


def _say(columns: Columns, part: Any) -> np.ndarray:
    if isinstance(part, int):
        return columns.said[:, part]
    values = columns.measures[part["measure"]]
    most, least = part.get("most", np.inf), part.get("least", -np.inf)
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(values), -1, (values > most) | (values < least)).astype(np.int8)


def _write(columns: Columns, parts: Sequence[Any]) -> dict[str, Any]:
    """Write parts as one check; the phrases of a place are one pattern."""
    checks: list[dict[str, Any]] = []
    phrases: dict[Place, list[str]] = {}
    for part in parts:
        check = columns.checks[part] if isinstance(part, int) else part
        if isinstance(check, tuple):
            phrases.setdefault(check[0], []).append(check[1].replace(" ", r"\W+"))
        else:
            checks.append(check)
    for place, each in phrases.items():
        words = rf"(?i)\b(?:{'|'.join(each)})\b" if len(each) > 1 else rf"(?i)\b{each[0]}\b"
        checks.append({"check": "pattern_found", "pattern": words, "place": place})
    return checks[0] if len(checks) == 1 else {"check": "any", "of": checks}
