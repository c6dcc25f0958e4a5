r"""Personal data in a text: e-mail, phone, card, IBAN, SSN, IP address, keys and passwords.

Each kind has a form, and where it can a check that look-alikes fail. A bare number is an order, and
stays. ``%40`` and ``\\u0040`` are an ``@``; replaced are characters as they stand, so JSON stays
JSON. No text costs more than its length: forms repeat without going back, or within a bound.
"""

from evalbench.pii.find import Found, find_personal
from evalbench.pii.forms import SUSPECT
from evalbench.pii.redact import redact_columns, redact_identifier, redact_text

__all__ = [
    "SUSPECT",
    "Found",
    "find_personal",
    "redact_columns",
    "redact_identifier",
    "redact_text",
]
