"""A session's text as a judge is given it: fenced, disarmed, cut to the model's window."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from evalbench.evaluate.finding import ASSISTANT, QUOTED
from evalbench.session import Session, Turn

# The bracket of what could pass for an end of the data, or for a role of a chat template.
FENCE_LIKE = re.compile(
    r"[<\uff1c\ufe64](?=[\W_]{0,16}(?:trace|rubric|system|user|assistant|im_|inst|sys\b|s\W|"
    r"start_of|end_of|endof|begin_of|eot_|\|))",
    re.IGNORECASE,
)
BRACKETS = re.compile("[<\uff1c\ufe64]")
SHOWN_BRACKET = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
PIECE = 1_500  # characters of the pieces in which a long turn is kept or left out
MARK_TOKENS = 32  # room of a note on what is left out beside a piece
WORD = re.compile(r"[^\W\d_]{5,}")
STEM = 6
EVERYWHERE = {"assist", "about", "there", "their", "which", "would"}


@dataclass(frozen=True)
class Excerpt:
    """What a judge is shown of a session, and a note where something was left out."""

    text: str
    shown: dict[int, str]
    session: Session
    note: str = ""

    def find_quote(self, quote: str, number: int) -> dict[str, Any] | None:
        """Return a quote as evidence, of the turn named where it is there; None: fabricated."""
        words = _flatten(quote.strip().strip('"“”').removesuffix("...").strip("…"))
        held = [turn for turn, text in self.shown.items() if words in _flatten(text)]
        if not words or not held:
            return None
        turn = self.session.turns[(number if number in held else held[0]) - 1]
        texts = [(turn.span_id, turn.text)]
        for call in turn.calls:
            texts += [(call.span_id, text) for text in (call.arguments, call.result, call.error)]
        inside = (span_id for span_id, text in texts if words in _flatten(text))
        return {"span_id": next(inside, turn.span_id), "turn": turn.number, "quote": words[:QUOTED]}

    def name_fence(self, *outside: str) -> str:
        """Name a fence by a hash of all that stands inside: no session can hold its own."""
        inside = "\0".join((*outside, self.text)).encode(errors="surrogatepass")
        return f"trace-{hashlib.sha256(inside).hexdigest()[:16]}"


def excerpt(session: Session, *, room: float | None, rubric: str) -> Excerpt:
    """Show the text of a session; where it takes more than ``room`` tokens, leave pieces out.

    Kept are how it began and ended (ValueError where these do not fit), then the pieces that share
    most words with the rubric, then those nearest to either end.
    """
    whole = {turn.number: disarm("\n".join(turn.text_lines())) for turn in session.turns}
    text = disarm(session.text())
    if room is None or count_tokens(text) <= room:
        return Excerpt(text, whole, session)
    pieces = [(turn, piece) for turn in session.turns for piece in _split(whole[turn.number])]
    kept = _choose(pieces, room, find_stems(rubric))
    lines: list[str] = []
    shown: dict[int, str] = {}
    gap = left_out = sum(map(len, session.gaps))
    for at, (turn, piece) in enumerate(pieces):
        if at not in kept:
            gap, left_out = gap + len(piece), left_out + len(piece)
            continue
        goes_on = at > 0 and pieces[at - 1][0] is turn
        if goes_on and not gap:
            lines[-1] += piece
        else:
            head = f"[{turn.number}, goes on]" if goes_on else ""
            lines += [*_tell_gap(gap), head + piece]
        gap = 0
        shown[turn.number] = shown.get(turn.number, "") + piece
    note = f"cut to the model's window: {left_out:,} of {len(text):,} characters were left out"
    return Excerpt("\n".join([*lines, *_tell_gap(gap)]), shown, session, note)


def _choose(pieces: list[tuple[Turn, str]], room: float, stems: set[str]) -> set[int]:
    roles = [turn.role for turn, _ in pieces]
    first = roles.index("user") if "user" in roles else 0
    last = max((at for at, role in enumerate(roles) if role in ASSISTANT), default=0)

    def rank(at: int) -> tuple[bool, int, int]:
        named = len(stems & find_stems(pieces[at][1]))
        return at not in (first, last), -named, min(at, len(pieces) - 1 - at)

    kept: set[int] = set()
    for at in sorted(range(len(pieces)), key=rank):
        cost = count_tokens(pieces[at][1]) + MARK_TOKENS
        if cost <= room:
            kept.add(at)
            room -= cost
        elif at in (first, last):
            raise ValueError("the window has no room for the first question and the last answer")
    return kept


def disarm(text: str) -> str:
    """Put a bracket that can be seen in the place of those that could pass for a fence."""
    return FENCE_LIKE.sub(SHOWN_BRACKET, text)


def count_tokens(text: str) -> float:
    """Estimate from above: 0.35 a character of ASCII, one of any other."""
    ascii_only = len(text.encode("ascii", "ignore"))
    return 0.35 * ascii_only + (len(text) - ascii_only)


def find_stems(text: str) -> set[str]:
    """Return how the longer words of a text begin, but for those that every session has."""
    return {word[:STEM] for word in WORD.findall(text.casefold())} - EVERYWHERE


def _split(text: str) -> list[str]:
    """Split a long text at line ends or blanks."""
    return re.findall(rf"(?s).{{1,{PIECE}}}(?=\s|$)|.{{1,{PIECE}}}", text) or [text]


def _tell_gap(characters: int) -> list[str]:
    return [f"[{characters:,} characters left out here]"] if characters else []


def _flatten(text: str) -> str:
    return " ".join(BRACKETS.sub(SHOWN_BRACKET, text).split())
