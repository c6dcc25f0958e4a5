"""Checks found in labelled sessions: searched in a small family that is written down here.

The checks of :data:`FIXED`, a call of one tool or the lack of it, and phrases that the assistant,
the user or a tool says, up to :data:`PARTS` joined by "any". Against learning by heart every set is
scored as if it had erred once more on either side, a part must find sessions of two groups that no
other finds, and the score reported is cross-fitted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.classifier import FOLDS, measure_mcc, name_groups
from evalbench.evaluate.finding import Place, list_calls, read_place
from evalbench.evaluate.split import require_train
from evalbench.session import Session

PLAIN = "citation_missing citation_unknown number_unsupported language refusal"
FIXED: tuple[dict[str, Any], ...] = (
    *({"check": name} for name in PLAIN.split()),
    {"check": "personal_data", "except_given": True},
    *({"check": "tool_repeated", "times": times} for times in (2, 3, 4)),
)
PLACES: tuple[Place, ...] = ("assistant", "user", "tool_results")
WORDS = 4
SEEN = 3  # sessions that a phrase must be in
PARTS = 6
GAIN = 0.01  # what a further part must add to the score


@dataclass(frozen=True)
class Family:
    """What each check says of each session, int8: 1 fails, 0 passes, -1 nothing to check."""

    sessions: Sequence[Session]
    checks: list[dict[str, Any]]
    said: np.ndarray


def look_by_family(sessions: Sequence[Session]) -> Family:
    """Look at sessions by every check; EvaluatorError where one is of the test split."""
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
    phrases, held = _find_phrases(sessions)
    return Family(sessions, [*fixed, *phrases], np.hstack([said, held]))


def search_check(family: Family, fails: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Search the check that tells sessions that fail best; ``fails`` is nan where unsaid.

    Gives its parameters, and what the search flags of each session that was made without it.
    EvaluatorError where a class has fewer than :data:`FOLDS` groups, or nothing tells them apart.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    rows, groups = np.flatnonzero(~np.isnan(fails)), name_groups(family.sessions)
    for name, value in (("failing", 1), ("passing", 0)):
        if (n_groups := len(set(groups[fails == value]))) < FOLDS:
            raise EvaluatorError(
                f"insufficient: {name} sessions of {n_groups} groups to learn from, {FOLDS} needed"
            )
    labels = fails == 1
    flagged = np.where(labels[:, None], family.said == 1, family.said != 0)
    out_of_fold = np.zeros(len(fails), dtype=bool)
    for train, test in StratifiedGroupKFold(FOLDS).split(rows, labels[rows], groups[rows]):
        parts = _search(flagged[rows[train]], labels[rows[train]], groups[rows[train]])
        out_of_fold[rows[test]] = flagged[np.ix_(rows[test], parts)].any(axis=1)
    parts = _search(flagged[rows], labels[rows], groups[rows])
    if not parts:
        raise EvaluatorError("no check of the family tells failing from passing sessions")
    checks = [family.checks[part] for part in parts]
    return checks[0] if len(checks) == 1 else {"check": "any", "of": checks}, out_of_fold


def _find_phrases(sessions: Sequence[Session]) -> tuple[list[dict[str, Any]], np.ndarray]:
    from sklearn.feature_extraction.text import CountVectorizer

    phrases = list[tuple[Place, str]]()
    held = [np.zeros((len(sessions), 0), dtype=np.int8)]
    for place in PLACES:
        texts = [[text.content for text in read_place(each, place)] for each in sessions]
        counter = CountVectorizer(analyzer=_list_phrases, binary=True, min_df=SEEN, dtype=np.int8)
        try:
            dense = counter.fit_transform(texts).toarray()
        except ValueError:  # nobody said a thing there, or all say different ones
            continue
        dense[[not each for each in texts]] = -1
        held.append(dense)
        phrases += [(place, name) for name in counter.get_feature_names_out()]
    order = sorted(range(len(phrases)), key=lambda at: (-len(phrases[at][1]), phrases[at]))
    spelt = [(phrases[at][0], phrases[at][1].replace(" ", r"\W+")) for at in order]
    checks = [
        {"check": "pattern_found", "pattern": rf"(?i)\b{words}\b", "place": place}
        for place, words in spelt
    ]
    return checks, np.hstack(held)[:, order]


def _list_phrases(texts: Sequence[str]) -> set[str]:
    """List the phrases of texts; none runs from one text into the next."""
    found = set()
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        for n in range(1, WORDS + 1):
            found |= {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)}
    return found


def _search(flagged: np.ndarray, fails: np.ndarray, groups: np.ndarray) -> list[int]:
    """Join parts, the best first; each is the number of a check."""
    # What flags more passing than failing sessions cannot be a part of a check that is of use.
    useful = np.flatnonzero(flagged[fails].sum(axis=0) > flagged[~fails].sum(axis=0))
    parts: list[int] = []
    covered, best = np.zeros(len(fails), dtype=bool), 0.0
    while len(useful) and len(parts) < PARTS:
        joined = flagged[:, useful] | covered[:, None]
        scores = _score_cautiously(joined, fails)
        for at in np.argsort(-scores, kind="stable"):
            if scores[at] < best + GAIN:
                return parts
            if len(set(groups[flagged[:, useful[at]] & ~covered & fails])) > 1:
                break
        else:
            break
        parts.append(int(useful[at]))
        covered, best = joined[:, at], float(scores[at])
    return parts


def _score_cautiously(flagged: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """Return the MCC of each column as if it had missed one more and flagged one more."""
    tp, fp = flagged[fails].sum(axis=0), flagged[~fails].sum(axis=0)
    values = measure_mcc(tp, fails.sum() - tp + 1, fp + 1, (~fails).sum() - fp)
    return np.nan_to_num(values, nan=-1.0)
