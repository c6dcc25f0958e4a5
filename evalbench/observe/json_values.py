"""JSON values cut out of a text by their brackets, each as its author wrote it.

A text is any mixture of lines, lists, documents, and values one after the other. Nothing is parsed:
that is the work of those who read the records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import orjson

CHUNK = 16 << 20  # bytes that are taken at a time
LIMIT = 64 << 20  # A longer record is rejected: whole it would not fit the memory that is promised
PREFIX = 4 << 10  # what is kept of the text of a record over the limit
# Values without an end after which a text is read line by line: each was looked for to the end.
MOST_TORN = 5

OTLP = re.compile(rb'\{\s*"resourceSpans"\s*:\s*\[')
ENVELOPE = b'{"resourceSpans":[%b]}'
# White space and commas, byte-order marks of files put together, the mark of a JSON sequence.
BETWEEN = re.compile(rb"(?:[\s,\x1e]|\xef\xbb\xbf)*+")
NO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)


class Flaw(NamedTuple):
    """A part of the source that is no record."""

    line: int
    reason: str
    text: bytes


class Source(Protocol):
    """Where bytes come from; ``broken`` says why they ended early."""

    broken: str

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end."""


class Scanner:
    """A window on the text, ``at`` a place and ``line``; ``torn`` counts values without an end."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text, self.at, self.line, self.ended = b"", 0, 1, False
        self.torn = 0

    def grow(self) -> bool:
        """Take more of the source into the window; false at its end."""
        more = b"" if self.ended else self.source.read(CHUNK)
        self.ended = len(more) < CHUNK
        self.text, self.at = self.text[self.at :] + more, 0
        return bool(more)

    def take(self, end: int) -> bytes:
        """Take the text up to a place."""
        taken = self.text[self.at : end]
        self.at, self.line = end, self.line + taken.count(b"\n")
        return taken

    def take_lines(self) -> Iterator[tuple[int, bytes]]:
        """Take records that have a line each: the most of what is read, and the quickest."""
        text, at, line = self.text, self.at, self.line
        while 0 <= (end := text.find(b"\n", at)) <= at + LIMIT:
            if text[at : at + 1] != b"{" or text[end - 1 : end] != b"}":
                break
            yield line, text[at:end]
            at, line = end + 1, line + 1
        self.at, self.line = at, line

    def skip_between(self) -> bytes:
        """Skip what stands between values, and give the byte that follows; b"" at the end."""
        while True:
            self.take(BETWEEN.match(self.text, self.at).end())  # type: ignore[union-attr]
            if self.at < len(self.text) or not self.grow():
                return self.text[self.at : self.at + 1]

    def find_line_end(self) -> int:
        """Find the end of the line, of one over the limit as far as it is in the window."""
        while (end := self.text.find(b"\n", self.at)) < 0:
            if len(self.text) - self.at > LIMIT or not self.grow():
                return len(self.text)
        return end

    def find_value_end(self) -> int:
        """Find the end of the value that begins here; -1 where it is too long or has none."""
        while (end := find_end(self.text, self.at)) < 0:
            if len(self.text) - self.at > LIMIT or not self.grow():
                return -1
        return end

    def is_torn(self, end: int) -> bool:
        """Tell whether a line that ends here without its end is torn, and no value of several."""
        goes_on = self.text[self.at : end].rstrip()[-1:] in (b"{", b"[", b",", b":")
        return self.torn >= MOST_TORN or (not goes_on and self.text[end : end + 2] == b"\n{")

    def skip_line(self) -> int:
        """Skip the rest of a line over the limit; give its length with its end."""
        length = 0
        while True:
            end = self.text.find(b"\n", self.at)
            length += len(self.take(end + 1 if end >= 0 else len(self.text)))
            if end >= 0 or not self.grow():
                return length


def find_end(text: bytes, start: int) -> int:
    """Find where the brackets that open at a place close; -1 where they do not."""
    at, depth = start, 0
    while True:
        at = NO_BRACKET.match(text, at).end()  # type: ignore[union-attr]
        bracket = text[at : at + 1]
        if not bracket or bracket == b'"':
            return -1
        depth += 1 if bracket in b"[{" else -1
        at += 1
        if depth <= 0:
            return at


def split_values(text: bytes) -> list[bytes]:
    """Split values that stand one after the other; what has no end is the last."""
    values, at = [], 0
    while (at := BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        end = find_end(text, at) if text[at] in b"[{" else -1
        end = len(text) if end < 0 else end
        values.append(text[at:end])
        at = end
    return values


def read_values(source: Source) -> Iterator[tuple[int, bytes] | Flaw]:
    """Cut the records out of a source, each with its line, and what is none into flaws."""
    window = Scanner(source)
    while window.skip_between():
        yield from window.take_lines()
        if not (byte := window.skip_between()):
            break
        if byte == b"[":
            window.take(window.at + 1)
            yield from _read_list(window)
            continue
        line, end = window.line, window.find_line_end()
        too_long = end - window.at > LIMIT
        whole = not too_long and window.text[window.at : end].rstrip().endswith(b"}")
        if not whole and (head := OTLP.match(window.text, window.at)):
            window.take(head.end())
            yield from _read_list(window, ENVELOPE)
            rest = window.take(max(window.text.find(b"}", window.at) + 1, window.at))
            if rest.strip(b"}, \t\r\n"):
                yield Flaw(window.line, "more than a list is in this OTLP document", rest)
        elif too_long:
            text = window.text[window.at : window.at + PREFIX]
            length = window.skip_line()
            yield Flaw(line, f"{length:,} bytes long, more than {LIMIT >> 20} MiB", text)
        elif byte == b"{" and not whole and not window.is_torn(end):
            if (stop := window.find_value_end()) < 0 and window.source.broken:
                break
            yield line, _take_document(window, stop)
        else:
            yield line, window.take(end)
    if window.source.broken:
        yield Flaw(window.line, window.source.broken, window.take(len(window.text)))


def _take_document(window: Scanner, end: int) -> bytes:
    """Take a value of several lines; of a torn one what stands before the next record."""
    stop = len(window.text) if end < 0 else end
    text = window.text[window.at : stop]
    if end < 0 or not _is_json(text):
        window.torn += 1
        torn = text.find(b"\n{")
        if torn < 0 and end < 0:
            torn = text.find(b"\n")
        if torn >= 0:
            return window.take(window.at + torn)
    return window.take(stop)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _read_list(window: Scanner, wrapper: bytes = b"%b") -> Iterator[tuple[int, bytes] | Flaw]:
    """Read the items of a list up to its end."""
    while byte := window.skip_between():
        line = window.line
        if byte == b"]":
            window.take(window.at + 1)
            return
        if byte not in b"[{":
            end = NO_BRACKET.match(window.text, window.at).end()  # type: ignore[union-attr]
            if end == len(window.text) and len(window.text) - window.at <= LIMIT and window.grow():
                continue
            text = window.take(max(end, window.at + 1)).rstrip(b" \t\r\n,")
            yield Flaw(line, "not a JSON object", text)
        elif (end := window.find_value_end()) >= 0:
            yield line, wrapper % window.take(end)
        elif len(window.text) - window.at > LIMIT:
            reason = f"longer than {LIMIT >> 20} MiB; it and all that follows it is left out"
            yield Flaw(line, reason, window.text[window.at : window.at + PREFIX])
            while window.grow():
                window.take(len(window.text))
            window.take(len(window.text))
            return
        else:
            break
    reason = window.source.broken or "the JSON list ends before it is closed"
    window.source.broken = ""
    yield Flaw(window.line, reason, window.take(len(window.text)).strip(b" \t\r\n,"))
