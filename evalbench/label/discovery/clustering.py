"""From notes to clusters: a neighbour graph cut into communities, with how far each can be trusted.

No note is left out. One that fits its cluster badly is marked by a low confidence, and a cluster
that does not come back when notes are drawn again by a low stability.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from evalbench.label.discovery.vectors import offline_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 10
RESOLUTIONS = (1.0, 1.5, 2.0, 3.0, 4.0)
RESAMPLES = 8
RESAMPLED_SHARE = 0.8
SMALLEST = 3
"""Notes of a cluster at the least."""
SMALLEST_MEAN = 20
"""Notes a cluster on average at the least: a codebook of more modes is no codebook."""
FEWEST = 10
"""Notes that are worth clusters."""
STABLE = 0.6
"""Jaccard similarity under which a cluster is not a pattern of the data (Hennig 2007)."""
SURE = 0.5
"""Share of a note's neighbours in its own cluster under which the note is marked."""
ALIKE = 0.95
"""Cosine from which two notes say the same."""
REPRESENTATIVES = 5


@dataclass(frozen=True)
class Clusters:
    """Notes in clusters, the largest first.

    Attributes
    ----------
    assignment : numpy.ndarray of int, shape (n,)
        Cluster of each note, 0 to k - 1.
    confidence : numpy.ndarray of float, shape (n,)
        Share of a note's neighbours, weighted by similarity, that are in its own cluster.
    stability : numpy.ndarray of float, shape (k,)
        Mean Jaccard similarity of a cluster to its nearest in resamples of the notes.
    representatives : tuple of numpy.ndarray of int
        Per cluster up to five notes that are nearest to its middle and do not repeat one another.
    same_as : numpy.ndarray of int, shape (n,)
        First note that says the same, by cosine or letter by letter; itself where none does.
    agreement : float
        Mean adjusted Rand index between the clusters and those of resamples.
    reason : str
        Why there are as many clusters as there are.
    """

    assignment: np.ndarray
    confidence: np.ndarray
    stability: np.ndarray
    representatives: tuple[np.ndarray, ...]
    same_as: np.ndarray
    agreement: float
    reason: str

    @property
    def n_clusters(self) -> int:
        """Count the clusters."""
        return len(self.stability)

    @property
    def weak(self) -> bool:
        """Say whether the clusters are no pattern of the notes: other draws of them give others."""
        stable = self.stability[self.assignment] >= STABLE
        return bool(self.agreement < STABLE or stable.mean() < 0.5)

    def to_frame(self) -> pl.DataFrame:
        """Return one row a cluster: cluster, n_notes, n_unsure, stability, stable."""
        notes = pl.DataFrame({"cluster": self.assignment, "unsure": self.confidence < SURE})
        counted = notes.group_by("cluster").agg(
            n_notes=pl.len().cast(pl.Int64), n_unsure=pl.col("unsure").sum().cast(pl.Int64)
        )
        return counted.sort("cluster").with_columns(
            stability=pl.Series(self.stability), stable=pl.Series(self.stability >= STABLE)
        )


def cluster(
    texts: Sequence[str],
    *,
    vectors: np.ndarray | None = None,
    n_clusters: int | None = None,
    rng: np.random.Generator,
) -> Clusters:
    """Cluster notes: Leiden communities of the graph of nearest neighbours.

    Parameters
    ----------
    texts : sequence of str, length n
        At least 10. Letter-by-letter repeats count as one note and share a cluster.
    vectors : numpy.ndarray, shape (n, d), optional
        Embeddings of the texts; else :func:`evalbench.label.discovery.vectors.offline_vectors`.
    n_clusters : int, optional
        How many clusters; else the number whose clusters come back best when 80% of the notes are
        drawn again, the smaller of two that do about as well.
    rng : numpy.random.Generator
        The same state gives the same clusters.

    Raises
    ------
    ValueError
        Fewer than 10 different texts, ``vectors`` of another length or not finite, or
        ``n_clusters`` not between 2 and a third of the different texts.

    Notes
    -----
    Nearness is wording (or what the embedding sees): notes about one subject with different faults
    come together. ``weak`` and ``reason`` say when that is all there is.

    References
    ----------
    Traag, Waltman and van Eck (2019), From Louvain to Leiden. Scientific Reports 9, 5233.
    Hennig (2007), Cluster-wise assessment of cluster stability. CSDA 52(1), 258-271.
    """
    folded, members = np.unique([fold_text(text) for text in texts], return_inverse=True)
    first = np.full(len(folded), len(texts))
    np.minimum.at(first, members, np.arange(len(texts)))
    if len(folded) < FEWEST:
        raise ValueError(f"texts must hold at least {FEWEST} different notes; got {len(folded)}")
    if n_clusters is not None and not 2 <= n_clusters <= len(folded) // SMALLEST:
        raise ValueError(
            f"n_clusters must lie in [2, {len(folded) // SMALLEST}], a third of the different "
            f"texts; got {n_clusters}"
        )
    if vectors is None:
        points = offline_vectors([texts[index] for index in first], rng=rng)
    else:
        points = _check_vectors(vectors, len(texts))[first]
    graph = _join_neighbours(points)
    chosen, reason = _choose(graph, points, n_clusters, rng)
    return Clusters(
        assignment=chosen.parted[members],
        confidence=_measure_confidence(graph, chosen.parted)[members],
        stability=_measure_stability(chosen),
        representatives=tuple(first[one] for one in _represent(points, chosen.parted)),
        same_as=first[_find_alike(points, graph)][members],
        agreement=float(chosen.scores.mean()),
        reason=reason,
    )


@dataclass(frozen=True)
class _Choice:
    """A partition, those of resamples (notes, their clusters), and how alike each of them is."""

    parted: np.ndarray
    again: list[tuple[np.ndarray, np.ndarray]]
    scores: np.ndarray


def fold_text(text: str) -> str:
    """Return the words of a text in lower case: what is equal then says the same."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _check_vectors(vectors: np.ndarray, n: int) -> np.ndarray:
    from sklearn.preprocessing import normalize

    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != n:
        raise ValueError(f"vectors must have shape ({n}, d); got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite; got nan or infinity")
    return normalize(vectors)


def _join_neighbours(points: np.ndarray) -> csr_matrix:
    """Join each note to those nearest by cosine, weighted by it."""
    from scipy import sparse
    from sklearn.neighbors import NearestNeighbors

    n = len(points)
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, n - 1), algorithm="brute").fit(points)
    distance, index = nearest.kneighbors()
    cosine = np.clip(1 - distance.ravel() ** 2 / 2, 0, 1)
    rows = np.repeat(np.arange(n), index.shape[1])
    graph = sparse.csr_matrix((cosine, (rows, index.ravel())), shape=(n, n))
    graph = (graph + graph.T) / 2
    graph.eliminate_zeros()
    return graph.tocsr()


def _choose(
    graph: csr_matrix, points: np.ndarray, n_clusters: int | None, rng: np.random.Generator
) -> tuple[_Choice, str]:
    from sklearn.metrics import adjusted_rand_score

    n, seed = len(points), int(rng.integers(2**31))
    size = max(2, int(n * RESAMPLED_SHARE))
    drawn = [np.sort(rng.choice(n, size, replace=False)) for _ in range(RESAMPLES)]

    def resample(resolution: float, parted: np.ndarray) -> _Choice:
        again = [(one, _part(graph[one][:, one], points[one], resolution, seed)) for one in drawn]
        scores = [adjusted_rand_score(parted[one], found) for one, found in again]
        return _Choice(parted, again, np.array(scores))

    if n_clusters:
        resolution, parted = _part_into(graph, points, n_clusters, seed)
        merged = _merge(points, parted, n_clusters)
        return resample(resolution, merged), f"{merged.max() + 1} clusters, as was asked for"
    tried: list[_Choice] = []
    for resolution in RESOLUTIONS:
        parted = _part(graph, points, resolution, seed)
        if tried and (parted.max() + 1) * SMALLEST_MEAN > n:
            break
        tried.append(resample(resolution, parted))
    best = max(tried, key=lambda one: one.scores.mean())
    slack = best.scores.std(ddof=1) / np.sqrt(RESAMPLES)
    chosen = next(one for one in tried if one.scores.mean() >= best.scores.mean() - slack)
    counts = ", ".join(f"{one.parted.max() + 1} ({one.scores.mean():.2f})" for one in tried)
    return chosen, (
        f"{chosen.parted.max() + 1} clusters come back best when {RESAMPLED_SHARE:.0%} of the "
        f"notes are drawn again; tried, with the agreement of resamples: {counts}"
    )


def _part(graph: csr_matrix, points: np.ndarray, resolution: float, seed: int) -> np.ndarray:
    """Cut a graph into communities, the largest first; the tiny ones join the nearest."""
    from sknetwork.clustering import Leiden

    parted = Leiden(resolution=resolution, random_state=seed).fit_predict(graph)
    sizes = np.bincount(parted)
    if (sizes >= SMALLEST).any():
        whole = np.flatnonzero(sizes >= SMALLEST)
        lost = np.flatnonzero(sizes[parted] < SMALLEST)
        nearest = (points[lost] @ _middles(points, parted)[whole].T).argmax(axis=1)
        parted[lost] = whole[nearest]
    return _order(parted)


def _part_into(
    graph: csr_matrix, points: np.ndarray, k: int, seed: int
) -> tuple[float, np.ndarray]:
    """Find the least resolution, near enough, that gives ``k`` communities or more."""
    low, high = 0.05, 50.0
    parted = _part(graph, points, high, seed)
    while high / low > 1.02:
        middle = (low * high) ** 0.5
        tried = _part(graph, points, middle, seed)
        if tried.max() + 1 >= k:
            high, parted = middle, tried
        else:
            low = middle
    return high, parted


def _merge(points: np.ndarray, parted: np.ndarray, k: int) -> np.ndarray:
    """Merge the two clusters whose notes are most alike on average, until there are ``k``."""
    sizes = np.bincount(parted).astype(float)
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, parted, points)
    while len(sizes) > k:
        alike = sums @ sums.T / np.outer(sizes, sizes)
        np.fill_diagonal(alike, -np.inf)
        kept, gone = sorted(np.unravel_index(alike.argmax(), alike.shape))
        sums[kept] += sums[gone]
        sizes[kept] += sizes[gone]
        parted = np.where(parted == gone, kept, parted)
        parted = np.where(parted > gone, parted - 1, parted)
        sums, sizes = np.delete(sums, gone, axis=0), np.delete(sizes, gone)
    return _order(parted)


def _order(parted: np.ndarray) -> np.ndarray:
    """Renumber clusters by size, the largest 0."""
    _, parted, sizes = np.unique(parted, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-sizes, kind="stable"))[parted]


def _middles(points: np.ndarray, parted: np.ndarray) -> np.ndarray:
    """Mean direction of each cluster, of length 1."""
    from sklearn.preprocessing import normalize

    sums = np.zeros((parted.max() + 1, points.shape[1]), dtype=points.dtype)
    np.add.at(sums, parted, points)
    return normalize(sums)


def _measure_stability(chosen: _Choice) -> np.ndarray:
    """Mean over resamples of a cluster's Jaccard similarity to the most similar one."""
    from sklearn.metrics.cluster import contingency_matrix

    n_clusters = chosen.parted.max() + 1
    best = np.full((len(chosen.again), n_clusters), np.nan)
    for number, (drawn, found) in enumerate(chosen.again):
        present = np.unique(chosen.parted[drawn])
        both = contingency_matrix(chosen.parted[drawn], found)
        either = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
        best[number, present] = (both / either).max(axis=1)
    return np.nan_to_num(np.nanmean(best, axis=0))


def _measure_confidence(graph: csr_matrix, parted: np.ndarray) -> np.ndarray:
    joined = graph.tocoo()
    same = parted[joined.row] == parted[joined.col]
    total = np.bincount(joined.row, joined.data, minlength=len(parted))
    inside = np.bincount(joined.row[same], joined.data[same], minlength=len(parted))
    return inside / np.where(total > 0, total, 1)


def _find_alike(points: np.ndarray, graph: csr_matrix) -> np.ndarray:
    """Map each note to the first of its neighbours, and of theirs, that say nearly the same."""
    from scipy import sparse

    joined = graph.tocoo()
    cosine = np.einsum("ij,ij->i", points[joined.row], points[joined.col])
    close = cosine >= ALIKE
    alike = sparse.csr_matrix(
        (cosine[close], (joined.row[close], joined.col[close])), shape=graph.shape
    )
    _, group = sparse.csgraph.connected_components(alike, directed=False)
    _, first = np.unique(group, return_index=True)
    return first[group]


def _represent(points: np.ndarray, parted: np.ndarray) -> list[np.ndarray]:
    """Choose notes near the middle of each cluster that are not alike."""
    chosen = []
    nearness = np.einsum("ij,ij->i", points, _middles(points, parted)[parted])
    for one in range(parted.max() + 1):
        picked: list[int] = []
        members = np.flatnonzero(parted == one)
        for index in members[np.argsort(-nearness[members], kind="stable")]:
            if len(picked) < REPRESENTATIVES and (points[picked] @ points[index] < ALIKE).all():
                picked.append(int(index))
        chosen.append(np.array(picked))
    return chosen
