"""One session as a payload that a browser can show at once: small, safe, in order.

Jupyter drops what comes faster than about 1 MB a second, so long texts are cut and read on demand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from evalbench.label.annotation.conversation import Step, Text, Turn, conversation, read_field
from evalbench.label.annotation.markdown import render_markdown, visible

__all__ = ["read_text", "render_markdown", "transcript"]

LARGEST = 280_000
"""Bytes of a payload."""
AT_FIRST = 150_000
"""Characters of a session that are laid out at first, so that the next one is ready in no time."""
PIECE = 20_000
SIGNALS = (
    ("reported", True, "Reported by the user"),
    ("thumbs", -1, "Thumbs down"),
    ("escalated", True, "Escalated to a person"),
    ("abandoned", True, "Abandoned by the user"),
    ("regenerated", True, "Answer asked for again"),
    ("refused", True, "Request refused"),
    ("outcome", False, "Task not achieved"),
    ("schema_valid", False, "Output broke its schema"),
)
COUNTS = (
    ("n_tool_errors", "tool error", "tool errors"),
    ("n_retries", "tool call repeated", "tool calls repeated"),
    ("edited_chars", "character edited by the user", "characters edited by the user"),
)
LOW_STARS = 2


def transcript(
    spans: pl.DataFrame, session: Mapping[str, Any], *, reason: str = "", limit: int = PIECE
) -> dict[str, Any]:
    """Lay out a session for the annotator, in JSON under 300 kB.

    Parameters
    ----------
    spans : polars.DataFrame
        Spans of one session, columns of :data:`evalbench.schema.SPAN`.
    session : mapping
        Its row, columns of :data:`evalbench.schema.SESSION`; what is missing is not told.
    reason : str
        Why it was drawn.
    limit : int
        Characters of a text that are shown at first. Lower where the whole would be too large.

    Returns
    -------
    dict
        ``session_id``, ``surface``, ``facts`` (pairs of name and value), ``reason``, ``signals``
        (phrases), ``errors``, ``turns`` and ``left_out``, the number of turns at the end that did
        not fit. Where a text has a ``cut``, :func:`read_text` has the rest.
    """
    turns = conversation(spans)
    head = {
        "session_id": session["session_id"],
        "surface": session.get("surface"),
        "facts": _facts(session),
        "reason": visible(reason),
        "signals": _signals(session),
        "errors": _errors(turns),
    }
    lengths = [len(text.content) for turn in turns for text in _texts(turn)]
    while limit and sum(min(length, limit) for length in lengths) > AT_FIRST:
        limit //= 2
    shown = [_turn(turn, limit) for turn in turns]
    while (size := len(json.dumps(shown))) > LARGEST and limit:  # all of it was markup
        limit //= 4
        shown = [_turn(turn, limit) for turn in turns]
    while size > LARGEST:
        shown = shown[: len(shown) * LARGEST // size]
        size = len(json.dumps(shown))
    return {**head, "turns": shown, "left_out": len(turns) - len(shown)}


def read_text(spans: pl.DataFrame, span_id: str, field: str, start: int) -> dict[str, Any]:
    """Read on in a text that :func:`transcript` cut, from the character ``start`` on.

    Gives ``text`` (plain, hidden characters made visible), ``next`` (where to read on, or null) and
    ``total``; the texts of all pieces joined are the whole. ValueError where there is no such text.
    """
    for row in spans.filter(pl.col("span_id") == span_id).iter_rows(named=True):
        try:
            whole = read_field(row, field)
        except (LookupError, TypeError, ValueError):
            continue
        end = start + PIECE
        following = end if end < len(whole) else None
        return {"text": visible(whole[start:end]), "next": following, "total": len(whole)}
    raise ValueError(f"span {span_id!r} has no text {field!r}")


def _turn(turn: Turn, limit: int) -> dict[str, Any]:
    return {
        "span_id": turn.span_id,
        "role": visible(turn.role),
        "time": f"{turn.at:%H:%M:%S}" if turn.at else "",
        "html": render_markdown(turn.text.content[:limit]),
        "length": min(len(turn.text.content), limit),
        "cut": _cut(turn.text, limit),
        "reasoning": _plain(turn.reasoning, limit),
        "error": visible(turn.error[:500]),
        "steps": [_step(step, limit) for step in turn.steps],
    }


def _texts(turn: Turn) -> Iterator[Text]:
    yield from (text for text in (turn.text, turn.reasoning) if text)
    for step in turn.steps:
        yield from (text for text in (step.given, step.result) if text)
        yield from (text for _, _, text in step.documents)


def _step(step: Step, limit: int) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": visible(step.name[:100]),
        "span_id": step.span_id,
        "given": _plain(step.given, limit),
        "result": _plain(step.result, limit),
        "documents": [
            {"id": visible(name[:200]), "score": score, **(_plain(text, limit) or {})}
            for name, score, text in step.documents
        ],
        "error": visible(step.error[:500]),
    }


def _plain(text: Text | None, limit: int) -> dict[str, Any] | None:
    if text is None:
        return None
    return {"text": visible(text.content[:limit]), "cut": _cut(text, limit)}


def _cut(text: Text, limit: int) -> dict[str, Any] | None:
    if (total := len(text.content)) <= limit:
        return None
    return {"span_id": text.span_id, "field": text.field, "shown": limit, "total": total}


def _facts(session: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = {"release": session.get("release"), **json.loads(session.get("segments") or "{}")}
    if started := session.get("started_at"):
        facts["started"] = f"{started:%Y-%m-%d %H:%M} UTC"
    return [(visible(str(name)), visible(str(value))) for name, value in facts.items() if value]


def _signals(session: Mapping[str, Any]) -> list[str]:
    signals = [phrase for name, value, phrase in SIGNALS if session.get(name) == value]
    stars = session.get("stars")
    if stars is not None and stars <= LOW_STARS:
        signals.append(f"{stars:g} of 5 stars")
    counts = ((session.get(name) or 0, one, many) for name, one, many in COUNTS)
    return signals + [
        f"{count} {one if count == 1 else many}" for count, one, many in counts if count
    ]


def _errors(turns: list[Turn]) -> list[dict[str, Any]]:
    found = [(turn.span_id, turn.role, turn.error) for turn in turns]
    found += [(step.span_id, step.name, step.error) for turn in turns for step in turn.steps]
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for span_id, name, why in found:
        if why:
            first = {"span_id": span_id, "name": visible(name), "text": visible(why[:160])}
            told.setdefault((name, why), {**first, "times": 0})["times"] += 1
    return list(told.values())[:20]
