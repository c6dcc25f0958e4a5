r"""Personal data in a text: e-mail, phone, card, IBAN, SSN, IP address, keys and passwords.

Each kind has a form, and where the kind allows it a check that its look-alikes fail: a card's Luhn
digit, an IBAN's remainder, the numbering plan of a phone's country. A number that stands alone,
without form or a word that says phone, is an order or a reservation and stays.

A text is read as people read it: ``%40`` and ``\u0040`` are an ``@``, however often they were
escaped. What is replaced are the characters as they stand, so that JSON stays JSON.

An end user may send any text, so none may cost more than its length: a form begins where none of
its own characters stands before, and repeats without going back or within a bound.
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
