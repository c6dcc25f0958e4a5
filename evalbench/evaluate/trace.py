"""A session as a judge reads it: fenced data, in the order of time, cut to the model's window."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from evalbench.evaluate.session import (
    ASSISTANT,
    INSTRUCTIONS,
    QUOTED,
    USER,
    Session,
    plain,
    read_messages,
)

ROLES = {
    **dict.fromkeys(INSTRUCTIONS, "system"),
    **dict.fromkeys(USER, "user"),
    **dict.fromkeys(ASSISTANT, "assistant"),
    **dict.fromkeys(("tool", "function"), "result"),
}
FENCE_LIKE = re.compile(
    r"[<\uff1c\ufe64](?=[\W_]{0,16}(?:trace|rubric|system|user|assistant|im_|inst|sys\b|s\W|"
    r"start_of|end_of|endof|begin_of|eot_|\|))",
    re.IGNORECASE,
)
"""The bracket of what could pass for an end of the data, or for a role of a chat template."""
SHOWN_BRACKET = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
PIECE = 1_500
"""Characters of the parts in which a long turn is kept or left out."""
WORD = re.compile(r"[^\W\d_]{4,}")
STEM = 6


class Turn(NamedTuple):
    """What somebody said, called or found, and the span it stands in."""

    span_id: str
    role: str
    text: str

    def show(self) -> str:
        """Write it as data: no line of the text can pass for the head of a turn, or for a fence."""
        text = "\n  ".join(self.text.splitlines())
        return disarm(f"[{self.role} span={' '.join(self.span_id.split())}]\n  {text}")


class Trace(NamedTuple):
    """What a judge is shown: the parts, their text, and what was left out for want of room."""

    turns: Sequence[Turn]
    text: str
    note: str = ""

    def find_quote(self, quote: str, span_id: str) -> dict[str, str] | None:
        """Give a quote as evidence, with the span it stands in; None where it is fabricated.

        Runs of white space are alike; where it stands in several spans, the one named counts.
        """
        words = _flatten(quote.strip().strip('"“”').removesuffix("...").strip("…"))
        held = [turn.span_id for turn in self.turns if words in _flatten(turn.show())]
        if not words or not held:
            return None
        return {"span_id": span_id if span_id in held else held[0], "quote": words[:QUOTED]}


def read_turns(session: Session) -> list[Turn]:
    """Give all that was said, called and found in the order of time, each text once."""
    told: dict[tuple[str, str], Turn] = {}
    for role, texts in (
        ("system", session.instructions),
        ("user", session.questions),
        ("assistant", session.answers),
        ("result", session.results),
        ("document", session.documents),
    ):
        for text in texts:
            shown = f"{text.id}\n{text.content}" if text.id else text.content
            told[role, text.content.strip()] = Turn(text.span_id, role, shown)
    calls = defaultdict(list)
    for call in session.calls:
        calls[call.span_id].append(Turn(call.span_id, "call", f"{call.name} {call.arguments}"))
    turns: list[Turn] = []

    def tell(role: str, content: str | None) -> None:
        if turn := told.pop((role, (content or "").strip()), None):
            turns.append(turn)

    outer = None  # what a root span gave back comes after all that it called
    for span in session.shown:
        if span["parent_id"] is None:
            tell("assistant", outer)
            outer = span["output"]
        said = read_messages(span["input_messages"])
        if not said:
            tell("user", span["input"])
        for message in said:
            tell(ROLES.get(message.get("role", ""), ""), plain(message.get("content")))
        for document in span["documents"] or ():
            tell("document", document["content"])
        for message in read_messages(span["output_messages"]):
            tell(ROLES.get(message.get("role", ""), ""), plain(message.get("content")))
        if span["kind"] == "llm":
            tell("assistant", span["output"])
        turns += calls.pop(span["span_id"], ())
        tell("result", span["tool_result"])
    tell("assistant", outer)
    return [*turns, *told.values()]


def show_turns(turns: Sequence[Turn], *, room: float | None, rubric: str) -> Trace:
    """Write turns one after another; where they take more than ``room`` tokens, leave parts out.

    Kept are how the session began and ended, then the parts that share most words with the rubric,
    then those nearest to the beginning or the end.

    Raises
    ------
    ValueError
        Not even the first question and the last answer fit.
    """
    text = "\n".join(turn.show() for turn in turns)
    if room is None or count_tokens(text) <= room:
        return Trace(turns, text)
    parts = [turn._replace(text=piece) for turn in turns for piece in _split(turn.text)]
    first = next((at for at, part in enumerate(parts) if part.role == "user"), 0)
    last = max((at for at, part in enumerate(parts) if part.role == "assistant"), default=0)
    stems = _stems(rubric)

    def rank(at: int) -> tuple[bool, int, int]:
        named = len(stems & _stems(parts[at].text))
        return at not in (first, last), -named, min(at, len(parts) - 1 - at)

    kept: set[int] = set()
    for at in sorted(range(len(parts)), key=rank):
        cost = count_tokens(parts[at].show()) + 32  # and a note on what is left out beside it
        if cost <= room:
            kept.add(at)
            room -= cost
        elif at in (first, last):
            raise ValueError("the window has no room for the first question and the last answer")
    shown, gap = [], 0
    for at, part in enumerate(parts):
        if at in kept:
            shown += [*_tell_gap(gap), part.show()]
        gap = 0 if at in kept else gap + len(part.text)
    left, total = sum(len(parts[at].text) for at in range(len(parts)) if at not in kept), len(text)
    note = f"cut to the model's window: {left:,} of {total:,} characters were left out"
    chosen = [parts[at] for at in sorted(kept)]
    return Trace(chosen, "\n".join([*shown, *_tell_gap(gap)]), note)


def name_fence(*parts: str) -> str:
    """Name a fence by a hash of all that stands inside: no trace can hold its own."""
    inside = "\0".join(parts).encode(errors="surrogatepass")
    return f"trace-{hashlib.sha256(inside).hexdigest()[:16]}"


def disarm(text: str) -> str:
    """Put a bracket that can be seen in the place of those that could pass for a fence."""
    return FENCE_LIKE.sub(SHOWN_BRACKET, text)


def count_tokens(text: str) -> float:
    """Guess from above: 0.35 a character of ASCII, one of any other."""
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
