"""One session as a payload that a browser can show at once: small, safe, in order.

Jupyter drops what comes faster than about 1 MB a second, so long texts are cut and read on demand.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from evalbench.label.annotation.layout import lay_out
from evalbench.label.annotation.markdown import visible
from evalbench.session import Call, Session, Turn

LARGEST = 280_000  # bytes of a payload
# Characters of a session that are laid out at first, so that the next one is ready in no time.
AT_FIRST = 150_000
PIECE = 20_000
LEAST = 1_250
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
# Where a text of a session is found again.
PLACE = re.compile(
    r"gaps\.\d+|turns\.\d+\.(?:text|reasoning|calls\.\d+\.(?:arguments|result)|"
    r"documents\.\d+\.content)"
)
# What tools write into a result when they failed.
FAILED = re.compile(
    r"""\A\W{0,3}[45]\d\d\b.*
    |Traceback\ \(most\ recent\ call\ last\).*|\b\w{0,60}(?:Error|Exception):\ .*
    |['"]?\b(?:http|status|code)[\w/.]{0,12}\W{1,5}[45]\d\d\b.*|['"]?\b(?:success|ok)\W{1,4}false\b.*
    |['"]?\berrors?['"]?\s*[:=](?!\s*(?:null|none|false|0\b|""|''|\[\]|\{\}|$)).*""",
    re.IGNORECASE | re.VERBOSE,
)
MOST_HITS = 2000


def transcript(session: Session, *, reason: str = "", limit: int = PIECE) -> dict[str, Any]:
    """Lay out a session for a reader, in JSON under 300 kB; ``reason`` is why it was drawn.

    A text is its ``place``, its ``text`` up to the character ``shown`` (``limit`` at most),
    ``total``, and its ``layout`` where it has one: :func:`read_text` has the rest, and
    :func:`read_turns` the ``left_out`` turns at the end.
    """
    shown = _fit(session.turns, limit)
    return {
        "session_id": session.session_id,
        "surface": visible(session.surface),
        "name": visible(session.session_id),
        "facts": _facts(session.row),
        "reason": visible(reason),
        "signals": _signals(session.row),
        "errors": _errors(session.turns),
        "gaps": [_text(gap, f"gaps.{n}", PIECE) for n, gap in enumerate(session.gaps)],
        "turns": shown,
        "left_out": len(session.turns) - len(shown),
    }


def read_turns(session: Session, *, start: int) -> dict[str, Any]:
    """Read on after the first ``start`` turns: as many as fit."""
    shown = _fit(session.turns[start:], PIECE)
    left_out = len(session.turns) - start - len(shown)
    return {"tell": "turns", "start": start, "turns": shown, "left_out": left_out}


def read_text(
    session: Session, *, place: str, start: int, stop: int | None = None
) -> dict[str, Any]:
    """Read on in a text that was cut, to ``stop`` at most; ValueError where there is none."""
    held: Any = session
    try:
        for name in PLACE.fullmatch(place)[0].split("."):  # type: ignore[index]
            held = held[int(name)] if isinstance(held, tuple) else getattr(held, name)
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"the session has no text {place!r}") from error
    end = min(start + PIECE, len(held), len(held) if stop is None else stop)
    piece = {"text": held[start:end], "shown": end, "total": len(held)}
    return {"tell": "text", "place": place, "start": start, **piece}


def find_text(session: Session, *, query: str) -> dict[str, Any]:
    """Find a query in every text of a session, in order, whatever of it is shown.

    Gives ``hits``: ``turn`` (0 for a gap), ``place`` and ``starts``, :data:`MOST_HITS` at most.
    """
    wanted = re.compile(re.escape(query) or r"\Z(?!)", re.IGNORECASE)
    hits: list[dict[str, Any]] = []
    left = MOST_HITS
    for turn, place, text in _texts(session):
        starts = [found.start() for found in islice(wanted.finditer(text), left)]
        left -= len(starts)
        if starts:
            hits.append({"turn": turn, "place": place, "starts": starts})
    return {"tell": "found", "query": query, "hits": hits}


# What the page of a transcript asks of the session it shows, by the name of the act.
READING: dict[str, Callable[..., dict[str, Any]]] = {
    "text": read_text,
    "find": find_text,
    "turns": read_turns,
}


def _fit(turns: Sequence[Turn], limit: int) -> list[dict[str, Any]]:
    lengths = [len(text) for turn in turns for _, text in _parts(turn)]
    while limit > LEAST and sum(min(length, limit) for length in lengths) > AT_FIRST:
        limit //= 2
    shown: list[dict[str, Any]] = []
    size = 0
    for turn in turns:
        laid_out = _turn(turn, limit)
        size += len(json.dumps(laid_out))
        if size > LARGEST and shown:
            break
        shown.append(laid_out)
    return shown


def _turn(turn: Turn, limit: int) -> dict[str, Any]:
    place = f"turns.{turn.number - 1}"
    return {
        "number": turn.number,
        "span_id": turn.span_id,
        "role": turn.role,
        "speaker": visible(turn.about),
        "time": f"{turn.started_at:%H:%M:%S}" if turn.started_at else "",
        "text": _text(
            turn.text, f"{place}.text", limit, formed=turn.role in ("assistant", "other")
        ),
        "reasoning": _text(turn.reasoning, f"{place}.reasoning", limit),
        "error": visible(turn.error[:PIECE]),
        "steps": [_step(turn, each, place, n, limit) for n, each in enumerate(turn.calls)],
    }


def _step(turn: Turn, call: Call, place: str, number: int, limit: int) -> dict[str, Any]:
    documents = [
        {"id": visible(each.id[:200]), "score": each.score}
        | {"text": _text(each.content, f"{place}.documents.{n}.content", limit, formed=True)}
        for n, each in enumerate(turn.documents)
        if each.span_id == call.span_id
    ]
    failed = FAILED.search(call.result[:LARGEST])
    return {
        "kind": call.kind,
        "name": visible(call.name[:100]),
        "span_id": call.span_id,
        "given": _text(call.arguments, f"{place}.calls.{number}.arguments", limit),
        "result": _text(call.result, f"{place}.calls.{number}.result", limit),
        "documents": documents,
        "error": visible(call.error[:PIECE]),
        "warning": visible(failed[0][:160]) if failed else "",
    }


def _text(text: str, place: str, limit: int, *, formed: bool = False) -> dict[str, Any] | None:
    if not text:
        return None
    shown = text[:limit]
    laid_out = {"place": place, "text": shown, "shown": len(shown), "total": len(text)}
    return {**laid_out, "layout": lay_out(shown)} if formed else laid_out


def _texts(session: Session) -> Iterator[tuple[int, str, str]]:
    for turn in session.turns:
        for part, text in _parts(turn):
            yield turn.number, f"turns.{turn.number - 1}.{part}", text
    yield from ((0, f"gaps.{n}", gap) for n, gap in enumerate(session.gaps))


def _parts(turn: Turn) -> Iterator[tuple[str, str]]:
    """List the texts of a turn in the order in which they are shown."""
    yield from (("text", turn.text), ("reasoning", turn.reasoning))
    for number, call in enumerate(turn.calls):
        yield f"calls.{number}.arguments", call.arguments
        yield f"calls.{number}.result", call.result
        for place, document in enumerate(turn.documents):
            if document.span_id == call.span_id:
                yield f"documents.{place}.content", document.content


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
