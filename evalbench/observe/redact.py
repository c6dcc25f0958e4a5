"""Personal data out, typed placeholders in: ``<EMAIL_48213>``, the same within a session.

The number is a keyed hash of session, kind and value. So it needs no memory of what came before:
a value has the same placeholder in every chunk of a file and in a later file of its session, and
another one in another session, where it must not tell that two sessions are of one person.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import orjson
import polars as pl

from evalbench.pii import PHONE_FIELD, SUSPECT, find_personal, read_card, read_phone

TEXT_COLUMNS = (
    "status_message",
    "input",
    "output",
    "input_messages",
    "output_messages",
    "tool_arguments",
    "tool_result",
    "attributes",
    "segments",
    "rationale",
    "evidence",
    "error",
)
SHORT = 8192
"""Characters of a text that is worth remembering: a session says the same things many times."""

_find_in_short = lru_cache(maxsize=2048)(find_personal)


def redact_columns(frame: pl.DataFrame, *, secret: str) -> pl.DataFrame:
    """Replace personal data in every text of spans or verdicts.

    Parameters
    ----------
    frame : polars.DataFrame
        With ``session_id`` and any of the columns of a span or verdict.
    secret : str
        Key of the hash behind the numbers.

    Returns
    -------
    polars.DataFrame
        The same rows; columns of JSON still hold JSON.
    """
    sessions = frame["session_id"]
    changed = [
        _redact_series(frame[name], sessions, secret)
        for name in TEXT_COLUMNS
        if name in frame.columns
    ]
    if "documents" in frame.columns:
        changed.append(_redact_documents(frame, secret))
    return frame.with_columns(changed)


def redact_text(text: str, session_id: str, *, secret: str) -> str:
    """Replace personal data in one text; where it is JSON, inside its names and values."""
    if text[:1] in ("{", "["):
        try:
            value = orjson.loads(text)
            changed = _redact_value(value, session_id, secret)
            return text if changed == value else orjson.dumps(changed).decode()
        except (orjson.JSONDecodeError, RecursionError, TypeError):  # no JSON, or too deep
            pass
    found = _find_in_short(text) if len(text) <= SHORT else find_personal(text)
    if not found:
        return text
    parts: list[str] = []
    end = 0
    for each in found:
        parts += text[end : each.start], _placeholder(each.kind, each.value, session_id, secret)
        end = each.end
    return "".join(parts) + text[end:]


def _redact_series(texts: pl.Series, sessions: pl.Series, secret: str) -> pl.Series:
    suspects = texts.str.contains(SUSPECT).fill_null(False).arg_true()
    changed = [
        redact_text(text, session, secret=secret)
        for text, session in zip(texts.gather(suspects), sessions.gather(suspects), strict=True)
    ]
    return texts.scatter(suspects, changed) if changed else texts


def _redact_documents(frame: pl.DataFrame, secret: str) -> pl.Series:
    rows = frame.select("session_id", "documents").with_row_index()
    flat = rows.filter(pl.col("documents").list.len() > 0).explode("documents")
    flat = flat.select("index", "session_id", pl.col("documents").struct.unnest())
    content = _redact_series(flat["content"], flat["session_id"], secret)
    changed = (
        flat.with_columns(content)
        .group_by("index", maintain_order=True)
        .agg(changed=pl.struct("id", "content", "score"))
    )
    joined = rows.join(changed, on="index", how="left", maintain_order="left")
    return joined.select(documents=pl.coalesce("changed", "documents")).to_series()


def _redact_value(value: Any, session_id: str, secret: str) -> Any:
    if isinstance(value, str):
        return redact_text(value, session_id, secret=secret)
    if isinstance(value, list):
        return [_redact_value(each, session_id, secret) for each in value]
    if isinstance(value, dict):
        return {
            redact_text(name, session_id, secret=secret): _redact_field(
                name, each, session_id, secret
            )
            for name, each in value.items()
        }
    if isinstance(value, int) and not isinstance(value, bool) and read_card(str(value)):
        return _placeholder("CARD", str(value), session_id, secret)
    return value


def _redact_field(name: str, value: Any, session_id: str, secret: str) -> Any:
    """Redact what a field holds; one that is named for a phone needs no form to be taken."""
    if PHONE_FIELD.search(name) and value.__class__ in (str, int):
        number = read_phone(str(value))
        if number:
            return _placeholder("PHONE", number, session_id, secret)
    return _redact_value(value, session_id, secret)


def _placeholder(kind: str, value: str, session_id: str, secret: str) -> str:
    told = f"{session_id}\0{kind}\0{value}".encode()
    digest = hashlib.blake2b(told, key=secret.encode()[:64], digest_size=8).digest()
    return f"<{kind}_{int.from_bytes(digest, 'big') % 90_000 + 10_000}>"
