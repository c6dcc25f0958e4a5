"""One line of a source as the records it holds, and which format module reads them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import orjson

from evalbench.errors import ReadError
from evalbench.observe.formats.otlp import envelope_spans
from evalbench.observe.source import LIMIT, PREFIX, Text

FORMATS = ("opentelemetry", "langfuse", "langsmith", "openai_chat")
"""Modules in the order they are asked: a later one may match what an earlier one knows better."""
REJECT = {"line", "reason", "text"}


class Record(NamedTuple):
    """A record and the text it came as; ``value`` is none where it is no object, ``flaw`` why."""

    text: Text
    value: dict[str, Any] | None
    flaw: str = ""


def load_formats(names: tuple[str, ...]) -> list[ModuleType]:
    """Import format modules by their file names."""
    return [import_module(f"evalbench.observe.formats.{name}") for name in names]


def find_formats(name: str) -> tuple[str, ...]:
    """Name the modules that read a format; all of them for ``auto``.

    Raises
    ------
    ReadError
        No module reads this format; the message names those that are read.
    """
    if name == "auto":
        return FORMATS
    known = {each: file for file in FORMATS for each in load_formats((file,))[0].NAMES}
    if name not in known:
        raise ReadError(f"format {name!r} is not known; known are auto, {', '.join(known)}")
    return (known[name],)


def is_plain(value: Any) -> bool:
    """Whether a value is one record as it stands, which :func:`decode` need not look into."""
    return value.__class__ is dict and "resourceSpans" not in value and "reason" not in value


def decode(line: Text) -> list[Record]:
    """Give the records of one line: none of a blank one, of an OTLP envelope one a span.

    A line of a rejects file gives what its ``text`` holds.
    """
    text = bytes(line)
    if not text or text.isspace():
        return []
    record = _load(text)
    if record.value is not None and record.value.keys() == REJECT:
        record = _load(str(record.value["text"]).encode())
    if record.value is not None and "resourceSpans" in record.value:
        return _split_envelope(record.value, record.text)
    return [record]


def _load(text: bytes) -> Record:
    if len(text) > LIMIT:
        reason = f"{len(text):,} bytes long, more than {LIMIT >> 20} MiB"
        return Record(text[:PREFIX], None, reason)
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


def _split_envelope(envelope: dict[str, Any], text: Text) -> list[Record]:
    """Make one envelope a span, so that a bad span takes no good one with it."""
    try:
        spans = list(envelope_spans(envelope))
    except ValueError as error:
        return [Record(text, None, str(error))]
    if not spans:
        return [Record(text, None, "an OTLP envelope without spans")]
    if len(spans) == 1:
        return [Record(text, envelope)]
    parts = []
    for each in spans:
        scope_spans = {"scope": each["scope"], "spans": [each["span"]]}
        resource = {"attributes": each["resource"]}
        part = {"resourceSpans": [{"resource": resource, "scopeSpans": [scope_spans]}]}
        parts.append(Record(orjson.dumps(part), part))
    return parts
