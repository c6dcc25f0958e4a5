"""One line of a source as the records it holds."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from evalbench.observe.formats.opentelemetry import envelope_spans
from evalbench.observe.json_values import split_values
from evalbench.observe.record import Row

REJECT = {"line", "reason", "text"}


class Record(NamedTuple):
    """A record and the text it came as; ``value`` is none where it is no object, ``flaw`` why."""

    text: bytes
    value: Row | None
    flaw: str = ""


def decode(line: bytes) -> list[Record]:
    """Return the records of one line: none of a blank one, of an OTLP envelope one a span.

    A line of a rejects file gives what its ``text`` holds; one of several values gives each.
    """
    record = _load(line)
    value = record.value
    if value is None:
        values = split_values(line)
        return [each for text in values for each in decode(text)] if values[1:] else [record]
    if value.keys() == REJECT:
        record = _load(str(value["text"]).encode())
        value = record.value
    if value is not None and "resourceSpans" in value:
        return _split_envelope(value, record.text)
    return [record]


def _load(text: bytes) -> Record:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode()
        except UnicodeDecodeError as undecodable:
            return Record(text, None, f"not UTF-8: {undecodable}")
        return Record(text, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Record(text, None, "not a JSON object")
    return Record(text, value)


def _split_envelope(envelope: Row, text: bytes) -> list[Record]:
    """Make one envelope a span, so that a bad span takes no good one with it."""
    try:
        spans = list(envelope_spans(envelope))
    except ValueError as error:
        return [Record(text, None, str(error))]
    if not spans:
        return [Record(text, None, "an OTLP envelope without spans")]
    if len(spans) == 1:
        return [Record(text, envelope)]
    return [Record(orjson.dumps(span), span) for span in spans]
