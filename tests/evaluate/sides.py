"""Names of users on either side of the train and test split."""

from itertools import count

from evalbench.evaluate.split import assign_split


def users(side, n, surface="support"):
    """Give the first n names of users on a side."""
    named = (f"u{number}" for number in count())
    chosen = (name for name in named if assign_split(surface, "", name) == side)
    return [next(chosen) for _ in range(n)]


def session_ids(side, n, surface="support"):
    """Give the first n ids of sessions without a user on a side."""
    named = (f"s{number}" for number in count())
    chosen = (name for name in named if assign_split(surface, name, None) == side)
    return [next(chosen) for _ in range(n)]
