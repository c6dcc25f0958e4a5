"""The envelopes spans come in: OTLP/JSON, typed attribute lists, Phoenix's frame columns."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from evalbench.observe.record import from_json, is_missing

DEEPEST = 64


def envelope_spans(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each span of an OTLP/JSON document with its resource's attributes and its scope.

    Raises
    ------
    ValueError
        The document has no list where OTLP has one.
    """
    for resource_spans in _objects(document, "resourceSpans", "resource_spans"):
        held = resource_spans.get("resource")
        resource = plain_attributes(held.get("attributes")) if isinstance(held, dict) else {}
        scopes = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans")
        for scope_spans in _objects(resource_spans, *scopes):
            scope = scope_spans.get("scope") or scope_spans.get("instrumentationLibrary") or {}
            for span in _objects(scope_spans, "spans"):
                yield {"resource": resource, "scope": scope, "span": span}


def _objects(holder: Mapping[str, Any], *names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        items = holder.get(name)
        if items is None:
            continue
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"OTLP {name!r} is not a list of objects")
        yield from items


def plain_attributes(attributes: Any) -> dict[str, Any]:
    """Attributes as one flat dict, from a dict, JSON text or OTLP's list of keys and values."""
    attributes = from_json(attributes)
    if isinstance(attributes, dict):
        return attributes
    if attributes is None:
        return {}
    if not isinstance(attributes, list):
        raise ValueError(f"attributes are not an object: {str(attributes)[:80]!r}")
    try:
        return {item["key"]: _value(item.get("value"), 0) for item in attributes}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("attributes are not a list of keys and values") from error


def _value(value: Any, depth: int) -> Any:
    """Plain value of an OTLP AnyValue."""
    if not isinstance(value, dict):
        return value
    if depth > DEEPEST:
        raise ValueError(f"an attribute is nested deeper than {DEEPEST}")
    for name, held in value.items():
        if name == "intValue":
            return int(held)
        if name == "arrayValue":
            return [_value(item, depth + 1) for item in held.get("values") or ()]
        if name == "kvlistValue":
            pairs = held.get("values") or ()
            return {pair["key"]: _value(pair.get("value"), depth + 1) for pair in pairs}
        if name == "bytesValue":
            return held if isinstance(held, str) else base64.b64encode(bytes(held)).decode()
        return held
    return None


def gather(row: Mapping[str, Any]) -> dict[str, Any]:
    """Span of a row of Phoenix's frame: its ``attributes.*`` together, empty cells left out."""
    attributes = dict(plain_attributes(row.get("attributes")))
    span: dict[str, Any] = {"attributes": attributes}
    for column, value in row.items():
        if not is_missing(value):
            if column.startswith("attributes."):
                attributes[column[11:]] = value
            elif column != "attributes":
                span[column] = value
    return span


def flatten(prefix: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Dotted names and leaves of a nested value; lists count as names of their index."""
    value = from_json(value) if isinstance(value, str) and depth == 0 else value
    if isinstance(value, dict) and value and depth < DEEPEST:
        for name, held in value.items():
            yield from flatten(f"{prefix}.{name}", held, depth + 1)
    elif isinstance(value, list) and value and depth < DEEPEST and isinstance(value[0], dict):
        for index, held in enumerate(value):
            yield from flatten(f"{prefix}.{index}", held, depth + 1)
    elif value is not None:
        yield prefix, value
