r"""Personal data in a text: e-mail, phone, card, IBAN, SSN, IP address, keys and passwords.

Each kind has a form, and where it can a check that look-alikes fail. A bare number is an order, and
stays. ``%40`` and ``\\u0040`` are an ``@``; replaced are characters as they stand, so JSON stays
JSON. No text costs more than its length: forms repeat without going back, or within a bound.
"""

from evalbench.pii.find import Found as Found
from evalbench.pii.find import find_personal as find_personal
from evalbench.pii.forms import SUSPECT as SUSPECT
from evalbench.pii.redact import redact_columns as redact_columns
from evalbench.pii.redact import redact_identifier as redact_identifier
from evalbench.pii.redact import redact_text as redact_text
