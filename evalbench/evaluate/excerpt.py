"""A session's text as a judge is given it: fenced, disarmed, cut to the model's window."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from evalbench.evaluate.finding import ASSISTANT, QUOTED
from evalbench.session import Session, Turn

FENCE_LIKE = re.compile(
    r"[<\uff1c\ufe64](?=[\W_]{0,16}(?:trace|rubric|system|user|assistant|im_|inst|sys\b|s\W|"
    r"start_of|end_of|endof|begin_of|eot_|\|))",
    re.IGNORECASE,
)
"""The bracket of what could pass for an end of the data, or for a role of a chat template."""
SHOWN_BRACKET = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
PIECE = 1_500
"""Characters of the pieces in which a long turn is kept or left out."""
MARK_TOKENS = 32
"""Room of a note on what is left out beside a piece."""
WORD = re.compile(r"[^\W\d_]{4,}")
STEM = 6


class Piece(NamedTuple):
    """A part of a turn's text; ``goes_on`` is one that does not begin it."""

    turn: Turn
    text: str
    goes_on: bool


@dataclass(frozen=True)
class Excerpt:
    """What a judge is shown of a session, and a note where something was left out."""

    text: str
    shown: dict[int, str]
    session: Session
    note: str = ""

    def find_quote(self, quote: str, number: int) -> dict[str, Any] | None:
        """Return a quote as evidence, with its turn and span; None where it is fabricated.

        Runs of white space are alike; where it stands in several turns, the one named counts.
        """
        words = _flatten(quote.strip().strip('"“”').removesuffix("...").strip("…"))
        held = [turn for turn, text in self.shown.items() if words in _flatten(text)]
        if not words or not held:
            return None
        turn = self.session.turns[(number if number in held else held[0]) - 1]
        inside = (
            call.span_id
            for call in turn.calls
            if any(words in _flatten(text) for text in (call.arguments, call.result, call.error))
        )
        span_id = turn.span_id if words in _flatten(turn.text) else next(inside, turn.span_id)
        return {"span_id": span_id, "turn": turn.number, "quote": words[:QUOTED]}


def excerpt(session: Session, *, room: float | None, rubric: str) -> Excerpt:
    """Show the text of a session; where it takes more than ``room`` tokens, leave pieces out.

    Kept are how the session began and ended, then the pieces that share most words with the rubric,
    then those nearest to the beginning or the end.

    Raises
    ------
    ValueError
        Not even the first question and the last answer fit.
    """
    whole = {turn.number: disarm("\n".join(turn.text_lines())) for turn in session.turns}
    text = disarm(session.text())
    if room is None or count_tokens(text) <= room:
        return Excerpt(text, whole, session)
    pieces = [
        Piece(turn, piece, bool(number))
        for turn in session.turns
        for number, piece in enumerate(_split(whole[turn.number]))
    ]
    kept = _choose(pieces, room, _stems(rubric))
    lines: list[str] = []
    shown: dict[int, str] = {}
    gap = left_out = sum(map(len, session.gaps))
    for at, piece in enumerate(pieces):
        number = piece.turn.number
        if at not in kept:
            gap, left_out = gap + len(piece.text), left_out + len(piece.text)
            continue
        lines += _tell_gap(gap)
        if piece.goes_on and not gap:
            lines[-1] += piece.text
        else:
            lines.append(f"[{number}, goes on]{piece.text}" if piece.goes_on else piece.text)
        gap = 0
        shown[number] = shown.get(number, "") + piece.text
    note = f"cut to the model's window: {left_out:,} of {len(text):,} characters were left out"
    return Excerpt("\n".join([*lines, *_tell_gap(gap)]), shown, session, note)


def _choose(pieces: list[Piece], room: float, stems: set[str]) -> set[int]:
    first = next((at for at, piece in enumerate(pieces) if piece.turn.role == "user"), 0)
    said = (at for at, piece in enumerate(pieces) if piece.turn.role in ASSISTANT)
    last = max(said, default=0)

    def rank(at: int) -> tuple[bool, int, int]:
        named = len(stems & _stems(pieces[at].text))
        return at not in (first, last), -named, min(at, len(pieces) - 1 - at)

    kept: set[int] = set()
    for at in sorted(range(len(pieces)), key=rank):
        cost = count_tokens(pieces[at].text) + MARK_TOKENS
        if cost <= room:
            kept.add(at)
            room -= cost
        elif at in (first, last):
            raise ValueError("the window has no room for the first question and the last answer")
    return kept


def name_fence(*parts: str) -> str:
    """Name a fence by a hash of all that stands inside: no session can hold its own."""
    inside = "\0".join(parts).encode(errors="surrogatepass")
    return f"trace-{hashlib.sha256(inside).hexdigest()[:16]}"


def disarm(text: str) -> str:
    """Put a bracket that can be seen in the place of those that could pass for a fence."""
    return FENCE_LIKE.sub(SHOWN_BRACKET, text)


def count_tokens(text: str) -> float:
    """Estimate from above: 0.35 a character of ASCII, one of any other."""
    ascii_only = len(text.encode("ascii", "ignore"))
    return 0.35 * ascii_only + (len(text) - ascii_only)


def _split(text: str) -> list[str]:
    """Split a long text at line ends or blanks."""
    return re.findall(rf"(?s).{{1,{PIECE}}}(?=\s|$)|.{{1,{PIECE}}}", text) or [text]


def _tell_gap(characters: int) -> list[str]:
    return [f"[{characters:,} characters left out here]"] if characters else []


def _stems(text: str) -> set[str]:
    return {word[:STEM].casefold() for word in WORD.findall(text)}


def _flatten(text: str) -> str:
    for bracket in "<\uff1c\ufe64":
        text = text.replace(bracket, SHOWN_BRACKET)
    return " ".join(text.split())
