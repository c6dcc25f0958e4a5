"""One session as a payload that a browser can show at once: small, safe, in order.

Jupyter drops what comes faster than about 1 MB a second, so long texts are cut and read on demand.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalbench.label.annotation.markdown import render_markdown, visible
from evalbench.session import Call, Session, Turn

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
COUNTS = {
    "n_tool_errors": ("tool error", "tool errors"),
    "n_retries": ("tool call repeated", "tool calls repeated"),
    "edited_chars": ("character edited by the user", "characters edited by the user"),
}
LOW_STARS = 2
PLACE = re.compile(
    r"gaps\.\d+|turns\.\d+\.(?:text|reasoning|calls\.\d+\.(?:arguments|result)|"
    r"documents\.\d+\.content)"
)
"""Where a text of a session is found again."""


def transcript(session: Session, *, reason: str = "", limit: int = PIECE) -> dict[str, Any]:
    """Lay out a session for the annotator, in JSON under 300 kB.

    Parameters
    ----------
    session : Session
        What is missing in its row is not told.
    reason : str
        Why it was drawn.
    limit : int
        Characters of a text that are shown at first. Lower where the whole would be too large.

    Returns
    -------
    dict
        ``session_id``, ``name`` (the same to be shown), ``surface``, ``facts`` (pairs of name and
        value), ``reason``, ``signals`` (phrases), ``errors``, ``turns``, ``gaps`` and ``left_out``,
        the number of turns at the end that did not fit. Where a text has a ``cut``,
        :func:`read_text` has the rest.
    """
    head = {
        "session_id": session.session_id,
        "surface": visible(session.surface),
        "name": visible(session.session_id),
        "facts": _facts(session.row),
        "reason": visible(reason),
        "signals": _signals(session.row),
        "errors": _errors(session.turns),
        "gaps": [_plain(gap, f"gaps.{n}", PIECE) for n, gap in enumerate(session.gaps)],
    }
    lengths = [len(text) for turn in session.turns for text in _texts(turn)]
    while limit and sum(min(length, limit) for length in lengths) > AT_FIRST:
        limit //= 2
    shown = [_turn(turn, limit) for turn in session.turns]
    while (size := len(json.dumps(shown))) > LARGEST and limit:  # all of it was markup
        limit //= 4
        shown = [_turn(turn, limit) for turn in session.turns]
    while size > LARGEST:
        shown = shown[: len(shown) * LARGEST // size]
        size = len(json.dumps(shown))
    return {**head, "turns": shown, "left_out": len(session.turns) - len(shown)}


def read_text(session: Session, place: str, start: int) -> dict[str, Any]:
    """Read on in a text that :func:`transcript` cut, from the character ``start`` on.

    Gives ``text`` (plain, hidden characters made visible), ``next`` (where to read on, or null) and
    ``total``; the texts of all pieces joined are the whole. ValueError where there is no such text.
    """
    held: Any = session
    try:
        for name in PLACE.fullmatch(place)[0].split("."):  # type: ignore[index]
            held = held[int(name)] if isinstance(held, tuple) else getattr(held, name)
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"the session has no text {place!r}") from error
    end = start + PIECE
    following = end if end < len(held) else None
    return {"text": visible(held[start:end]), "next": following, "total": len(held)}


def _turn(turn: Turn, limit: int) -> dict[str, Any]:
    place, calls = f"turns.{turn.number - 1}", enumerate(turn.calls)
    return {
        "number": turn.number,
        "span_id": turn.span_id,
        "role": turn.role,
        "speaker": visible(turn.about),
        "time": f"{turn.started_at:%H:%M:%S}" if turn.started_at else "",
        "html": render_markdown(turn.text[:limit]),
        "length": min(len(turn.text), limit),
        "cut": _cut(turn.text, f"{place}.text", limit),
        "reasoning": _plain(turn.reasoning, f"{place}.reasoning", limit),
        "error": visible(turn.error[:PIECE]),
        "steps": [_step(turn, each, f"{place}.calls.{n}", limit) for n, each in calls],
    }


def _texts(turn: Turn) -> Iterator[str]:
    yield from (turn.text, turn.reasoning)
    for call in turn.calls:
        yield from (call.arguments, call.result)
    yield from (document.content for document in turn.documents)


def _step(turn: Turn, call: Call, place: str, limit: int) -> dict[str, Any]:
    documents = [
        {"id": visible(each.id[:200]), "score": each.score}
        | _piece(each.content, f"turns.{turn.number - 1}.documents.{n}.content", limit)
        for n, each in enumerate(turn.documents)
        if each.span_id == call.span_id
    ]
    return {
        "kind": call.kind,
        "name": visible(call.name[:100]),
        "span_id": call.span_id,
        "given": _plain(call.arguments, f"{place}.arguments", limit),
        "result": _plain(call.result, f"{place}.result", limit),
        "documents": documents,
        "error": visible(call.error[:PIECE]),
    }


def _plain(text: str, place: str, limit: int) -> dict[str, Any] | None:
    return _piece(text, place, limit) if text else None


def _piece(text: str, place: str, limit: int) -> dict[str, Any]:
    return {"text": visible(text[:limit]), "cut": _cut(text, place, limit)}


def _cut(text: str, place: str, limit: int) -> dict[str, Any] | None:
    return {"place": place, "shown": limit, "total": len(text)} if len(text) > limit else None


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
    counts = [(session.get(name) or 0, phrases) for name, phrases in COUNTS.items()]
    return signals + [f"{count} {phrases[count > 1]}" for count, phrases in counts if count]


def _errors(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    failed = [(turn.span_id, turn.name or turn.role, turn.error) for turn in turns]
    failed += [(call.span_id, call.name, call.error) for turn in turns for call in turn.calls]
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for span_id, name, why in failed:
        if why:
            first = {"span_id": span_id, "name": visible(name), "text": visible(why[:160])}
            told.setdefault((name, why), {**first, "times": 0})["times"] += 1
    return list(told.values())[:20]
