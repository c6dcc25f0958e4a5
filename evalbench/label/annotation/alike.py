"""The sessions that are most like one, by the words of both: TF-IDF over the copies of texts."""

import numpy as np
import polars as pl

from evalbench.errors import LabelError
from evalbench.session.copies import TERMS, find_copies
from evalbench.store.search import KEY
from evalbench.store.workspace import Workspace


def find_alike(ws: Workspace, surface: str, session_id: str, *, n: int) -> pl.DataFrame:
    """Find the n sessions most like one: ``session_id`` and ``alike``, the cosine, highest first.

    LabelError where the session has no copy yet; those that lack one are being made meanwhile.
    """
    sessions = ws.lake.sessions(surface=surface).select(list(KEY)).collect()
    copies, _ = find_copies(ws, surface, sessions)
    terms = copies.select(*KEY, "terms").filter(pl.col("terms").list.len() > 0)
    held = sessions.lazy().join(terms, on=list(KEY), nulls_equal=True)
    known = held.select("session_id", "terms").collect()
    here = known["session_id"].index_of(session_id)
    if here is None:
        why = f"the text of {session_id} has not been copied for the search yet, or says nothing"
        raise LabelError(f"{why}: ask again in a minute")
    scored = known.select("session_id", alike=pl.Series(rank_terms(known["terms"], here)))
    others = scored.filter(pl.col("session_id") != session_id, pl.col("alike") > 0)
    ranked = others.sort("alike", "session_id", descending=[True, False])
    return ranked.unique("session_id", maintain_order=True).head(n)


def rank_terms(terms: pl.Series, here: int) -> np.ndarray:
    """Return the cosine of each set of terms with the one at ``here``, terms weighed by rarity.

    A term of m of all N sets weighs log((1 + N) / (1 + m)): what all say, such as one system
    prompt, weighs nothing. Sets must hold a term each.
    """
    flat, lengths = terms.explode().to_numpy(), terms.list.len().cast(pl.Int64).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths[:-1])])
    weights = np.log((1 + len(terms)) / (1 + np.bincount(flat, minlength=TERMS))) ** 2
    own = np.zeros(TERMS)
    mine = flat[starts[here] : starts[here] + lengths[here]]
    own[mine] = weights[mine]
    lengths_squared = np.add.reduceat(weights[flat], starts)
    shared = np.add.reduceat(own[flat], starts)
    return shared / np.sqrt(np.maximum(lengths_squared * lengths_squared[here], 1e-12))
