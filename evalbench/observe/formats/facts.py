"""Facts of a session that sources put into free metadata and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from evalbench.observe.formats.feedback import plain_name, signal
from evalbench.observe.record import from_json, is_missing, to_json
from evalbench.schema import SIGNALS

# Names of metadata that divide sessions into segments; other metadata is no segment.
SEGMENTS = frozenset(
    "tier plan locale language country region market intent topic category channel platform device "
    "product team customer_segment cohort experiment variant persona industry use_case repository"
    "".split()
)

# Names of metadata that are a column of the session.
FACT_OF = {
    "release": "release",
    "app_version": "release",
    "environment": "environment",
    "env": "environment",
    "group_key": "group_key",
    "user_id": "user_key",
}


def session_facts(metadata: Any, tags: Iterable[Any] = ()) -> Mapping[str, Any]:
    """Columns of the session found in metadata (an object or its JSON text) and in tags.

    A tag ``name:value`` or ``name=value`` is a segment, if known; the others together are ``tags``.
    """
    facts = _text_facts(metadata) if isinstance(metadata, str) else _facts(metadata)
    segments: dict[str, str] = {}
    plain = []
    for tag in tags:
        if isinstance(tag, str):
            name, mark, value = tag.partition(":" if ":" in tag else "=")
            if mark and plain_name(name) in SEGMENTS and value:
                segments[plain_name(name)] = value.strip()
            else:
                plain.append(tag)
    if plain:
        segments["tags"] = ", ".join(sorted(plain))
    if segments:
        held = from_json(facts.get("segments") or "{}")
        facts = {**facts, "segments": to_json({**held, **segments})}
    return facts


@lru_cache(maxsize=4096)
def _text_facts(text: str) -> Mapping[str, Any]:
    # All spans of a session tend to repeat the same metadata, so it is read once.
    return _facts(from_json(text))


def _facts(metadata: Any) -> Mapping[str, Any]:
    facts: dict[str, Any] = {}
    segments: dict[str, str] = {}
    if not isinstance(metadata, Mapping):
        return facts
    for name, value in metadata.items():
        if is_missing(value) or isinstance(value, dict | list):
            continue
        plain = plain_name(name)
        if plain in FACT_OF:
            facts.setdefault(FACT_OF[plain], str(value))
        elif plain in SEGMENTS:
            segments[plain] = str(value)
        elif plain in SIGNALS and (read := signal(plain, value)):
            facts[read[0]] = read[1]
    if segments:
        facts["segments"] = to_json(segments)
    return facts
