"""What generated prose may not say: that something moved, without its interval; or 0%."""

import re

CLAIM = re.compile(r"\b(better|worse|improved|fell|rose|fewer|more often)\b", re.IGNORECASE)
INTERVAL = re.compile(r"\(−?\+?[\d,.]+ to −?\+?[\d,.]+\)")
DENIED = re.compile(r"\b(no|not|none|nothing)\b", re.IGNORECASE)


def find_claims(text):
    """List the sentences that claim a change without an interval, or a share of nothing."""
    sentences = re.split(r"(?<=[.;?])\s", text)
    loose = [each for each in sentences if CLAIM.search(each) and not INTERVAL.search(each)]
    return [each for each in loose if not DENIED.search(each)] + re.findall(r"\b0 ?%", text)
