"""Numbers that personal data are, each read in its one spelling or refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

# The one spelling of a value and how many characters it takes; None where there is no value.
Reading = tuple[str, int] | None

SHORTEST_PHONE = 6
NO_DIGITS = str.maketrans("", "", "+ ().-/")
IBAN_LENGTHS = {
    text[:2]: int(text[2:])
    for text in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 "
        "EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 "
        "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 "
        "NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 "
        "TR26 UA29 VA22 VG24 XK20"
    ).split()
}


def read_whole(text: str) -> Reading:
    """Read a value that its form says all of."""
    return text, len(text)


@lru_cache(maxsize=2048)
def read_card(text: str) -> Reading:
    """Read a payment card: a known first digit, and Luhn's last."""
    digits = re.sub(r"\D", "", text)
    if not re.match(r"4|5|2[2-7]|3[04-9]|6", digits):
        return None
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)
    return (digits, len(text)) if total % 10 == 0 else None


@lru_cache(maxsize=2048)
def read_iban(text: str) -> Reading:
    """Read an IBAN of its country's length; the next word may have been taken for its end."""
    size = IBAN_LENGTHS.get(text[:2], 0)
    places = [place for place, letter in enumerate(text) if letter.isalnum()]
    if not size or len(places) < size or text[places[size - 1] + 1 :][:1].isalnum():
        return None
    iban = "".join(text[place] for place in places[:size])
    number = "".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])
    return (iban, places[size - 1] + 1) if int(number) % 97 == 1 else None


@lru_cache(maxsize=2048)
def read_ssn(text: str) -> Reading:
    """Read a social security number of the United States that can have been given out."""
    digits = re.sub(r"\D", "", text)
    never = digits[:3] in ("000", "666") or digits[3:5] == "00" or digits[5:] == "0000"
    return None if never or digits[0] == "9" else (digits, len(text))


@lru_cache(maxsize=2048)
def read_ip_4(text: str) -> Reading:
    """Read an address of one machine, and not the reader's own."""
    first, *_ = parts = [int(part) for part in text.split(".")]
    if max(parts) > 255 or first in (0, 127) or first >= 224 or ".".join(map(str, parts)) != text:
        return None
    return text, len(text)


@lru_cache(maxsize=2048)
def read_ip_6(text: str) -> Reading:
    """Read an address that is none of ``a::b``, which is more often code."""
    text = text.rstrip(".")
    text = text if text.endswith("::") else text.removesuffix(":")
    if len(text) < 7 or not ("::" in text or text.count(":") == 7) or not re.search(r"\d", text):
        return None
    try:
        return str(ipaddress.IPv6Address(text)), len(text)
    except ValueError:
        return None


def read_phone_of(*countries: int) -> Callable[[str], Reading]:
    """Return what reads a number of one of the countries; of none, one that says its country."""
    return lru_cache(maxsize=2048)(lambda text: _read_phone(text, countries))


def _read_phone(text: str, countries: tuple[int, ...]) -> Reading:
    """Read the international form; the number ends with the text or at a gap before the next."""
    end = len(text)
    while end > SHORTEST_PHONE:
        digits = text[:end].replace("(0)", "").translate(NO_DIGITS)
        places, number = (countries, digits) if countries else _split(digits)
        if places and (match := _numbering(places).fullmatch(number)):
            country = str(match.lastgroup)
            return f"+{country[1:]}{match[country]}", end
        end = max(text.rfind(gap, 0, end) for gap in " .-(")
    return None


def _split(digits: str) -> tuple[tuple[int, ...], str]:
    """Split a number into its country and the rest; no country's digits begin another's."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    digits = digits.removeprefix("00")
    for size in (1, 2, 3):
        if (country := int(digits[:size] or 0)) in COUNTRY_CODE_TO_REGION_CODE:
            return (country,), digits[size:]
    return (), digits


@lru_cache
def _numbering(countries: tuple[int, ...]) -> re.Pattern[str]:
    """Return the form of national numbers, in a group named for their country.

    The plans are of phonenumbers; its own parser takes 200 microseconds a number, and a text may
    be nothing but numbers.
    """
    return re.compile("|".join(map(_plan, countries)))


def _plan(country: int) -> str:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    names = "fixed_line mobile toll_free premium_rate shared_cost voip personal_number pager uan"
    regions = COUNTRY_CODE_TO_REGION_CODE[country]
    plans = [plan for region in regions if (plan := PhoneMetadata.metadata_for_region(region))]
    kinds = [getattr(plan, name) for plan in plans for name in names.split()]
    forms = dict.fromkeys(kind.national_number_pattern for kind in kinds if kind)
    national = "|".join(filter(None, forms)) or "(?!)"
    prefix = plans[0].national_prefix if plans else None
    return rf"(?:{prefix or ''})?(?P<c{country}>{national})"
