"""One line of a source as the records it holds."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from evalbench.observe.formats.opentelemetry import envelope_spans
from evalbench.observe.record import Row
from evalbench.observe.source import LIMIT, PREFIX, Text

REJECT = {"line", "reason", "text"}


class Record(NamedTuple):
    """A record and the text it came as; ``value`` is none where it is no object, ``flaw`` why."""

    text: Text
    value: Row | None
    flaw: str = ""


def decode(line: Text) -> list[Record]:
    """Return the records of one line: none of a blank one, of an OTLP envelope one a span.

    A line of a rejects file gives what its ``text`` holds.
    """
    record = _load(line)
    value = record.value
    if value is None:
        return [record] if bytes(line).strip() else []
    if value.keys() == REJECT:
        record = _load(str(value["text"]).encode())
        value = record.value
    if value is not None and "resourceSpans" in value:
        return _split_envelope(value, record.text)
    return [record]


def _load(text: Text) -> Record:
    if len(text) > LIMIT:
        reason = f"{len(text):,} bytes long, more than {LIMIT >> 20} MiB"
        return Record(text[:PREFIX], None, reason)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            bytes(text).decode()
        except UnicodeDecodeError as undecodable:
            return Record(text, None, f"not UTF-8: {undecodable}")
        return Record(text, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Record(text, None, "not a JSON object")
    return Record(text, value)


def _split_envelope(envelope: Row, text: Text) -> list[Record]:
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
