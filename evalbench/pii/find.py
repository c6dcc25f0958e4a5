"""The personal data of a text, found where it stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from evalbench.pii.forms import PATTERNS, SHAPE, Pattern

# A character as a URL or JSON writes it, escaped once or more.
ESCAPE = re.compile(r"(%(?:25)*+[0-9A-Fa-f]{2}|(?<!\\)\\++u00[0-9A-Fa-f]{2})")
LOCAL = re.compile(r"[\w.%+'-]{1,64}+")
SIGNS = " \t\n#:=.,-/\"'\\"
WORDS_BEFORE = 24  # characters before a value in which a word may say that it is none


class Found(NamedTuple):
    """A value in a text: where it stands, its kind, and its one spelling."""

    start: int
    end: int
    kind: str
    value: str


def find_personal(text: str) -> tuple[Found, ...]:
    """Find the personal data of a text, in its order; of two that overlap the first pattern's."""
    plain, places, shifts = _unescape(text)
    found: list[Found] = []
    shape = plain.translate(SHAPE)
    for pattern in PATTERNS:
        for mark in pattern.marks:
            if mark in shape:
                break
        else:
            continue
        more = list(_find(pattern, plain))
        found = _join(found, more) if found and more else found or more
    if not places:
        return tuple(found)

    def shift(place: int) -> int:
        return place + shifts[bisect_right(places, place)]

    return tuple(Found(shift(start), shift(end), kind, value) for start, end, kind, value in found)


def _join(found: list[Found], more: list[Found]) -> list[Found]:
    """Add to what was found what does not overlap it; each is in order, and so is the result."""
    kept, at = [], 0
    for each in more:
        while at < len(found) and found[at].end <= each.start:
            at += 1
        if at == len(found) or found[at].start >= each.end:
            kept.append(each)
    return sorted(found + kept)


def _find(pattern: Pattern, text: str) -> Iterator[Found]:
    kind, form, _, read, unless, group = pattern
    for match in form.finditer(text):
        start, value = match.start(group), match[group]
        if kind == "EMAIL":
            name = LOCAL.match(text[max(0, start - 64) : start][::-1])
            local = name[0][::-1].lstrip(".'+-") if name else ""
            if not local or local == "git":  # an address of a repository
                continue
            start, value = start - len(local), (local + value).lower()
        if not (reading := read(value)):
            continue
        if unless:
            before = text[max(0, start - WORDS_BEFORE) : start].rstrip(SIGNS)
            if before[-1:].isalpha() and unless.search(before):
                continue
        yield Found(start, start + reading[1], kind, reading[0])


def _unescape(text: str) -> tuple[str, list[int], list[int]]:
    """Return the text unescaped, places in it, and how far what is from each on was shifted.

    Escaped white space and slashes keep their length, which is quick: they only part words.
    """
    if "\\" in text:
        for escaped, plain in (r"\n", "  "), (r"\r", "  "), (r"\t", "  "), (r"\/", "//"):
            text = text.replace(escaped, plain)
    if "%" not in text and r"\u00" not in text:
        return text, [], []
    parts = ESCAPE.split(text)
    escapes = parts[1::2]
    places = list(accumulate(len(part) + 1 for part in parts[:-1:2]))
    shifts = [0, *accumulate(len(escape) - 1 for escape in escapes)]
    parts[1::2] = bytes.fromhex("".join([escape[-2:] for escape in escapes])).decode("latin-1")
    return "".join(parts), places, shifts
