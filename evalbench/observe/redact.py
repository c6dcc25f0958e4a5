"""Personal data out, typed placeholders in: ``<EMAIL_48213>``, the same within a session.

The number is a keyed hash of session, kind and value. So it needs no memory of what came before:
a value has the same placeholder in every chunk of a file and in a later file of its session, and
another one in another session, where it must not tell that two sessions are of one person.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson
import polars as pl

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

SUSPECT = "|".join(
    (
        r"@[\w-]",
        r"[0-9](?:[ -]?[0-9]){12}",  # a card
        r"\+[0-9(]|\([0-9]{3}\)|[0-9]{3}[-. ][0-9]{3}[-. ][0-9]{4}",
        r"\b0[0-9]{1,4}[ .-][0-9]{2,4}[ .-][0-9]{2,4}",
        r"(?i:phone|mobile|tel|fax|whatsapp)\W{1,4}[0-9]",
        r"(?i:phone|mobile|tel|fax|whatsapp)[\w \\]{0,12}\W{1,6}[0-9]",
        r"\b[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}",  # an IBAN
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"[0-9A-Fa-f]::[0-9A-Fa-f]|[0-9A-Fa-f]:(?:[0-9A-Fa-f]{1,4}:){2}[0-9A-Fa-f]",
        r"\bsk-|\bsk_|\brk_|AKIA|ASIA|\bgh[a-z]_|github_pat_|\bxox|AIza|\beyJ|\bglpat-|\bhf_|\bnpm_",
        r"(?i:bearer )|PRIVATE KEY",
    )
)
"""What every pattern below needs: one quick pass tells the few texts that are looked at closely."""


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _read_card(found: str) -> str | None:
    digits = _digits(found)
    if not re.match(r"4|5[1-5]|2[2-7]|3[4-7]|6[0245]", digits):
        return None
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return digits if total % 10 == 0 else None


def _read_iban(found: str) -> str | None:
    iban = found.replace(" ", "")
    while len(iban) >= 15:  # the word after it may have been taken for its end
        number = "".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])
        if int(number) % 97 == 1:
            return iban
        iban = iban[:-1]
    return None


def _end_of(iban: str, found: str) -> int:
    ends = [place for place, letter in enumerate(found, 1) if letter != " "]
    return ends[len(iban) - 1]


def _read_ip(found: str) -> str | None:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return None
    if address.version == 6 and not (re.search(r"\d", found) and len(found) > 6):
        return None  # ``a::b`` is more often code
    return None if address.is_loopback or address.is_unspecified else str(address)


@lru_cache(maxsize=4096)
def _read_phone(found: str, regions: tuple[str | None, ...]) -> str | None:
    import phonenumbers

    for region in regions:
        try:
            number = phonenumbers.parse(found, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


NATIONAL = ("US", "GB", "FR", "DE", "ES", "IT", "IN", "AU", "BR", "MX")
"""Regions whose national numbers are known where the text itself says that it is a number."""


def _phone(*regions: str | None) -> Callable[[str], str | None]:
    return lambda found: _read_phone(found, regions)


def _read_key(found: str) -> str | None:
    return found


PHONE_FIELD = re.compile(r"(?i)phone|mobile|whatsapp|(?:^|_)(?:tel|cell|fax)(?:$|_)")
NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
START, END = r"(?<![\w.+-])", r"(?![\w-]|\.\d)"
PATTERNS: tuple[tuple[str, int, re.Pattern[str], Callable[[str], str | None]], ...] = (
    (
        "KEY",
        0,
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\bsk-[A-Za-z0-9_-]{16,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
            r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bAIza[\w-]{35}|\bglpat-[\w-]{20,}"
            r"|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{30,}"
            r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"
            r"|(?i:(?<=\bbearer ))(?=[\w.~+/-]*\d)[\w.~+/-]{16,}=*",
            re.DOTALL,
        ),
        _read_key,
    ),
    (
        "EMAIL",
        0,
        re.compile(r"(?<![\w.%+'-])[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"),
        lambda found: found.lower(),
    ),
    (
        "IBAN",
        8,
        re.compile(START + r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"),
        _read_iban,
    ),
    (
        "CARD",
        13,
        re.compile(
            START
            + r"(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})"
            + END
        ),
        _read_card,
    ),
    (
        "IP",
        4,
        re.compile(
            r"(?<![\w.:])(?<!version )(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"
            r"|(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?<=::))(?![\w:]))"
        ),
        _read_ip,
    ),
    (
        "PHONE",
        7,
        re.compile(r"(?<![\w.+])(?:\+|\b00(?=[1-9]\d? ))\(?\d[\d ().-]{6,20}\d" + END),
        lambda found: _read_phone("+" + found.lstrip("+0"), (None,)),
    ),
    (
        "PHONE",
        7,
        re.compile(START + r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}" + END),
        _phone("US"),
    ),
    ("PHONE", 7, re.compile(START + r"0\d(?:[ .-]\d{2}){4}" + END), _phone("FR")),
    ("PHONE", 7, re.compile(START + r"0\d{2,4} \d{3,4} \d{3,4}" + END), _phone("GB")),
    (
        "PHONE",
        7,
        re.compile(
            r"(?i:(?<=phone|mobil|whats)\w*|\bcell|\btel|\bfax)(?i:\W+(?:number|no|nr|num|is|at|me))*"
            r"\W{1,4}(?P<value>\(?\d[\d ().-]{5,16}\d)" + END
        ),
        _phone(*NATIONAL),
    ),
)
"""Kind, the fewest digits it has, its form, and what reads its value or refuses it."""


KEY_MARKS = (
    "sk- k_live_ k_test_ AKIA ASIA ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ xox AIza glpat- hf_ npm_ "
    "eyJ earer EARER PRIVATE"
)
MARKS = {"EMAIL": ["@"], "KEY": KEY_MARKS.split()}
"""Of these kinds each value holds one of these texts."""


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
    changed = [
        _redact_series(frame, name, secret) for name in TEXT_COLUMNS if name in frame.columns
    ]
    if "documents" in frame.columns and frame["documents"].count():
        changed.append(_redact_documents(frame, secret))
    return frame.with_columns(changed)


def redact_text(text: str, session_id: str, *, secret: str) -> str:
    """Replace personal data in one text; where it is JSON, inside its values."""
    if text[:1] in ("{", "["):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return _redact_plain(text, session_id, secret)
        try:
            changed = _redact_value(value, session_id, secret)
            return text if changed == value else orjson.dumps(changed).decode()
        except (RecursionError, TypeError):  # too deep to be written again
            pass
    return _redact_plain(text, session_id, secret)


def _redact_series(frame: pl.DataFrame, name: str, secret: str) -> pl.Series:
    column = frame[name]
    hits = column.str.contains(SUSPECT).fill_null(False).arg_true()
    if hits.is_empty():
        return column
    changed = [
        redact_text(text, session, secret=secret)
        for text, session in zip(column.gather(hits), frame["session_id"].gather(hits), strict=True)
    ]
    return column.scatter(hits, changed)


def _redact_documents(frame: pl.DataFrame, secret: str) -> pl.Series:
    changed = [
        documents
        and [
            {
                **each,
                "content": each["content"] and redact_text(each["content"], session, secret=secret),
            }
            for each in documents
        ]
        for documents, session in zip(
            frame["documents"].to_list(), frame["session_id"], strict=True
        )
    ]
    return pl.Series("documents", changed, dtype=frame["documents"].dtype)


def _redact_value(value: Any, session_id: str, secret: str) -> Any:
    if isinstance(value, str):
        return redact_text(value, session_id, secret=secret)
    if isinstance(value, list):
        return [_redact_value(each, session_id, secret) for each in value]
    if isinstance(value, dict):
        return {
            _redact_plain(name, session_id, secret): _redact_field(name, each, session_id, secret)
            for name, each in value.items()
        }
    if isinstance(value, int) and 10**12 <= value < 10**19 and _read_card(str(value)):
        return _placeholder("CARD", str(value), session_id, secret)
    return value


def _redact_field(name: str, value: Any, session_id: str, secret: str) -> Any:
    """Redact a field's value; a field named for a phone holds one whatever its form."""
    if isinstance(value, str | int) and not isinstance(value, bool) and PHONE_FIELD.search(name):
        number = _read_phone(str(value), NATIONAL)
        if number:
            return _placeholder("PHONE", number, session_id, secret)
    return _redact_value(value, session_id, secret)


def _redact_plain(text: str, session_id: str, secret: str) -> str:
    digits = len(text) - len(text.translate(NO_DIGITS))
    for kind, least, pattern, read in PATTERNS:
        if digits < least or (kind in MARKS and not any(mark in text for mark in MARKS[kind])):
            continue

        def replace(match: re.Match[str], kind: str = kind, read: Any = read) -> str:
            found = match.groupdict().get("value") or match.group()
            value = read(found)
            if value is None:
                return match.group()
            if kind == "IBAN":
                found = found[: _end_of(value, found)]
            return match.group().replace(found, _placeholder(kind, value, session_id, secret))

        text = pattern.sub(replace, text)
    return text


@lru_cache(maxsize=65536)
def _placeholder(kind: str, value: str, session_id: str, secret: str) -> str:
    told = f"{session_id}\0{kind}\0{value}".encode()
    digest = hashlib.blake2b(told, key=secret.encode()[:64], digest_size=8).digest()
    return f"<{kind}_{int.from_bytes(digest, 'big') % 90_000 + 10_000}>"
