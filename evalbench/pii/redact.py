"""Placeholders in the place of personal data, such as ``<EMAIL_48213>``.

The number is a keyed hash of session, kind and value: the same throughout a session, another in
another. In an identifier it is of kind and value alone, and long: what was joined by it still is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache, partial

import polars as pl

from evalbench.pii.find import find_personal
from evalbench.pii.forms import SUSPECT

TEXT_COLUMNS = frozenset(
    "status_message input output input_messages output_messages tool_arguments tool_result "
    "attributes segments rationale evidence error".split()
)
# Columns whose words are the workspace's own. Texts and these aside, a column of text holds
# identifiers.
OWN_COLUMNS = frozenset("surface user_key kind status source_format ingest_id".split())
# Identifiers in which four numbers are a version and no address.
VERSIONS = frozenset("release model evaluator_version model_fingerprint".split())
# Characters of a text that is worth remembering: a session says the same things many times.
SHORT = 8192
JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?([0-9]++)', re.DOTALL)
ESCAPED_NAME = re.compile(r"(\\{1,15}[\"'])\s{0,3}:\s{0,3}\Z")

_find_in_short = lru_cache(maxsize=2048)(find_personal)


def redact_columns(frame: pl.DataFrame, *, secret: str) -> pl.DataFrame:
    """Replace personal data in every text of spans or verdicts; JSON stays JSON."""
    texts = [
        name for name, kind in frame.schema.items() if kind == pl.String and name not in OWN_COLUMNS
    ]
    identifiers = [
        _redact_identifiers(frame[name], secret) for name in texts if name not in TEXT_COLUMNS
    ]
    frame = frame.with_columns(identifiers)
    sessions = frame["session_id"]
    changed = [
        _redact_texts(frame[name], sessions, secret) for name in texts if name in TEXT_COLUMNS
    ]
    if "documents" in frame.columns:
        changed.append(_redact_documents(frame, secret))
    return frame.with_columns(changed)


def redact_text(text: str, session_id: str, *, secret: str) -> str:
    """Replace personal data in one text; a number of JSON by a text of JSON."""
    return _replace(text, partial(_number, scope=session_id, secret=secret))


@lru_cache(maxsize=2048)
def redact_identifier(text: str, *, secret: str, version: bool = False) -> str:
    """Replace personal data in an identifier, alike wherever it stands; bare digits are none."""
    if text.isdecimal():
        return text
    return _replace(text, partial(_number, scope="", secret=secret), version=version)


def _replace(text: str, number: Callable[[str, str], int], *, version: bool = False) -> str:
    found = _find_in_short(text) if len(text) <= SHORT else find_personal(text)
    if not found:
        return text
    numbers: dict[int, int] | None = None
    parts: list[str] = []
    last = 0
    for start, end, kind, value in found:
        if version and kind == "IP":
            continue
        quote = ""
        if text[0] in "{[" and text[start:end].isdecimal():
            if numbers is None:
                tokens = JSON_TOKEN.finditer(text)
                numbers = {token.start(1): token.start() for token in tokens if token[1]}
            if start in numbers:
                start, quote = numbers[start], '"'
            elif name := ESCAPED_NAME.search(text, max(0, start - 24), start):
                quote = name[1]
        parts += text[last:start], f"{quote}<{kind}_{number(kind, value)}>{quote}"
        last = end
    return "".join(parts) + text[last:]


@lru_cache(maxsize=2048)
def _number(kind: str, value: str, scope: str, secret: str) -> int:
    """Return five digits within a session, and of an identifier enough that no two share them."""
    key, named = secret.encode()[:64], f"{scope}\0{kind}\0{value}".encode()
    number = int.from_bytes(hashlib.blake2b(named, key=key, digest_size=8).digest(), "big")
    return number % 90_000 + 10_000 if scope else number


def _redact_texts(texts: pl.Series, sessions: pl.Series, secret: str) -> pl.Series:
    suspects = texts.str.contains(SUSPECT).fill_null(False).arg_true()
    changed = [
        redact_text(text, session, secret=secret)
        for text, session in zip(texts.gather(suspects), sessions.gather(suspects), strict=True)
    ]
    return texts.scatter(suspects, changed) if changed else texts


def _redact_identifiers(texts: pl.Series, secret: str) -> pl.Series:
    suspects = texts.str.contains(SUSPECT).fill_null(False).arg_true()
    suspects = suspects.filter(texts.gather(suspects).str.contains("[^0-9]"))
    version = texts.name in VERSIONS
    changed = [
        redact_identifier(text, secret=secret, version=version) for text in texts.gather(suspects)
    ]
    return texts.scatter(suspects, changed) if changed else texts


def _redact_documents(frame: pl.DataFrame, secret: str) -> pl.Series:
    rows = frame.select("session_id", "documents").with_row_index()
    flat = rows.filter(pl.col("documents").list.len() > 0).explode("documents")
    flat = flat.select("index", "session_id", pl.col("documents").struct.unnest())
    changed = (
        flat.with_columns(
            _redact_identifiers(flat["id"], secret),
            _redact_texts(flat["content"], flat["session_id"], secret),
        )
        .group_by("index", maintain_order=True)
        .agg(changed=pl.struct("id", "content", "score"))
    )
    joined = rows.join(changed, on="index", how="left", maintain_order="left")
    return joined.select(documents=pl.coalesce("changed", "documents")).to_series()
