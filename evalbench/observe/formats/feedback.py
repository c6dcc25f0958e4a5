"""Scores of any source: what people said becomes a signal, the rest a verdict of its source."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from evalbench.observe.record import (
    Row,
    is_missing,
    to_count,
    to_json,
    to_microseconds,
    to_number,
    to_truth,
)

# Well-known names of what a user or product records, and the signal each one is.
SIGNAL_OF = {
    **dict.fromkeys(("thumbs", "thumbs_up", "user_thumbs", "user_feedback", "feedback"), "thumbs"),
    **dict.fromkeys(("user_score", "like"), "thumbs"),
    **dict.fromkeys(("stars", "star_rating", "rating", "user_rating", "csat"), "stars"),
    **dict.fromkeys(("outcome", "success", "task_success", "resolved", "completed"), "outcome"),
    **dict.fromkeys(("reported", "flagged", "report"), "reported"),
    **dict.fromkeys(("escalated", "escalation", "handoff", "handed_off"), "escalated"),
    **dict.fromkeys(("edited_chars", "edit_distance"), "edited_chars"),
    **dict.fromkeys(("regenerated", "regenerate"), "regenerated"),
    "abandoned": "abandoned",
    "schema_valid": "schema_valid",
    "refused": "refused",
    "confidence": "confidence",
}

THUMBS = {"up": 1, "positive": 1, "thumbs_up": 1, "good": 1, "like": 1, "liked": 1, "helpful": 1}
THUMBS |= {"down": -1, "negative": -1, "thumbs_down": -1, "bad": -1, "dislike": -1, "unhelpful": -1}
THUMBS |= {"1": 1, "1.0": 1, "true": 1, "-1": -1, "-1.0": -1, "0": -1, "0.0": -1, "false": -1}
PEOPLE = ("HUMAN", "USER", "API", "ANNOTATION")
PASSES = frozenset(("pass", "passed", "correct", "factual", "faithful", "relevant", "non_toxic"))
FAILS = frozenset(("fail", "failed", "incorrect", "hallucinated", "irrelevant", "toxic", "wrong"))


def plain_name(name: Any) -> str:
    """Name in lower case with underscores, as the tables here spell it."""
    return str(name).strip().lower().replace("-", "_").replace(" ", "_")


def signal(name: Any, value: Any) -> tuple[str, Any] | None:
    """Signal column and value that a score means; None where the name or the value is not one."""
    column = SIGNAL_OF.get(plain_name(name))
    if column is None or is_missing(value):
        return None
    try:
        if column == "thumbs":
            thumbs = THUMBS.get(str(value).strip().lower().replace(" ", "_"))
            return None if thumbs is None else (column, thumbs)
        if column in ("stars", "confidence"):
            number = to_number(value, column)
            low, high = (1, 5) if column == "stars" else (0, 1)
            return (column, number) if number is not None and low <= number <= high else None
        if column == "edited_chars":
            return column, to_count(value, column)
        return column, to_truth(value, column)
    except ValueError:
        return None


def reads_as_failure(name: Any, value: Any, label: Any) -> bool | None:
    """Whether a score says that the session fails: only where its own words leave no doubt.

    A label of :data:`PASSES` or :data:`FAILS` decides, or a boolean named so; a number never does.
    """
    word = plain_name(label)
    if word in PASSES or word in FAILS:
        return word in FAILS
    name = plain_name(name)
    if isinstance(value, bool) and (name in PASSES or name in FAILS):
        return value == (name in FAILS)
    return None


def add_scores(row: Row, scores: Iterable[Row]) -> list[Row]:
    """Set the signals that people's scores mean on a span's row; return the others as verdicts.

    ``annotator_kind`` is a person unless it says otherwise; ``target`` is the span a score is
    about, None for the whole session, by default that of the row.
    """
    verdicts = []
    for score in scores:
        value, label = score.get("score"), score.get("label")
        name = score.get("name") or score.get("identifier") or "score"
        if str(score.get("annotator_kind", "HUMAN")).upper() in PEOPLE:
            read = signal(name, value if value is not None else label)
            if read is not None:
                row[read[0]] = read[1]
                continue
        whole = row.get("parent_id") is None and row["session_id"] == row.get("trace_id")
        target = score.get("target", None if whole else row.get("span_id"))
        verdicts.append(_verdict(row, {**score, "name": name}, target))
    return verdicts


def _verdict(row: Row, score: Row, target: str | None) -> Row:
    """Return the verdict of one score; ``repeat`` tells those of a session's spans apart."""
    value, label = score.get("score"), score.get("label")
    try:
        number = to_number(value, "score")
    except ValueError:
        number, label = None, label if not is_missing(label) else value
    said = [str(text) for text in (label, score.get("explanation")) if not is_missing(text)]
    return {
        "session_id": row["session_id"],
        "mode": "",
        "evaluator_id": f"{row['source_format']}/{score['name']}",
        "evaluator_version": "source",
        "repeat": 0 if target is None else zlib.crc32(target.encode("utf-8", "replace")),
        "fails": reads_as_failure(score["name"], value, label),
        "score": number,
        "rationale": ": ".join(said) or None,
        "evidence": None if target is None else to_json([{"span_id": target}]),
        "judged_at": to_microseconds(score.get("time")) or row.get("started_at"),
    }
