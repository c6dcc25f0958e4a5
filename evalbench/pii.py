"""Personal data in a text: e-mail, phone, card, IBAN, IP address and the common API keys.

Each kind has a form, and where the kind allows it a check that its look-alikes fail: a card's Luhn
digit, an IBAN's remainder, the numbering plan of a phone's country. A number that stands alone,
without form or a word that says phone, is an order or a reservation and stays.

Redaction puts a typed placeholder in its place, such as ``<EMAIL_48213>``. The number is a keyed
hash of session, kind and value: a value has the same placeholder in every file of its session, and
another one in another session, where it must not tell that two sessions are of one person.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import polars as pl

SUSPECT = "|".join(
    (
        r"@[0-9A-Za-z_]|@[^\x00-\x7f]",
        r"[0-9](?:[ -]?[0-9]){12}",  # a card
        r"\+[0-9(]|\([0-9]{3}\)|[0-9]{3}[-. ][0-9]{3}[-. ][0-9]{4}",
        r"(?-u:\b)0[0-9]{1,4}[ .-][0-9]{2,4}[ .-][0-9]{2,4}",
        r"(?i-u:phone|mobil|whatsapp|(?-u:\b)(?:tel|fax|cell)(?-u:\b))",
        r"(?-u:\b)[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}",  # an IBAN
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"[0-9A-Fa-f]::[0-9A-Fa-f]|[0-9A-Fa-f]:(?:[0-9A-Fa-f]{1,4}:){2}[0-9A-Fa-f]",
        r"(?-u:\b)(?:sk-|sk_|rk_|gh[a-z]_|xox|eyJ|glpat-|hf_|npm_)|AKIA|ASIA|github_pat_|AIza",
        r"(?i-u:bearer )|PRIVATE KEY",
    )
)
"""What every pattern below needs, for the engine of Polars: one quick pass over a column finds the
few texts to look at closely. Word boundaries are of ASCII: with those of Unicode that engine is 40
times slower on text that is not."""
NATIONAL = ("US", "GB", "FR", "DE", "ES", "IT", "IN", "AU", "BR", "MX")
"""Regions whose national numbers are known where the text itself says that it is a phone's."""
PHONE_FIELD = re.compile(r"(?i)phone|mobile|whatsapp|(?:^|_)(?:tel|cell|fax)(?:$|_)")


class Found(NamedTuple):
    """A value in a text: where it stands, its kind, and its one spelling."""

    start: int
    end: int
    kind: str
    value: str


class Pattern(NamedTuple):
    """The form of a kind, what reads its value or refuses it, and ``marks``.

    Every value has one of these texts, which are cheaper to look for than the form.
    """

    kind: str
    form: re.Pattern[str]
    read: Callable[[str], str | None]
    marks: tuple[str, ...]


def read_card(text: str) -> str | None:
    """Digits of a payment card: a known first digit, and Luhn's last."""
    digits = re.sub(r"\D", "", text)
    if not re.match(r"4|5[1-5]|2[2-7]|3[4-7]|6[0245]", digits) or len(digits) < 13:
        return None
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return digits if total % 10 == 0 else None


@lru_cache(maxsize=4096)
def read_phone(text: str, regions: tuple[str | None, ...] = NATIONAL) -> str | None:
    """Phone number in international form, if it is a valid one of any of the regions."""
    import phonenumbers

    for region in regions:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _read_iban(text: str) -> str | None:
    iban = text.replace(" ", "")
    number = "".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])
    return iban if int(number) % 97 == 1 else None


def _read_ip(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 6 and not (re.search(r"\d", text) and len(text) > 6):
        return None  # ``a::b`` is more often code
    return None if address.is_loopback or address.is_unspecified else str(address)


def _read_phone_of(*regions: str | None) -> Callable[[str], str | None]:
    return lambda text: read_phone(text, regions)


def _read_abroad(text: str) -> str | None:
    return read_phone("+" + text.lstrip("+0"), (None,))


START, END = r"(?<![\w.+-])", r"(?![\w-]|\.\d)"
KEY = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bAIza[\w-]{35}|\bglpat-[\w-]{20,}"
    r"|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{30,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"
    r"|(?i:(?<=\bbearer ))(?=[\w.~+/-]*\d)[\w.~+/-]{16,}=*"
)
KEY_MARKS = (
    "sk- k_live_ k_test_ AKIA ASIA ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ xox AIza glpat- "
    "hf_ npm_ eyJ earer EARER PRIVATE"
)
EMAIL = r"(?<![\w.%+'-])[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
IBAN = START + r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"
CARD = r"(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})"
IP_4 = r"(?<![\w.:])(?<!version )\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"
IP_6 = r"(?<![\w.:])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?<=::))(?![\w:])"
PHONE_ABROAD = r"(?<![\w.+])(?:\+|\b00(?=[1-9]\d? ))\(?\d[\d ().-]{6,20}\d"
PHONE_AMERICAN = START + r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}"
PHONE_EUROPEAN = START + r"0\d(?:(?:[ .-]\d{2}){4}|\d{1,3} \d{3,4} \d{3,4})"
PHONE_NAMED = (
    r"(?i:(?<=phone|mobil|whats)\w*|\bcell|\btel|\bfax)(?i:\W+(?:number|no|nr|num|is|at|me))*"
    r"\W{1,4}(?P<value>\(?\d[\d ().-]{5,16}\d)"
)
PATTERNS = tuple(
    Pattern(kind, re.compile(form, re.DOTALL), read, tuple(marks.split()))
    for kind, form, read, marks in (
        ("KEY", KEY, str, KEY_MARKS),
        ("EMAIL", EMAIL, str.lower, "@"),
        ("IBAN", IBAN, _read_iban, ""),
        ("CARD", START + CARD + END, read_card, ""),
        ("IP", IP_4, _read_ip, "."),
        ("IP", IP_6, _read_ip, ":"),
        ("PHONE", PHONE_ABROAD + END, _read_abroad, "+ 00"),
        ("PHONE", PHONE_AMERICAN + END, _read_phone_of("US"), ""),
        ("PHONE", PHONE_EUROPEAN + END, _read_phone_of("FR", "GB"), ""),
        ("PHONE", PHONE_NAMED + END, read_phone, "ho HO ob OB at AT el EL ax AX"),
    )
)


def find_personal(text: str) -> tuple[Found, ...]:
    """Find the personal data of a text, in its order; of two that overlap the first pattern's."""
    found: list[Found] = []
    for kind, form, read, marks in PATTERNS:
        if marks and not any(mark in text for mark in marks):
            continue
        for match in form.finditer(text):
            group = "value" if "value" in form.groupindex else 0
            start, end = match.span(group)
            value = read(match[group])
            while value is None and kind == "IBAN" and end - start > 15:
                end -= 1  # the next word may have been taken for its end
                value = read(text[start:end])
            if value and all(end <= one.start or start >= one.end for one in found):
                found.append(Found(start, end, kind, value))
    return tuple(sorted(found))


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
    """Replace personal data in every text of spans or verdicts; columns of JSON still hold JSON.

    ``secret`` is the key of the hash behind the numbers.
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
